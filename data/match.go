package data

import (
	"fmt"
	"slices"

	"crnn/data/imageset"

	"golang.org/x/text/unicode/norm"
)

// Match numbers the classes of the data as a network numbers them, whose classes are given. Classes are
// matched by their names. Where those say nothing, since the data's or the network's are only numbers,
// labels stay.
func (d *Dataset) Match(classes []string) error {
	own := d.Train.Classes
	to, without := matchNames(own, classes)
	switch {
	case without == "":
	case isNumbered(own) != isNumbered(classes):
		if len(own) > len(classes) {
			return fmt.Errorf("a network with %d classes, expected at least %d, as %s has", len(classes), len(own), d.Dir)
		}
		d.setClasses(classes)
		return nil
	default:
		return fmt.Errorf("a network without the class %q that %s has: its classes are %s",
			without, d.Dir, enumerate(classes))
	}
	for _, s := range []*Set{d.Train, d.Test} {
		s.Labels = slices.Clone(s.Labels) // a file's bytes may still be hashed
		for i, label := range s.Labels {
			s.Labels[i] = to[label]
		}
	}
	d.setClasses(classes)
	return nil
}

// matchNames returns for each of own its index in classes, or the first that is not there. Systems write
// an accented letter as one character or as two.
func matchNames(own, classes []string) (to []uint8, without string) {
	index := map[string]int{}
	for i, name := range slices.Backward(classes) {
		index[norm.NFC.String(name)] = i
	}
	for _, name := range own {
		i, ok := index[norm.NFC.String(name)]
		if !ok {
			return nil, name
		}
		to = append(to, uint8(i))
	}
	return to, ""
}

// isNumbered reports whether the names are those of classes without names: numbers from 0 or 1 on.
func isNumbered(names []string) bool {
	numbers := imageset.Numbered(len(names) + 1)
	return slices.Equal(names, numbers[:len(names)]) || slices.Equal(names, numbers[1:])
}

// enumerate writes some names.
func enumerate(names []string) string {
	const most = 8
	text := ""
	for i, name := range names[:min(len(names), most)] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q", name)
	}
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

package data

import (
	"fmt"
	"slices"

	"crnn/data/imageset"
)

// Match numbers the classes of the data as a network numbers them, whose classes are given. Classes are
// matched by their names. If the data's are nothing but numbers, or the network's are, labels stay.
func (d *Dataset) Match(classes []string) error {
	own := d.Train.Classes
	if slices.Equal(own, classes) {
		return nil
	}
	if isNumbered(own) || isNumbered(classes) {
		if len(own) > len(classes) {
			return fmt.Errorf("a network with %d classes, expected at least %d, as %s has", len(classes), len(own), d.Dir)
		}
		d.setClasses(classes)
		return nil
	}
	to := make([]uint8, len(own))
	for i, name := range own {
		class := slices.Index(classes, name)
		if class < 0 {
			return fmt.Errorf("a network without the class %q that %s has: its classes are %s",
				name, d.Dir, enumerate(classes))
		}
		to[i] = uint8(class)
	}
	for _, s := range []*Set{d.Train, d.Test} {
		s.Labels = slices.Clone(s.Labels)
		for i, label := range s.Labels {
			s.Labels[i] = to[label]
		}
	}
	d.setClasses(classes)
	return nil
}

// isNumbered reports whether the names are those of classes without names.
func isNumbered(names []string) bool { return slices.Equal(names, imageset.Numbered(len(names))) }

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

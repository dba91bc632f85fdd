package data

import (
	"crnn/tests/datatest"
	"testing"

	"crnn/data/imageset"
	"crnn/data/known"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	fashion := known.FashionMNIST.Classes
	numbers := imageset.Numbered
	for _, test := range []struct {
		name         string
		own, network []string
		labels, want []uint8
		err          string
	}{
		{name: "same", own: fashion, network: fashion, labels: []uint8{3}, want: []uint8{3}},
		{name: "another order", own: []string{"cat", "dog"}, network: []string{"dog", "ant", "cat"}, labels: []uint8{0, 1},
			want: []uint8{2, 0}},
		{name: "accents", own: []string{"e\u0301cole", "a"}, network: []string{"a", "\u00e9cole"}, labels: []uint8{0, 1},
			want: []uint8{1, 0}},
		{name: "data without names", own: numbers(7), network: fashion, labels: []uint8{6}, want: []uint8{6}},
		{name: "network without names", own: fashion, network: numbers(12), labels: []uint8{6}, want: []uint8{6}},
		{name: "fewer numbers", own: numbers(7), network: numbers(10), labels: []uint8{6}, want: []uint8{6}},
		{name: "numbers from 1", own: numbers(10)[1:], network: numbers(10), labels: []uint8{0, 8}, want: []uint8{1, 9}},
		{name: "numbers in a folder's order", own: []string{"0", "1", "10", "2"}, network: numbers(11), labels: []uint8{2, 3},
			want: []uint8{10, 2}},
		{name: "numbers from 1 for letters", own: numbers(4)[1:], network: []string{"A", "B", "C"}, labels: []uint8{2},
			want: []uint8{2}},
		{name: "letters for numbers from 1", own: []string{"A", "B", "C"}, network: numbers(4)[1:], labels: []uint8{2},
			want: []uint8{2}},
		{name: "another class", own: []string{"cat", "cow"}, network: []string{"cat", "dog"}, labels: []uint8{0},
			err: `a network without the class "cow" that set has: its classes are "cat", "dog"`},
		{name: "another class of many", own: []string{"cat", "cow"}, network: fashion, labels: []uint8{0},
			err: `a network without the class "cat" that set has: its classes are "T-shirt/top", "Trouser", "Pullover", ` +
				`"Dress", "Coat", "Sandal", "Shirt", "Sneaker" and 2 more`},
		{name: "too many numbers", own: numbers(10), network: numbers(7), labels: []uint8{0},
			err: `a network without the class "7" that set has`},
		{name: "too many for names", own: numbers(11), network: fashion, labels: []uint8{0},
			err: "a network with 10 classes, expected at least 11, as set has"},
		{name: "0 and from 1", own: numbers(10), network: numbers(27)[1:], labels: []uint8{0},
			err: `a network without the class "0"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &Dataset{Dir: "set", Train: &Set{Labels: test.labels}, Test: &Set{Labels: test.labels}}
			d.setClasses(test.own)
			before := append([]uint8{}, test.labels...)
			err := d.Match(test.network)
			if test.err != "" {
				datatest.WantError(t, err, test.err)
				if !cmp.Equal(d.Train.Classes, test.own) {
					t.Error("the classes were changed in spite of the error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*Set{d.Train, d.Test} {
				if !cmp.Equal(s.Classes, test.network) || !cmp.Equal(s.Labels, test.want) {
					t.Errorf("classes %q, labels %v, want %v", s.Classes, s.Labels, test.want)
				}
			}
			if !cmp.Equal(test.labels, before) {
				t.Error("the file's bytes were changed, which may still be hashed")
			}
		})
	}
}

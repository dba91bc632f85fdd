package data

import (
	"bytes"

	"crnn/data/imageset"
)

// Known is a data set that crnn knows by name.
type Known struct {
	Name    string   // of `crnn data fetch`
	Title   string   // as people write it
	Classes []string // names, in the order of the labels
	// first are the labels at the start of the training set. They tell the set, or the front part of it,
	// from others: as many random labels of ten classes would agree once in 10^32 sets.
	first []uint8
}

// The known data sets. Their first labels were read from the sets themselves.
var known = []*Known{
	{
		Name: "fashion-mnist", Title: "Fashion-MNIST", Classes: []string{
			"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
			"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
		},
		first: []uint8{9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4, 3, 1, 4, 8, 4, 3, 0, 2, 4, 4, 5, 3},
	},
	{
		Name: "mnist", Title: "MNIST", Classes: imageset.Numbered(10),
		first: []uint8{5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9, 4, 0, 9, 1, 1, 2, 4, 3, 2, 7, 3, 8},
	},
}

// fewest is the smallest number of labels by which a set is recognised.
const fewest = 8

// recognise returns the known data set whose training labels begin like these, or nil.
func recognise(labels []uint8) *Known {
	for _, k := range known {
		n := min(len(labels), len(k.first))
		if n >= fewest && bytes.Equal(labels[:n], k.first[:n]) {
			return k
		}
	}
	return nil
}

// FashionMNIST describes the images of Fashion-MNIST.
func FashionMNIST() imageset.Description {
	return imageset.Description{
		Height: 28, Width: 28, Channels: 1, Classes: known[0].Classes,
		Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true, Background: imageset.Contrast},
	}
}

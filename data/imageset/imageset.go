// Package imageset describes the images of a data set: their size, the names of their classes, and
// how a picture becomes an image like them. The description goes from the data through a run into
// the weights, so that pictures are prepared for a network as its training images were.
package imageset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a data set.
const (
	MinClasses = 2
	MaxClasses = 256 // a label is a byte
	MaxSide    = 4096
)

// IsChannels reports whether images can have n channels: 1 (gray) or 3 (red, green, blue).
func IsChannels(n int) bool { return n == 1 || n == 3 }

// ClassesFile is the file with the names of the classes, a line each, beside the files of a data set.
const ClassesFile = "classes.txt"

// Description says what the images of a data set are.
type Description struct {
	Height, Width int      // in pixels
	Channels      int      // 1: gray, 3: red, green, blue
	Classes       []string // names; a label is an index into them
	Pixels        Pixels
}

// Pixels says how a picture becomes an image of the data set.
type Pixels struct {
	Resize Resize `json:"resize"`
	// Invert says that a picture with a light border is inverted: the data shows bright things on black.
	Invert     bool       `json:"invert"`
	Background Background `json:"background"`
}

// Resize is a way to give a picture the size of the data set's images.
type Resize string

// The ways to resize.
const (
	Stretch Resize = "stretch" // both sides are scaled on their own
	Fit     Resize = "fit"     // proportions are kept; the border's mean fills the rest
)

// Background is the colour behind the transparent parts of a picture.
type Background string

// The backgrounds.
const (
	Contrast Background = "contrast" // white behind a dark subject, black behind a light one
	Black    Background = "black"
	White    Background = "white"
)

// Size returns height, width and channels, such as 28x28x1.
func (d Description) Size() string { return fmt.Sprintf("%dx%dx%d", d.Height, d.Width, d.Channels) }

// Bytes returns the number of bytes per image.
func (d Description) Bytes() int { return d.Height * d.Width * d.Channels }

// SameShape reports whether images of d and e have the same height, width and channels.
func (d Description) SameShape(e Description) bool {
	return d.Height == e.Height && d.Width == e.Width && d.Channels == e.Channels
}

// Equal reports whether d and e are the same.
func (d Description) Equal(e Description) bool {
	return d.SameShape(e) && d.Pixels == e.Pixels && slices.Equal(d.Classes, e.Classes)
}

// ParseSize is the inverse of Size.
func ParseSize(text string) (height, width, channels int, err error) {
	parts, sizes := strings.Split(text, "x"), [3]int{}
	for i := range sizes {
		if i < len(parts) {
			sizes[i], err = strconv.Atoi(parts[i])
		}
		if err != nil || len(parts) != len(sizes) || sizes[i] < 1 || sizes[i] > MaxSide {
			return 0, 0, 0, fmt.Errorf("%.40q: expected height, width and channels, such as 28x28x1", text)
		}
	}
	if !IsChannels(sizes[2]) {
		return 0, 0, 0, fmt.Errorf("%.40q: expected 1 channel (gray) or 3 (colours)", text)
	}
	return sizes[0], sizes[1], sizes[2], nil
}

// Numbered returns n class names: the labels 0 to n-1 themselves.
func Numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

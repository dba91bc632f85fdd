package backendtest

import (
	"testing"

	"crnn/model"
)

// gather checks that images become pixel/255, correctly rounded, for every value of a pixel and for
// sizes of every remainder, and that Replace puts others in their place.
func gather(t *testing.T, be model.Backend) {
	b := &bench{T: t, be: be}
	labels := newOperators(t, be, 3).labels
	for _, s := range []struct{ channels, height, width int }{{1, 16, 16}, {3, 9, 11}, {1, 15, 19}, {3, 10, 9}} {
		const count = 4
		size := s.channels * s.height * s.width
		pixels, classes := make([]uint8, count*size), make([]uint8, count)
		fill := func(first int) {
			for i := range pixels {
				pixels[i] = uint8(first + i + i/size) // each image has all values, if it has room for them
			}
			for i := range classes {
				classes[i] = uint8((first + i) % 3)
			}
		}
		fill(0)
		images, err := be.NewImages(pixels, classes, s.channels, s.height, s.width)
		b.must(err)
		x := b.alloc(3, s.channels, s.height, s.width)
		for _, first := range []int{0, 7} {
			if first > 0 {
				other := append([]uint8(nil), pixels...)
				pixels = other // the device may share the old ones
				fill(first)
				b.must(images.Replace(pixels, classes))
			}
			b.must(images.Gather(pass(2, false), []int32{3, 1}, x, labels))
			got := b.download(x)[:2*size]
			for i, v := range got {
				at := 3 * size
				if i >= size {
					at = 1*size - size
				}
				if want := float32(float64(pixels[at+i]) / 255); v != want {
					t.Fatalf("%+v: value %d is %v, want %v, %d/255", s, i, v, want, pixels[at+i])
				}
			}
		}
		if err := images.Replace(pixels[1:], classes); err == nil {
			t.Error("Replace takes too few pixels")
		}
	}
}

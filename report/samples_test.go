package report

import (
	"testing"
)

// ramps returns images in which every pixel row has its own gray.
func ramps(n int) [][]byte {
	images := make([][]byte, n)
	for i := range images {
		images[i] = make([]byte, imageSide*imageSide)
		for j := range images[i] {
			images[i][j] = byte(i*20 + j/imageSide)
		}
	}
	return images
}

func samples(t *testing.T, images [][]byte, titles []string) Figure {
	t.Helper()
	f, err := Samples(images, titles)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSamples(t *testing.T) {
	checkFigure(t, samples(t, ramps(10), fashion), samples(t, ramps(10), fashion), 1404, 636)
	checkFigure(t, samples(t, ramps(3), fashion[:3]), samples(t, ramps(3), fashion[:3]), 1404, 324)
}

// Every pixel of an image is a square of its gray, in the order given.
func TestSamplesAreCrisp(t *testing.T) {
	images := ramps(10)
	f := samples(t, images, fashion)
	for i, img := range images {
		x0 := sampleGap + i%5*(sampleSide+sampleGap)
		y0 := sampleTitle + i/5*(sampleTitle+sampleSide+sampleGap/2)
		for y := range sampleSide {
			for x := range sampleSide {
				want := img[y/sampleScale*imageSide+x/sampleScale]
				if got := f.image.RGBAAt(x0+x, y0+y); got.R != want || got.G != want || got.B != want || got.A != 0xff {
					t.Fatalf("image %d: %v at %d,%d, want gray %d", i, got, x, y, want)
				}
			}
		}
	}
}

func TestSamplesShowTitles(t *testing.T) {
	other := append([]string(nil), fashion...)
	other[6] = "Skirt"
	if same(samples(t, ramps(10), fashion), samples(t, ramps(10), other)) {
		t.Error("a change of a title does not show")
	}
}

func TestSamplesRefuses(t *testing.T) {
	for want, c := range map[string]struct {
		images [][]byte
		titles []string
	}{
		"samples: 0 images with 0 titles":                      {nil, nil},
		"samples: 2 images with 1 titles":                      {ramps(2), fashion[:1]},
		"samples: image 1 (Trouser) has 3 bytes, expected 784": {[][]byte{make([]byte, 784), {1, 2, 3}}, fashion[:2]},
	} {
		if _, err := Samples(c.images, c.titles); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

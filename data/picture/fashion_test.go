package picture_test

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/data/picture"

	"github.com/google/go-cmp/cmp"
)

// Fashion-MNIST's own images, read as pictures, are unchanged, and nearly none gets a note.
func TestPicturesOfTheDataSetAreUnchanged(t *testing.T) {
	dir, err := data.Locate("")
	if err != nil {
		t.Fatalf("the tests need Fashion-MNIST, run make data: %v", err)
	}
	d, err := data.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	fashion := imageset.Description{
		Height: 28, Width: 28, Channels: 1, Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true},
	}
	read, noted := 0, 0
	const step = 10 // all images would take seconds
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	for i := 0; i < d.Train.Count; i += step {
		var file bytes.Buffer
		img := &image.Gray{Pix: d.Train.Image(i), Stride: 28, Rect: image.Rect(0, 0, 28, 28)}
		if err := encoder.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		p, err := picture.Decode(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		pixels, notes := p.Image(fashion, picture.Auto)
		if !bytes.Equal(img.Pix, pixels) {
			t.Fatalf("image %d (-want +got):\n%s", i, cmp.Diff(img.Pix, pixels))
		}
		read++
		if notes != (picture.Notes{}) {
			noted++
		}
	}
	// The limits were chosen so that 1 of 1000 images gets a note, or fewer.
	if noted > read/1000 {
		t.Errorf("%d of %d images get a note", noted, read)
	}
}

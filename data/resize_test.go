package data

import (
	"bytes"
	"crnn/internal/memory"
	"crnn/tests/datatest"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"crnn/data/imageset"
	"crnn/data/picture"
)

// Images of arrays become gray and scaled as pictures with the same pixels do.
func TestConvertIsAsForPictures(t *testing.T) {
	d := imageset.Description{Height: 9, Width: 14, Channels: 3}
	set := &Set{Description: d, Count: 4, Images: datatest.Noise(4*d.Bytes(), 1), Labels: make([]uint8, 4)}
	var pictures []*picture.Picture
	for i := range set.Count {
		img := image.NewRGBA(image.Rect(0, 0, d.Width, d.Height))
		for j := range d.Height * d.Width {
			of := func(channel int) uint8 { return set.Image(i)[channel*d.Height*d.Width+j] }
			img.SetRGBA(j%d.Width, j/d.Width, color.RGBA{of(0), of(1), of(2), 255})
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		p, err := picture.Decode(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, p)
	}
	for _, o := range []Options{{Gray: true}, {Height: 5, Width: 20}, {Height: 30, Width: 6, Gray: true}} {
		train, test := *set, *set
		data := &Dataset{Train: &train, Test: &test}
		data.convert(o)
		want := imageset.Description{Height: train.Height, Width: train.Width, Channels: train.Channels}
		if o.Height > 0 && (train.Height != o.Height || train.Width != o.Width) || o.Gray != (train.Channels == 1) {
			t.Errorf("%+v makes %s", o, train.Size())
		}
		for i, p := range pictures {
			pixels, _ := p.Image(want, picture.No)
			if !bytes.Equal(pixels, train.Image(i)) || !bytes.Equal(pixels, test.Image(i)) {
				t.Errorf("%+v: image %d differs from the picture", o, i)
			}
		}
	}
}

// By arithmetic: 0.299 R + 0.587 G + 0.114 B (Rec. 601), within rounding.
func TestGrayIsLuminance(t *testing.T) {
	s := &Set{Description: imageset.Description{Height: 40, Width: 50, Channels: 3}, Count: 1,
		Images: datatest.Noise(6000, 3)}
	rgb := s.Images
	s.toGray()
	for i, got := range s.Images {
		want := 0.299*float64(rgb[i]) + 0.587*float64(rgb[2000+i]) + 0.114*float64(rgb[4000+i])
		if math.Abs(float64(got)-want) > 1 { // image/color drops what is below 1
			t.Fatalf("%d, want %.2f", got, want)
		}
	}
}

// Halving a gradient averages; constant images stay; an image without a change of size is not touched.
func TestScaleOfSimpleImages(t *testing.T) {
	const side = 32
	s := &Set{Description: imageset.Description{Height: side, Width: side, Channels: 1}, Count: 2}
	for i := range side * side {
		s.Images = append(s.Images, uint8(4*(i%side)))
	}
	s.Images = append(s.Images, bytes.Repeat([]uint8{77}, side*side)...)
	s.scale(side/2, side/2)
	for i, v := range s.Image(0) {
		x := i % (side / 2)
		if x == 0 || x == side/2-1 {
			continue // at the sides the filter repeats the border
		}
		if want := 4 * (2*float64(x) + 0.5); math.Abs(float64(v)-want) > 1 {
			t.Fatalf("pixel %d is %d, want %.1f", i, v, want)
		}
	}
	for _, v := range s.Image(1) {
		if v != 77 {
			t.Fatalf("a constant image gets a pixel of %d, want 77", v)
		}
	}
}

// Pillow's bicubic filter is Catmull-Rom too, with a = -1/2, and averages when it shrinks. Both round:
// Pillow after each of the two passes, so 2 is the most by which they may differ.
func TestScaleIsPillows(t *testing.T) {
	python := pillow(t)
	d := imageset.Description{Height: 21, Width: 34, Channels: 1}
	set := &Set{Description: d, Count: 3, Images: datatest.Noise(3*d.Bytes(), 7)}
	for i := range set.Images { // smooth, as pictures are: noise overshoots and clips
		set.Images[i] = uint8(128 + 100*math.Sin(float64(i%34)/5)*math.Cos(float64(i/34)/4) + float64(set.Images[i])/16)
	}
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	for _, size := range [][2]int{{28, 28}, {10, 17}, {63, 40}, {7, 100}} {
		if err := os.WriteFile(in, set.Images, 0o644); err != nil {
			t.Fatal(err)
		}
		const script = `
import sys
from PIL import Image
data = open(sys.argv[1], "rb").read()
h, w = int(sys.argv[3]), int(sys.argv[4])
with open(sys.argv[2], "wb") as f:
    for i in range(3):
        img = Image.frombytes("L", (34, 21), data[i*714:(i+1)*714])
        f.write(img.resize((w, h), Image.Resampling.BICUBIC).tobytes())
`
		text := func(n int) string { return imageset.Numbered(n + 1)[n] }
		if b, err := exec.Command(python, "-c", script, in, out, text(size[0]), text(size[1])).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		want, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got := *set
		got.scale(size[0], size[1])
		if len(want) != len(got.Images) {
			t.Fatalf("%d bytes, want %d", len(got.Images), len(want))
		}
		for i := range want {
			if d := int(want[i]) - int(got.Images[i]); d < -2 || d > 2 {
				t.Fatalf("%v: pixel %d is %d, Pillow has %d", size, i, got.Images[i], want[i])
			}
		}
	}
}

func BenchmarkScale(b *testing.B) {
	whole, err := Load(fashionDir(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := *whole.Test
		s.scale(32, 32)
	}
}

// The system would end the program without a word. Who asks for an enormous size gets one line.
func TestScalingBeyondTheMemory(t *testing.T) {
	if memory.Physical() == 0 {
		t.Skip("the machine's memory is not known")
	}
	small := imageset.Description{Height: 4, Width: 4, Channels: 1}
	large := imageset.Description{Height: 4096, Width: 4096, Channels: 1}
	count := int(memory.Physical())/large.Bytes() + 1
	d := &Dataset{Dir: "here", Train: &Set{Description: small, Count: count}, Test: &Set{Description: small}}
	err := d.convert(Options{Height: 4096, Width: 4096})
	datatest.WantError(t, err, fmt.Sprintf("here: %d images of 4096x4096x1 take ", count), "pass a smaller --image-size")
	if err := checkMemory("here", count-2, large, "", 0); err != nil {
		t.Error(err)
	}
	if err := checkMemory("here", count-2, large, "", 2*large.Bytes()); err == nil {
		t.Error("what is in the memory already is not counted")
	}
}

package picture

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"crnn/data/imageset"
)

// BenchmarkPhoto reads and prepares a photo of 12 megapixels.
func BenchmarkPhoto(b *testing.B) {
	const w, h = 4000, 3000
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	// Slopes, edges and some noise take about the bytes of a photo: 4 bits per pixel.
	random := rand.New(rand.NewPCG(1, 2))
	for y := range h {
		for x := range w {
			img.Y[y*img.YStride+x] = uint8(x/40 + y/60 + x/200%2*50 + random.IntN(12))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(100+i%50), uint8(130+i/img.CStride%40)
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	read := func(b *testing.B) *Picture {
		p, err := Decode(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	b.Run("decode", func(b *testing.B) {
		b.ReportMetric(float64(file.Len()), "bytes")
		for b.Loop() {
			read(b)
		}
	})
	p := read(b)
	for name, d := range map[string]imageset.Description{
		"gray 28x28, fit":         fashion,
		"gray 64x64, stretch":     {Height: 64, Width: 64, Channels: 1},
		"colour 64x64, stretch":   {Height: 64, Width: 64, Channels: 3},
		"colour 224x224, stretch": {Height: 224, Width: 224, Channels: 3},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p.Image(d, Auto)
			}
		})
	}
}

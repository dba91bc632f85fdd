package data

import (
	"fmt"
	"image"

	"golang.org/x/image/draw"
)

// convert gives the images the size and channels that the options ask for.
func (d *Dataset) convert(o Options) {
	for _, s := range []*Set{d.Train, d.Test} {
		if o.Gray && s.Channels == 3 {
			s.toGray()
		}
		if o.Height > 0 && (o.Height != s.Height || o.Width != s.Width) {
			if s == d.Train {
				d.Notes = append(d.Notes, fmt.Sprintf("images of %dx%d are scaled to %dx%d", s.Height, s.Width, o.Height, o.Width))
			}
			s.scale(o.Height, o.Width)
		}
	}
}

// toGray makes colours gray by their luminance (Rec. 601), as for pictures.
func (s *Set) toGray() {
	pixels := s.Height * s.Width
	to := newArray(s.Count * pixels)
	for i := range s.Count {
		rgb, gray := s.Image(i), to[i*pixels:][:pixels]
		for j := range gray {
			// The weights of package image/color for 8 bits.
			gray[j] = uint8((19595*uint32(rgb[j]) + 38470*uint32(rgb[pixels+j]) + 7471*uint32(rgb[2*pixels+j]) + 1<<15) >> 16)
		}
	}
	s.Images, s.Channels = to, 1
}

// scale scales all images to another size, each side on its own, averaging where they shrink.
func (s *Set) scale(height, width int) {
	to := newArray(s.Count * s.Channels * height * width)
	from, into := s.Height*s.Width, height*width
	for i := range s.Count * s.Channels {
		src := &image.Gray{Pix: s.Images[i*from:][:from], Stride: s.Width, Rect: image.Rect(0, 0, s.Width, s.Height)}
		dst := &image.Gray{Pix: to[i*into:][:into], Stride: width, Rect: image.Rect(0, 0, width, height)}
		draw.CatmullRom.Scale(dst, dst.Rect, src, src.Rect, draw.Src, nil)
	}
	s.Images, s.Height, s.Width = to, height, width
}

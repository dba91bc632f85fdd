package data

import (
	"crnn/data/imageset"
	"crnn/internal/memory"
	"fmt"
	"image"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/image/draw"
)

// convert gives the images the size and channels that the options ask for.
func (d *Dataset) convert(o Options) error {
	if o.Height > 0 {
		to := d.Train.Description
		to.Height, to.Width = o.Height, o.Width
		if err := checkMemory(d.Dir, d.Train.Count+d.Test.Count, to, "", len(d.Train.Images)+len(d.Test.Images)); err != nil {
			return err
		}
	}
	for _, s := range []*Set{d.Train, d.Test} {
		if o.Gray && s.Channels == 3 {
			s.toGray()
		}
		if o.Height > 0 && (o.Height != s.Height || o.Width != s.Width) {
			note := fmt.Sprintf("%s: images of %dx%d are scaled to %dx%d", d.Dir, s.Height, s.Width, o.Height, o.Width)
			if !slices.Contains(d.Notes, note) {
				d.Notes = append(d.Notes, note)
			}
			s.scale(o.Height, o.Width)
		}
	}
	return nil
}

// checkMemory returns an error if the images would not fit into the machine's memory beside what is there
// already, in bytes, since the system would then end the program without a word. such, if not empty, is
// a size that suits the images.
func checkMemory(path string, images int, d imageset.Description, such string, beside int) error {
	const gb = 1e9
	need, have := int64(images)*int64(d.Bytes())+int64(beside), memory.Physical()
	if have == 0 || need <= have {
		return nil
	}
	if such != "" {
		such = ", such as --image-size " + such
	}
	return fmt.Errorf("%s: %d images of %s take %.1f GB of memory, but the machine has %.1f GB: "+
		"pass a smaller --image-size%s",
		show(path), images, d.Size(), float64(need)/gb, float64(have)/gb, such)
}

// toGray makes colours gray by their luminance (Rec. 601), with the bits that a picture of them gets.
func (s *Set) toGray() {
	pixels := s.Height * s.Width
	to := memory.Zeros(s.Count * pixels)
	for i := range s.Count {
		rgb, gray := s.Image(i), to[i*pixels:][:pixels]
		for j := range gray {
			// Package image/color takes the mean of colours of 16 bits, 257 times those of 8.
			mean := 19595*uint32(rgb[j]) + 38470*uint32(rgb[pixels+j]) + 7471*uint32(rgb[2*pixels+j])
			gray[j] = uint8((0x101*uint64(mean) + 1<<15) >> 24)
		}
	}
	s.Images, s.Channels = to, 1
}

// scale scales all images to another size, each side on its own, averaging where they shrink.
func (s *Set) scale(height, width int) {
	to := memory.Zeros(s.Count * s.Channels * height * width)
	from, into := s.Height*s.Width, height*width
	scaler := draw.CatmullRom.NewScaler(width, height, s.Width, s.Height)
	planes := s.Count * s.Channels
	var workers sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for part := range n {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := planes * part / n; i < planes*(part+1)/n; i++ {
				src := &image.Gray{Pix: s.Images[i*from:][:from], Stride: s.Width, Rect: image.Rect(0, 0, s.Width, s.Height)}
				dst := &image.Gray{Pix: to[i*into:][:into], Stride: width, Rect: image.Rect(0, 0, width, height)}
				scaler.Scale(dst, dst.Rect, src, src.Rect, draw.Src, nil)
			}
		}()
	}
	workers.Wait()
	s.Images, s.Height, s.Width = to, height, width
}

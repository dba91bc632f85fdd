package picture

import (
	"errors"
	"image"
	"io"

	"golang.org/x/image/tiff"
)

// readTIFF reads the first picture of the file. Package tiff of golang.org/x/image bounds neither its
// memory nor its time by the picture's size, and puts the pixels of tiles in wrong places that hang
// over the picture's edge. So it gets a header in which the tiles cover the picture and the strips
// end with it, and each byte of the file about twice.
func readTIFF(f *io.SectionReader, h *header) error {
	d, err := readDirectory(f)
	if err != nil {
		return err
	}
	const reduced, blackIsZero = 1, 1
	if _, dng := d.entries[tagDNGVersion]; dng || d.first(tagSubfileType, 0)&reduced != 0 {
		return unread("a camera's raw picture")
	}
	samples := max(int(d.first(tagSamples, 1)), 1)
	if d.first(tagPlanes, 1) == 2 && samples > 1 {
		h.kind = "each colour by itself"
		return tiff.UnsupportedError(h.kind)
	}
	// The largest header has offset and size, of 4 bytes each, of the smallest tiles: 16x16 pixels.
	const maxHeader = maxPixels / (16 * 16) * 8
	config, err := tiff.DecodeConfig(&tiffReader{f: f, left: maxHeader})
	if err == tiff.FormatError("wrong number of samples for RGB") {
		err = tiff.UnsupportedError("extra samples")
	}
	if err != nil {
		return err
	}
	h.setConfig(config)
	bits := int64(samples) * int64(max(d.first(tagBitsPerSample, 1), 1))
	h.perByte = max(1, int(lzwRatio*8/bits)) // LZW makes the most bytes, fax aside
	c := d.first(tagCompression, 1)
	fax := 2 <= c && c <= 4
	if fax {
		h.perByte = maxSide * 8 // a row takes a bit or more
	}
	h.orientation = d.orientation()
	w, height := config.Width, config.Height
	if tile := int(d.first(tagTileWidth, 0)); tile != 0 {
		w, height = roundUp(w, tile), roundUp(height, max(int(d.first(tagTileHeight, 1)), 1))
		if err := h.checkSize(w, height, f.Size()); err != nil {
			return err
		}
	}
	h.decode = func() (image.Image, error) {
		r := &tiffReader{f: f, left: maxHeader + 2*f.Size()}
		r.set(d, tagWidth, w)
		r.set(d, tagHeight, height)
		if int(d.first(tagRowsPerStrip, 0)) > height {
			r.set(d, tagRowsPerStrip, height)
		}
		img, err := tiff.Decode(r)
		if err != nil {
			return nil, err
		}
		// Package tiff shows a fax's white as white; libtiff, and so every viewer, shows it as 0.
		if gray, ok := img.(*image.Gray); ok && fax && d.first(tagPhotometric, 0) == blackIsZero {
			for i, v := range gray.Pix {
				gray.Pix[i] = 255 - v
			}
		}
		crop := img.(interface {
			SubImage(image.Rectangle) image.Image
		})
		return crop.SubImage(image.Rect(0, 0, h.width, h.height)), nil
	}
	return nil
}

func roundUp(n, step int) int { return (n + step - 1) / step * step }

// tiffReader reads a file, some of whose bytes have other values, until a number of bytes is read.
type tiffReader struct {
	f    *io.SectionReader
	left int64
	with []change
}

type change struct {
	at    int64
	bytes []byte
}

// set changes the value of an entry that is there.
func (t *tiffReader) set(d *directory, tag uint16, value int) {
	e, ok := d.entries[tag]
	if !ok {
		return
	}
	const long = 4
	b := d.order.AppendUint16(nil, tag)
	b = d.order.AppendUint16(b, long)
	b = d.order.AppendUint32(b, 1) // the number of values
	b = d.order.AppendUint32(b, uint32(value))
	t.with = append(t.with, change{e.at, b})
}

// Read is there because package tiff asks for it; it uses ReadAt.
func (t *tiffReader) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (t *tiffReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.f.ReadAt(p, off)
	if t.left -= int64(n); t.left < 0 {
		return 0, errors.New("its parts overlap")
	}
	for _, c := range t.with {
		for i, b := range c.bytes {
			if at := c.at + int64(i) - off; 0 <= at && at < int64(n) {
				p[at] = b
			}
		}
	}
	return n, err
}

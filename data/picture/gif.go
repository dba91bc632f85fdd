package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"io"
)

// readGIF places the first frame on its canvas as Pillow does. The canvas grows to hold the frame.
// What the frame leaves free is transparent if the frame has a transparent colour, and else has the
// palette's first colour.
func readGIF(f *io.SectionReader, h *header) error {
	screen, frame, palette, err := readFrame(from(f, 0))
	if err != nil {
		return err
	}
	canvas := image.Rect(0, 0, max(screen.X, frame.Max.X), max(screen.Y, frame.Max.Y))
	h.setConfig(image.Config{ColorModel: palette, Width: canvas.Dx(), Height: canvas.Dy()})
	h.perByte = lzwRatio
	h.decode = func() (image.Image, error) {
		start := make([]byte, 10) // ends with the canvas
		if _, err := f.ReadAt(start, 0); err != nil {
			return nil, err
		}
		// image/gif refuses a frame that its canvas does not hold.
		binary.LittleEndian.PutUint16(start[6:], uint16(min(canvas.Dx(), 1<<16-1)))
		binary.LittleEndian.PutUint16(start[8:], uint16(min(canvas.Dy(), 1<<16-1)))
		img, err := gif.Decode(bufio.NewReader(io.MultiReader(bytes.NewReader(start), from(f, int64(len(start))))))
		if err != nil || img.Bounds() == canvas {
			return img, err
		}
		return onCanvas(img.(*image.Paletted), canvas), nil
	}
	return nil
}

func onCanvas(frame *image.Paletted, canvas image.Rectangle) image.Image {
	out := image.NewPaletted(canvas, frame.Palette)
	for i, c := range frame.Palette {
		if _, _, _, a := c.RGBA(); a == 0 {
			for j := range out.Pix {
				out.Pix[j] = uint8(i)
			}
			break
		}
	}
	b := frame.Rect
	for y := b.Min.Y; y < b.Max.Y; y++ {
		copy(out.Pix[out.PixOffset(b.Min.X, y):], frame.Pix[frame.PixOffset(b.Min.X, y):][:b.Dx()])
	}
	return out
}

// readFrame reads up to the first frame: the size of the canvas as stated, the frame's place, and
// its palette.
func readFrame(r *bufio.Reader) (screen image.Point, frame image.Rectangle, palette color.Palette, err error) {
	var b [13]byte
	if _, err = io.ReadFull(r, b[:]); err != nil {
		return
	}
	u16 := func(i int) int { return int(binary.LittleEndian.Uint16(b[i:])) }
	screen = image.Pt(u16(6), u16(8))
	if palette, err = readPalette(r, b[10]); err != nil {
		return
	}
	for {
		block, err := r.ReadByte()
		if err != nil {
			return screen, frame, nil, err
		}
		switch block {
		case 0x2c: // a frame
			if _, err = io.ReadFull(r, b[:9]); err != nil {
				return screen, frame, nil, err
			}
			frame = image.Rect(0, 0, u16(4), u16(6)).Add(image.Pt(u16(0), u16(2)))
			local, err := readPalette(r, b[8])
			if local != nil {
				palette = local
			}
			return screen, frame, palette, err
		case 0x21: // an extension: a kind, then blocks
			_, err := r.ReadByte()
			for err == nil {
				var n byte
				if n, err = r.ReadByte(); n == 0 {
					break
				}
				_, err = r.Discard(int(n))
			}
			if err != nil {
				return screen, frame, nil, err
			}
		case 0x3b: // the end
			return screen, frame, nil, errors.New("it has no frame")
		default:
			return screen, frame, nil, errors.New("what should be a frame is none")
		}
	}
}

// readPalette reads the palette that flags announce, or none.
func readPalette(r io.Reader, flags byte) (color.Palette, error) {
	if flags&0x80 == 0 {
		return nil, nil
	}
	rgb := make([]byte, 3<<(flags&7+1))
	if _, err := io.ReadFull(r, rgb); err != nil {
		return nil, err
	}
	var p color.Palette
	for ; len(rgb) > 0; rgb = rgb[3:] {
		p = append(p, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
	}
	return p, nil
}

package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
	"golang.org/x/image/webp"
)

// riffChunk is where the contents of a chunk lie.
type riffChunk struct{ at, size int64 }

func (c riffChunk) section(f *io.SectionReader) *io.SectionReader {
	return io.NewSectionReader(f, c.at, c.size)
}

// readWebP reads the chunks itself, since package webp
//   - takes the picture's size from VP8X even if the pixels have another,
//   - refuses lossless pixels with alpha behind VP8X,
//   - takes VP8's colours for those of JPEG.
//
// One thing cannot be bounded from outside: package vp8l takes up to 175 MB for the Huffman trees that a
// small file announces. It does no more from golang.org/x/image v0.48.0 on, which wants Go 1.26.
func readWebP(f *io.SectionReader, h *header) error {
	chunks, err := readChunks(f)
	if err != nil {
		return err
	}
	canvas, extended := chunks["VP8X"]
	flags := make([]byte, 10) // flags, 3 reserved bytes, width-1 and height-1 of 3 bytes each
	if extended {
		if _, err := f.ReadAt(flags, canvas.at); err != nil || canvas.size < 10 {
			return errors.New("its header is not whole")
		}
		const animated = 1 << 1
		if flags[0]&animated != 0 {
			return plainError("an animated WebP picture, which is not read: convert it to GIF or PNG")
		}
	}
	lossy, isLossy := chunks["VP8 "]
	lossless, isLossless := chunks["VP8L"]
	switch {
	case isLossy:
		d := vp8.NewDecoder()
		d.Init(lossy.section(f), int(lossy.size))
		frame, err := d.DecodeFrameHeader()
		if err != nil {
			return err
		}
		h.width, h.height = frame.Width, frame.Height
		// A macroblock of 16x16 pixels takes 3 bits for its modes, with the fixed probabilities of
		// RFC 6386, section 11.5.
		h.bits, h.perByte = 32, 16*16*8/3
		alpha, hasAlpha := chunks["ALPH"]
		h.decode = func() (image.Image, error) {
			if !hasAlpha {
				d := vp8.NewDecoder()
				d.Init(lossy.section(f), int(lossy.size))
				if _, err := d.DecodeFrameHeader(); err != nil {
					return nil, err
				}
				img, err := d.DecodeFrame()
				if err != nil {
					return nil, err
				}
				return vp8Colours(img, nil, 0), nil
			}
			img, err := webp.Decode(withAlpha(f, h, alpha, lossy))
			if err != nil {
				return nil, err
			}
			both := img.(*image.NYCbCrA)
			return vp8Colours(&both.YCbCr, both.A, both.AStride), nil
		}
	case isLossless:
		config, err := vp8l.DecodeConfig(lossless.section(f))
		if err != nil {
			return err
		}
		h.width, h.height = config.Width, config.Height
		// Pixels that are all alike take no bytes; see freeMemory. Drawings of few colours stay below
		// what deflate makes of them.
		h.bits, h.perByte = 32, deflateRatio*8
		h.decode = func() (image.Image, error) { return vp8l.Decode(lossless.section(f)) }
	default:
		return errors.New("it has no pixels")
	}
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	if extended && (u24(flags[4:])+1 != h.width || u24(flags[7:])+1 != h.height) {
		return errors.New("its two headers promise different sizes")
	}
	if exif, ok := chunks["EXIF"]; ok {
		h.orientation = exifOrientation(f, exif.at, exif.size)
	}
	return nil
}

// readChunks returns the first chunk of each kind.
func readChunks(f *io.SectionReader) (map[string]riffChunk, error) {
	chunks := map[string]riffChunk{}
	b := make([]byte, 8)      // kind, size
	const maxChunks = 1 << 10 // a still picture has fewer than ten
	at := int64(12)
	for range maxChunks {
		if at+8 > f.Size() { // a byte too many is the padding of the last chunk
			break
		}
		if _, err := f.ReadAt(b, at); err != nil {
			return nil, err
		}
		kind, c := string(b[:4]), riffChunk{at + 8, int64(binary.LittleEndian.Uint32(b[4:]))}
		// What is behind the pixels and cut off, or no chunk at all, is not needed.
		if _, seen := chunks[kind]; !seen && c.at+c.size <= f.Size() {
			chunks[kind] = c
		} else if kind == "VP8 " || kind == "VP8L" {
			return nil, io.ErrUnexpectedEOF
		}
		at = c.at + c.size + c.size&1
	}
	return chunks, nil
}

// withAlpha returns a file of alpha and lossy pixels only.
func withAlpha(f *io.SectionReader, h *header, alpha, lossy riffChunk) io.Reader {
	chunk := func(kind string, c riffChunk) []byte {
		return binary.LittleEndian.AppendUint32([]byte(kind), uint32(c.size))
	}
	pad := func(c riffChunk) []byte { return make([]byte, c.size&1) }
	w, height := h.width-1, h.height-1
	const hasAlpha = 1 << 4
	head := chunk("VP8X", riffChunk{size: 10})
	head = append(head, hasAlpha, 0, 0, 0)
	head = append(head, byte(w), byte(w>>8), byte(w>>16), byte(height), byte(height>>8), byte(height>>16))
	size := 4 + int64(len(head)) + 8 + alpha.size + alpha.size&1 + 8 + lossy.size + lossy.size&1
	riff := append(chunk("RIFF", riffChunk{size: size}), "WEBP"...)
	return io.MultiReader(
		bytes.NewReader(riff), bytes.NewReader(head),
		bytes.NewReader(chunk("ALPH", alpha)), alpha.section(f), bytes.NewReader(pad(alpha)),
		bytes.NewReader(chunk("VP8 ", lossy)), lossy.section(f), bytes.NewReader(pad(lossy)))
}

// vp8Colours converts the colours of VP8, whose luma goes from 16 to 235 (BT.601), with the integers
// of libwebp (dsp/yuv.h). image.YCbCr stands for those of JPEG, 0 to 255. A nil alpha is opaque.
func vp8Colours(img *image.YCbCr, alpha []uint8, alphaStride int) *image.NRGBA {
	b := img.Rect
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	clip := func(v int32) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	for y := range b.Dy() {
		row := out.Pix[y*out.Stride:][:4*b.Dx()]
		for x := range b.Dx() {
			i := img.COffset(b.Min.X+x, b.Min.Y+y)
			luma := int32(img.Y[img.YOffset(b.Min.X+x, b.Min.Y+y)]) * 19077 >> 8
			u, v := int32(img.Cb[i]), int32(img.Cr[i])
			p := row[4*x:][:4]
			p[0] = clip(luma + v*26149>>8 - 14234)
			p[1] = clip(luma - u*6419>>8 - v*13320>>8 + 8708)
			p[2] = clip(luma + u*33050>>8 - 17685)
			p[3] = 255
			if alpha != nil {
				p[3] = alpha[y*alphaStride+x]
			}
		}
	}
	return out
}

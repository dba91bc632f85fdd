package picture

import (
	"encoding/binary"
	"image"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
)

func readPNG(f *io.SectionReader, h *header) error {
	config, err := png.DecodeConfig(from(f, 0))
	if err != nil {
		return err
	}
	h.setConfig(config)
	ihdr := make([]byte, 2) // bits per sample, kind of colour
	const ihdrAt = 8 + 4 + 4 + 4 + 4
	if _, err := f.ReadAt(ihdr, ihdrAt); err != nil {
		return err
	}
	const gray, grayAlpha = 0, 4
	h.gray = h.gray || ihdr[1] == gray || ihdr[1] == grayAlpha
	bits := int(ihdr[0]) * map[byte]int{gray: 1, 2: 3, 3: 1, grayAlpha: 2, 6: 4}[ihdr[1]]
	h.perByte = deflateRatio * 8 / bits
	h.orientation = pngOrientation(f)
	h.decode = func() (image.Image, error) { return png.Decode(from(f, 0)) }
	return nil
}

// pngOrientation looks for the eXIf chunk, which may lie behind the pixels.
func pngOrientation(f *io.SectionReader) int {
	const maxChunks = 1 << 16 // a picture of 500 MB in chunks of 8 kB, libpng's smallest
	chunk := make([]byte, 8)
	at := int64(len(pngStart))
	for range maxChunks {
		if _, err := f.ReadAt(chunk, at); err != nil {
			return upright
		}
		n := int64(binary.BigEndian.Uint32(chunk))
		switch string(chunk[4:]) {
		case "eXIf":
			return exifOrientation(f, at+8, n)
		case "IEND":
			return upright
		}
		at += 8 + n + 4 // with the checksum
	}
	return upright
}

func readBMP(f *io.SectionReader, h *header) error {
	config, err := bmp.DecodeConfig(from(f, 0))
	if err != nil {
		return err
	}
	h.setConfig(config)
	h.perByte = 8 // one bit per pixel; what is compressed is not read
	h.decode = func() (image.Image, error) { return bmp.Decode(from(f, 0)) }
	return nil
}

// Package picture reads picture files as every viewer shows them: upright, the first frame on its
// canvas. It prepares them as images for a network.
//
// The decoders are those of the standard library and of golang.org/x/image. What this package reads
// itself is what they leave out: EXIF's orientation, a GIF's canvas, CMYK without Adobe's marker, and
// headers whose promises would cost memory.
package picture

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"

	"crnn/internal/osfile"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// Info says what a picture is.
type Info struct {
	Format        string // PNG, JPEG, GIF, BMP, WebP or TIFF
	Width, Height int    // in pixels, as viewers show the picture: upright, a GIF's whole canvas

	// Gray reports whether the file can hold gray only, alpha aside: JPEG with one component, PNG and
	// TIFF of a gray kind, PNG, GIF, BMP and TIFF with a palette of grays. WebP always holds colours.
	Gray bool
}

// Picture is a decoded picture. Its methods may run at the same time.
type Picture struct {
	Info
	stored      image.Image // as the file stores it, at (0,0); Width and Height are those after orientation
	orientation int         // EXIF's, 1 to 8
}

// Read reads the file at path. Errors are one line that begins with the path.
func Read(path string) (*Picture, error) {
	return withFile(path, Decode)
}

// Inspect reads the header of the file at path. A file that Read refuses for its format, its kind
// or its size is refused with the same error; damage behind the header is not seen. Errors are one
// line that begins with the path.
func Inspect(path string) (Info, error) {
	return withFile(path, func(r io.ReaderAt, size int64) (Info, error) {
		h, err := readHeader(io.NewSectionReader(r, 0, size))
		if err != nil {
			return Info{}, err
		}
		return h.info(), nil
	})
}

func withFile[T any](path string, read func(io.ReaderAt, int64) (T, error)) (T, error) {
	var none T
	f, info, err := osfile.Open(path, "a file")
	if err != nil {
		return none, err
	}
	defer f.Close()
	v, err := read(f, info.Size())
	if err != nil {
		return none, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return v, nil
}

// Decode reads the picture in r, a file of size bytes. The first bytes tell its format. Of an
// animation the first frame counts. Errors are one line.
func Decode(r io.ReaderAt, size int64) (*Picture, error) {
	h, err := readHeader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	img, err := h.decode()
	if err != nil {
		return nil, h.cause(err)
	}
	return &Picture{h.info(), img, h.orientation}, nil
}

// header is what a file's header tells, and the way to its pixels.
type header struct {
	format        string
	width, height int // as stored
	gray          bool
	orientation   int
	bits          int // of memory per decoded pixel
	perByte       int // the largest number of pixels that a byte of the file can make
	kind          string
	decode        func() (image.Image, error)
}

func (h *header) info() Info {
	w, height := h.width, h.height
	if turned(h.orientation) {
		w, height = height, w
	}
	return Info{h.format, w, height, h.gray}
}

// formats are recognized by name, not by image.Decode: its formats depend on which packages the
// program links. '?' stands for any byte.
var formats = []struct {
	name, start string
	read        func(*io.SectionReader, *header) error
}{
	{"PNG", pngStart, readPNG},
	{"JPEG", "\xff\xd8", readJPEG},
	{"GIF", "GIF8?a", readGIF},
	{"BMP", "BM?????????????\x00\x00\x00", readBMP}, // the zeros end the size of the header
	{"WebP", "RIFF????WEBP", readWebP},
	{"TIFF", "II*\x00", readTIFF},
	{"TIFF", "MM\x00*", readTIFF},
}

const pngStart = "\x89PNG\r\n\x1a\n"

const formatNames = "PNG, JPEG, GIF, BMP, WebP"

func readHeader(f *io.SectionReader) (*header, error) {
	start := make([]byte, 512)
	n, err := f.ReadAt(start, 0)
	start = start[:n]
	switch {
	case n == 0 && (err == io.EOF || f.Size() == 0):
		return nil, errors.New("the file is empty, expected a " + formatNames + " or TIFF picture")
	case err != nil && err != io.EOF:
		return nil, err
	}
	if name := unreadFormat(start); name != "" {
		return nil, unread(name)
	}
	for _, format := range formats {
		if !matches(start, format.start) {
			continue
		}
		h := &header{format: format.name, orientation: upright}
		if err := format.read(f, h); err != nil {
			return nil, h.cause(err)
		}
		if err := h.checkSize(h.width, h.height, f.Size()); err != nil {
			return nil, err
		}
		return h, nil
	}
	return nil, errors.New("not a picture in a format that is read (" + formatNames + ", TIFF)")
}

func matches(file []byte, pattern string) bool {
	if len(file) < len(pattern) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != '?' && pattern[i] != file[i] {
			return false
		}
	}
	return true
}

// plainError is an error that says all by itself.
type plainError string

func (e plainError) Error() string { return string(e) }

func unread(name string) error {
	return plainError(name + ", which is not read: convert it to PNG or JPEG")
}

// cause says of a reader's error whether the file is damaged, or whole but of a kind that is not read.
func (h *header) cause(err error) error {
	var plain plainError
	var j jpeg.UnsupportedError
	var p png.UnsupportedError
	var t tiff.UnsupportedError
	switch {
	case errors.As(err, &plain):
		return err
	case errors.As(err, &j), errors.As(err, &p), errors.As(err, &t), errors.Is(err, bmp.ErrUnsupported):
		kind := h.kind
		if kind == "" {
			kind = err.Error()
		}
		return fmt.Errorf("a %s picture of a kind that is not read (%s): convert it to PNG", h.format, kind)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("damaged %s picture: %w", h.format, osfile.Cause(err))
}

// Limits on what is decoded.
const (
	maxPixels = 100e6   // at most 800 MB when decoded, twice that while a progressive JPEG is decoded
	maxSide   = 1 << 16 // JPEG and GIF have no longer sides
	// freeMemory is what a picture may take however small its file is: a picture of one colour has no
	// bytes for its pixels in lossless WebP, and few in a fax's TIFF.
	freeMemory = 16 << 20
	// deflateRatio is the largest number of bytes that one byte of deflate makes.
	deflateRatio = 1032
	// lzwRatio is the same of LZW, in GIF and TIFF: a code has 12 bits at most once there are 4096,
	// and no code stands for more bytes than there are codes.
	lzwRatio = 4096 * 8 / 12
)

// checkSize refuses a picture before memory for its pixels is allocated.
func (h *header) checkSize(width, height int, fileSize int64) error {
	n := int64(width) * int64(height)
	switch {
	case n == 0:
		return h.cause(errors.New("it has no pixels"))
	case width > maxSide || height > maxSide || n > maxPixels:
		return fmt.Errorf("the picture has %dx%d pixels, at most %.0f million in all "+
			"and %d on a side are read: scale it down",
			width, height, maxPixels/1e6, maxSide)
	case n*int64(h.bits) > freeMemory*8 && n/int64(h.perByte) > fileSize:
		return fmt.Errorf("damaged %s picture: its header promises %dx%d pixels, which a file of %d bytes cannot hold",
			h.format, width, height, fileSize)
	}
	return nil
}

// setConfig takes over what a decoder says about its picture.
func (h *header) setConfig(c image.Config) {
	h.width, h.height = c.Width, c.Height
	if palette, ok := c.ColorModel.(color.Palette); ok {
		h.gray, h.bits = isGray(palette), 8
		return
	}
	switch c.ColorModel {
	case color.GrayModel:
		h.gray, h.bits = true, 8
	case color.Gray16Model:
		h.gray, h.bits = true, 16
	case color.YCbCrModel:
		h.bits = 24
	case color.RGBA64Model, color.NRGBA64Model:
		h.bits = 64
	default:
		h.bits = 32
	}
}

func isGray(p color.Palette) bool {
	for _, c := range p {
		if r, g, b, a := c.RGBA(); a != 0 && (r != g || g != b) {
			return false
		}
	}
	return len(p) > 0
}

// from returns the file from offset on, buffered.
func from(f *io.SectionReader, offset int64) *bufio.Reader {
	rest := f.Size() - offset
	// Not more than a small file needs: a folder has many.
	return bufio.NewReaderSize(io.NewSectionReader(f, offset, rest), int(min(max(rest, 0), 1<<15)))
}

package data

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"crnn/data/imageset"
)

// An IDX file is a big-endian header and then unsigned bytes:
//
//	images  0x00000803, count, height, width, count*height*width pixels
//	        0x00000804, count, height, width, channels, and as many bytes
//	labels  0x00000801, count, count labels
//
// The low byte of the magic number is the number of dimensions, the byte before it the
// type of the elements (http://yann.lecun.com/exdb/mnist). Some programs write the channels before
// height and width; both are read.
type kind struct {
	items string   // what the file holds
	magic []uint32 // the usual one first
}

var (
	imageKind = &kind{"images", []uint32{0x00000803, 0x00000804}}
	labelKind = &kind{"labels", []uint32{0x00000801}}
)

// maxCount is the largest accepted number of images: 8,388,608. The largest set known in this format
// has 8.1 million.
const maxCount = 1 << 23

// content is the content of an IDX file.
type content struct {
	shape      imageShape // of images
	items      []uint8    // images are [count,channels,height,width]
	count      int
	compressed bool
	bytes      int64                    // of the whole file, decompressed
	sum        func() [sha256.Size]byte // of the whole decompressed file; waits for the computation
}

// FormatError says where and how an IDX file breaks the format.
type FormatError struct {
	Offset     int64 // in bytes from the file's start
	Compressed bool  // Offset counts decompressed bytes
	Problem    string
}

func (e *FormatError) Error() string {
	if e.Compressed {
		return fmt.Sprintf("byte %d (decompressed): %s", e.Offset, e.Problem)
	}
	return fmt.Sprintf("byte %d: %s", e.Offset, e.Problem)
}

// ReadImages reads an IDX file of images, compressed with gzip or not, and returns a set without
// labels and classes. Errors are *FormatError or from r. The memory is in proportion to the bytes
// from r, whatever the header says.
func ReadImages(r io.Reader) (*Set, error) {
	c, err := readIDX(r, 0, imageKind, -1)
	if err != nil {
		return nil, err
	}
	return c.set(), nil
}

// set returns the images as a set.
func (c *content) set() *Set {
	return &Set{
		Description: imageset.Description{Height: c.shape.height, Width: c.shape.width, Channels: c.shape.channels},
		Images:      c.items, Count: c.count,
	}
}

// ReadLabels reads an IDX file of labels from 0 to 255 in the same way.
func ReadLabels(r io.Reader) ([]uint8, error) {
	c, err := readIDX(r, 0, labelKind, -1)
	if err != nil {
		return nil, err
	}
	return c.items, nil
}

// readIDX reads a file of kind k that must hold count items; with -1 it may hold any number. size
// is the file's size in bytes, 0 if unknown.
func readIDX(r io.Reader, size int64, k *kind, count int) (*content, error) {
	s, err := newStream(r, size)
	if err != nil {
		return nil, err
	}
	defer s.hash.end()
	c, err := s.read(k, count)
	if err != nil {
		return nil, err
	}
	c.sum = s.hash.sum
	return c, nil
}

// read does the work of readIDX, except the checksum.
func (s *stream) read(k *kind, count int) (*content, error) {
	dims, err := s.readHeader(k)
	if err != nil {
		return nil, err
	}
	n := dims[0]
	fail := func(offset int64, format string, args ...any) error {
		return &FormatError{offset, s.compressed, fmt.Sprintf(format, args...)}
	}
	c := &content{count: int(n), compressed: s.compressed}
	item := 1
	if k == imageKind {
		if c.shape, err = s.imageShape(dims[1:]); err != nil {
			return nil, err
		}
		item = c.shape.bytes()
	}
	switch most := min(maxCount, math.MaxInt/item); {
	case n == 0:
		return nil, fail(4, "holds no %s", k.items)
	case int64(n) > int64(most):
		return nil, fail(4, "the header promises %d %s, at most %d are read", n, k.items, most)
	case count >= 0 && int64(n) != int64(count):
		return nil, fail(4, "holds %d %s, but there are %d labels", n, k.items, count)
	}

	total := int64(4+4*len(dims)) + int64(n)*int64(item)
	c.items, err = s.readBody(int(n) * item)
	if err == io.ErrUnexpectedEOF {
		return nil, fail(s.offset, "the file ends, but its header promises %d %s, which make %d bytes", n, k.items, total)
	}
	if err != nil {
		return nil, err
	}
	if err := s.expectEnd(); err != nil {
		return nil, err
	}
	if c.shape.channelsLast {
		c.items = c.shape.channelsFirst(c.items)
	}
	c.bytes = total
	return c, nil
}

// imageShape is the size of an image in a file.
type imageShape struct {
	height, width, channels int
	channelsLast            bool // bytes lie as [height,width,channels], not as [channels,height,width]
}

func (s imageShape) bytes() int { return s.height * s.width * s.channels }

// imageShape returns the shape of images whose header has the dimensions dims behind the count.
func (s *stream) imageShape(dims []uint32) (imageShape, error) {
	h, w, channels := 0, 1, -1 // places in dims
	if len(dims) == 3 {
		channels = 2
		if isChannels(dims[0]) && !isChannels(dims[2]) {
			channels, h, w = 0, 1, 2
		}
	}
	fail := func(place int, format string, args ...any) (imageShape, error) {
		return imageShape{}, &FormatError{int64(8 + 4*place), s.compressed, fmt.Sprintf(format, args...)}
	}
	for _, side := range []struct {
		name  string
		place int
	}{{"height", h}, {"width", w}} {
		if v := dims[side.place]; v < 1 || v > imageset.MaxSide {
			return fail(side.place, "the images' %s is %d, expected from 1 to %d", side.name, v, imageset.MaxSide)
		}
	}
	shape := imageShape{height: int(dims[h]), width: int(dims[w]), channels: 1}
	if channels >= 0 {
		if !isChannels(dims[channels]) {
			return fail(channels, "the images have %d channels, expected 1 (gray) or 3 (colours)", dims[channels])
		}
		shape.channels, shape.channelsLast = int(dims[channels]), channels == 2 && dims[channels] > 1
	}
	return shape, nil
}

// isChannels reports whether n is a number of channels.
func isChannels(n uint32) bool { return n == 1 || n == 3 }

// channelsFirst returns images [count,height,width,channels] as [count,channels,height,width]. The
// argument stays as it is, since it may still be hashed.
func (s imageShape) channelsFirst(from []uint8) []uint8 {
	to := newArray(len(from))
	pixels := s.height * s.width
	for at := 0; at < len(from); at += s.bytes() {
		for c := range s.channels {
			plane, image := to[at+c*pixels:][:pixels], from[at+c:]
			for i := range plane {
				plane[i] = image[i*s.channels]
			}
		}
	}
	return to
}

// stream reads the decompressed bytes of a file and hashes them on the way.
type stream struct {
	r          io.Reader
	compressed bool
	offset     int64
	most       int64 // the most decompressed bytes that a file of its size can hold, 0 if unknown
	hash       *hasher
}

// maxExpansion is the largest number of bytes that deflate makes of one byte.
const maxExpansion = 1032

func newStream(r io.Reader, size int64) (*stream, error) {
	r, compressed, err := decompress(r)
	if err != nil {
		return nil, err
	}
	if compressed {
		size *= maxExpansion
	}
	return &stream{r: r, compressed: compressed, most: size, hash: newHasher()}, nil
}

// decompress detects gzip by the first bytes of r, and returns the decompressed bytes.
func decompress(r io.Reader) (_ io.Reader, compressed bool, err error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	start, err := buffered.Peek(2)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if string(start) != "\x1f\x8b" {
		return buffered, false, nil
	}
	zip, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, true, gzipError(err, 0)
	}
	zip.Multistream(false)
	return &members{zip, buffered}, true, nil
}

// members reads the members of a gzip file one after the other. Zeros behind one are padding, as tapes
// and some archives leave it and gzip itself takes it.
type members struct {
	zip  *gzip.Reader
	file *bufio.Reader
}

func (m *members) Read(p []byte) (int, error) {
	n, err := m.zip.Read(p)
	if err != io.EOF {
		return n, err
	}
	for {
		b, err := m.file.ReadByte()
		if err != nil {
			return n, err // the end of the file
		}
		if b == 0 {
			continue
		}
		if err := m.file.UnreadByte(); err != nil {
			return n, err
		}
		if err := m.zip.Reset(m.file); err != nil {
			return n, err
		}
		m.zip.Multistream(false)
		return n, nil
	}
}

// gzipError turns an error of compress/gzip about wrong bytes at the decompressed offset into a
// *FormatError. It returns other errors unchanged.
func gzipError(err error, offset int64) error {
	var corrupt flate.CorruptInputError
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &FormatError{offset, true, "the compressed data is cut short"}
	case err == gzip.ErrChecksum:
		return &FormatError{offset, true, "the compressed data does not have the checksum that it gives"}
	case err == gzip.ErrHeader && offset == 0:
		return &FormatError{offset, true, "damaged gzip header"}
	case err == gzip.ErrHeader:
		return &FormatError{offset, true, "foreign bytes follow the compressed data"}
	case errors.As(err, &corrupt):
		return &FormatError{offset, true, fmt.Sprintf("damaged compressed data before byte %d of the file", int64(corrupt))}
	}
	return err
}

// fill reads len(buf) bytes, which must not change afterwards. It returns io.ErrUnexpectedEOF if
// the file ends too early.
func (s *stream) fill(buf []byte) error {
	n, err := io.ReadFull(s.r, buf)
	s.offset += int64(n)
	s.hash.add(buf[:n])
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil && err != io.ErrUnexpectedEOF && s.compressed {
		return gzipError(err, s.offset)
	}
	return err
}

// readHeader returns the dimensions in the header, the count first.
func (s *stream) readHeader(k *kind) ([]uint32, error) {
	magic := make([]byte, 4)
	err := s.fill(magic)
	if err == io.ErrUnexpectedEOF && s.offset == 0 {
		return nil, &FormatError{0, s.compressed, "the file is empty"}
	}
	size := 4 + 4*int(k.magic[0]&0xff)
	var sizes []byte
	if err == nil {
		if err := s.checkMagic(binary.BigEndian.Uint32(magic), k); err != nil {
			return nil, err
		}
		size = 4 + 4*int(magic[3])
		sizes = make([]byte, size-4)
		err = s.fill(sizes)
	}
	if err == io.ErrUnexpectedEOF {
		return nil, &FormatError{s.offset, s.compressed,
			fmt.Sprintf("the file ends within the header, which has %d bytes", size)}
	}
	var dims []uint32
	for ; len(sizes) > 0; sizes = sizes[4:] {
		dims = append(dims, binary.BigEndian.Uint32(sizes))
	}
	return dims, err
}

// idxTypes are the names of the other types of elements, by the third byte of a file.
var idxTypes = map[byte]string{9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}

func (s *stream) checkMagic(magic uint32, k *kind) error {
	if slices.Contains(k.magic, magic) {
		return nil
	}
	fail := func(format string, args ...any) error {
		return &FormatError{0, s.compressed, fmt.Sprintf(format, args...)}
	}
	for _, other := range []*kind{imageKind, labelKind} {
		if slices.Contains(other.magic, magic) {
			return fail("a file of %s, expected one of %s: are the two swapped?", other.items, k.items)
		}
	}
	if name := idxTypes[byte(magic>>8)]; name != "" && magic>>16 == 0 && magic&0xff <= 4 {
		return fail("its elements are %s, expected unsigned bytes: it begins with %#08x, expected %#08x",
			name, magic, k.magic[0])
	}
	return fail("not an IDX file of %s: it begins with %#08x, expected %#08x", k.items, magic, k.magic[0])
}

// pieceSize is the number of bytes that are read before the hasher gets them. It is small enough
// for the hasher to find them in a cache.
const pieceSize = 1 << 18

// readBody reads n bytes. The buffer has room for all of them at once if a file of this size can
// hold them. Otherwise it grows with the bytes read, so that a header that promises too much does
// not cost memory.
func (s *stream) readBody(n int) ([]byte, error) {
	body := newArray(int(min(int64(n), max(s.most, 1<<20))))
	for have := 0; ; {
		for have < len(body) {
			piece := body[have:min(have+pieceSize, len(body))]
			if err := s.fill(piece); err != nil {
				return nil, err
			}
			have += len(piece)
		}
		if have == n {
			return body, nil
		}
		body = append(make([]byte, 0, min(n, 2*have)), body...)
		body = body[:cap(body)]
	}
}

// expectEnd checks that the file ends here. It also makes gzip compare the checksum at the end of
// the compressed data.
func (s *stream) expectEnd() error {
	switch n, err := io.ReadFull(s.r, make([]byte, 1)); {
	case n > 0:
		return &FormatError{s.offset, s.compressed, "the file goes on, but by its header it should end here"}
	case err == io.EOF:
		return nil
	case s.compressed:
		return gzipError(err, s.offset)
	default:
		return err
	}
}

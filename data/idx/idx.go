// Package idx reads the IDX format, in which MNIST and its relatives keep images and labels.
package idx

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"crnn/data/imageset"
	"crnn/internal/memory"
	"crnn/internal/osfile"
)

// Kind is a kind of IDX files. A file is a big-endian header and then unsigned bytes:
//
//	images  0x00000803, count, height, width, count*height*width pixels
//	        0x00000804, count, height, width, channels, and as many bytes
//	labels  0x00000801, count, count labels
//
// The low byte of the magic number is the number of dimensions, the byte before it the
// type of the elements (http://yann.lecun.com/exdb/mnist). Some programs write the channels before
// height and width; both are read.
type Kind struct {
	items string   // what the file holds
	magic []uint32 // the usual one first
}

// The kinds.
var (
	Images = &Kind{"images", []uint32{0x00000803, 0x00000804}}
	Labels = &Kind{"labels", []uint32{0x00000801}}
)

// MaxCount is the largest accepted number of images: 8,388,608. The largest set known in this format
// has 8.1 million.
const MaxCount = 1 << 23

// Content is the content of an IDX file.
type Content struct {
	Shape      Shape   // of images
	Items      []uint8 // images are [count,channels,height,width]
	Count      int
	Compressed bool
	Bytes      int64                    // of the whole file, decompressed
	Sum        func() [sha256.Size]byte // of the whole decompressed file; waits for the computation
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

// Read reads a file of kind k, compressed with gzip or not, that must hold count items; with -1 it may hold
// any number. size is the file's size in bytes, 0 if unknown. Errors are *FormatError or from r. The memory
// is in proportion to the bytes from r, whatever the header says.
func Read(r io.Reader, size int64, k *Kind, count int) (*Content, error) {
	s, err := newStream(r, size)
	if err != nil {
		return nil, err
	}
	defer s.hash.end()
	c, err := s.read(k, count)
	if err != nil {
		return nil, err
	}
	c.Sum = s.hash.sum
	return c, nil
}

// ReadFile reads the file at path as Read does. If labels are given, there must be as many images. Errors
// begin with the path.
func ReadFile(path string, k *Kind, labels *Content) (*Content, error) {
	file, info, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	count := -1
	if labels != nil {
		count = labels.Count
	}
	c, err := Read(file, info.Size(), k, count)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return c, nil
}

// Header returns the header of a file of kind k: the dimensions are count, or of images count, height, width
// and, if there are several, channels.
func Header(k *Kind, dims ...int) []byte {
	magic := k.magic[0]&^0xff | uint32(len(dims))
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return b
}

// read does the work of Read, except the checksum.
func (s *stream) read(k *Kind, count int) (*Content, error) {
	dims, err := s.readHeader(k)
	if err != nil {
		return nil, err
	}
	n := dims[0]
	fail := func(offset int64, format string, args ...any) error {
		return &FormatError{offset, s.compressed, fmt.Sprintf(format, args...)}
	}
	c := &Content{Count: int(n), Compressed: s.compressed}
	item := 1
	if k == Images {
		if c.Shape, err = s.imageShape(dims[1:]); err != nil {
			return nil, err
		}
		item = c.Shape.bytes()
	}
	switch most := min(MaxCount, math.MaxInt/item); {
	case n == 0:
		return nil, fail(4, "holds no %s", k.items)
	case int64(n) > int64(most):
		return nil, fail(4, "the header promises %d %s, at most %d are read", n, k.items, most)
	case count >= 0 && int64(n) != int64(count):
		return nil, fail(4, "holds %d %s, but there are %d labels", n, k.items, count)
	}

	total := int64(4+4*len(dims)) + int64(n)*int64(item)
	c.Items, err = s.readBody(int(n) * item)
	if err == io.ErrUnexpectedEOF {
		return nil, fail(s.offset, "the file ends, but its header promises %d %s, which make %d bytes", n, k.items, total)
	}
	if err != nil {
		return nil, err
	}
	if err := s.expectEnd(); err != nil {
		return nil, err
	}
	if c.Shape.channelsLast {
		c.Items = c.Shape.channelsFirst(c.Items)
	}
	c.Bytes = total
	return c, nil
}

// Shape is the size of an image in a file.
type Shape struct {
	Height, Width, Channels int
	channelsLast            bool // bytes lie as [height,width,channels], not as [channels,height,width]
}

func (s Shape) bytes() int { return s.Height * s.Width * s.Channels }

// imageShape returns the shape of images whose header has the dimensions dims behind the count.
func (s *stream) imageShape(dims []uint32) (Shape, error) {
	h, w, channels := 0, 1, -1 // places in dims
	if len(dims) == 3 {
		channels = 2
		if imageset.IsChannels(int(dims[0])) && !imageset.IsChannels(int(dims[2])) {
			channels, h, w = 0, 1, 2
		}
	}
	fail := func(place int, format string, args ...any) (Shape, error) {
		return Shape{}, &FormatError{int64(8 + 4*place), s.compressed, fmt.Sprintf(format, args...)}
	}
	for _, side := range []struct {
		name  string
		place int
	}{{"height", h}, {"width", w}} {
		if v := dims[side.place]; v < 1 || v > imageset.MaxSide {
			return fail(side.place, "the images' %s is %d, expected from 1 to %d", side.name, v, imageset.MaxSide)
		}
	}
	shape := Shape{Height: int(dims[h]), Width: int(dims[w]), Channels: 1}
	if channels >= 0 {
		if !imageset.IsChannels(int(dims[channels])) {
			return fail(channels, "the images have %d channels, expected 1 (gray) or 3 (colours)", dims[channels])
		}
		shape.Channels, shape.channelsLast = int(dims[channels]), channels == 2 && dims[channels] > 1
	}
	return shape, nil
}

// channelsFirst returns images [count,height,width,channels] as [count,channels,height,width]. The
// argument stays as it is, since it may still be hashed.
func (s Shape) channelsFirst(from []uint8) []uint8 {
	to := memory.Zeros(len(from))
	pixels := s.Height * s.Width
	for at := 0; at < len(from); at += s.bytes() {
		for c := range s.Channels {
			plane, image := to[at+c*pixels:][:pixels], from[at+c:]
			for i := range plane {
				plane[i] = image[i*s.Channels]
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
		return GzipError(err, s.offset)
	}
	return err
}

// readHeader returns the dimensions in the header, the count first.
func (s *stream) readHeader(k *Kind) ([]uint32, error) {
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

func (s *stream) checkMagic(magic uint32, k *Kind) error {
	if slices.Contains(k.magic, magic) {
		return nil
	}
	fail := func(format string, args ...any) error {
		return &FormatError{0, s.compressed, fmt.Sprintf(format, args...)}
	}
	for _, other := range []*Kind{Images, Labels} {
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
	body := memory.Zeros(int(min(int64(n), max(s.most, 1<<20))))
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
		return GzipError(err, s.offset)
	default:
		return err
	}
}

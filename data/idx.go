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
)

// An IDX file is a big-endian header and then unsigned bytes:
//
//	images  0x00000803, count, height, width, count*height*width pixels
//	labels  0x00000801, count, count labels
//
// The low byte of the magic number is the number of dimensions, the byte before it the
// type of the elements (http://yann.lecun.com/exdb/mnist).
type kind struct {
	items string // what the file holds
	magic uint32
	shape []uint32 // of one item
}

var (
	imageKind = &kind{"images", 0x00000803, []uint32{imageHeight, imageWidth}}
	labelKind = &kind{"labels", 0x00000801, nil}
)

func (k *kind) headerLen() int { return 8 + 4*len(k.shape) }

func (k *kind) itemLen() int {
	n := 1
	for _, d := range k.shape {
		n *= int(d)
	}
	return n
}

// maxCount is the largest accepted number of images: 8,388,608, or 6.6 GB, if an int has 64 bits.
// The largest set known in this format has 8.1 million.
const maxCount = min(1<<23, math.MaxInt/imageSize)

// content is the content of an IDX file.
type content struct {
	items      []uint8
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

// ReadImages reads an IDX file of 28x28 images, compressed with gzip or not, and returns the pixels
// [count,28,28]. Errors are *FormatError or from r. The memory is in proportion to the bytes from
// r, whatever the header says.
func ReadImages(r io.Reader) (pixels []uint8, count int, err error) {
	c, err := readIDX(r, 0, imageKind, -1)
	if err != nil {
		return nil, 0, err
	}
	return c.items, c.count, nil
}

// ReadLabels reads an IDX file of labels from 0 to 9 in the same way.
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
	header, err := s.readHeader(k)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[4:])
	fail := func(offset int64, format string, args ...any) error {
		return &FormatError{offset, s.compressed, fmt.Sprintf(format, args...)}
	}
	for i, want := range k.shape {
		at := 8 + 4*i
		if got := binary.BigEndian.Uint32(header[at:]); got != want {
			return nil, fail(int64(at), "the images' %s is %d, expected %d",
				[]string{"height", "width"}[i], got, want)
		}
	}
	switch {
	case n == 0:
		return nil, fail(4, "holds no %s", k.items)
	case n > maxCount:
		return nil, fail(4, "the header promises %d %s, at most %d are read", n, k.items, maxCount)
	case count >= 0 && int64(n) != int64(count):
		return nil, fail(4, "holds %d %s, but there are %d labels", n, k.items, count)
	}

	c := &content{count: int(n), compressed: s.compressed}
	total := int64(k.headerLen()) + int64(n)*int64(k.itemLen())
	c.items, err = s.readBody(int(n) * k.itemLen())
	if err == io.ErrUnexpectedEOF {
		return nil, fail(s.offset, "the file ends, but its header promises %d %s, which make %d bytes", n, k.items, total)
	}
	if err != nil {
		return nil, err
	}
	if err := s.expectEnd(); err != nil {
		return nil, err
	}
	if k == labelKind {
		for i, label := range c.items {
			if label >= numClasses {
				return nil, fail(int64(k.headerLen()+i), "image %d has label %d, expected 0 to %d", i, label, numClasses-1)
			}
		}
	}
	c.bytes = total
	return c, nil
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
	return zip, true, nil
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

func (s *stream) readHeader(k *kind) ([]byte, error) {
	header := make([]byte, k.headerLen())
	magic := header[:4]
	err := s.fill(magic)
	if err == nil {
		if err := s.checkMagic(binary.BigEndian.Uint32(magic), k); err != nil {
			return nil, err
		}
		err = s.fill(header[4:])
	}
	if err == io.ErrUnexpectedEOF {
		problem := fmt.Sprintf("the file ends within the header, which has %d bytes", len(header))
		if s.offset == 0 {
			problem = "the file is empty"
		}
		return nil, &FormatError{s.offset, s.compressed, problem}
	}
	return header, err
}

func (s *stream) checkMagic(magic uint32, k *kind) error {
	if magic == k.magic {
		return nil
	}
	for _, other := range []*kind{imageKind, labelKind} {
		if magic == other.magic {
			return &FormatError{0, s.compressed, fmt.Sprintf(
				"a file of %s, expected one of %s: are the two swapped?", other.items, k.items)}
		}
	}
	return &FormatError{0, s.compressed, fmt.Sprintf(
		"not an IDX file of %s: it begins with %#08x, expected %#08x", k.items, magic, k.magic)}
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

package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"io"
)

// Markers of JPEG (T.81, table B.1).
const (
	markerSOF0  = 0xc0 // a frame of one scan or more, baseline
	markerSOF1  = 0xc1
	markerSOF15 = 0xcf
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerRST0  = 0xd0
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerAPP1  = 0xe1
	markerAPP14 = 0xee
)

// adobeCMYK is the segment that says: CMYK, inverted. It is what Pillow and browsers take CMYK for
// that does not say what it is; image/jpeg refuses such a file.
var adobeCMYK = []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00")

func readJPEG(f *io.SectionReader, h *header) error {
	s := readSegments(f)
	h.kind = s.kind()
	config, err := jpeg.DecodeConfig(from(f, 0))
	if err != nil {
		return err
	}
	h.setConfig(config)
	h.perByte = 512 // the first scan takes a bit or more per block of 8x8 pixels
	if s.exifSize > 0 {
		h.orientation = exifOrientation(f, s.exifAt, s.exifSize)
	}
	h.decode = func() (image.Image, error) {
		img, err := jpeg.Decode(s.reader(f, nil))
		// Cameras leave out the end marker. With more than one scan, a file without it may lack scans.
		if err == io.ErrUnexpectedEOF && s.frame <= markerSOF1 && s.scanned == s.components {
			if whole, wholeErr := jpeg.Decode(s.reader(f, []byte{0xff, markerEOI})); wholeErr == nil {
				return whole, nil
			}
		}
		return img, err
	}
	return nil
}

// segments is what the segments before the pixels tell.
type segments struct {
	frame            byte // the marker of the frame: SOF0 to SOF15
	precision        byte // bits per sample
	components       byte
	scanned          byte // components of the first scan
	adobe            bool
	exifAt, exifSize int64
}

// readSegments stops at the pixels, or where it does not understand the file; then image/jpeg has an
// error to show.
func readSegments(f *io.SectionReader) (s segments) {
	r := &skipper{f: io.NewSectionReader(f, 2, f.Size()-2)}
	r.Reader = bufio.NewReaderSize(r.f, 512)
	const maxSegments = 1 << 16 // no real file has a hundredth of it
	for range maxSegments {
		marker, err := nextMarker(r)
		if err != nil || marker == markerEOI {
			return s
		}
		if marker&^7 == markerRST0 { // has no length
			continue
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return s
		}
		n := int64(binary.BigEndian.Uint16(length[:])) - 2
		start, _ := r.Peek(int(min(max(n, 0), 6)))
		switch {
		case n < 0:
			return s
		case marker == markerSOS:
			if len(start) > 0 {
				s.scanned = start[0]
			}
			return s
		case marker == markerAPP1 && s.exifSize == 0 && bytes.Equal(start, exifStart):
			s.exifAt, s.exifSize = r.offset()+2, n
		case marker == markerAPP14 && bytes.HasPrefix(start, []byte("Adobe")) && n >= 12:
			s.adobe = true
		case markerSOF0 <= marker && marker <= markerSOF15 && len(start) == 6 &&
			marker != markerDHT && marker != markerJPG && marker != markerDAC:
			s.frame, s.precision, s.components = marker, start[0], start[5]
		}
		if r.skip(n) != nil {
			return s
		}
	}
	return s
}

// nextMarker skips what is no marker, as image/jpeg does.
func nextMarker(r io.ByteReader) (byte, error) {
	for {
		b, err := r.ReadByte()
		for err == nil && b == 0xff {
			if b, err = r.ReadByte(); err == nil && b != 0xff && b != 0 {
				return b, nil
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// kind names a kind of JPEG that image/jpeg does not read. Its own words are "unknown marker".
func (s segments) kind() string {
	switch s.frame {
	case 0xc3:
		return "lossless"
	case 0xc5, 0xc6, 0xc7, 0xcd, 0xce, 0xcf:
		return "hierarchical"
	case 0xc9, 0xca, 0xcb:
		return "arithmetic-coded"
	}
	switch {
	case s.frame != 0 && s.precision != 8:
		return "not 8 bits per sample"
	case s.components == 2:
		return "2 components"
	}
	return ""
}

// reader returns the file with the missing marker of CMYK and the given end.
func (s segments) reader(f *io.SectionReader, end []byte) io.Reader {
	var cmyk []byte
	if s.components == 4 && !s.adobe {
		cmyk = adobeCMYK
	}
	soi := []byte{0xff, markerSOI}
	return io.MultiReader(bytes.NewReader(soi), bytes.NewReader(cmyk), from(f, 2), bytes.NewReader(end))
}

// skipper is a buffered reader that seeks over what is skipped.
type skipper struct {
	*bufio.Reader
	f *io.SectionReader
}

func (s *skipper) offset() int64 {
	at, _ := s.f.Seek(0, io.SeekCurrent) // a SectionReader fails only for positions before 0
	return at - int64(s.Buffered())
}

func (s *skipper) skip(n int64) error {
	if n <= int64(s.Buffered()) {
		_, err := s.Discard(int(n))
		return err
	}
	_, err := s.f.Seek(s.offset()+n, io.SeekStart)
	s.Reset(s.f)
	return err
}

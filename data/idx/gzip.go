package idx

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"crnn/internal/osfile"
)

// Open opens the file at path, compressed with gzip or not, and returns its decompressed bytes. Errors of
// reading are for GzipError.
func Open(path string) (io.ReadCloser, error) {
	f, _, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	r, _, err := decompress(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}

// magic begins a file of gzip.
const magic = "\x1f\x8b"

// decompress detects gzip by the first bytes of r, and returns the decompressed bytes.
func decompress(r io.Reader) (_ io.Reader, compressed bool, err error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	start, err := buffered.Peek(2)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if string(start) != magic {
		return buffered, false, nil
	}
	zip, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, true, GzipError(err, 0)
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
		if start, _ := m.file.Peek(2); string(start) != magic {
			return n, gzip.ErrHeader
		}
		if err := m.zip.Reset(m.file); err != nil {
			return n, err
		}
		m.zip.Multistream(false)
		return n, nil
	}
}

// GzipError turns an error of compress/gzip about wrong bytes at the decompressed offset into a
// *FormatError. It returns other errors unchanged.
func GzipError(err error, offset int64) error {
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

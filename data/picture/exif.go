package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Tags of TIFF 6.0 and EXIF.
const (
	tagSubfileType   = 254
	tagWidth         = 256
	tagHeight        = 257
	tagBitsPerSample = 258
	tagCompression   = 259
	tagPhotometric   = 262
	tagOrientation   = 274
	tagSamples       = 277
	tagRowsPerStrip  = 278
	tagPlanes        = 284
	tagTileWidth     = 322
	tagTileHeight    = 323
	tagDNGVersion    = 50706
)

// entry is an entry of a TIFF directory.
type entry struct {
	at    int64  // offset in the file
	value uint32 // the first one
}

// directory is the first directory of a TIFF file, which EXIF is too. It holds the entries that are
// whole numbers.
//
// No library is used: github.com/bep/imagemeta v0.12.0 misses EXIF behind an XMP segment in JPEG and
// behind a chunk of odd length in WebP, and later versions want a newer Go. Readers of EXIF do not
// tell where an entry lies, either, which TIFF pictures need: readTIFF bounds them.
type directory struct {
	order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
	entries map[uint16]entry
}

var errDirectory = errors.New("its directory is not whole")

// readDirectory reads 768 kB at most.
func readDirectory(r io.ReaderAt) (*directory, error) {
	d := &directory{entries: map[uint16]entry{}}
	start := make([]byte, 8)
	if _, err := r.ReadAt(start, 0); err != nil {
		return nil, errDirectory
	}
	switch string(start[:4]) {
	case "II*\x00":
		d.order = binary.LittleEndian
	case "MM\x00*":
		d.order = binary.BigEndian
	default:
		return nil, errDirectory
	}
	at := int64(d.order.Uint32(start[4:]))
	if _, err := r.ReadAt(start[:2], at); err != nil {
		return nil, errDirectory
	}
	at += 2
	const size = 12
	// Of entries that the file cuts off, those before the cut count.
	entries, err := io.ReadAll(io.NewSectionReader(r, at, size*int64(d.order.Uint16(start))))
	if err != nil {
		return nil, errDirectory
	}
	for ; len(entries) >= size; entries, at = entries[size:], at+size {
		tag := d.order.Uint16(entries)
		value, ok := d.firstValue(r, entries[2:size])
		if _, seen := d.entries[tag]; ok && !seen {
			d.entries[tag] = entry{at, value}
		}
	}
	return d, nil
}

// firstValue returns the first number of an entry: type, count, then the values, or their offset if
// they take more than 4 bytes.
func (d *directory) firstValue(r io.ReaderAt, e []byte) (uint32, bool) {
	kind, count, value := d.order.Uint16(e), uint64(d.order.Uint32(e[2:])), e[6:10]
	size := map[uint16]uint64{1: 1, 3: 2, 4: 4}[kind] // BYTE, SHORT, LONG
	if size == 0 || count == 0 {
		return 0, false
	}
	if size*count > 4 {
		offset := int64(d.order.Uint32(value))
		value = make([]byte, size)
		if _, err := r.ReadAt(value, offset); err != nil {
			return 0, false
		}
	}
	switch size {
	case 1:
		return uint32(value[0]), true
	case 2:
		return uint32(d.order.Uint16(value)), true
	}
	return d.order.Uint32(value), true
}

// first returns the first value of tag, or other if the directory has no such tag.
func (d *directory) first(tag uint16, other uint32) uint32 {
	if e, ok := d.entries[tag]; ok {
		return e.value
	}
	return other
}

// upright is the orientation of a picture that needs no turn.
const upright = 1

// orientation returns EXIF's, or upright if it is not there or absurd.
func (d *directory) orientation() int {
	if o := d.first(tagOrientation, upright); 1 <= o && o <= 8 {
		return int(o)
	}
	return upright
}

// exifStart comes before EXIF in JPEG. Some programs write it in PNG and WebP too.
var exifStart = []byte("Exif\x00\x00")

// exifOrientation returns the orientation in n bytes of EXIF at offset in f. Damaged EXIF is no error:
// viewers ignore it, too.
func exifOrientation(f *io.SectionReader, offset, n int64) int {
	start := make([]byte, len(exifStart))
	if _, err := f.ReadAt(start, offset); err == nil && bytes.Equal(start, exifStart) {
		offset, n = offset+int64(len(start)), n-int64(len(start))
	}
	d, err := readDirectory(io.NewSectionReader(f, offset, n))
	if err != nil {
		return upright
	}
	return d.orientation()
}

// turned reports whether an orientation swaps width and height.
func turned(orientation int) bool { return orientation >= 5 }

// turn returns a plane of w x h stored bytes as viewers show it: h x w bytes if it is turned.
func turn(plane []uint8, w, h, orientation int) []uint8 {
	if orientation == upright {
		return plane
	}
	out := make([]uint8, 0, len(plane))
	outW, outH := w, h
	if turned(orientation) {
		outW, outH = h, w
	}
	for y := range outH {
		for x := range outW {
			sx, sy := x, y
			if turned(orientation) {
				sx, sy = y, x
			}
			switch orientation {
			case 2, 3, 7, 8:
				sx = w - 1 - sx
			}
			switch orientation {
			case 3, 4, 6, 7:
				sy = h - 1 - sy
			}
			out = append(out, plane[sy*w+sx])
		}
	}
	return out
}

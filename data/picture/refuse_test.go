package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"crnn/data/imageset"
)

// wantError checks for one line that contains want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	if text := err.Error(); !strings.Contains(text, want) || strings.ContainsAny(text, "\n\r") {
		t.Errorf("error %q, want one line with %q", text, want)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pngHeader returns a PNG file whose header promises the given size, without pixels.
func pngHeader(width, height uint32, padding int) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	ihdr = binary.BigEndian.AppendUint32(ihdr, height)
	ihdr = append(ihdr, 8, 6, 0, 0, 0) // 8 bits, RGBA
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	b = append(b, ihdr...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
	return append(b, make([]byte, padding)...)
}

// tiffFile returns a file of 8 bits of gray with the given tags, then the data.
func tiffFile(tags map[uint16]uint32, data []byte) []byte {
	all := map[uint16]uint32{256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1}
	for tag, v := range tags {
		all[tag] = v
	}
	b := []byte("II*\x00\x08\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, uint16(len(all)))
	for tag := range uint16(1 << 15) {
		if v, ok := all[tag]; ok {
			b = binary.LittleEndian.AppendUint16(b, tag)
			b = append(b, 4, 0, 1, 0, 0, 0)
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	return append(append(b, 0, 0, 0, 0), data...)
}

// edit replaces the first old in a file of testdata.
func edit(t *testing.T, name, old, new string) []byte {
	t.Helper()
	b := read(t, name)
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not contain %q", name, old)
	}
	return bytes.Replace(b, []byte(old), []byte(new), 1)
}

func TestFilesThatAreNotRead(t *testing.T) {
	webp := func(canvas, chunk string) []byte {
		b := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + canvas + chunk)
		binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
		return b
	}
	vp8l := func(size string) string { return "VP8L\x06\x00\x00\x00\x2f" + size + "\x00" }
	bmp := func(size string) []byte {
		return []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00" + size +
			"\x01\x00\x18\x00" + strings.Repeat("\x00", 24))
	}
	animated := read(t, "animated.webp")
	// The only scan of a gray picture is the first of one with three colours.
	firstScan := edit(t, "gray.jpg", "\x17\x01\x01\x11\x00", "\x17\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00")
	firstScan = bytes.Replace(firstScan, []byte("\xff\xc0\x00\x0b"), []byte("\xff\xc0\x00\x11"), 1)
	firstScan = bytes.TrimSuffix(firstScan, []byte("\xff\xd9"))
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty, expected a PNG, JPEG, GIF, BMP, WebP or TIFF picture"},
		{"text", []byte("no picture at all"), "not a picture in a format that is read (PNG, JPEG, GIF, BMP, WebP, TIFF)"},
		{"one byte", []byte{0xff}, "not a picture"},
		{"BMW", []byte("BMW is a firm in Munich"), "not a picture"},

		{"PNG cut in the header", read(t, "gray.png")[:20], "damaged PNG picture: unexpected EOF"},
		{"PNG cut", read(t, "gray.png")[:100], "damaged PNG picture: png: invalid format: unexpected EOF"},
		{"JPEG of two bytes", []byte("\xff\xd8"), "damaged JPEG picture: unexpected EOF"},
		{"JPEG cut", read(t, "rgb.jpg")[:len(read(t, "rgb.jpg"))-40], "damaged JPEG picture: "},
		{"JPEG cut between scans", edit(t, "progressive.jpg", "\xff\xd9", ""), "damaged JPEG picture: "},
		{"JPEG cut between the scans of its colours", firstScan, "damaged JPEG picture: unexpected EOF"},
		{"GIF cut", []byte("GIF89a"), "damaged GIF picture: unexpected EOF"},
		{"GIF cut in its frame", read(t, "full.gif")[:900], "damaged GIF picture: "},
		{"GIF without frames", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "damaged GIF picture: it has no frame"},
		{"BMP cut", read(t, "rgb.bmp")[:300], "damaged BMP picture: unexpected EOF"},
		{"WebP cut", read(t, "lossy.webp")[:90], "damaged WebP picture: unexpected EOF"},
		{"WebP without pixels", webp("\x00\x00\x00\x00\x00\x00", ""), "damaged WebP picture: it has no pixels"},
		{"TIFF cut", read(t, "lzw.tif")[:100], "damaged TIFF picture: "},
		{"TIFF without a directory", []byte("II*\x00\xff\xff\xff\x00"), "damaged TIFF picture: its directory is not whole"},

		{"arithmetic-coded JPEG", edit(t, "rgb.jpg", "\xff\xc0", "\xff\xc9"),
			"a JPEG picture of a kind that is not read (arithmetic-coded): convert it to PNG"},
		{"lossless JPEG", edit(t, "rgb.jpg", "\xff\xc0", "\xff\xc3"), "kind that is not read (lossless)"},
		{"12-bit JPEG", edit(t, "rgb.jpg", "\xff\xc0\x00\x11\x08", "\xff\xc1\x00\x11\x0c"),
			"kind that is not read (not 8 bits per sample)"},
		{"JPEG with 3x1 sampling", edit(t, "rgb.jpg", "\x03\x01\x11\x00", "\x03\x01\x31\x00"),
			"kind that is not read (unsupported JPEG feature: luma/chroma subsampling ratio)"},
		{"BMP with run lengths", edit(t, "gray.bmp", "\x01\x00\x08\x00\x00", "\x01\x00\x08\x00\x01"),
			"a BMP picture of a kind that is not read"},
		{"animated WebP", animated, "an animated WebP picture, which is not read: convert it to GIF or PNG"},
		{"CMYK TIFF", tiffFile(map[uint16]uint32{262: 5}, nil), "a TIFF picture of a kind that is not read"},
		{"JPEG in TIFF", tiffFile(map[uint16]uint32{259: 7, 273: 8, 279: 8}, nil),
			"a TIFF picture of a kind that is not read"},
		{"TIFF of planes", tiffFile(map[uint16]uint32{277: 3, 284: 2}, nil), "not read (each colour by itself)"},
		{"TIFF of 2 samples", edit(t, "raw.tif", "\x02\x01\x03\x00\x03\x00\x00\x00", "\x02\x01\x03\x00\x02\x00\x00\x00"),
			"a TIFF picture of a kind that is not read"},
		{"raw, by its thumbnail", tiffFile(map[uint16]uint32{254: 1}, nil),
			"a camera's raw picture, which is not read: convert it to PNG or JPEG"},

		{"too many pixels", pngHeader(20000, 20000, 0), "the picture has 20000x20000 pixels, at most 100 million"},
		{"more", pngHeader(60000, 60000, 0), "the picture has 60000x60000 pixels, at most 100 million"},
		{"too long a side", pngHeader(1<<17, 1, 1<<10),
			"the picture has 131072x1 pixels, at most 100 million in all and 65536 on a side"},
		{"sides that overflow", pngHeader(1<<31-1, 1<<31-1, 0),
			"kind that is not read (png: unsupported feature: dimension overflow)"},
		{"forged PNG", pngHeader(9999, 9999, 1000), "promises 9999x9999 pixels, which a file of 1033 bytes cannot hold"},
		{"forged JPEG", edit(t, "gray.jpg", "\x08\x00\x11\x00\x17", "\x08\x20\x00\x20\x00"),
			"promises 8192x8192 pixels"},
		{"forged GIF canvas", edit(t, "full.gif", "\x17\x00\x11\x00", "\x00\x20\x00\x20"),
			"promises 8192x8192 pixels"},
		{"forged GIF frame",
			edit(t, "full.gif", "\x2c\x00\x00\x00\x00\x17\x00\x11\x00", "\x2c\x00\x00\x00\x00\x00\x20\x00\x20"),
			"promises 8192x8192 pixels"},
		{"GIF frame far off", edit(t, "full.gif", "\x2c\x00\x00\x00\x00\x17", "\x2c\xff\xff\x00\x00\x17"),
			"65558x17 pixels, at most"},
		{"forged BMP", bmp("\x00\x20\x00\x00\x00\x20\x00\x00"), "promises 8192x8192 pixels"},
		{"huge BMP", bmp("\xff\xff\xff\x7f\x01\x00\x00\x80"), "the picture has 2147483647x2147483647 pixels"},
		{"forged lossless WebP", webp("\xff\x1f\x00\xff\x1f\x00", vp8l("\xff\xdf\xff\x07")), "promises 8192x8192 pixels"},
		{"WebP larger than its canvas", webp("\x00\x00\x00\x00\x00\x00", vp8l("\xff\xdf\xff\x07")),
			"damaged WebP picture: its two headers promise different sizes"},
		{"forged TIFF", tiffFile(map[uint16]uint32{256: 9999, 257: 9999}, nil), "promises 9999x9999 pixels"},
		{"TIFF of huge tiles", tiffFile(map[uint16]uint32{322: 1 << 31, 323: 1 << 31, 324: 8, 325: 8}, nil),
			"pixels, at most"},
		{"TIFF of large tiles", tiffFile(map[uint16]uint32{322: 9000, 323: 9000, 324: 8, 325: 8}, nil),
			"promises 9000x9000 pixels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decode(test.file)
			runtime.ReadMemStats(&after)
			wantError(t, err, test.want)
			// Buffers of the decoders, of 32 kB and less.
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

// A directory whose values are all of the file, many times, is refused before they are in memory.
func TestDirectoryOfTIFFIsBounded(t *testing.T) {
	long := make([]byte, 5<<20)
	file := tiffFile(map[uint16]uint32{273: 200, 279: 200}, long)
	for _, tag := range []uint16{273, 279} {
		entry := binary.LittleEndian.AppendUint16(nil, tag)
		i := bytes.Index(file, entry)
		binary.LittleEndian.PutUint16(file[i+2:], 1) // bytes
		binary.LittleEndian.PutUint32(file[i+4:], 3<<20)
	}
	_, err := decode(file)
	wantError(t, err, "damaged TIFF picture: its parts overlap")
}

// Strips that are all the whole file are not unpacked one after the other.
func TestStripsOfTIFFDoNotOverlap(t *testing.T) {
	const height = 5000
	zeros := bytes.Repeat([]byte{0x81, 0}, 1<<14) // PackBits of 128 zeros each
	file := tiffFile(map[uint16]uint32{257: height, 259: 32773, 273: 0, 278: 1, 279: 0}, nil)
	counts := len(file) + len(zeros)
	offsets := counts + 4*height
	for tag, at := range map[uint16]int{273: offsets, 279: counts} {
		i := bytes.Index(file, binary.LittleEndian.AppendUint16(nil, tag))
		binary.LittleEndian.PutUint32(file[i+4:], height)
		binary.LittleEndian.PutUint32(file[i+8:], uint32(at))
	}
	start := uint32(len(file))
	file = append(file, zeros...)
	for range height {
		file = binary.LittleEndian.AppendUint32(file, uint32(len(zeros)))
	}
	for range height {
		file = binary.LittleEndian.AppendUint32(file, start)
	}
	_, err := decode(file)
	wantError(t, err, "damaged TIFF picture: its parts overlap")
}

// A strip of which the header does not say how long it is gives no more bytes than the picture takes.
func TestStripOfTIFFEndsWithThePicture(t *testing.T) {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	w.Write(make([]byte, 100<<20))
	w.Close()
	file := tiffFile(map[uint16]uint32{259: 8, 273: 0, 278: 1<<32 - 1, 279: uint32(packed.Len())}, nil)
	i := bytes.Index(file, binary.LittleEndian.AppendUint16(nil, 273))
	binary.LittleEndian.PutUint32(file[i+8:], uint32(len(file)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p, err := decode(append(file, packed.Bytes()...))
	runtime.ReadMemStats(&after)
	if err != nil || p.Width != 16 {
		t.Fatal(p, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes were allocated for 16x16 pixels", used)
	}
}

// A whole picture of another format is named, not called damaged.
func TestFormatsThatAreNotRead(t *testing.T) {
	for start, want := range map[string]string{
		"\x00\x00\x00\x18ftypheic":                        "a HEIC picture",
		"\x00\x00\x00\x18ftypmif1":                        "a HEIC picture",
		"\x00\x00\x00\x1cftypavif":                        "an AVIF picture",
		"\x00\x00\x00\x0cJXL \r\n\x87\n":                  "a JPEG XL picture",
		"\xff\x0a\x00":                                    "a JPEG XL picture",
		"\x00\x00\x00\x0cjP  \r\n\x87\n":                  "a JPEG 2000 picture",
		"\xff\x4f\xff\x51":                                "a JPEG 2000 picture",
		"8BPS\x00\x01":                                    "a PSD picture",
		"%PDF-1.7":                                        "a PDF document",
		"\x00\x00\x01\x00\x01\x00":                        "an ICO picture",
		"<svg xmlns='http://www.w3.org/2000/svg'/>":       "an SVG drawing",
		"\ufeff<?xml version='1.0'?>\n<!-- x -->\n<svg/>": "an SVG drawing",
		"II*\x00\x10\x00\x00\x00CR\x02\x00":               "a camera's raw picture",
		"\x00\x00\x00\x18ftypcrx ":                        "a camera's raw picture",
		"FUJIFILMCCD-RAW 0201":                            "a camera's raw picture",
		"II+\x00\x08\x00":                                 "a BigTIFF picture",
	} {
		_, err := decode([]byte(start + strings.Repeat("\x00", 100)))
		if want += ", which is not read: convert it to PNG or JPEG"; err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", start, err, want)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("picture.txt", read(t, "rgb.png")) // the name does not matter
	p, err := Read(path)
	if err != nil || p.Format != "PNG" {
		t.Fatal(p, err)
	}
	for path, want := range map[string]string{
		write("text.png", []byte("text")): "not a picture",
		dir:                               "a directory, expected a file",
		filepath.Join(dir, "absent"):      "no such file",
		write("cut.jpg", []byte("\xff\xd8\xff\xe0")): "damaged JPEG picture",
	} {
		_, err := Read(path)
		wantError(t, err, path+": "+want)
		_, err = Inspect(path)
		wantError(t, err, path+": "+want)
	}
	// Damage behind the header is not Inspect's.
	cut := write("cut.png", read(t, "rgb.png")[:100])
	info, err := Inspect(cut)
	if want := (Info{"PNG", 23, 17, false}); err != nil || info != want {
		t.Errorf("%+v, %v; want %+v", info, err, want)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]struct {
		read   bool
		unread string
	}{
		"a.png": {true, ""}, "A.JPG": {true, ""}, "x/b.jpeg": {true, ""}, "b.jpe": {true, ""}, "b.JFIF": {true, ""},
		"c.gif": {true, ""}, "d.bmp": {true, ""}, "e.webp": {true, ""}, "f.tif": {true, ""}, "f.x.Tiff": {true, ""},
		"IMG_1.HEIC": {false, "HEIC"}, "a.avif": {false, "AVIF"}, "a.jxl": {false, "JPEG XL"}, "a.jp2": {false, "JPEG 2000"},
		"a.svg": {false, "SVG"}, "a.psd": {false, "PSD"}, "a.NEF": {false, "raw"},
		"png": {}, "a.png.txt": {}, "": {}, "labels.csv": {},
	} {
		if got := IsName(name); got != want.read {
			t.Errorf("IsName(%q) is %v", name, got)
		}
		if got := UnreadName(name); got != want.unread {
			t.Errorf("UnreadName(%q) is %q, want %q", name, got, want.unread)
		}
	}
}

// An index that the palette lacks is black, as Pillow shows it; image.Paletted would panic.
func TestIndexWithoutColour(t *testing.T) {
	file := read(t, "palette.bmp")
	const colours, offset, size = 46, 10, 54
	n := binary.LittleEndian.Uint32(file[colours:])
	// Keep one colour, white.
	short := append([]byte{}, file[:size]...)
	binary.LittleEndian.PutUint32(short[colours:], 1)
	binary.LittleEndian.PutUint32(short[offset:], size+4)
	short = append(short, 255, 255, 255, 0)
	short = append(short, file[size+4*n:]...)
	p, err := decode(short)
	if err != nil {
		wantError(t, err, "damaged BMP picture: bmp: invalid palette index") // newer golang.org/x/image
		return
	}
	whole, err := decode(file)
	if err != nil {
		t.Fatal(err)
	}
	d := imageset.Description{Height: 17, Width: 23, Channels: 1}
	d.Pixels.Background = imageset.White
	pixels, _ := p.Image(d, No)
	for i, index := range whole.stored.(*image.Paletted).Pix {
		want := uint8(0)
		if index == 0 {
			want = 255
		}
		if pixels[i] != want {
			t.Fatalf("pixel %d of index %d is %d, want %d", i, index, pixels[i], want)
		}
	}
}

func FuzzPicture(f *testing.F) {
	for _, x := range fixtures(f) {
		f.Add(read(f, x.name))
	}
	f.Add(read(f, "animated.webp"))
	f.Add(pngHeader(1000, 1000, 200))
	f.Add(tiffFile(map[uint16]uint32{322: 16, 323: 16, 324: 8, 325: 256}, make([]byte, 300)))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := decode(file)
		if err == nil {
			d := fashion
			d.Channels = 1 + len(file)%2*2
			if got, _ := p.Image(d, Auto); len(got) != d.Bytes() {
				t.Errorf("%d bytes, want %d", len(got), d.Bytes())
			}
		} else if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\r") {
			t.Errorf("error %q, want one line", text)
		}
		runtime.ReadMemStats(&after)
		// The limits are checkSize's: 16 MiB or what the file can unpack to, as pixels, as a flat picture
		// and for a fax of 100 million pixels. vp8l takes 175 MB for the trees that a small file announces.
		if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20+uint64(len(file))*deflateRatio*8*8 {
			t.Errorf("%d bytes were allocated for a file of %d", used, len(file))
		}
	})
}

package idx

import (
	"bytes"
	"crnn/tests/datatest"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func readImages(r io.Reader) (*Content, error) { return Read(r, 0, Images, -1) }
func readLabels(r io.Reader) (*Content, error) { return Read(r, 0, Labels, -1) }

func size(c *Content) string {
	return fmt.Sprintf("%dx%dx%d", c.Shape.Height, c.Shape.Width, c.Shape.Channels)
}

func TestReadsPlainAndCompressed(t *testing.T) {
	pixels := datatest.Noise(3*datatest.ImageBytes, 1)
	labels := []byte{9, 0, 4}
	for _, pack := range []func([]byte) []byte{bytes.Clone, datatest.Gzip} {
		images, err := readImages(bytes.NewReader(pack(datatest.Images(pixels))))
		if err != nil || images.Count != 3 || images.Shape != (Shape{Height: 28, Width: 28, Channels: 1}) ||
			!bytes.Equal(images.Items, pixels) {
			t.Errorf("images: %+v, error %v", images, err)
		}
		// One byte per read, as from a slow disk or pipe.
		got, err := readLabels(iotest.OneByteReader(bytes.NewReader(pack(datatest.Labels(labels...)))))
		if err != nil || !bytes.Equal(got.Items, labels) {
			t.Errorf("labels: %v, error %v", got, err)
		}
	}
}

// The buffer grows more than once.
func TestReadsManyImages(t *testing.T) {
	pixels := datatest.Noise(5000*datatest.ImageBytes, 1)
	set, err := readImages(bytes.NewReader(datatest.Images(pixels)))
	if err != nil {
		t.Fatal(err)
	}
	got := set.Items
	if set.Count != 5000 || !bytes.Equal(got, pixels) {
		t.Errorf("%d images", set.Count)
	}
	if cap(got) != len(got) {
		t.Errorf("the images lie in %d bytes, want %d", cap(got), len(got))
	}
}

// If the file's size is known, the buffer never grows.
func TestReadsIntoMemoryOfTheRightSize(t *testing.T) {
	pixels := make([]byte, 10000*datatest.ImageBytes) // zip shrinks them a thousandfold
	for _, pack := range []func([]byte) []byte{bytes.Clone, datatest.Gzip} {
		file := pack(datatest.Images(pixels))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Read(bytes.NewReader(file), int64(len(file)), Images, 10000)
		runtime.ReadMemStats(&after)
		if err != nil || !bytes.Equal(c.Items, pixels) {
			t.Errorf("%d bytes, error %v", len(c.Items), err)
		}
		// Besides the pixels there are the buffers of gzip and of its reader, some 100 KB.
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(pixels))+1<<18 {
			t.Errorf("%d bytes were allocated for %d", used, len(pixels))
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	image := make([]byte, datatest.ImageBytes)
	good := datatest.Images(append(image, image...))
	zipped := datatest.Gzip(good)
	spoil := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0x55
		return b
	}
	for _, test := range []struct {
		name   string
		file   []byte
		offset int64
		want   string
	}{
		{"empty", nil, 0, "empty"},
		{"empty, compressed", datatest.Gzip(nil), 0, "empty"},
		{"cut in the magic number", good[:3], 3, "ends within the header, which has 16 bytes"},
		{"cut in the header", good[:15], 15, "ends within the header"},
		{"labels", datatest.Labels(1, 2, 3), 0, "a file of labels, expected one of images: are the two swapped?"},
		{"float elements", datatest.IDX(0xd03, []uint32{1, 28, 28}, image), 0,
			"elements are float32, expected unsigned bytes: it begins with 0x00000d03, expected 0x00000803"},
		{"text", []byte("<html>no such file</html>"), 0, "not an IDX file"},
		{"no images", datatest.IDX(0x803, []uint32{0, 28, 28}, nil), 4, "holds no images"},
		{"height", datatest.IDX(0x803, []uint32{1, 0, 28}, nil), 8, "height is 0, expected from 1 to 4096"},
		{"width", datatest.IDX(0x803, []uint32{1, 28, 4097}, nil), 12, "width is 4097, expected from 1 to 4096"},
		{"channels", datatest.IDX(0x804, []uint32{1, 28, 28, 2}, nil), 16,
			"have 2 channels, expected 1 (gray) or 3 (colours)"},
		{"cut in the channels", datatest.IDX(0x804, []uint32{1, 28, 28}, nil), 16,
			"ends within the header, which has 20 bytes"},
		{"truncated", good[:1000], 1000, "promises 2 images, which make 1584 bytes"},
		{"truncated between images", good[:16+datatest.ImageBytes], 16 + datatest.ImageBytes, "the file ends"},
		{"no pixels", good[:16], 16, "the file ends"},
		{"trailing bytes", append(bytes.Clone(good), 0), 1584, "goes on"},
		{"forged count", datatest.IDX(0x803, []uint32{1<<32 - 1, 28, 28}, image), 4,
			"promises 4294967295 images, at most 8388608"},
		{"forged size", datatest.IDX(0x803, []uint32{1, 1 << 31, 1 << 31}, image), 8, "height is 2147483648"},
		{"gzip magic alone", zipped[:2], 0, "cut short"},
		{"gzip header cut", zipped[:9], 0, "cut short"},
		{"gzip header damaged", spoil(zipped, 2), 0, "damaged gzip header"},
		{"gzip data damaged", spoil(zipped, 10), 0, "damaged compressed data"},
		{"gzip checksum", spoil(zipped, len(zipped)-6), 1584, "checksum"},
		{"gzip trailer cut", zipped[:len(zipped)-1], 1584, "cut short"},
		{"gzip, then other bytes", append(bytes.Clone(zipped), "more than ten bytes"...), 1584, "foreign bytes"},
		{"gzip, then two other bytes", append(bytes.Clone(zipped), "ab"...), 1584, "foreign bytes"},
		{"gzip of too few", datatest.Gzip(good[:1000]), 1000, "the file ends"},
		{"gzip of too many", datatest.Gzip(append(bytes.Clone(good), 0)), 1584, "goes on"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readImages(bytes.NewReader(test.file))
			datatest.WantError(t, err, test.want)
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("error of type %T, want *FormatError", err)
			}
			if format.Offset != test.offset {
				t.Errorf("offset %d, want %d: %v", format.Offset, test.offset, err)
			}
		})
	}
}

// Every cut is noticed in random data, which deflate stores nearly unchanged.
func TestEveryCutIsNoticed(t *testing.T) {
	file := datatest.Gzip(datatest.Images(datatest.Noise(datatest.ImageBytes, 3)))
	for n := range file {
		if _, err := readImages(bytes.NewReader(file[:n])); err == nil {
			t.Errorf("no error for the first %d of %d bytes", n, len(file))
		}
	}
}

func TestDamagedLabels(t *testing.T) {
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"images", datatest.Images(make([]byte, datatest.ImageBytes)),
			"byte 0: a file of images, expected one of labels: are the two swapped?"},
		{"truncated", datatest.Labels(1, 2, 3)[:10],
			"byte 10: the file ends, but its header promises 3 labels, which make 11 bytes"},
		{"none", datatest.Labels(), "byte 4: holds no labels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readLabels(bytes.NewReader(test.file))
			datatest.WantError(t, err, test.want)
		})
	}
}

func TestReadErrorIsPassedOn(t *testing.T) {
	failure := errors.New("the disk fails")
	file := datatest.Images(make([]byte, datatest.ImageBytes))
	for _, n := range []int{0, 2, 10, 500, len(file)} {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(failure))
		if _, err := readImages(r); err != failure {
			t.Errorf("after %d bytes: error %v, want %v", n, err, failure)
		}
	}
}

// A header's promises, or the possible expansion of a compressed file, must not cost memory. 4 MiB
// are several times the reader's first buffers, and far less than the 16 MiB of the bombs.
func TestForgedHeadersCostNoMemory(t *testing.T) {
	promise := datatest.IDX(0x803, []uint32{MaxCount, 28, 28}, make([]byte, 100))
	bomb := datatest.Gzip(append(datatest.Images(make([]byte, datatest.ImageBytes)), make([]byte, 16<<20)...))
	labels := datatest.Gzip(append(datatest.Labels(1), make([]byte, 16<<20)...))
	for name, file := range map[string][]byte{
		"promise": promise, "compressed promise": datatest.Gzip(promise), "bomb of images": bomb, "bomb of labels": labels,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := readImages(bytes.NewReader(file)); err == nil {
			t.Errorf("%s: images: reading gives no error", name)
		}
		if _, err := readLabels(bytes.NewReader(file)); err == nil {
			t.Errorf("%s: labels: reading gives no error", name)
		}
		if _, err := Read(bytes.NewReader(file), int64(len(file)), Images, -1); err == nil {
			t.Errorf("%s: no error with the size known", name)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
}

func FuzzIDX(f *testing.F) {
	image := make([]byte, datatest.ImageBytes)
	for _, file := range [][]byte{
		{}, datatest.Images(image), datatest.Images(datatest.Noise(2*datatest.ImageBytes, 1)),
		datatest.Labels(0, 9, 5), datatest.Labels(10),
		datatest.IDX(0x803, []uint32{1<<32 - 1, 28, 28}, image), datatest.IDX(0x803, []uint32{5, 28, 28}, image),
		datatest.IDX(0x801, []uint32{MaxCount}, image), datatest.IDX(0xd03, nil, image),
		datatest.IDX(0x804, []uint32{2, 3, 2, 3}, datatest.Noise(36, 2)), datatest.IDX(0x804, []uint32{2, 3, 2,
			5}, datatest.Noise(60, 2)),
	} {
		f.Add(file)
		f.Add(datatest.Gzip(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		set, err := readImages(bytes.NewReader(file))
		if err == nil {
			if set.Count < 1 || len(set.Items) != set.Count*set.Shape.bytes() {
				t.Errorf("%d images of %s in %d bytes", set.Count, size(set), len(set.Items))
			}
			// The images, written again, equal the file, unless it was compressed or has other channels.
			dims := []uint32{uint32(set.Count), uint32(set.Shape.Height), uint32(set.Shape.Width)}
			if again := datatest.IDX(0x803, dims, set.Items); file[0] == 0 && file[3] == 3 && !bytes.Equal(again, file) {
				t.Error("the images differ from the file")
			}
		} else {
			datatest.WantError(t, err)
		}
		labels, err := readLabels(bytes.NewReader(file))
		if err == nil {
			if again := datatest.Labels(labels.Items...); file[0] != 0x1f && !bytes.Equal(again, file) {
				t.Error("the labels differ from the file")
			}
		} else {
			datatest.WantError(t, err)
		}
	})
}

// Images have any size, and channels on either side of height and width.
func TestReadsSizesAndChannels(t *testing.T) {
	last := []byte{ // two images of 1x2 pixels, each red, green, blue
		1, 2, 3, 4, 5, 6,
		7, 8, 9, 10, 11, 12,
	}
	first := []byte{1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12}
	for _, test := range []struct {
		name string
		file []byte
		size string
		want []byte
	}{
		{"gray", datatest.IDX(0x803, []uint32{2, 3, 2}, last), "3x2x1", last},
		{"one channel", datatest.IDX(0x804, []uint32{2, 3, 2, 1}, last), "3x2x1", last},
		{"channels last", datatest.IDX(0x804, []uint32{2, 1, 2, 3}, last), "1x2x3", first},
		{"channels first", datatest.IDX(0x804, []uint32{2, 3, 1, 2}, last), "1x2x3", last},
		{"one channel, first", datatest.IDX(0x804, []uint32{2, 1, 3, 2}, last), "3x2x1", last},
	} {
		set, err := readImages(bytes.NewReader(test.file))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if size(set) != test.size || set.Count != 2 || !bytes.Equal(set.Items, test.want) {
			t.Errorf("%s: %s, %v, want %s, %v", test.name, size(set), set.Items, test.size, test.want)
		}
	}
}

// Zeros behind the compressed data are padding; a second member goes on.
func TestCompressedDataMayEndInZeros(t *testing.T) {
	file := datatest.Images(datatest.Noise(datatest.ImageBytes, 3))
	for name, packed := range map[string][]byte{
		"zeros":       append(datatest.Gzip(file), make([]byte, 5000)...),
		"two members": append(datatest.Gzip(file[:300]), datatest.Gzip(file[300:])...),
		"both":        append(append(datatest.Gzip(file[:300]), datatest.Gzip(file[300:])...), 0, 0, 0),
	} {
		set, err := readImages(bytes.NewReader(packed))
		if err != nil || !bytes.Equal(set.Items, file[16:]) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, test := range []struct {
		got, want []byte
	}{
		{Header(Labels, 7), datatest.IDX(0x801, []uint32{7}, nil)},
		{Header(Images, 7, 3, 300), datatest.IDX(0x803, []uint32{7, 3, 300}, nil)},
		{Header(Images, 7, 3, 300, 3), datatest.IDX(0x804, []uint32{7, 3, 300, 3}, nil)},
	} {
		if !bytes.Equal(test.got, test.want) {
			t.Errorf("header %x, want %x", test.got, test.want)
		}
	}
}

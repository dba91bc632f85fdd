package data

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func TestReadsPlainAndCompressed(t *testing.T) {
	pixels := noise(3*imageSize, 1)
	labels := []byte{9, 0, 4}
	for _, pack := range []func([]byte) []byte{bytes.Clone, zip} {
		images, err := ReadImages(bytes.NewReader(pack(idxImages(pixels))))
		if err != nil || images.Count != 3 || images.Size() != "28x28x1" || !bytes.Equal(images.Images, pixels) {
			t.Errorf("ReadImages: %+v, error %v", images, err)
		}
		// One byte per read, as from a slow disk or pipe.
		got, err := ReadLabels(iotest.OneByteReader(bytes.NewReader(pack(idxLabels(labels...)))))
		if err != nil || !bytes.Equal(got, labels) {
			t.Errorf("ReadLabels: %v, error %v", got, err)
		}
	}
}

// The buffer grows more than once.
func TestReadsManyImages(t *testing.T) {
	pixels := noise(5000*imageSize, 1)
	set, err := ReadImages(bytes.NewReader(idxImages(pixels)))
	if err != nil {
		t.Fatal(err)
	}
	got := set.Images
	if set.Count != 5000 || !bytes.Equal(got, pixels) {
		t.Errorf("%d images", set.Count)
	}
	if cap(got) != len(got) {
		t.Errorf("the images lie in %d bytes, want %d", cap(got), len(got))
	}
}

// If the file's size is known, the buffer never grows.
func TestReadsIntoMemoryOfTheRightSize(t *testing.T) {
	pixels := make([]byte, 10000*imageSize) // zip shrinks them a thousandfold
	for _, pack := range []func([]byte) []byte{bytes.Clone, zip} {
		file := pack(idxImages(pixels))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := readIDX(bytes.NewReader(file), int64(len(file)), imageKind, 10000)
		runtime.ReadMemStats(&after)
		if err != nil || !bytes.Equal(c.items, pixels) {
			t.Errorf("%d bytes, error %v", len(c.items), err)
		}
		// Besides the pixels there are the buffers of gzip and of its reader, some 100 KB.
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(pixels))+1<<18 {
			t.Errorf("%d bytes were allocated for %d", used, len(pixels))
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	image := make([]byte, imageSize)
	good := idxImages(append(image, image...))
	zipped := zip(good)
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
		{"empty, compressed", zip(nil), 0, "empty"},
		{"cut in the magic number", good[:3], 3, "ends within the header, which has 16 bytes"},
		{"cut in the header", good[:15], 15, "ends within the header"},
		{"labels", idxLabels(1, 2, 3), 0, "a file of labels, expected one of images: are the two swapped?"},
		{"float elements", idx(0xd03, []uint32{1, 28, 28}, image), 0,
			"elements are float32, expected unsigned bytes: it begins with 0x00000d03, expected 0x00000803"},
		{"text", []byte("<html>no such file</html>"), 0, "not an IDX file"},
		{"no images", idx(0x803, []uint32{0, 28, 28}, nil), 4, "holds no images"},
		{"height", idx(0x803, []uint32{1, 0, 28}, nil), 8, "height is 0, expected from 1 to 4096"},
		{"width", idx(0x803, []uint32{1, 28, 4097}, nil), 12, "width is 4097, expected from 1 to 4096"},
		{"channels", idx(0x804, []uint32{1, 28, 28, 2}, nil), 16, "have 2 channels, expected 1 (gray) or 3 (colours)"},
		{"cut in the channels", idx(0x804, []uint32{1, 28, 28}, nil), 16, "ends within the header, which has 20 bytes"},
		{"truncated", good[:1000], 1000, "promises 2 images, which make 1584 bytes"},
		{"truncated between images", good[:16+imageSize], 16 + imageSize, "the file ends"},
		{"no pixels", good[:16], 16, "the file ends"},
		{"trailing bytes", append(bytes.Clone(good), 0), 1584, "goes on"},
		{"forged count", idx(0x803, []uint32{1<<32 - 1, 28, 28}, image), 4, "promises 4294967295 images, at most 8388608"},
		{"forged size", idx(0x803, []uint32{1, 1 << 31, 1 << 31}, image), 8, "height is 2147483648"},
		{"gzip magic alone", zipped[:2], 0, "cut short"},
		{"gzip header cut", zipped[:9], 0, "cut short"},
		{"gzip header damaged", spoil(zipped, 2), 0, "damaged gzip header"},
		{"gzip data damaged", spoil(zipped, 10), 0, "damaged compressed data"},
		{"gzip checksum", spoil(zipped, len(zipped)-6), 1584, "checksum"},
		{"gzip trailer cut", zipped[:len(zipped)-1], 1584, "cut short"},
		{"gzip, then other bytes", append(bytes.Clone(zipped), "more than ten bytes"...), 1584, "foreign bytes"},
		{"gzip of too few", zip(good[:1000]), 1000, "the file ends"},
		{"gzip of too many", zip(append(bytes.Clone(good), 0)), 1584, "goes on"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadImages(bytes.NewReader(test.file))
			wantError(t, err, test.want)
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
	file := zip(idxImages(noise(imageSize, 3)))
	for n := range file {
		if _, err := ReadImages(bytes.NewReader(file[:n])); err == nil {
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
		{"images", idxImages(make([]byte, imageSize)),
			"byte 0: a file of images, expected one of labels: are the two swapped?"},
		{"truncated", idxLabels(1, 2, 3)[:10],
			"byte 10: the file ends, but its header promises 3 labels, which make 11 bytes"},
		{"none", idxLabels(), "byte 4: holds no labels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadLabels(bytes.NewReader(test.file))
			wantError(t, err, test.want)
		})
	}
}

func TestReadErrorIsPassedOn(t *testing.T) {
	failure := errors.New("the disk fails")
	file := idxImages(make([]byte, imageSize))
	for _, n := range []int{0, 2, 10, 500, len(file)} {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(failure))
		if _, err := ReadImages(r); err != failure {
			t.Errorf("after %d bytes: error %v, want %v", n, err, failure)
		}
	}
}

// A header's promises, or the possible expansion of a compressed file, must not cost memory. 4 MiB
// are several times the reader's first buffers, and far less than the 16 MiB of the bombs.
func TestForgedHeadersCostNoMemory(t *testing.T) {
	promise := idx(0x803, []uint32{maxCount, 28, 28}, make([]byte, 100))
	bomb := zip(append(idxImages(make([]byte, imageSize)), make([]byte, 16<<20)...))
	labels := zip(append(idxLabels(1), make([]byte, 16<<20)...))
	for name, file := range map[string][]byte{
		"promise": promise, "compressed promise": zip(promise), "bomb of images": bomb, "bomb of labels": labels,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := ReadImages(bytes.NewReader(file)); err == nil {
			t.Errorf("%s: ReadImages gives no error", name)
		}
		if _, err := ReadLabels(bytes.NewReader(file)); err == nil {
			t.Errorf("%s: ReadLabels gives no error", name)
		}
		if _, err := readIDX(bytes.NewReader(file), int64(len(file)), imageKind, -1); err == nil {
			t.Errorf("%s: no error with the size known", name)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
}

func FuzzIDX(f *testing.F) {
	image := make([]byte, imageSize)
	for _, file := range [][]byte{
		{}, idxImages(image), idxImages(noise(2*imageSize, 1)), idxLabels(0, 9, 5), idxLabels(10),
		idx(0x803, []uint32{1<<32 - 1, 28, 28}, image), idx(0x803, []uint32{5, 28, 28}, image),
		idx(0x801, []uint32{maxCount}, image), idx(0xd03, nil, image),
		idx(0x804, []uint32{2, 3, 2, 3}, noise(36, 2)), idx(0x804, []uint32{2, 3, 2, 5}, noise(60, 2)),
	} {
		f.Add(file)
		f.Add(zip(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		set, err := ReadImages(bytes.NewReader(file))
		if err == nil {
			if set.Count < 1 || len(set.Images) != set.Count*set.Bytes() {
				t.Errorf("%d images of %s in %d bytes", set.Count, set.Size(), len(set.Images))
			}
			// The images, written again, equal the file, unless it was compressed or has other channels.
			dims := []uint32{uint32(set.Count), uint32(set.Height), uint32(set.Width)}
			if again := idx(0x803, dims, set.Images); file[0] == 0 && file[3] == 3 && !bytes.Equal(again, file) {
				t.Error("the images differ from the file")
			}
		} else {
			wantError(t, err)
		}
		labels, err := ReadLabels(bytes.NewReader(file))
		if err == nil {
			if again := idxLabels(labels...); file[0] != 0x1f && !bytes.Equal(again, file) {
				t.Error("the labels differ from the file")
			}
		} else {
			wantError(t, err)
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
		{"gray", idx(0x803, []uint32{2, 3, 2}, last), "3x2x1", last},
		{"one channel", idx(0x804, []uint32{2, 3, 2, 1}, last), "3x2x1", last},
		{"channels last", idx(0x804, []uint32{2, 1, 2, 3}, last), "1x2x3", first},
		{"channels first", idx(0x804, []uint32{2, 3, 1, 2}, last), "1x2x3", last},
		{"one channel, first", idx(0x804, []uint32{2, 1, 3, 2}, last), "3x2x1", last},
	} {
		set, err := ReadImages(bytes.NewReader(test.file))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if set.Size() != test.size || set.Count != 2 || !bytes.Equal(set.Images, test.want) {
			t.Errorf("%s: %s, %v, want %s, %v", test.name, set.Size(), set.Images, test.size, test.want)
		}
	}
}

// Zeros behind the compressed data are padding; a second member goes on.
func TestCompressedDataMayEndInZeros(t *testing.T) {
	file := idxImages(noise(imageSize, 3))
	for name, packed := range map[string][]byte{
		"zeros":       append(zip(file), make([]byte, 5000)...),
		"two members": append(zip(file[:300]), zip(file[300:])...),
		"both":        append(append(zip(file[:300]), zip(file[300:])...), 0, 0, 0),
	} {
		set, err := ReadImages(bytes.NewReader(packed))
		if err != nil || !bytes.Equal(set.Images, file[16:]) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

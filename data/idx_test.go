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
		got, n, err := ReadImages(bytes.NewReader(pack(idxImages(pixels))))
		if err != nil || n != 3 || !bytes.Equal(got, pixels) {
			t.Errorf("ReadImages: %d images, error %v", n, err)
		}
		// One byte per read, as from a slow disk or pipe.
		got, err = ReadLabels(iotest.OneByteReader(bytes.NewReader(pack(idxLabels(labels...)))))
		if err != nil || !bytes.Equal(got, labels) {
			t.Errorf("ReadLabels: %v, error %v", got, err)
		}
	}
}

// The buffer grows more than once.
func TestReadsManyImages(t *testing.T) {
	pixels := noise(5000*imageSize, 1)
	got, n, err := ReadImages(bytes.NewReader(idxImages(pixels)))
	if err != nil || n != 5000 || !bytes.Equal(got, pixels) {
		t.Errorf("%d images, error %v", n, err)
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
		{"float elements", idx(0xd03, []uint32{1, 28, 28}, image), 0, "begins with 0x00000d03, expected 0x00000803"},
		{"text", []byte("<html>no such file</html>"), 0, "not an IDX file"},
		{"no images", idx(0x803, []uint32{0, 28, 28}, nil), 4, "holds no images"},
		{"height", idx(0x803, []uint32{1, 32, 28}, make([]byte, 32*28)), 8, "height is 32, expected 28"},
		{"width", idx(0x803, []uint32{1, 28, 27}, make([]byte, 28*27)), 12, "width is 27, expected 28"},
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
			_, _, err := ReadImages(bytes.NewReader(test.file))
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
		if _, _, err := ReadImages(bytes.NewReader(file[:n])); err == nil {
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
		{"label 10", idxLabels(3, 9, 10, 200), "byte 10: image 2 has label 10, expected 0 to 9"},
		{"label 10, compressed", zip(idxLabels(3, 9, 10, 200)), "byte 10 (decompressed): image 2"},
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
		if _, _, err := ReadImages(r); err != failure {
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
		if _, _, err := ReadImages(bytes.NewReader(file)); err == nil {
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
	} {
		f.Add(file)
		f.Add(zip(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		pixels, count, err := ReadImages(bytes.NewReader(file))
		if err == nil {
			if count < 1 || len(pixels) != count*imageSize {
				t.Errorf("%d images in %d pixels", count, len(pixels))
			}
			// The images, written again, equal the file, unless it was compressed.
			if again := idxImages(pixels); file[0] != 0x1f && !bytes.Equal(again, file) {
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
			if bytes.ContainsFunc(labels, func(r rune) bool { return r >= numClasses }) {
				t.Errorf("labels %v", labels)
			}
		} else {
			wantError(t, err)
		}
	})
}

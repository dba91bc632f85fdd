package data

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"crnn/data/imageset"
	"crnn/internal/atomicfile"

	"github.com/adrg/xdg"
)

// cache is a file that holds a folder's pictures as images, so that the next run does not decode them.
// There is one per folder and way to prepare pictures. It counts only while names, sizes and times of
// the pictures are the same.
type cache struct {
	path string
	key  string // of the pictures, and of how they are prepared
}

// cacheVersion changes when the same pictures become other images.
const cacheVersion = "crnn pictures 1"

// cacheHeader is the first line of a cache; labels and images follow.
type cacheHeader struct {
	Key         string               `json:"key"`
	Count       int                  `json:"count"`
	Description imageset.Description `json:"description"`
	CRC32C      uint32               `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newCache(t *folder, files []pictureFile, o Options) cache {
	root, err := filepath.Abs(t.root)
	if err != nil {
		root = t.root
	}
	way, all := sha256.New(), sha256.New()
	fmt.Fprintf(way, "%q %d %d %v %q", root, o.Height, o.Width, o.Gray, o.Background)
	if o.Like != nil && o.Height == 0 {
		fmt.Fprintf(way, " %s %+v", o.Like.Size(), o.Like.Pixels)
	}
	fmt.Fprintf(all, "%s %q %q", cacheVersion, way.Sum(nil), t.classes)
	for _, f := range files {
		fmt.Fprintf(all, "%q %d %d %d\n", f.path, f.class, f.size, f.time)
	}
	name := hex.EncodeToString(way.Sum(nil)[:12])
	return cache{filepath.Join(xdg.CacheHome, "crnn", "pictures", name), hex.EncodeToString(all.Sum(nil))}
}

// load returns the images, or false if the cache has none of these pictures.
func (c cache) load() (*Set, bool) {
	f, err := os.Open(c.path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false
	}
	r := bufio.NewReaderSize(f, 1<<20)
	line, err := r.ReadSlice('\n')
	var h cacheHeader
	if err != nil || json.Unmarshal(line, &h) != nil || h.Key != c.key ||
		int64(h.Count)*int64(1+h.Description.Bytes()) != info.Size()-int64(len(line)) {
		return nil, false
	}
	s := &Set{Description: h.Description, Count: h.Count, Labels: make([]uint8, h.Count)}
	s.Images = newArray(h.Count * h.Description.Bytes())
	if _, err := io.ReadFull(r, s.Labels); err != nil {
		return nil, false
	}
	if _, err := io.ReadFull(r, s.Images); err != nil {
		return nil, false
	}
	return s, s.crc() == h.CRC32C
}

func (s *Set) crc() uint32 {
	return crc32.Update(crc32.Checksum(s.Labels, castagnoli), castagnoli, s.Images)
}

// save writes the images. Until it has ended, readers find the old file.
func (c cache) save(s *Set) error {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return err
	}
	header, err := json.Marshal(cacheHeader{c.key, s.Count, s.Description, s.crc()})
	if err != nil {
		return err
	}
	return atomicfile.Write(c.path, 0o644, func(w io.Writer) error {
		for _, part := range [][]byte{slices.Concat(header, []byte("\n")), s.Labels, s.Images} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}

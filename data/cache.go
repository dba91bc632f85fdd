package data

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"crnn/data/imageset"
	"crnn/internal/atomicfile"
	"crnn/internal/memory"

	"github.com/adrg/xdg"
)

// cache is a file that holds a folder's pictures as images, so that the next run does not decode them.
// There is one per folder and way to prepare pictures. It counts only while names, sizes and times of
// the pictures are the same. A picture that changes but keeps its size and its time, to the clock's
// granularity (a few milliseconds; two seconds on FAT), goes unnoticed, as with make and rsync.
type cache struct {
	path    string
	root    string // of the folder
	key     string // of the pictures, and of how they are prepared
	count   int    // of the pictures
	classes []string
}

// cacheVersion changes when the same pictures become other images, or the file's form changes.
const cacheVersion = "crnn pictures 2"

// cacheHeader is the first line of a cache; labels and images follow.
type cacheHeader struct {
	Root        string               `json:"root"`
	Key         string               `json:"key"`
	Count       int                  `json:"count"`
	Description imageset.Description `json:"description"`
	CRC32C      uint32               `json:"crc32c"` // of the other fields, the labels and the images
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newCache(t *folder, files []pictureFile, o Options) cache {
	root, err := filepath.Abs(t.root)
	if err != nil {
		root = t.root
	}
	way, all := sha256.New(), sha256.New()
	fmt.Fprintf(way, "%q", root)
	fmt.Fprintf(way, " %d %d %v", o.Height, o.Width, o.Gray)
	if o.Like != nil {
		fmt.Fprintf(way, " like %s %+v", o.Like.Size(), o.Like.Pixels)
	} else {
		fmt.Fprintf(way, " %q", cmp.Or(o.Background, imageset.Contrast))
	}
	fmt.Fprintf(all, "%s %q %q\n", cacheVersion, way.Sum(nil), t.classes)
	for _, f := range files {
		fmt.Fprintf(all, "%q %d %d %d\n", f.path, f.class, f.size, f.time)
	}
	name := hex.EncodeToString(way.Sum(nil)[:12])
	return cache{
		path: filepath.Join(xdg.CacheHome, "crnn", "pictures", name), root: root,
		key: hex.EncodeToString(all.Sum(nil)), count: len(files), classes: t.classes,
	}
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
	s, err := c.decode(f, info.Size())
	if err != nil {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(c.path, now, now) // for clean; a cache that cannot be written serves all the same
	return s, true
}

// decode reads a cache of size bytes.
func (c cache) decode(file io.Reader, size int64) (*Set, error) {
	r := bufio.NewReaderSize(file, 1<<20)
	h, length, err := readCacheHeader(r)
	if err != nil {
		return nil, err
	}
	d := h.Description
	if h.Key != c.key || h.Count != c.count || !slices.Equal(d.Classes, c.classes) {
		return nil, errors.New("of other pictures")
	}
	isSide := func(n int) bool { return 1 <= n && n <= imageset.MaxSide }
	if !isSide(d.Height) || !isSide(d.Width) || !imageset.IsChannels(d.Channels) ||
		int64(h.Count)*int64(1+d.Bytes()) != size-int64(length) {
		return nil, errors.New("of another size")
	}
	s := &Set{Description: d, Count: h.Count, Labels: make([]uint8, h.Count), Images: memory.Zeros(h.Count * d.Bytes())}
	for _, part := range [][]byte{s.Labels, s.Images} {
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
	}
	if h.crc(s) != h.CRC32C {
		return nil, errors.New("damaged")
	}
	return s, nil
}

// readCacheHeader reads the first line of a cache, and returns its length too.
func readCacheHeader(r *bufio.Reader) (h cacheHeader, length int, err error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	return h, len(line), err
}

// crc returns the checksum of a cache with the header h.
func (h cacheHeader) crc(s *Set) uint32 {
	sum := crc32.Checksum(fmt.Appendf(nil, "%q %q %d %+v", h.Root, h.Key, h.Count, h.Description), castagnoli)
	for _, part := range [][]byte{s.Labels, s.Images} {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}

// save writes the images. Until it has ended, readers find the old file. The pictures may be private, so
// nobody else may read them.
func (c cache) save(s *Set) error {
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	clean(dir, time.Now())
	h := cacheHeader{Root: c.root, Key: c.key, Count: s.Count, Description: s.Description}
	h.CRC32C = h.crc(s)
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.path, 0o600, func(w io.Writer) error {
		for _, part := range [][]byte{append(header, '\n'), s.Labels, s.Images} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}

// Times after which clean removes files.
const (
	cacheLife = 90 * 24 * time.Hour // since the last use
	tempLife  = 24 * time.Hour      // of what a killed process was writing
)

// The names of caches, and of those that are being written.
var (
	cacheName     = regexp.MustCompile(`^[0-9a-f]{24}$`)
	cacheTempName = regexp.MustCompile(`^\.[0-9a-f]{24}\.tmp-[0-9a-f]{8}$`)
)

// clean removes the caches in dir that nobody will use: not used for long, or of a folder that is no
// more. Without it they would fill the disk. What cannot be removed stays.
func clean(dir string, now time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		path, age := filepath.Join(dir, e.Name()), now.Sub(info.ModTime())
		switch {
		case cacheTempName.MatchString(e.Name()) && age > tempLife,
			cacheName.MatchString(e.Name()) && (age > cacheLife || ofNoFolder(path)):
			_ = os.Remove(path)
		}
	}
}

// ofNoFolder reports whether the folder of the cache at path is no more, or the cache is of an older crnn.
func ofNoFolder(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	h, _, err := readCacheHeader(bufio.NewReaderSize(f, 1<<20))
	if err != nil || h.Root == "" {
		return true
	}
	_, err = os.Stat(h.Root)
	return errors.Is(err, fs.ErrNotExist)
}

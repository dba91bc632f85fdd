package data

import (
	"context"
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

	"crnn/internal/atomicfile"
	"crnn/internal/osfile"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-retryablehttp"
)

// Mirrors are the folders on the net from which Fetch downloads NAME.gz, in this order: the data
// set's repository, its bucket, and the copy that Keras uses. Fetch accepts a file only if its
// checksum is right, so plain HTTP does no harm.
var Mirrors = []string{
	"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
	"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
	"https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
}

// FetchOptions let the caller of Fetch observe it or replace its parts.
type FetchOptions struct {
	// Progress, if not nil, is called as the bytes of a file arrive. total is -1 while the
	// file's length is unknown.
	Progress func(file string, done, total int64)
	// Log, if not nil, is called with one line for the user, for example that Fetch waits for
	// another process or that a mirror failed.
	Log func(line string)

	Mirrors []string     // nil: the variable Mirrors
	Client  *http.Client // nil: one that soon gives up on a network that does not answer
}

// Fetch puts Fashion-MNIST into dir. Existing files, compressed or not, stay. Missing or damaged
// files are downloaded from the mirrors and decompressed. If no mirror works, they are taken from
// Debian's package, which needs apt-get but not root. A file gets its name only once it is on the
// disk and the SHA-256 of its decompressed bytes is right. A broken download is resumed, also by a
// later Fetch. Of several processes one fetches, and the others wait for it. Proxies are taken from
// the environment.
//
// A file that is in order but not Fashion-MNIST's is never replaced: that is an error.
func Fetch(ctx context.Context, dir string, opts FetchOptions) error {
	return newFetcher(fashionMNIST, dir, opts).run(ctx)
}

type fetcher struct {
	FetchOptions
	catalog  catalog
	dir      string
	retrying *retryablehttp.Client
	failures []string // one per failed mirror

	pause    time.Duration // before a broken download is resumed
	idle     time.Duration // time without a byte after which a connection counts as broken
	fallback func(context.Context, []dataFile) error
}

func newFetcher(c catalog, dir string, opts FetchOptions) *fetcher {
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	if opts.Mirrors == nil {
		opts.Mirrors = Mirrors
	}
	if opts.Client == nil {
		opts.Client = newHTTPClient()
	}
	f := &fetcher{
		FetchOptions: opts, catalog: c, dir: dir, retrying: newRetryClient(opts.Client),
		pause: time.Second, idle: 20 * time.Second,
	}
	f.fallback = f.fromDebian
	return f
}

func (f *fetcher) run(ctx context.Context) error {
	err := f.fetch(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("fetching into %s was interrupted, fetch again to go on: %w", f.dir, ctx.Err())
	}
	return err
}

func (f *fetcher) fetch(ctx context.Context) error {
	// Look first without the lock, so that a complete directory may be read-only.
	if missing, err := f.missing(); err != nil || len(missing) == 0 {
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
	if err != nil || len(missing) == 0 {
		return err
	}
	missing, err = f.fromMirrors(ctx, missing)
	if err != nil || len(missing) == 0 {
		return err
	}
	f.Log("no mirror can be used, trying Debian's package " + debianPackage)
	if err := f.fallback(ctx, missing); err != nil {
		return f.giveUp(err)
	}
	f.Log("got Fashion-MNIST from Debian's package")
	return nil
}

// missing lists the files that are missing or unusable in the directory.
func (f *fetcher) missing() ([]dataFile, error) {
	var missing []dataFile
	for _, file := range f.catalog {
		switch status := file.read(f.dir); status.State {
		case Match:
		case Differs:
			return nil, fmt.Errorf("%s: in order, but not the file of Fashion-MNIST: move it away, "+
				"or fetch into another directory", status.Path)
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
func (f *fetcher) fromMirrors(ctx context.Context, files []dataFile) ([]dataFile, error) {
	for mirror := 0; len(files) > 0 && mirror < len(f.Mirrors); {
		err := f.download(ctx, f.Mirrors[mirror], files[0])
		var local *localError
		switch {
		case err == nil:
			files = files[1:]
		case ctx.Err() != nil || errors.As(err, &local):
			return nil, err
		default:
			failure := fmt.Sprintf("%s: %v", hostOf(f.Mirrors[mirror]), err)
			f.Log(failure)
			f.failures = append(f.failures, failure)
			mirror++
		}
	}
	return files, nil
}

func hostOf(mirror string) string {
	if u, err := url.Parse(mirror); err == nil && u.Host != "" {
		return u.Host
	}
	return mirror
}

// giveUp returns the error of a Fetch that ended with err after all mirrors had failed.
func (f *fetcher) giveUp(err error) error {
	var local *localError
	if errors.As(err, &local) {
		return err
	}
	return fmt.Errorf("cannot fetch Fashion-MNIST: %s; Debian's package: %w; "+
		"check the network or the proxy (HTTPS_PROXY), or put the four files into %s",
		strings.Join(f.failures, "; "), err, f.dir)
}

// install decompresses the checked file at path into file. Decompressing at every start of the
// program would take most of the start's time. Under file's name there is never less than the whole
// file on the disk.
func (f *fetcher) install(path string, file dataFile) error {
	target := filepath.Join(f.dir, file.name)
	err := atomicfile.Write(target, 0o644, func(w io.Writer) error {
		from, err := decompressed(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(w, from)
		return err
	})
	if err != nil {
		return writeError(target, err)
	}
	// A damaged .gz file would be found before the target.
	if err := os.Remove(target + ".gz"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeError(target+".gz", err)
	}
	f.partial(file).remove()
	return nil
}

// localError is an error of this machine's disk, which another mirror does not help.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

func writeError(path string, err error) error {
	remedy := "choose another directory"
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		remedy = "free 100 MB, or " + remedy
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		remedy = "make it writable, or " + remedy
	}
	return &localError{fmt.Errorf("cannot write %s: %w: %s (XDG_CACHE_HOME is the user's cache)",
		path, osfile.Cause(err), remedy)}
}

package fetch

import (
	"archive/tar"
	pkzip "archive/zip"
	"compress/flate"
	"context"
	"crnn/data/idx"
	"crnn/data/known"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
)

// Of an archive only members of exactly the expected names are read, so a member can have any name, size or
// type without harm.

// lacks is the error of an archive without a file.
func lacks(a *known.Archive, file known.File) error {
	return fmt.Errorf("%s does not hold %s", a.Name, a.Member(file))
}

// fromOwnArchive takes files out of the archive that the user put into the directory, if there is one.
func (f *fetcher) fromOwnArchive(_ context.Context, files []known.File) ([]known.File, error) {
	a := f.Set.Archive
	if a == nil || len(files) == 0 {
		return files, nil
	}
	path := filepath.Join(f.dir, a.Name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err := checkSum(path, a.Sum); err != nil {
		return nil, fmt.Errorf("%s is not the archive of %s: %w: get it again, or move it away", path, f.Set.Title, err)
	}
	f.Log("taking " + f.Set.Title + " from " + path)
	return f.unpack(path, files)
}

// fromArchive takes files out of the archive on mirror: of a ZIP it transfers only what it needs, if the
// mirror can send parts of files. It returns the files that it could not get.
func (f *fetcher) fromArchive(ctx context.Context, mirror string, files []known.File) ([]known.File, error) {
	a := f.Set.Archive
	url := mirror + a.Name
	if a.IsZIP() {
		rest, err := f.fromParts(ctx, url, files)
		if !errors.Is(err, errNoRanges) {
			return rest, err
		}
		files = rest
		f.Log(fmt.Sprintf("%s %v: downloading all of %s", hostOf(mirror), err, a.Name))
	}
	part := f.partialOf(a.Name)
	check := func() error { return checkSum(part.path, a.Sum) }
	if check() != nil { // else complete, but a crash came before it was unpacked
		q := request{url: url, shown: a.Name, name: a.Name, most: a.Size, part: part}
		if err := f.obtain(ctx, q, check); err != nil {
			return files, err
		}
	}
	rest, err := f.unpack(part.path, files)
	if !isLocal(err) {
		part.remove()
	}
	return rest, err
}

// unpack takes files out of the archive at path.
func (f *fetcher) unpack(path string, files []known.File) (rest []known.File, err error) {
	if f.Set.Archive.IsZIP() {
		return f.unpackZIP(path, files)
	}
	return f.unpackTar(path, files)
}

func (f *fetcher) unpackZIP(path string, files []known.File) (rest []known.File, err error) {
	r, err := pkzip.OpenReader(path)
	if err != nil {
		return files, fmt.Errorf("%s: %w", f.Set.Archive.Name, err)
	}
	defer r.Close()
	for ; len(files) > 0; files = files[1:] {
		m, err := f.find(&r.Reader, files[0])
		if err != nil {
			return files, err
		}
		from, err := m.Open()
		if err == nil {
			err = f.take(files[0], from)
			from.Close()
		}
		if err != nil {
			return files, f.memberError(files[0], err)
		}
	}
	return nil, nil
}

// find returns the member of a ZIP that holds file.
func (f *fetcher) find(z *pkzip.Reader, file known.File) (*pkzip.File, error) {
	a := f.Set.Archive
	i := slices.IndexFunc(z.File, func(m *pkzip.File) bool { return m.Name == a.Member(file) })
	if i < 0 {
		return nil, lacks(a, file)
	}
	m := z.File[i]
	switch {
	case !m.Mode().IsRegular():
		return nil, fmt.Errorf("%s in %s is not a file", m.Name, a.Name)
	case m.Method != pkzip.Store && m.Method != pkzip.Deflate:
		return nil, fmt.Errorf("%s in %s is compressed in an unknown way (%d)", m.Name, a.Name, m.Method)
	case m.CompressedSize64 == 0:
		return nil, fmt.Errorf("%s in %s is empty", m.Name, a.Name)
	case m.UncompressedSize64 > uint64(most(file)) || m.CompressedSize64 > uint64(most(file)):
		return nil, fmt.Errorf("%s in %s has %d bytes, which is more than it can have", m.Name, a.Name, m.UncompressedSize64)
	}
	return m, nil
}

func (f *fetcher) unpackTar(path string, files []known.File) (rest []known.File, err error) {
	a := f.Set.Archive
	from, err := idx.Open(path)
	if err != nil {
		return files, fmt.Errorf("%s: %w", a.Name, err)
	}
	defer from.Close()
	files = slices.Clone(files)
	for r := tar.NewReader(from); len(files) > 0; {
		h, err := r.Next()
		if err == io.EOF {
			return files, lacks(a, files[0])
		}
		if err != nil {
			return files, fmt.Errorf("%s is damaged: %w", a.Name, err)
		}
		i := slices.IndexFunc(files, func(file known.File) bool { return h.Name == a.Member(file) })
		if i < 0 {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return files, fmt.Errorf("%s in %s is not a file", h.Name, a.Name)
		}
		if err := f.take(files[i], r); err != nil {
			return files, f.memberError(files[i], err)
		}
		files = slices.Delete(files, i, i+1)
	}
	return nil, nil
}

// memberError returns the error of the member that holds file.
func (f *fetcher) memberError(file known.File, err error) error {
	if isLocal(err) {
		return err
	}
	return fmt.Errorf("%s in %s is not the data set's: %w", f.Set.Archive.Member(file), f.Set.Archive.Name, err)
}

// take installs file, a member of the archive.
func (f *fetcher) take(file known.File, member io.Reader) error {
	part := f.partial(file)
	err := copyTo(part.path, member, most(file))
	if err == nil {
		err = check(file, part.path)
	}
	if err != nil {
		part.remove()
		return err
	}
	return f.install(part.path, file)
}

// copyTo writes the bytes of r to path. More than most are an error.
func copyTo(path string, r io.Reader, most int64) error {
	out, err := os.Create(path)
	if err != nil {
		return writeError(path, err)
	}
	w := &diskWriter{w: out, path: path}
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if closeErr := out.Close(); closeErr != nil && w.err == nil {
		w.err = writeError(path, closeErr)
	}
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
		return err
	case n > most:
		return fmt.Errorf("it has more than %d bytes", most)
	}
	return nil
}

// diskWriter marks errors of the disk, to tell them from errors of reading.
type diskWriter struct {
	w    io.Writer
	path string
	err  error // a localError
}

func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		d.err = writeError(d.path, err)
	}
	return n, err
}

// fromParts takes files out of the ZIP at url: it reads the list of members at its end, then transfers
// the members. It returns the files that it could not get.
func (f *fetcher) fromParts(ctx context.Context, url string, files []known.File) (rest []known.File, err error) {
	r := &remoteZIP{ctx: ctx, f: f, url: url, size: f.Set.Archive.Size}
	z, err := pkzip.NewReader(r, r.size)
	for ; err == nil && len(files) > 0; files = files[1:] {
		err = f.fromPart(ctx, url, z, files[0])
		if err != nil {
			break
		}
	}
	if r.err != nil { // what package zip makes of it may hide it
		err = r.err
	}
	if err != nil {
		return files, err
	}
	return nil, nil
}

// fromPart transfers the bytes of the member that holds file.
func (f *fetcher) fromPart(ctx context.Context, url string, z *pkzip.Reader, file known.File) error {
	m, err := f.find(z, file)
	if err != nil {
		return err
	}
	start, err := m.DataOffset()
	if err != nil {
		return err
	}
	part := f.partialOf(file.Served() + ".member")
	q := request{
		url: url, shown: file.Served(), name: file.Name,
		start: start, length: int64(m.CompressedSize64), most: int64(m.CompressedSize64), part: part,
	}
	err = f.obtain(ctx, q, func() error {
		raw, err := os.Open(part.path)
		if err != nil {
			return err
		}
		defer raw.Close()
		if m.Method == pkzip.Deflate {
			return f.take(file, flate.NewReader(raw))
		}
		return f.take(file, raw)
	})
	if err == nil {
		part.remove()
	}
	return err
}

// remoteZIP reads the list of members of a ZIP on the net, and what stands before each member.
type remoteZIP struct {
	ctx  context.Context
	f    *fetcher
	url  string
	size int64
	end  []byte // the last bytes of the ZIP
	err  error  // the first
}

const (
	// Bytes at the end that are read at once: the list of EMNIST's 30 members, 4,000, and what package zip
	// searches for the end of the list, 66,560.
	endOfZIP = 1 << 17
	atMost   = 64 // bytes that are read elsewhere at once
)

func (r *remoteZIP) ReadAt(p []byte, at int64) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	defer func() {
		if err != nil && err != io.EOF {
			r.err = err
		}
	}()
	endAt := max(r.size-endOfZIP, 0)
	if r.end == nil {
		end := make([]byte, r.size-endAt)
		if err := r.get(end, endAt); err != nil {
			return 0, err
		}
		r.end = end
	}
	switch {
	case at >= r.size:
		return 0, io.EOF
	case at >= endAt:
		if n = copy(p, r.end[at-endAt:]); n < len(p) {
			err = io.EOF
		}
		return n, err
	case len(p) > atMost:
		return 0, errors.New("its list of members is longer than expected")
	}
	return len(p), r.get(p, at)
}

// get fills p with the bytes from the given one on.
func (r *remoteZIP) get(p []byte, at int64) (err error) {
	for range maxTries {
		var broken brokenError
		if err = r.try(p, at); !errors.As(err, &broken) || r.ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (r *remoteZIP) try(p []byte, at int64) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.f.idle)
	defer cancel()
	req, err := newRequest(ctx, r.url)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+int64(len(p))-1))
	resp, err := r.f.retrying.Do(req)
	if err != nil {
		return reason(err)
	}
	defer resp.Body.Close()
	var first, last, total int64
	_, err = fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
	switch {
	case resp.StatusCode == http.StatusOK:
		return errNoRanges
	case resp.StatusCode != http.StatusPartialContent:
		return errors.New(resp.Status)
	case err != nil || first != at || last-first+1 != int64(len(p)):
		return errNoRanges // or only in a way of its own
	case total != r.size:
		return fmt.Errorf("has %d bytes, expected %d", total, r.size)
	}
	if _, err := io.ReadFull(resp.Body, p); err != nil {
		return brokenError{fmt.Errorf("broken off: %w", reason(err))}
	}
	return nil
}

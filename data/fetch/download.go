package fetch

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"crnn/data/idx"
	"crnn/data/known"
	"crnn/internal/osfile"

	"github.com/hashicorp/go-retryablehttp"
)

// download gets files one by one from mirror. It returns those that it could not get.
func (f *fetcher) download(ctx context.Context, mirror string, files []known.File) ([]known.File, error) {
	for ; len(files) > 0; files = files[1:] {
		file := files[0]
		part := f.partial(file)
		whole := func() error { return check(file, part.path) }
		if whole() != nil { // else complete, but a crash came before the renaming
			q := request{url: mirror + file.Served(), shown: file.Served(), name: file.Name, most: most(file), part: part}
			if err := f.obtain(ctx, q, whole); err != nil {
				return files, err
			}
		}
		if err := f.install(part.path, file); err != nil {
			return files, err
		}
	}
	return nil, nil
}

// obtain transfers what q asks for, and has it checked.
func (f *fetcher) obtain(ctx context.Context, q request, check func() error) error {
	resumed, err := f.receive(ctx, q)
	if err != nil {
		return err
	}
	err = check()
	if err != nil && resumed && !isLocal(err) { // the pieces may be of two versions
		q.part.remove()
		if _, err = f.receive(ctx, q); err != nil {
			return err
		}
		err = check()
	}
	if err != nil && !isLocal(err) {
		q.part.remove()
		return fmt.Errorf("%s is not the data set's: %w", q.shown, err)
	}
	return err
}

// check returns nil if the file at path, decompressed, is the original of file.
func check(file known.File, path string) error {
	if file.Packed != "" {
		if err := checkSum(path, file.Packed); err != nil {
			return err
		}
	}
	r, err := idx.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, file.Size+1)) // no more, in case it is a bomb
	if err != nil {
		return idx.GzipError(err, n)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	switch {
	case file.Sum != "" && sum != file.Sum:
		return fmt.Errorf("its SHA-256 is %s, expected %s", sum, file.Sum)
	case n == 0:
		return errors.New("it is empty")
	case n > file.Size:
		return fmt.Errorf("it is longer than %d bytes", file.Size)
	case n < file.Size:
		return fmt.Errorf("it has %d bytes, expected %d", n, file.Size)
	}
	return nil
}

// checkSum returns nil if the bytes at path have the checksum want, a SHA-256 or an MD5.
func checkSum(path, want string) error {
	f, _, err := osfile.Open(path, "a file")
	if err != nil {
		return err
	}
	defer f.Close()
	name, h := "SHA-256", sha256.New()
	if len(want) == 2*md5.Size {
		name, h = "MD5", md5.New()
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != want {
		return fmt.Errorf("its %s is %s, expected %s", name, sum, want)
	}
	return nil
}

// most returns the most bytes that a file has on mirrors and in archives.
func most(file known.File) int64 { return file.Size + 1<<16 } // compression lengthens no file by more than that

// request says what to transfer.
type request struct {
	url           string
	shown, name   string // of the file: for progress, and in errors
	start, length int64  // the part of the file at url; length 0: all of it
	most          int64  // more bytes are an error
	part          partial
}

// errNoRanges is the error of a server that sends only whole files.
var errNoRanges = errors.New("sends only the whole file")

const (
	maxTries = 4       // consecutive connections that broke without progress
	getOn    = 1 << 16 // bytes that count as progress of a connection
)

// brokenError is the error of a transfer that can be resumed.
type brokenError struct{ error }

// receive transfers what q asks for, resuming when the connection breaks. It reports whether q.part was
// put together from several transfers.
func (f *fetcher) receive(ctx context.Context, q request) (resumed bool, err error) {
	for try := 1; ; try++ {
		from, got, err := f.transfer(ctx, q)
		resumed = resumed || from > 0
		var broken brokenError
		if !errors.As(err, &broken) || ctx.Err() != nil {
			return resumed, err
		}
		if got >= getOn {
			try = 1
		}
		if try == maxTries {
			return resumed, broken.error
		}
		select {
		case <-ctx.Done():
			return resumed, ctx.Err()
		case <-time.After(f.pause):
		}
	}
}

// transfer makes one request for what q asks for, or for the bytes that q.part lacks, and writes the answer
// to q.part. It returns the byte at which it began and the number of bytes that it got.
func (f *fetcher) transfer(ctx context.Context, q request) (from, got int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := newRequest(ctx, q.url)
	if err != nil {
		return 0, 0, err
	}
	part := q.part
	from, validator := part.resumable(q.url)
	switch {
	case q.length > 0 && from >= q.length: // a crash came before it was used
		return from, 0, nil
	case q.length > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.start+from, q.start+q.length-1))
	case from > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	if from > 0 {
		req.Header.Set("If-Range", validator)
	}
	resp, err := f.retrying.Do(req)
	if err != nil {
		return 0, 0, reason(err)
	}
	defer resp.Body.Close()

	var out *os.File
	switch {
	case resp.StatusCode == http.StatusOK && q.length > 0 && from > 0: // it has another version now
		part.remove()
		return 0, 0, brokenError{errNoRanges}
	case resp.StatusCode == http.StatusOK && q.length > 0:
		return 0, 0, errNoRanges
	case resp.StatusCode == http.StatusOK:
		from = 0
		out, err = part.create(q.url, validatorOf(resp.Header))
	case resp.StatusCode == http.StatusPartialContent:
		var start int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != q.start+from {
			part.remove()
			return 0, 0, brokenError{errors.New("sends another part of the file than was asked for")}
		}
		if from == 0 {
			out, err = part.create(q.url, validatorOf(resp.Header))
		} else {
			out, err = part.reopen()
		}
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		part.remove()
		return 0, 0, brokenError{errors.New(resp.Status)}
	default:
		return 0, 0, errors.New(resp.Status)
	}
	if err != nil {
		return 0, 0, writeError(part.path, err)
	}
	defer out.Close()

	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = from + resp.ContentLength
	}
	if total > q.most {
		return from, 0, fmt.Errorf("sends %d bytes, which is more than %s can have", total, q.name)
	}
	idle := time.AfterFunc(f.idle, func() {
		cancel(fmt.Errorf("sends nothing for %v", f.idle))
	})
	defer idle.Stop()
	f.Progress(q.shown, from, total)
	for buf := make([]byte, 1<<16); ; {
		n, readErr := resp.Body.Read(buf)
		idle.Reset(f.idle)
		if _, err := out.Write(buf[:n]); err != nil {
			return from, got, writeError(part.path, err)
		}
		got += int64(n)
		switch {
		case from+got > q.most:
			return from, got, fmt.Errorf("sends more bytes than %s can have", q.name)
		case readErr == io.EOF && from+got < q.length:
			return from, got, brokenError{fmt.Errorf("ends after %d of %d bytes", from+got, q.length)}
		case readErr == io.EOF:
			f.Progress(q.shown, from+got, from+got)
			return from, got, nil
		case readErr != nil:
			if why := context.Cause(ctx); why != nil {
				readErr = why
			}
			return from, got, brokenError{fmt.Errorf("broken off after %d bytes: %w", from+got, reason(readErr))}
		}
		if n > 0 {
			f.Progress(q.shown, from+got, total)
		}
	}
}

// newRequest returns a request for url. It names the program, since servers refuse the names of libraries.
func newRequest(ctx context.Context, url string) (*retryablehttp.Request, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		req.Header.Set("User-Agent", "crnn")
	}
	return req, err
}

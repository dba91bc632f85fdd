package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// download gets file from mirror into the directory.
func (f *fetcher) download(ctx context.Context, mirror string, file dataFile) error {
	url := mirror + file.name + ".gz"
	part := f.partial(file)
	if file.check(part.path) == nil { // complete, but a crash came before the renaming
		return f.install(part.path, file)
	}
	resumed, err := f.receive(ctx, url, file, part)
	if err != nil {
		return err
	}
	err = file.check(part.path)
	if err != nil && resumed { // the pieces may be of two versions
		part.remove()
		if _, err = f.receive(ctx, url, file, part); err != nil {
			return err
		}
		err = file.check(part.path)
	}
	if err != nil {
		part.remove()
		return fmt.Errorf("%s is not the data set's: %w", file.name+".gz", err)
	}
	return f.install(part.path, file)
}

// check returns nil if the file at path, decompressed, is the original of f.
func (f dataFile) check(path string) error {
	r, err := decompressed(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, f.size+1)) // no more, in case it is a bomb
	if err != nil {
		return gzipError(err, n)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != f.sum {
		return fmt.Errorf("its SHA-256 is %s, expected %s", sum, f.sum)
	}
	return nil
}

const (
	maxTries = 4       // consecutive connections that broke without progress
	getOn    = 1 << 16 // bytes that count as progress of a connection
)

// brokenError is the error of a transfer that can be resumed.
type brokenError struct{ error }

// receive transfers url into part, resuming when the connection breaks. It reports
// whether part was put together from several transfers.
func (f *fetcher) receive(ctx context.Context, url string, file dataFile, part partial) (resumed bool, err error) {
	for try := 1; ; try++ {
		from, got, err := f.transfer(ctx, url, file, part)
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

// transfer makes one request for url, or for the bytes that part lacks, and writes the answer to
// part. It returns the byte at which it began and the number of bytes that it got.
func (f *fetcher) transfer(ctx context.Context, url string, file dataFile, part partial) (from, got int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	from, validator := part.resumable(url)
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", validator)
	}
	resp, err := f.retrying.Do(req)
	if err != nil {
		return 0, 0, reason(err)
	}
	defer resp.Body.Close()

	var out *os.File
	switch resp.StatusCode {
	case http.StatusOK:
		from = 0
		out, err = part.create(url, validatorOf(resp.Header))
	case http.StatusPartialContent:
		var start int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != from {
			part.remove()
			return 0, 0, brokenError{errors.New("sends another part of the file than was asked for")}
		}
		out, err = part.reopen()
	case http.StatusRequestedRangeNotSatisfiable:
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
	limit := file.size + 1<<16 // compression lengthens no file by more than that
	if total > limit {
		return from, 0, fmt.Errorf("sends %d bytes, which is more than %s can have", total, file.name)
	}
	idle := time.AfterFunc(f.idle, func() {
		cancel(fmt.Errorf("sends nothing for %v", f.idle))
	})
	defer idle.Stop()
	f.Progress(file.name+".gz", from, total)
	for buf := make([]byte, 1<<16); ; {
		n, readErr := resp.Body.Read(buf)
		idle.Reset(f.idle)
		if _, err := out.Write(buf[:n]); err != nil {
			return from, got, writeError(part.path, err)
		}
		got += int64(n)
		switch {
		case from+got > limit:
			return from, got, fmt.Errorf("sends more bytes than %s can have", file.name)
		case readErr == io.EOF:
			f.Progress(file.name+".gz", from+got, from+got)
			return from, got, nil
		case readErr != nil:
			if why := context.Cause(ctx); why != nil {
				readErr = why
			}
			return from, got, brokenError{fmt.Errorf("broken off after %d bytes: %w", from+got, reason(readErr))}
		}
		if n > 0 {
			f.Progress(file.name+".gz", from+got, total)
		}
	}
}

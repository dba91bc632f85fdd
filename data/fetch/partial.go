package fetch

import (
	"crnn/data/known"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// partial is an incomplete download: the bytes, and in a second file their URL and the validator of
// their version. So bytes of one version are never appended to bytes of another.
type partial struct{ path, origin string }

func (f *fetcher) partial(file known.File) partial { return f.partialOf(file.Served()) }

func (f *fetcher) partialOf(name string) partial {
	path := filepath.Join(f.dir, "."+name+".part")
	return partial{path, path + ".origin"}
}

// resumable returns the number of bytes after which a download of url can continue, and the value
// of If-Range. It returns 0 if the download has to start again.
func (p partial) resumable(url string) (have int64, validator string) {
	origin, err := os.ReadFile(p.origin)
	if err != nil {
		return 0, ""
	}
	from, validator, _ := strings.Cut(strings.TrimSpace(string(origin)), "\n")
	info, err := os.Stat(p.path)
	if err != nil || from != url || validator == "" {
		return 0, ""
	}
	return info.Size(), validator
}

// create starts a download again.
func (p partial) create(url, validator string) (*os.File, error) {
	out, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.origin, []byte(url+"\n"+validator+"\n"), 0o644); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// reopen continues a download.
func (p partial) reopen() (*os.File, error) { return os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0) }

func (p partial) remove() {
	os.Remove(p.path)
	os.Remove(p.origin)
}

// validatorOf returns the validator of a response's version: a strong ETag, or the time of the last
// change; "" if it has neither.
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

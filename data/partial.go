package data

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// partial is a download that is not complete: the bytes, and in a second file the URL
// they came from and the validator of that version of it, so that bytes of one version
// are never appended to those of another.
type partial struct{ path, origin string }

func (f *fetcher) partial(file dataFile) partial {
	path := filepath.Join(f.dir, "."+file.name+".gz.part")
	return partial{path, path + ".origin"}
}

// resumable returns the number of bytes from which a download of url can go on, and what
// to send as If-Range; 0 if it has to begin anew.
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

// create begins a download anew.
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

// reopen goes on with a download.
func (p partial) reopen() (*os.File, error) { return os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0) }

func (p partial) remove() {
	os.Remove(p.path)
	os.Remove(p.origin)
}

// validatorOf returns what tells the version of a response: a strong ETag, or the time of
// the last change; "" if there is neither.
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

package fetch

import (
	"bytes"
	"context"
	"crnn/data"
	"crnn/data/known"
	"crnn/tests/datatest"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mirror is a server that has files and records its requests.
type mirror struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// serve starts a mirror. answer, if not nil, may answer request number n, from 0, itself; then it
// returns true.
func serve(t *testing.T, files map[string][]byte,
	answer func(w http.ResponseWriter, r *http.Request, n int) bool) *mirror {
	t.Helper()
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		n := len(m.requests)
		m.requests = append(m.requests, r)
		m.mu.Unlock()
		if answer != nil && answer(w, r, n) {
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		b, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"version-1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}))
	t.Cleanup(m.Close)
	return m
}

// asked lists the requests: the file, and the range if the request has one.
func (m *mirror) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, r := range m.requests {
		list = append(list, strings.TrimSpace(strings.TrimPrefix(r.URL.Path, "/")+" "+r.Header.Get("Range")))
	}
	return list
}

func urls(mirrors ...*mirror) []string {
	var list []string
	for _, m := range mirrors {
		list = append(list, m.URL+"/")
	}
	return list
}

// allFiles are the files of the catalog in the order in which they are fetched.
func allFiles() []string {
	var list []string
	for _, f := range known.FashionMNIST.Files {
		list = append(list, f.Name+".gz")
	}
	return list
}

// testFetcher fetches the test catalog without pauses, and has no Debian package.
func testFetcher(dir string, mirrors ...string) *fetcher {
	c, _ := testCatalog()
	f := setFetcher(&known.Set{Title: known.FashionMNIST.Title, Files: c}, dir, mirrors...)
	f.fallback = fallbackOn(func(context.Context, []known.File) error { return errors.New("no package in tests") })
	return f
}

// fallbackOn is Debian's package, got by another function.
func fallbackOn(get func(context.Context, []known.File) error) *fallback {
	return &fallback{"Debian's package", debianPackage, func(_ *fetcher, ctx context.Context, files []known.File) error {
		return get(ctx, files)
	}}
}

// setFetcher fetches a set without pauses.
func setFetcher(set *known.Set, dir string, mirrors ...string) *fetcher {
	f := newFetcher(dir, Options{Set: set, Mirrors: mirrors})
	f.retrying.RetryWaitMin = time.Millisecond
	f.pause = 0
	return f
}

// wantFetched checks that dir holds only the test catalog and the lock. The files are decompressed,
// except those that stayed as served.
func wantFetched(t *testing.T, dir string, stayed ...string) {
	t.Helper()
	c, files := testCatalog()
	want := []string{".lock"}
	for _, file := range c {
		name, content := file.Name, datatest.Gunzip(files[file.Name+".gz"])
		if slices.Contains(stayed, name+".gz") {
			name, content = name+".gz", files[name+".gz"]
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is not what was served, error %v", name, err)
		}
		want = append(want, name)
	}
	if _, err := data.Load(dir); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, datatest.List(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
}

// wantNoData checks that no file in dir has the name of a data file.
func wantNoData(t *testing.T, dir string) {
	t.Helper()
	for _, f := range known.FashionMNIST.Files {
		if path, err := find(f, dir); err != nil || path != "" {
			t.Errorf("%s is taken for data", path)
		}
	}
}

func TestFetch(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, nil)
	dir := filepath.Join(t.TempDir(), "new", "directory")
	f := testFetcher(dir, m.URL+"/")
	last := map[string][2]int64{}
	f.Progress = func(file string, done, total int64) {
		if before := last[file]; done < before[0] {
			t.Errorf("progress of %s goes back from %d to %d", file, before[0], done)
		}
		last[file] = [2]int64{done, total}
	}
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if diff := cmp.Diff(allFiles(), m.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for name, b := range files {
		if n := int64(len(b)); last[name] != [2]int64{n, n} {
			t.Errorf("progress of %s ended at %v, want %d", name, last[name], n)
		}
	}
	// The second time nothing is left to do, not even locking.
	if err := os.Remove(filepath.Join(dir, ".lock")); err != nil {
		t.Fatal(err)
	}
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(m.asked()) != 4 || len(datatest.List(t, dir)) != 4 {
		t.Errorf("requests %q, files %q", m.asked(), datatest.List(t, dir))
	}
}

func TestFetchReplacesOnlyWhatIsDamaged(t *testing.T) {
	_, files := testCatalog()
	const name = "t10k-images-idx3-ubyte"
	plain := maps.Clone(files)
	plain[name] = datatest.Gunzip(plain[name+".gz"])
	delete(plain, name+".gz")
	for _, test := range []struct {
		damaged string
		files   map[string][]byte
	}{{name + ".gz", files}, {name, plain}} {
		t.Run(test.damaged, func(t *testing.T) {
			dir := datatest.Write(t, test.files)
			if err := os.Truncate(filepath.Join(dir, test.damaged), 5000); err != nil {
				t.Fatal(err)
			}
			m := serve(t, files, nil)
			if err := testFetcher(dir, m.URL+"/").run(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantFetched(t, dir, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
			if diff := cmp.Diff([]string{name + ".gz"}, m.asked()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFetchLeavesOnesOwnDataAlone(t *testing.T) {
	own := datatest.OwnSet()
	delete(own, "train-images-idx3-ubyte")
	dir := datatest.Write(t, own)
	_, files := testCatalog()
	m := serve(t, files, nil)
	err := testFetcher(dir, m.URL+"/").run(context.Background())
	datatest.WantError(t, err, filepath.Join(dir, "train-labels-idx1-ubyte"), "not the file of Fashion-MNIST",
		"move it away")
	if len(m.asked()) > 0 || len(datatest.List(t, dir)) != 3 {
		t.Errorf("requests %q, files %q", m.asked(), datatest.List(t, dir))
	}
}

// For each way that a mirror can fail, the reason is logged and the next mirror is used.
func TestFetchFailsOver(t *testing.T) {
	_, files := testCatalog()
	status := func(code int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			http.Error(w, "a page", code)
			return true
		}
	}
	send := func(b []byte) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.Write(b); return true }
	}
	// It is cut: decompressing all of it would fail.
	bomb := datatest.Gzip(make([]byte, 8<<20))
	bomb = bomb[:len(bomb)-100]
	for _, test := range []struct {
		name     string
		answer   func(http.ResponseWriter, *http.Request, int) bool
		requests int
		want     string
	}{
		{"not found", status(404), 1, "404 Not Found"},
		{"unavailable", status(503), 3, "503 Service Unavailable"},
		{"error page", send([]byte("<!DOCTYPE html><title>Log in</title>")), 1,
			"train-images-idx3-ubyte.gz is not the data set's: its SHA-256 is"},
		{"nothing", send(nil), 1, "is not the data set's"},
		{"other data", send(datatest.Gzip(datatest.Images(make([]byte, datatest.ImageBytes)))), 1,
			"is not the data set's: its SHA-256 is"},
		{"damaged", send(files["train-images-idx3-ubyte.gz"][:5000]), 1, "is not the data set's: byte"},
		{"bomb", send(bomb), 1, "is not the data set's: its SHA-256 is"},
		{"too long", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Length", "1000000000000")
			return true
		}, 1, "sends 1000000000000 bytes, which is more than"},
		{"endless", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			for b := make([]byte, 1<<16); r.Context().Err() == nil; {
				w.Write(b)
			}
			return true
		}, 1, "sends more bytes than"},
		{"breaks off always", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Write([]byte{0x1f, 0x8b, 0})
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, maxTries, "broken off after 3 bytes: unexpected EOF"},
		{"redirects in a circle", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, 10, "stopped after 10 redirects"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := serve(t, nil, test.answer)
			good := serve(t, files, nil)
			dir := t.TempDir()
			f := testFetcher(dir, urls(bad, good)...)
			var log []string
			f.Log = func(line string) { log = append(log, line) }
			if err := f.run(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantFetched(t, dir)
			if got := bad.asked(); len(got) != test.requests {
				t.Errorf("the bad mirror was asked %q, want %d requests", got, test.requests)
			}
			if got := good.asked(); len(got) != len(allFiles()) {
				t.Errorf("the good mirror was asked %q, want one request per file", got)
			}
			host := strings.TrimPrefix(bad.URL, "http://")
			if len(log) != 1 || !strings.HasPrefix(log[0], host+": ") || !strings.Contains(log[0], test.want) {
				t.Errorf("log %q, want %s: ... %s", log, host, test.want)
			}
		})
	}
}

func TestFetchRetries(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n%3 == 2 {
			return false
		}
		w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n%2])
		return true
	})
	dir := t.TempDir()
	if err := testFetcher(dir, m.URL+"/").run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
}

// A server that asks for an hour's wait does not get it.
func TestRetryAfterIsCapped(t *testing.T) {
	c := newRetryClient(http.DefaultClient)
	resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"3600"}}}
	if wait := c.Backoff(c.RetryWaitMin, c.RetryWaitMax, 0, resp); wait != c.RetryWaitMax {
		t.Errorf("waits %v, want %v", wait, c.RetryWaitMax)
	}
}

// breakOff sends the first n bytes of the answer, then breaks the connection.
func breakOff(w http.ResponseWriter, b []byte, n int, etag string) {
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Write(b[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

const bigFile = "train-images-idx3-ubyte.gz"

func TestFetchResumesABrokenDownload(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 0 {
			breakOff(w, files[bigFile], 100000, `"version-1"`)
		}
		return false
	})
	dir := t.TempDir()
	f := testFetcher(dir, m.URL+"/")
	var zeros int
	f.Progress = func(file string, done, _ int64) {
		if file == bigFile && done == 0 {
			zeros++
		}
	}
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if zeros != 1 {
		t.Errorf("the download begins %d times, want once", zeros)
	}
	want := append([]string{bigFile, bigFile + " bytes=100000-"}, allFiles()[1:]...)
	if diff := cmp.Diff(want, m.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := m.requests[1].Header.Get("If-Range"); got != `"version-1"` {
		t.Errorf("If-Range %s", got)
	}
}

// Any number of breaks is fine as long as every connection makes progress.
func TestFetchResumesManyTimes(t *testing.T) {
	_, files := testCatalog()
	b := files[bigFile]
	m := serve(t, files, func(w http.ResponseWriter, r *http.Request, n int) bool {
		from := n * getOn
		if from+getOn >= len(b) {
			return false
		}
		if n == 0 {
			breakOff(w, b, getOn, `"version-1"`)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(b[from : from+getOn])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	dir := t.TempDir()
	if err := testFetcher(dir, m.URL+"/").run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if breaks := len(m.asked()) - 4; breaks <= maxTries {
		t.Errorf("%d breaks are too few for this test", breaks)
	}
}

// A broken fetch leaves nothing that looks like data. The next one resumes it, but only from the
// same URL and version.
func TestNextFetchResumes(t *testing.T) {
	_, files := testCatalog()
	b := files[bigFile]
	resumed := append([]string{bigFile + " bytes=100000-"}, allFiles()[1:]...)
	for _, test := range []struct {
		name        string
		etag        string // of the first download
		otherMirror bool
		spoil       bool // damage what the first download left
		answer      func(http.ResponseWriter, *http.Request, int) bool
		from        int64 // where the next download begins
		want        []string
	}{
		{name: "same version", etag: `"version-1"`, from: 100000, want: resumed},
		// Then the server sends everything, with status 200.
		{name: "other version", etag: `"version-0"`, want: resumed},
		{name: "weak validator", etag: `W/"version-1"`, want: allFiles()},
		{name: "other mirror", etag: `"version-1"`, otherMirror: true, want: allFiles()},
		{name: "damaged part", etag: `"version-1"`, spoil: true, from: 100000,
			want: append([]string{bigFile + " bytes=100000-"}, allFiles()...)},
		{name: "wrong range", etag: `"version-1"`,
			answer: func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n > 0 {
					return false
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%[1]d", len(b)-1))
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
			want: append([]string{bigFile + " bytes=100000-"}, allFiles()...)},
		{name: "shorter now", etag: `"version-1"`,
			answer: func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n == 0 {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				}
				return n == 0
			},
			want: append([]string{bigFile + " bytes=100000-"}, allFiles()...)},
		{name: "no ranges", etag: `"version-1"`,
			answer: func(w http.ResponseWriter, r *http.Request, n int) bool {
				w.Write(files[strings.TrimPrefix(r.URL.Path, "/")])
				return true
			},
			want: resumed},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			down := true
			m := serve(t, files, func(w http.ResponseWriter, r *http.Request, n int) bool {
				if down {
					breakOff(w, b, 100000, test.etag)
				}
				return test.answer != nil && test.answer(w, r, n)
			})
			f := testFetcher(dir, m.URL+"/")
			f.Progress = func(_ string, done, _ int64) {
				if done == 100000 {
					cancel()
				}
			}
			err := f.run(ctx)
			datatest.WantError(t, err, "interrupted", "fetch again to go on")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want a cancelled context", err)
			}
			wantNoData(t, dir)
			down = false

			m.mu.Lock()
			m.requests = nil
			m.mu.Unlock()
			second := m
			if test.otherMirror {
				second = serve(t, files, nil)
			}
			f = testFetcher(dir, second.URL+"/")
			if test.spoil {
				part := f.partial(f.Set.Files[0])
				if err := os.WriteFile(part.path, make([]byte, 100000), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			from := int64(-1)
			f.Progress = func(_ string, done, _ int64) {
				if from < 0 {
					from = done
				}
			}
			if err := f.run(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantFetched(t, dir)
			if from != test.from {
				t.Errorf("the download begins at byte %d, want %d", from, test.from)
			}
			if diff := cmp.Diff(test.want, second.asked()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// The crash came between the last byte and the renaming.
func TestFetchNamesACompletePart(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, nil)
	dir := t.TempDir()
	f := testFetcher(dir, m.URL+"/")
	if err := os.WriteFile(f.partial(f.Set.Files[0]).path, files[bigFile], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if diff := cmp.Diff(allFiles()[1:], m.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestFetchGivesUpASilentConnection(t *testing.T) {
	_, files := testCatalog()
	silent := serve(t, nil, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		w.Write([]byte("a few bytes"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	good := serve(t, files, nil)
	dir := t.TempDir()
	f := testFetcher(dir, urls(silent, good)...)
	f.idle = 500 * time.Millisecond // the good mirror answers well within that
	var log []string
	f.Log = func(line string) { log = append(log, line) }
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if len(log) != 1 || !strings.Contains(log[0], "broken off after 11 bytes: sends nothing for 500ms") {
		t.Errorf("log %q", log)
	}
}

// A slow connection that is never silent for long is not given up.
func TestFetchIsPatientWithASlowConnection(t *testing.T) {
	_, files := testCatalog()
	const pieces = 8
	m := serve(t, files, func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n > 0 {
			return false
		}
		b := files[bigFile]
		for i := range pieces {
			w.Write(b[i*len(b)/pieces : (i+1)*len(b)/pieces])
			w.(http.Flusher).Flush()
			time.Sleep(300 * time.Millisecond)
		}
		return true
	})
	dir := t.TempDir()
	f := testFetcher(dir, m.URL+"/")
	f.idle = 2 * time.Second // less than all the pauses, far more than each
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	if diff := cmp.Diff(allFiles(), m.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Without a network every mirror is tried once, for one file, and the error names all mirrors.
func TestFetchWithoutNetwork(t *testing.T) {
	var dialled []string
	client := newHTTPClient()
	client.Transport.(*http.Transport).DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		host, _, _ := net.SplitHostPort(addr)
		return nil, &net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	// A proxy in the environment would be dialled instead of the mirrors.
	client.Transport.(*http.Transport).Proxy = nil
	dir := t.TempDir()
	f := newFetcher(dir, Options{Client: client})
	f.fallback = fallbackOn(func(_ context.Context, files []known.File) error {
		if len(files) != 4 {
			t.Errorf("%d files are requested from the package, want 4", len(files))
		}
		return errors.New("no package in tests")
	})
	err := f.run(context.Background())
	want := []string{"no package in tests", "check the network or the proxy", "put the four files into " + dir}
	var hosts []string
	for _, m := range known.FashionMNIST.Mirrors {
		u, err := url.Parse(m)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, u.Host+": name lookup: no such host")
		hosts = append(hosts, u.Host)
	}
	datatest.WantError(t, err, want...)
	if len(dialled) != len(hosts) {
		t.Errorf("dialled %q, want each of %q once", dialled, hosts)
	}
	wantNoData(t, dir)
}

func TestFetchThroughAProxyThatRefuses(t *testing.T) {
	connects := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects++
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := newHTTPClient()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(at)
	f := testFetcher(t.TempDir(), "https://mirror.invalid/")
	f.retrying = newRetryClient(client)
	datatest.WantError(t, f.run(context.Background()), "mirror.invalid: the proxy answers 403 Forbidden")
	if connects != 1 {
		t.Errorf("the proxy was asked %d times, want once", connects)
	}
}

func TestFetchOntoAFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("the system has no /dev/full, the device that behaves like a full disk")
	}
	_, files := testCatalog()
	m := serve(t, files, nil)
	other := serve(t, files, nil)
	dir := t.TempDir()
	f := testFetcher(dir, urls(m, other)...)
	part := f.partial(f.Set.Files[0]).path
	if err := os.Symlink("/dev/full", part); err != nil {
		t.Fatal(err)
	}
	datatest.WantError(t, f.run(context.Background()), "cannot write "+part, "no space left on device", "free 100 MB")
	wantNoData(t, dir)
	if len(m.asked()) != 1 || len(other.asked()) != 0 {
		t.Errorf("requests %q and %q, want one in all: another mirror does not help", m.asked(), other.asked())
	}
}

func TestFetchIntoADirectoryThatCannotBeWritten(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("file in the way", func(t *testing.T) {
		datatest.WantError(t, testFetcher(filepath.Join(file, "dir"), m.URL+"/").run(context.Background()),
			"cannot write "+filepath.Join(file, "dir"), "not a directory")
	})
	for _, name := range []string{bigFile, strings.TrimSuffix(bigFile, ".gz")} {
		t.Run("directory in the place of "+name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
				t.Fatal(err)
			}
			datatest.WantError(t, testFetcher(dir, m.URL+"/").run(context.Background()), "cannot write "+path+":")
		})
	}
	t.Run("read-only", func(t *testing.T) {
		if runtime.GOOS == "windows" || os.Geteuid() == 0 {
			t.Skip("there is no directory that root, or anybody on Windows, may not write to by its mode")
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		datatest.WantError(t, testFetcher(dir, m.URL+"/").run(context.Background()), "cannot write "+dir, "permission denied",
			"make it writable")
	})
	if len(m.asked()) > 2 {
		t.Errorf("requests %q", m.asked())
	}
}

// A process that waits for another can be interrupted.
func TestFetchInterruptedWhileWaiting(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, nil)
	dir := t.TempDir()
	lock, err := testFetcher(dir).lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithCancel(context.Background())
	f := testFetcher(dir, m.URL+"/")
	f.Log = func(string) { cancel() }
	err = f.run(ctx)
	datatest.WantError(t, err, "fetching into "+dir+" was interrupted")
	if !errors.Is(err, context.Canceled) || len(m.asked()) > 0 {
		t.Errorf("error %v, requests %q", err, m.asked())
	}
}

func TestFetchWhoseContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, files := testCatalog()
	m := serve(t, files, nil)
	dir := t.TempDir()
	if err := testFetcher(dir, m.URL+"/").run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantNoData(t, dir)
}

// Files from mirrors stay when the package gives the rest.
func TestPackageGivesTheRest(t *testing.T) {
	_, files := testCatalog()
	m := serve(t, files, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n < 2 {
			return false
		}
		io.WriteString(w, "nothing more today")
		return true
	})
	f := testFetcher(t.TempDir(), m.URL+"/")
	var rest []string
	f.fallback = fallbackOn(func(_ context.Context, files []known.File) error {
		for _, file := range files {
			rest = append(rest, file.Name+".gz")
		}
		return nil
	})
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allFiles()[2:], rest); diff != "" {
		t.Errorf("requested from the package (-want +got):\n%s", diff)
	}
}

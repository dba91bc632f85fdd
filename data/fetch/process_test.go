package fetch

import (
	"bufio"
	"context"
	"crnn/tests/datatest"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test binary, started with these variables, is a process that fetches.
const (
	fetchInto = "CRNN_TEST_FETCH_INTO"
	fetchFrom = "CRNN_TEST_FETCH_FROM"
	fetchSet  = "CRNN_TEST_FETCH_SET" // of testSets; else the test catalog
)

func TestMain(m *testing.M) {
	dir := os.Getenv(fetchInto)
	if dir == "" {
		os.Exit(m.Run())
	}
	f := testFetcher(dir, os.Getenv(fetchFrom))
	if ts, ok := testSets()[os.Getenv(fetchSet)]; ok {
		f = setFetcher(ts.set, dir, os.Getenv(fetchFrom))
	}
	f.Log = func(line string) { fmt.Println(line) }
	if err := f.run(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startFetch starts a process that fetches, and returns a scanner of its output lines.
func startFetch(t *testing.T, dir, from string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fetchInto+"="+dir, fetchFrom+"="+from)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// holding serves files, but holds the first request after half of the big file until
// released.
func holding(t *testing.T, files map[string][]byte) (m *mirror, held chan struct{}, release func()) {
	held = make(chan struct{})
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	m = serve(t, files, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n > 0 {
			return false
		}
		b := files[bigFile]
		w.Header().Set("ETag", `"version-1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Write(b[:200000])
		w.(http.Flusher).Flush()
		close(held)
		<-released
		w.Write(b[200000:])
		return true
	})
	t.Cleanup(release) // runs before the server's cleanup, which waits for its requests
	return m, held, release
}

func TestTwoProcessesFetchOnce(t *testing.T) {
	_, files := testCatalog()
	m, held, release := holding(t, files)
	dir := t.TempDir()
	first, firstOut := startFetch(t, dir, m.URL+"/")
	<-held
	second, secondOut := startFetch(t, dir, m.URL+"/")
	if !secondOut.Scan() || secondOut.Text() != "another process is fetching into "+dir+", waiting for it" {
		t.Errorf("the second process says %q, want that it waits", secondOut.Text())
	}
	time.Sleep(300 * time.Millisecond) // time enough for a process that does not wait to begin to download
	wantNoData(t, dir)
	release()
	for firstOut.Scan() {
		t.Errorf("the first process says %q", firstOut.Text())
	}
	for secondOut.Scan() {
		t.Errorf("the second process says %q", secondOut.Text())
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	wantFetched(t, dir)
	if diff := cmp.Diff(allFiles(), m.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// A process killed in the middle leaves neither data nor a lock, and its bytes are reused.
func TestKilledFetch(t *testing.T) {
	_, files := testCatalog()
	m, held, release := holding(t, files)
	dir := t.TempDir()
	cmd, _ := startFetch(t, dir, m.URL+"/")
	<-held
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // tells that it was killed
	release()
	wantNoData(t, dir)
	if err := testFetcher(dir, m.URL+"/").run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, dir)
	// The killed process may have written any number of bytes.
	if asked := m.asked(); len(asked) != 5 || !strings.HasPrefix(asked[1], bigFile) {
		t.Errorf("requests %q", asked)
	}
}

// One process transfers the archive; others wait for it. A killed one's bytes are reused.
func TestProcessesFetchAnArchiveOnce(t *testing.T) {
	for _, name := range []string{"zip", "tar"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(fetchSet, name)
			ts := testSets()[name]
			held, released := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(released) })
			var hold sync.Once
			m := serve(t, ts.served, func(w http.ResponseWriter, r *http.Request, n int) bool {
				b := ts.served[ts.set.Archive.Name]
				first, last := rangeOf(r)
				if r.Header.Get("Range") == "" {
					last = len(b) - 1
				}
				if last-first < 300000 {
					return false
				}
				hold.Do(func() {
					w.Header().Set("ETag", `"version-1"`)
					w.Header().Set("Content-Length", fmt.Sprint(last+1-first))
					if r.Header.Get("Range") != "" {
						w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b)))
						w.WriteHeader(http.StatusPartialContent)
					}
					w.Write(b[first : first+200000])
					w.(http.Flusher).Flush()
					close(held)
					<-released
					b = nil
				})
				return b == nil
			})
			t.Cleanup(release)
			dir := t.TempDir()
			first, _ := startFetch(t, dir, m.URL+"/")
			<-held
			second, out := startFetch(t, dir, m.URL+"/")
			if !out.Scan() || out.Text() != "another process is fetching into "+dir+", waiting for it" {
				t.Errorf("the second process says %q, want that it waits", out.Text())
			}
			// Half of the bytes reach the disk before the kill.
			for part := int64(0); part < 100000; time.Sleep(time.Millisecond) {
				for _, file := range datatest.List(t, dir) {
					if info, err := os.Stat(filepath.Join(dir, file)); err == nil && strings.HasSuffix(file, "r.gz.part") ||
						err == nil && strings.HasSuffix(file, ".member.part") {
						part = info.Size()
					}
				}
			}
			ts.wantNone(t, dir)
			if err := first.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			first.Wait() // tells that it was killed
			release()
			for out.Scan() {
				t.Errorf("the second process says %q", out.Text())
			}
			if err := second.Wait(); err != nil {
				t.Error(err)
			}
			ts.wantIn(t, dir)
			resumed := false
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range m.requests {
				resumed = resumed || r.Header.Get("If-Range") != ""
			}
			if !resumed {
				t.Error("the second process began again, want it to go on")
			}
		})
	}
}

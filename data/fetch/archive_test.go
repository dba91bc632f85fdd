package fetch

import (
	"archive/tar"
	pkzip "archive/zip"
	"bytes"
	"context"
	"crnn/data/known"
	"crnn/tests/datatest"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// member is a member of an archive.
type member struct {
	name         string
	body         []byte
	deflate      bool // in a ZIP
	link, folder bool
}

func makeZIP(members ...member) []byte {
	var out bytes.Buffer
	w := pkzip.NewWriter(&out)
	for _, m := range members {
		h := &pkzip.FileHeader{Name: m.name, Method: pkzip.Store}
		if m.deflate {
			h.Method = pkzip.Deflate
		}
		if m.link {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		to, err := w.CreateHeader(h)
		if err == nil {
			_, err = to.Write(m.body)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func makeTar(members ...member) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.body)), Mode: 0o644}
		switch {
		case m.folder:
			h.Typeflag, h.Size = tar.TypeDir, 0
		case m.link:
			h.Typeflag, h.Linkname, h.Size, m.body = tar.TypeSymlink, "/etc/passwd", 0, nil
		}
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = w.Write(m.body)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return datatest.Gzip(out.Bytes())
}

// Of a ZIP, a mirror that can send parts is asked for the list of members and for the members alone.
func TestFetchPartsOfAZIP(t *testing.T) {
	ts := zippedTestSet()
	var sent int64
	m := serve(t, ts.served, func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		var first, last int64
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			t.Errorf("Range %q", r.Header.Get("Range"))
		}
		sent += last - first + 1
		return false
	})
	dir := t.TempDir()
	var progress []string
	f := setFetcher(ts.set, dir, m.URL+"/")
	f.Progress = func(file string, done, total int64) {
		if done == total {
			progress = append(progress, file)
		}
	}
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	ts.wantIn(t, dir)
	most := int64(endOfZIP)
	var shown []string
	for _, f := range ts.set.Files {
		most += int64(len(datatest.Gzip(ts.want[f.Name]))) + atMost + 100
		shown = append(shown, f.Served())
	}
	if whole := int64(len(ts.served["gzip.zip"])); sent > most || most > whole {
		t.Errorf("%d bytes were sent of %d, want at most %d", sent, whole, most)
	}
	if diff := cmp.Diff(shown, progress); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// A mirror that sends whole files only gives the whole archive.
func TestFetchAWholeZIP(t *testing.T) {
	ts := zippedTestSet()
	m := serve(t, ts.served, wholeOnly(ts.served))
	dir := t.TempDir()
	log, err := ts.fetch(dir, m.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	ts.wantIn(t, dir)
	host := strings.TrimPrefix(m.URL, "http://")
	if want := host + " sends only the whole file: downloading all of gzip.zip"; len(log) != 1 || log[0] != want {
		t.Errorf("log %q, want %q", log, want)
	}
	if asked := m.asked(); len(asked) != 2 || asked[1] != "gzip.zip" {
		t.Errorf("requests %q, want one for the list and one for all", asked)
	}
}

// rangeOf returns the first and last byte that a request asks for.
func rangeOf(r *http.Request) (first, last int) {
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last
}

// breakAt answers a request for more than 300,000 bytes with the first 100,000 of them.
func breakAt(w http.ResponseWriter, r *http.Request, b []byte) bool {
	first, last := 0, len(b)-1
	if r.Header.Get("Range") != "" {
		if first, last = rangeOf(r); last == 0 {
			last = len(b) - 1
		}
	}
	if last-first < 300000 {
		return false
	}
	w.Header().Set("ETag", `"version-1"`)
	w.Header().Set("Content-Length", fmt.Sprint(last+1-first))
	if r.Header.Get("Range") != "" {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b)))
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(b[first : first+100000])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// A broken transfer goes on where it broke, within a fetch and in the next one.
func TestFetchResumesArchives(t *testing.T) {
	for name, ts := range map[string]testSet{"zip": zippedTestSet(), "tar": tarredTestSet()} {
		archive := ts.served[ts.set.Archive.Name]
		var longs []string // the ranges of requests after the first long one
		check := func(t *testing.T) {
			t.Helper()
			if len(longs) < 2 {
				t.Fatalf("long requests %q, want at least two", longs)
			}
			first, second := -1, -1
			fmt.Sscanf(longs[1], "bytes=%d-", &second)
			if fmt.Sscanf(longs[0], "bytes=%d-", &first); first < 0 {
				first = 0
			}
			if second != first+100000 {
				t.Errorf("after %q follows %q, want it from byte %d on", longs[0], longs[1], first+100000)
			}
		}
		serveBroken := func(t *testing.T, breaks int) *mirror {
			longs = nil
			return serve(t, ts.served, func(w http.ResponseWriter, r *http.Request, _ int) bool {
				first, last := rangeOf(r)
				if r.Header.Get("Range") == "" || last == 0 || last-first > 250000 {
					longs = append(longs, r.Header.Get("Range"))
				}
				if len(longs) <= breaks {
					return breakAt(w, r, archive)
				}
				return false
			})
		}
		t.Run(name+" broken", func(t *testing.T) {
			m := serveBroken(t, 1)
			dir := t.TempDir()
			if log, err := ts.fetch(dir, m.URL+"/"); err != nil || len(log) > 0 {
				t.Fatalf("error %v, log %q", err, log)
			}
			ts.wantIn(t, dir)
			check(t)
		})
		t.Run(name+" interrupted", func(t *testing.T) {
			m := serveBroken(t, 1)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			f := setFetcher(ts.set, dir, m.URL+"/")
			f.Progress = func(_ string, done, _ int64) {
				if done == 100000 {
					cancel()
				}
			}
			err := f.run(ctx)
			datatest.WantError(t, err, "interrupted", "fetch again to go on")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			ts.wantNone(t, dir)
			if log, err := ts.fetch(dir, m.URL+"/"); err != nil || len(log) > 0 {
				t.Fatalf("error %v, log %q", err, log)
			}
			ts.wantIn(t, dir)
			check(t)
		})
	}
}

// A mirror with another version is noticed in the middle of a member.
func TestFetchOfAZIPThatChanges(t *testing.T) {
	ts := zippedTestSet()
	changed := false
	m := serve(t, ts.served, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if first, last := rangeOf(r); last-first > 300000 && !changed {
			changed = true
			return breakAt(w, r, ts.served["gzip.zip"])
		}
		if r.Header.Get("If-Range") != "" {
			w.Write([]byte("another version"))
			return true
		}
		return false
	})
	dir := t.TempDir()
	if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
		t.Fatal(err)
	}
	ts.wantIn(t, dir)
}

// The crash came between the last byte of the archive and its unpacking.
func TestFetchUnpacksACompleteArchive(t *testing.T) {
	ts := tarredTestSet()
	m := serve(t, nil, nil)
	dir := t.TempDir()
	part := setFetcher(ts.set, dir).partialOf(ts.set.Archive.Name)
	if err := os.WriteFile(part.path, ts.served[ts.set.Archive.Name], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ts.fetch(dir, m.URL+"/"); err != nil || len(m.asked()) > 0 {
		t.Fatalf("error %v, requests %q", err, m.asked())
	}
	ts.wantIn(t, dir)
}

// An archive that the user put into the directory is used, and stays.
func TestFetchFromOnesOwnArchive(t *testing.T) {
	for name, ts := range map[string]testSet{"zip": zippedTestSet(), "tar": tarredTestSet()} {
		a := ts.set.Archive
		t.Run(name, func(t *testing.T) {
			m := serve(t, nil, nil)
			dir := datatest.Write(t, ts.served)
			log, err := ts.fetch(dir, m.URL+"/")
			if err != nil || len(m.asked()) > 0 {
				t.Fatalf("error %v, requests %q", err, m.asked())
			}
			if want := "taking " + ts.set.Title + " from " + filepath.Join(dir, a.Name); len(log) != 1 || log[0] != want {
				t.Errorf("log %q, want %q", log, want)
			}
			if err := os.Remove(filepath.Join(dir, a.Name)); err != nil {
				t.Fatal(err)
			}
			ts.wantIn(t, dir)
		})
		t.Run(name+" cut", func(t *testing.T) {
			m := serve(t, ts.served, nil)
			dir := datatest.Write(t, map[string][]byte{a.Name: ts.served[a.Name][:5000]})
			_, err := ts.fetch(dir, m.URL+"/")
			datatest.WantError(t, err, filepath.Join(dir,
				a.Name)+" is not the archive of "+ts.set.Title+": its SHA-256 is ", a.Sum,
				"get it again, or move it away")
			ts.wantNone(t, dir)
			if info, err := os.Stat(filepath.Join(dir, a.Name)); err != nil || info.Size() != 5000 || len(m.asked()) > 0 {
				t.Errorf("error %v, requests %q", err, m.asked())
			}
		})
	}
}

// Archives with wrong members are refused although their checksum is the expected one. What is not asked
// for is not unpacked, whatever its name.
func TestFetchOfBadArchives(t *testing.T) {
	evil := []member{
		{name: "../evil", body: []byte("x")}, {name: "/tmp/crnn-test-evil", body: []byte("x")},
		{name: "gzip/../../evil", body: []byte("x")}, {name: "evil", link: true},
	}
	zipped, tarred := zippedTestSet(), tarredTestSet()
	var zipMembers, tarMembers []member
	for i, f := range zipped.set.Files {
		zipMembers = append(zipMembers, member{name: "gzip/" + f.Served(),
			body: datatest.Gzip(zipped.want[f.Name]), deflate: i > 1})
	}
	for _, f := range tarred.set.Files {
		tarMembers = append(tarMembers, member{name: "cifar-10-batches-bin/" + f.Name, body: tarred.want[f.Name]})
	}
	edit := func(members []member, change func(m []member) []member) []member {
		return change(slices.Clone(members))
	}
	long := make([]byte, 4<<20)
	tests := []struct {
		name   string
		change func(m []member) []member
		cut    int // bytes to cut off
		want   string
	}{
		{name: "evil names", change: func(m []member) []member { return slices.Concat(evil, m, evil) }},
		{name: "last one missing", change: func(m []member) []member { return m[:len(m)-1] }, want: "does not hold "},
		{name: "outside the folder", change: func(m []member) []member { m[0].name = filepath.Base(m[0].name); return m },
			want: "does not hold "},
		{name: "name that leads there", change: func(m []member) []member { m[0].name = "x/../" + m[0].name; return m },
			want: "does not hold "},
		{name: "link", change: func(m []member) []member { m[0].link = true; return m }, want: "is not a file"},
		{name: "too long", change: func(m []member) []member { m[0].body = long; m[0].deflate = true; return m },
			want: "more than"},
		{name: "empty", change: func(m []member) []member { m[0].body = nil; return m }, want: "empty"},
		{name: "shorter", change: func(m []member) []member {
			m[0].body = slices.Clone(m[0].body[:len(m[0].body)-known.CIFARRecord])
			return m
		}, want: "is not the data set's: "},
		{name: "longer", change: func(m []member) []member {
			m[0].body = slices.Concat(m[0].body, make([]byte, known.CIFARRecord))
			return m
		}, want: "is not the data set's: "},
		{name: "no members", change: func(m []member) []member { return nil }, want: "does not hold "},
		{name: "cut", change: func(m []member) []member { return m }, cut: 2000, want: ": "},
	}
	for _, kind := range []struct {
		name    string
		ts      testSet
		members []member
		make    func(...member) []byte
	}{{"zip", zipped, zipMembers, makeZIP}, {"tar", tarred, tarMembers, makeTar}} {
		for _, test := range tests {
			b := kind.make(edit(kind.members, test.change)...)
			b = b[:len(b)-test.cut]
			ts := archived(kind.ts.set, b, kind.ts.want)
			set := *ts.set
			ts.set = &set
			for _, way := range []string{"parts", "whole", "own"} {
				if way == "parts" && kind.name == "tar" {
					continue
				}
				t.Run(strings.Join([]string{kind.name, test.name, way}, " "), func(t *testing.T) {
					m := serve(t, ts.served, nil)
					if way == "whole" {
						m = serve(t, ts.served, wholeOnly(ts.served))
					}
					above := t.TempDir()
					dir := filepath.Join(above, "a", "b")
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					if way == "own" {
						if err := os.WriteFile(filepath.Join(dir, set.Archive.Name), b, 0o644); err != nil {
							t.Fatal(err)
						}
					}
					_, err := ts.fetch(dir, m.URL+"/")
					if test.want == "" {
						if err != nil {
							t.Fatal(err)
						}
						os.Remove(filepath.Join(dir, set.Archive.Name))
						ts.wantIn(t, dir)
					} else {
						datatest.WantError(t, err, test.want, set.Archive.Name)
						if got := datatest.List(t, dir); len(got) >= len(ts.want) && slices.Contains(got, set.Names) {
							t.Errorf("the directory is complete: %q", got)
						}
					}
					if asked := m.asked(); way == "parts" && test.name == "too long" && len(asked) != 1 {
						t.Errorf("requests %q, want one for the list of members", asked)
					}
					for _, name := range datatest.List(t, dir) {
						if strings.HasSuffix(name, ".part") || strings.Contains(name, ".tmp-") {
							t.Errorf("%s is left", name)
						}
					}
					if diff := cmp.Diff([]string{"a"}, datatest.List(t, above)); diff != "" {
						t.Errorf("outside of the directory (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff([]string{"b"}, datatest.List(t, filepath.Join(above, "a"))); diff != "" {
						t.Errorf("outside of the directory (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
	if _, err := os.Stat("/tmp/crnn-test-evil"); err == nil {
		t.Error("a member with an absolute name was unpacked")
	}
}

// A server may say that the archive has another length, or answer oddly.
func TestFetchPartsFromAnOddServer(t *testing.T) {
	ts := zippedTestSet()
	archive := ts.served["gzip.zip"]
	longer := map[string][]byte{"gzip.zip": append(slices.Clone(archive), 0)}
	partial := func(contentRange string, body []byte) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
			return true
		}
	}
	first := len(archive) - endOfZIP
	span := fmt.Sprintf("bytes %d-%d/%d", first, len(archive)-1, len(archive))
	for _, test := range []struct {
		name   string
		files  map[string][]byte
		answer func(http.ResponseWriter, *http.Request, int) bool
		want   string // "": the whole archive is downloaded
	}{
		{"longer archive", longer, nil, fmt.Sprintf("has %d bytes, expected %d", len(archive)+1, len(archive))},
		{"no Content-Range", ts.served, partial("", archive[first:]), ""},
		{"other part", ts.served, partial(fmt.Sprintf("bytes 0-%d/%d", endOfZIP-1, len(archive)), archive[:endOfZIP]), ""},
		{"cut part", ts.served, partial(span, archive[first:len(archive)-9]), "broken off"},
		{"no ZIP", ts.served, partial(span, make([]byte, endOfZIP)), "not a valid zip file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := serve(t, test.files, test.answer)
			dir := t.TempDir()
			_, err := ts.fetch(dir, m.URL+"/")
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				ts.wantIn(t, dir)
				return
			}
			datatest.WantError(t, err, "cannot fetch "+ts.set.Title, test.want)
			ts.wantNone(t, dir)
		})
	}
}

// The crash came between the last byte of a member and its use.
func TestFetchUsesACompleteMember(t *testing.T) {
	ts := zippedTestSet()
	b := ts.served["gzip.zip"]
	m := serve(t, ts.served, nil)
	dir := t.TempDir()
	f := setFetcher(ts.set, dir, m.URL+"/")
	z, err := pkzip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.find(z, ts.set.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	start, err := first.DataOffset()
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.partialOf(ts.set.Files[0].Served()+".member").create(m.URL+"/gzip.zip", `"version-1"`)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b[start : start+int64(first.CompressedSize64)])
	out.Close()
	if err := f.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	ts.wantIn(t, dir)
	for _, asked := range m.asked() {
		if strings.HasPrefix(asked, fmt.Sprintf("gzip.zip bytes=%d-", start)) {
			t.Errorf("%s was requested again", asked)
		}
	}
}

// A server may send less than was asked for, and say so.
func TestFetchPartsPieceByPiece(t *testing.T) {
	ts := zippedTestSet()
	b := ts.served["gzip.zip"]
	m := serve(t, ts.served, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		first, last := rangeOf(r)
		const most = 150000
		if last-first < most {
			return false
		}
		w.Header().Set("ETag", `"version-1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+most-1, len(b)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(b[first : first+most])
		return true
	})
	dir := t.TempDir()
	if log, err := ts.fetch(dir, m.URL+"/"); err != nil || len(log) > 0 {
		t.Fatalf("error %v, log %q", err, log)
	}
	ts.wantIn(t, dir)
}

// A list of members that is too long is not read.
func TestFetchOfAZIPWithALongList(t *testing.T) {
	ts := zippedTestSet()
	var members []member
	for i := range 4000 {
		members = append(members, member{name: fmt.Sprintf("a name that makes the list of members long %d", i)})
	}
	ts = archived(ts.set, makeZIP(members...), ts.want)
	m := serve(t, ts.served, nil)
	_, err := ts.fetch(t.TempDir(), m.URL+"/")
	datatest.WantError(t, err, "its list of members is longer than expected")
	if len(m.asked()) != 1 {
		t.Errorf("requests %q, want one", m.asked())
	}
}

func TestFetchOfAnArchiveOntoAFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("the system has no /dev/full, the device that behaves like a full disk")
	}
	ts := tarredTestSet()
	m, other := serve(t, ts.served, nil), serve(t, ts.served, nil)
	dir := t.TempDir()
	part := setFetcher(ts.set, dir).partialOf(ts.set.Archive.Name).path
	if err := os.Symlink("/dev/full", part); err != nil {
		t.Fatal(err)
	}
	ts.set.Archive.Size += 250e6 // the room is for the archive too
	_, err := ts.fetch(dir, urls(m, other)...)
	datatest.WantError(t, err, "cannot write "+part, "no space left on device", "free 300 MB")
	ts.wantNone(t, dir)
	if len(other.asked()) > 0 {
		t.Errorf("requests %q: another mirror does not help", other.asked())
	}
}

package data

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testSet is a small set of the structure of a known one.
type testSet struct {
	set    *Known
	served map[string][]byte // what a mirror has
	want   map[string][]byte // what a fetch leaves, without hidden files
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// packedTestSet has four compressed files, of which only the compressed form has a checksum, as KMNIST.
func packedTestSet() testSet {
	c, served := testCatalog()
	set := *FindKnown("kmnist")
	set.files = slices.Clone(c[:])
	want := map[string][]byte{ClassesFile: []byte("お\nき\nす\nつ\nな\nは\nま\nや\nれ\nを\n")}
	for i, f := range set.files {
		set.files[i].packed, set.files[i].sum = sha(served[f.name+".gz"]), ""
		want[f.name] = unzipped(served[f.name+".gz"])
	}
	return testSet{&set, served, want}
}

// zippedTestSet has the same four files in a ZIP, as EMNIST.
func zippedTestSet() testSet {
	set := *FindKnown("emnist-letters")
	set.files = slices.Clone(set.files)
	want := map[string][]byte{ClassesFile: []byte(strings.Join(strings.Split(upperCase, ""), "\n") + "\n")}
	var members []member
	for i := range set.files {
		f := &set.files[i]
		n := []int{600, 40}[i/2]
		raw := idxImages(noise(n*imageSize, uint64(i)))
		if f.kind == labelKind {
			labels := noise(n, uint64(i))
			for j := range labels {
				labels[j] = 1 + labels[j]%26
			}
			raw = idxLabels(labels...)
		}
		packed := zip(raw)
		sum := md5.Sum(packed)
		f.size, f.packed = int64(len(raw)), hex.EncodeToString(sum[:])
		want[f.name] = raw
		members = append(members, member{name: "gzip/" + f.name + ".gz", body: packed, deflate: i%2 == 1})
	}
	others := []member{{name: "gzip/emnist-digits-train-images-idx3-ubyte.gz", body: noise(300000, 9)}}
	return archived(&set, makeZIP(slices.Concat(others, members)...), want)
}

// tarredTestSet has six files in a .tar.gz, as CIFAR-10.
func tarredTestSet() testSet {
	set := *FindKnown("cifar10")
	set.files = slices.Clone(set.files)
	want := map[string][]byte{"batches.meta.txt": []byte(strings.Join(set.Classes, "\n") + "\n")}
	members := []member{{name: "cifar-10-batches-bin/", folder: true}}
	for i := range set.files {
		body := noise(20*cifarRecord, uint64(i))
		for at := 0; at < len(body); at += cifarRecord {
			body[at] %= 10
		}
		set.files[i].size = int64(len(body))
		want[set.files[i].name] = body
		members = append(members, member{name: "cifar-10-batches-bin/" + set.files[i].name, body: body})
	}
	members = append(members, member{name: "cifar-10-batches-bin/readme.html", body: []byte("<p>")})
	return archived(&set, makeTar(members...), want)
}

// archived returns the set whose archive has the given bytes.
func archived(set *Known, b []byte, want map[string][]byte) testSet {
	a := *set.archive
	a.size, a.sum = int64(len(b)), sha(b)
	set.archive = &a
	return testSet{set, map[string][]byte{a.name: b}, want}
}

func testSets() map[string]testSet {
	return map[string]testSet{"packed": packedTestSet(), "zip": zippedTestSet(), "tar": tarredTestSet()}
}

func unzipped(b []byte) []byte {
	r, _, err := decompress(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// fetch fetches ts into dir and returns the lines for the user.
func (ts testSet) fetch(dir string, mirrors ...string) (log []string, err error) {
	f := setFetcher(ts.set, dir, mirrors...)
	f.Log = func(line string) { log = append(log, line) }
	err = f.run(context.Background())
	return log, err
}

// wantIn checks that dir holds the set and no more than fetch's own hidden files, and can be read.
func (ts testSet) wantIn(t *testing.T, dir string) {
	t.Helper()
	want := []string{".lock", sumsFile}
	for name, content := range ts.want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is not the original, error %v", name, err)
		}
		want = append(want, name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ts.set.Classes, d.Train.Classes); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
}

// wantNone checks that no file in dir has the name of a file of the set.
func (ts testSet) wantNone(t *testing.T, dir string) {
	t.Helper()
	for _, name := range names(t, dir) {
		if _, bad := ts.want[name]; bad {
			t.Errorf("%s is there", name)
		}
	}
}

// wholeOnly makes a mirror send whole files, never parts.
func wholeOnly(files map[string][]byte) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		b, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if ok {
			w.Write(b)
		}
		return ok
	}
}

func TestFetchSets(t *testing.T) {
	for name, ts := range testSets() {
		t.Run(name, func(t *testing.T) {
			m := serve(t, ts.served, nil)
			dir := filepath.Join(t.TempDir(), "new")
			log, err := ts.fetch(dir, m.URL+"/")
			if err != nil || len(log) > 0 {
				t.Fatalf("error %v, log %q", err, log)
			}
			ts.wantIn(t, dir)
			// The second time nothing is left to do, not even locking, and nothing is in doubt.
			asked := len(m.asked())
			if err := os.Remove(filepath.Join(dir, ".lock")); err != nil {
				t.Fatal(err)
			}
			log, err = ts.fetch(dir, m.URL+"/")
			if err != nil || len(log) > 0 || len(m.asked()) != asked || slices.Contains(names(t, dir), ".lock") {
				t.Errorf("second fetch: error %v, log %q, requests %q, files %q", err, log, m.asked()[asked:], names(t, dir))
			}
		})
	}
}

// What is missing is fetched again, and nothing else. Names of the user's own stay.
func TestFetchSetsReplacesOnlyWhatIsMissing(t *testing.T) {
	for name, ts := range testSets() {
		t.Run(name, func(t *testing.T) {
			m := serve(t, ts.served, nil)
			dir := t.TempDir()
			if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
				t.Fatal(err)
			}
			gone, cut := ts.set.files[2].name, ts.set.files[3].name
			if err := errors.Join(os.Remove(filepath.Join(dir, gone)), os.Truncate(filepath.Join(dir, cut), 30)); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(filepath.Join(dir, ts.set.files[0].name))
			if err != nil {
				t.Fatal(err)
			}
			own := []byte(strings.Repeat("x", 3) + "\n" + strings.Join(ts.set.Classes[1:], "\n") + "\n")
			if err := os.WriteFile(filepath.Join(dir, ts.set.names), own, 0o644); err != nil {
				t.Fatal(err)
			}
			ts.want[ts.set.names] = own
			ts.set.Classes = append([]string{"xxx"}, ts.set.Classes[1:]...)
			if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
				t.Fatal(err)
			}
			ts.wantIn(t, dir)
			if after, err := os.Stat(filepath.Join(dir, ts.set.files[0].name)); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s was replaced, error %v", ts.set.files[0].name, err)
			}
		})
	}
}

// A file of names that is gone is written again, and a file with impossible labels fetched again.
func TestFetchSetsRepairs(t *testing.T) {
	ts := tarredTestSet()
	m := serve(t, ts.served, nil)
	dir := t.TempDir()
	if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ts.set.names)); err != nil {
		t.Fatal(err)
	}
	if log, err := ts.fetch(dir, m.URL+"/"); err != nil || len(log) > 0 || len(m.asked()) != 1 {
		t.Errorf("error %v, log %q, requests %q", err, log, m.asked())
	}
	ts.wantIn(t, dir)
	name := ts.set.files[1].name
	bad := slices.Clone(ts.want[name])
	bad[3*cifarRecord] = 10
	if err := os.WriteFile(filepath.Join(dir, name), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
		t.Fatal(err)
	}
	ts.wantIn(t, dir)
}

// Files whose checksum is not known are taken with one warning if they are whole and have the right size.
func TestFetchWarnsOfUnknownChecksums(t *testing.T) {
	for name, ts := range testSets() {
		t.Run(name, func(t *testing.T) {
			dir := writeFiles(t, ts.want)
			m := serve(t, nil, nil)
			for range 2 { // it does not make the files known
				log, err := ts.fetch(dir, m.URL+"/")
				if err != nil {
					t.Fatal(err)
				}
				if len(log) != 1 || !strings.HasPrefix(log[0], "warning: "+dir+": ") || strings.Contains(log[0], "\n") {
					t.Fatalf("log %q, want one warning", log)
				}
				for _, f := range ts.set.files {
					if want := f.name + " has SHA-256 " + sha(ts.want[f.name]); !strings.Contains(log[0], want) {
						t.Errorf("the warning lacks %q: %s", want, log[0])
					}
				}
			}
			if got := names(t, dir); len(got) != len(ts.want) || len(m.asked()) > 0 {
				t.Errorf("files %q, requests %q", got, m.asked())
			}
		})
	}
}

// Files of the right form but not of the right size are somebody's own, as are files that changed since
// the fetch: neither are replaced.
func TestFetchSetsLeaveOnesOwnDataAlone(t *testing.T) {
	for name, ts := range testSets() {
		first := ts.set.files[0]
		refused := func(t *testing.T, dir string) {
			t.Helper()
			m := serve(t, ts.served, nil)
			before, err := os.ReadFile(filepath.Join(dir, first.name))
			if err != nil {
				t.Fatal(err)
			}
			_, err = ts.fetch(dir, m.URL+"/")
			wantError(t, err, filepath.Join(dir, first.name), "in order, but not the file of "+ts.set.Title, "move it away")
			if after, err := os.ReadFile(filepath.Join(dir, first.name)); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed, error %v", err)
			}
			if len(m.asked()) > 0 {
				t.Errorf("requests %q", m.asked())
			}
		}
		t.Run(name+" other size", func(t *testing.T) {
			own := idxImages(make([]byte, 3*imageSize))
			if first.kind == nil {
				own = make([]byte, 3*cifarRecord)
			}
			refused(t, writeFiles(t, map[string][]byte{first.name: own}))
		})
		if first.kind == imageKind {
			n := uint32(first.count())
			t.Run(name+" smaller images", func(t *testing.T) {
				refused(t, writeFiles(t, map[string][]byte{first.name: idx(0x803, []uint32{n, 14, 14}, make([]byte, n*14*14))}))
			})
			t.Run(name+" fewer images", func(t *testing.T) {
				own := idx(0x803, []uint32{n / 4, 56, 56}, make([]byte, n*28*28))
				refused(t, writeFiles(t, map[string][]byte{first.name: own}))
			})
		}
		t.Run(name+" changed", func(t *testing.T) {
			dir := t.TempDir()
			if _, err := ts.fetch(dir, serve(t, ts.served, nil).URL+"/"); err != nil {
				t.Fatal(err)
			}
			changed := slices.Clone(ts.want[first.name])
			changed[len(changed)-1] ^= 1
			if err := os.WriteFile(filepath.Join(dir, first.name), changed, 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, dir)
		})
	}
}

// The checksum of a compressed file says that it is the original's. Compressed in another way, it is in
// doubt.
func TestFetchKnowsCompressedFiles(t *testing.T) {
	ts := packedTestSet()
	m := serve(t, nil, nil)
	log, err := ts.fetch(writeFiles(t, ts.served), m.URL+"/")
	if err != nil || len(log) > 0 || len(m.asked()) > 0 {
		t.Errorf("error %v, log %q, requests %q", err, log, m.asked())
	}
	name := ts.set.files[0].name
	ts.served[name+".gz"] = slices.Concat(ts.served[name+".gz"], make([]byte, 3)) // zeros are padding
	log, err = ts.fetch(writeFiles(t, ts.served), m.URL+"/")
	if err != nil || len(log) != 1 || !strings.Contains(log[0], sha(ts.want[name])) || len(m.asked()) > 0 {
		t.Errorf("compressed anew: error %v, log %q, requests %q", err, log, m.asked())
	}
}

// A file with a wrong checksum is refused, though it is whole and has the right size.
func TestFetchSetsRefuseWrongChecksums(t *testing.T) {
	for name, ts := range testSets() {
		t.Run(name, func(t *testing.T) {
			forged := map[string][]byte{}
			for name, b := range ts.served {
				if forged[name] = slices.Clone(b); strings.HasSuffix(name, "-ubyte.gz") {
					raw := unzipped(b)
					raw[len(raw)-1] ^= 1
					forged[name] = zip(raw)
				}
			}
			if a := ts.set.archive; a != nil { // of the ZIP, a byte of every member
				for at := 1000; at < len(forged[a.name])-endOfZIP; at += 100 {
					forged[a.name][at] ^= 1
				}
			}
			bad, good := serve(t, forged, nil), serve(t, ts.served, nil)
			dir := t.TempDir()
			_, err := ts.fetch(dir, urls(bad)...)
			wantError(t, err, "cannot fetch "+ts.set.Title, "is not the data set's: its ", ", expected ")
			ts.wantNone(t, dir)
			log, err := ts.fetch(dir, urls(bad, good)...)
			if err != nil || len(log) != 1 || !strings.Contains(log[0], "is not the data set's: its ") {
				t.Errorf("error %v, log %q", err, log)
			}
			ts.wantIn(t, dir)
		})
	}
}

// Every set has mirrors, and every file of it a checksum, its own or its archive's.
func TestKnownSetsCanBeFetched(t *testing.T) {
	sum := regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{32})$`)
	seen := map[string]string{}
	for _, k := range known {
		if len(k.mirrors) == 0 || k.Name != strings.ToLower(k.Name) || FindKnown(k.Name) != k {
			t.Errorf("%s: mirrors %q", k.Name, k.mirrors)
		}
		for _, m := range k.mirrors {
			if !strings.HasPrefix(m, "http") || !strings.HasSuffix(m, "/") {
				t.Errorf("%s: mirror %s, want a folder's address", k.Name, m)
			}
		}
		for _, f := range k.files {
			certain := f.sum + f.packed
			if certain == "" && k.archive != nil && !k.archive.isZIP() {
				certain = sha([]byte(k.archive.sum + f.name))
			}
			if !sum.MatchString(certain) || seen[certain] != "" {
				t.Errorf("%s: %s has checksum %q, which %s has", k.Name, f.name, certain, seen[certain])
			}
			seen[certain] = k.Name + " " + f.name
			if f.size <= 16 || f.count() < 10000 {
				t.Errorf("%s: %s has %d bytes, %d items", k.Name, f.name, f.size, f.count())
			}
		}
	}
	for name, classes := range map[string]int{"kmnist": 10, "emnist-letters": 26, "emnist-balanced": 47,
		"emnist-byclass": 62, "cifar10": 10} {
		if k := FindKnown(name); len(k.Classes) != classes || k.names == "" {
			t.Errorf("%s: %d classes in %q, want %d", name, len(k.Classes), k.names, classes)
		}
	}
	if room := known[0].room(); room != 100e6 {
		t.Errorf("Fashion-MNIST needs %d bytes, want 100 MB", room)
	}
}

// The files of the Go module, if its cache has them, have the checksums of the table.
func TestChecksumsOfMNIST(t *testing.T) {
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(cache)), filepath.FromSlash(moduleFolder))
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the module cache does not have MNIST (go mod download %s)", mnistModule)
	}
	for _, f := range FindKnown("mnist").files {
		if err := f.check(filepath.Join(folder, f.served())); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	train, err := readIDXFile(filepath.Join(folder, "train-labels-idx1-ubyte.gz"), labelKind, nil, "")
	if err != nil || recognise(train.items) != FindKnown("mnist") {
		t.Errorf("error %v, want labels of MNIST", err)
	}
}

// fakeGo replaces go by a shell script that makes a module cache of files.
func fakeGo(t *testing.T, files map[string][]byte, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the script is for a POSIX shell")
	}
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "go"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("MODULE_FILES", writeFiles(t, files))
}

func TestFetchFromTheGoModule(t *testing.T) {
	const download = `[ "$*" = "mod download ` + mnistModule + `" ] || exit 2
case "$GOFLAGS" in *-modcacherw*) ;; *) exit 2 ;; esac
mkdir -p "$GOMODCACHE/` + moduleFolder + `"
cp "$MODULE_FILES"/* "$GOMODCACHE/` + moduleFolder + `"
`
	c, files := testCatalog()
	set := *FindKnown("mnist")
	set.files = c[:]
	t.Run("good", func(t *testing.T) {
		fakeGo(t, files, download)
		dir := t.TempDir()
		var log []string
		f := setFetcher(&set, dir, []string{}...)
		f.Mirrors = []string{}
		f.Log = func(line string) { log = append(log, line) }
		if err := f.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantFetched(t, dir)
		want := []string{"no mirror can be used, trying the Go module " + mnistModule, "got MNIST from the Go module"}
		if diff := cmp.Diff(want, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
	for _, test := range []struct {
		name, script string
		spoil        bool
		want         string
	}{
		{"other data", download, true, "train-images-idx3-ubyte.gz is not the data set's: its SHA-256 is "},
		{"failure", "echo 'go: module is gone' >&2\nexit 1\n", false,
			"the Go module: go: go: module is gone; check the network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := maps.Clone(files)
			if test.spoil {
				files[bigFile] = zip(idxImages(make([]byte, imageSize)))
			}
			fakeGo(t, files, test.script)
			dir := t.TempDir()
			f := setFetcher(&set, dir)
			f.Mirrors = []string{}
			wantError(t, f.run(context.Background()), "cannot fetch MNIST", test.want)
			if diff := cmp.Diff([]string{".lock"}, names(t, dir)); diff != "" {
				t.Errorf("directory (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no go", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		f := setFetcher(&set, t.TempDir())
		f.Mirrors = []string{}
		wantError(t, f.run(context.Background()), "the Go module: go is not installed")
	})
}

// Without a network the error says what to put where.
func TestFetchSetsWithoutNetwork(t *testing.T) {
	for name, want := range map[string]string{
		"kmnist":         "put the four files into DIR",
		"emnist-byclass": "put https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip, got elsewhere, into DIR and fetch again",
		"cifar10": "put https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, got elsewhere, into DIR " +
			"and fetch again",
	} {
		t.Run(name, func(t *testing.T) {
			down := serve(t, nil, nil)
			dir := t.TempDir()
			set := FindKnown(name)
			f := setFetcher(set, dir, down.URL+"/")
			wantError(t, f.run(context.Background()), fmt.Sprintf("cannot fetch %s: %s: 404 Not Found; check the network "+
				"or the proxy (HTTPS_PROXY), or %s", set.Title, strings.TrimPrefix(down.URL, "http://"),
				strings.Replace(want, "DIR", dir, 1)))
			if len(down.asked()) != 1 {
				t.Errorf("requests %q, want one", down.asked())
			}
		})
	}
}

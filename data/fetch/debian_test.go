//go:build !windows

package fetch

import (
	"context"
	"crnn/data/known"
	"crnn/tests/datatest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeTools replaces apt-get and dpkg-deb by shell scripts. The package holds files; if stale is
// set, it cannot be found before an update. fakeTools returns the file in which apt-get records its
// requests.
func fakeTools(t *testing.T, files map[string][]byte, stale bool) (asked string) {
	t.Helper()
	tools := t.TempDir()
	asked = filepath.Join(tools, "asked")
	updated := filepath.Join(tools, "updated")
	if !stale {
		if err := os.WriteFile(updated, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range map[string]string{
		"apt-get": `for last; do true; done
echo "$last" >> "$ASKED"
case "$last" in
update) : > "$UPDATED" ;;
dataset-fashion-mnist)
	if ! [ -e "$UPDATED" ]; then
		echo 'Reading package lists...'
		echo 'E: Unable to locate package dataset-fashion-mnist' >&2
		exit 100
	fi
	: > dataset-fashion-mnist_1_all.deb ;;
esac
`,
		"dpkg-deb": `[ "$1" = -x ] && [ -e "$2" ] || exit 2
mkdir -p "$3` + known.DebianDir + `"
cp "$PACKAGED"/* "$3` + known.DebianDir + `"
`,
	} {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("ASKED", asked)
	t.Setenv("UPDATED", updated)
	t.Setenv("PACKAGED", datatest.Write(t, files))
	return asked
}

// packageFetcher has only Debian's package.
func packageFetcher(dir string) *fetcher {
	f := testFetcher(dir)
	f.Mirrors = []string{}
	f.fallback = fallbackOn(f.fromDebian)
	return f
}

func TestFetchFromThePackage(t *testing.T) {
	for _, test := range []struct {
		name  string
		stale bool
		want  []string
	}{
		{"known", false, []string{debianPackage}},
		{"lists missing", true, []string{debianPackage, "update", debianPackage}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, files := testCatalog()
			asked := fakeTools(t, files, test.stale)
			dir := filepath.Join(t.TempDir(), "[a] name*")
			// Left by a killed process.
			if err := os.MkdirAll(filepath.Join(dir, unpackPrefix+"123", "unpacked"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := packageFetcher(dir).run(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantFetched(t, dir)
			b, err := os.ReadFile(asked)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, strings.Fields(string(b))); diff != "" {
				t.Errorf("apt-get was asked for (-want +got):\n%s", diff)
			}
		})
	}
}

// A package with other content is refused too.
func TestPackageOfOtherData(t *testing.T) {
	_, files := testCatalog()
	files[bigFile] = datatest.Gzip(datatest.Images(make([]byte, datatest.ImageBytes)))
	fakeTools(t, files, false)
	dir := t.TempDir()
	datatest.WantError(t, packageFetcher(dir).run(context.Background()), bigFile+" is not the data set's", "SHA-256")
	wantNoData(t, dir)
}

func TestPackageThatCannotBeHad(t *testing.T) {
	t.Run("unknown", func(t *testing.T) {
		fakeTools(t, nil, true)
		// An update that brings nothing.
		t.Setenv("UPDATED", filepath.Join(t.TempDir(), "absent", "updated"))
		dir := t.TempDir()
		datatest.WantError(t, packageFetcher(dir).run(context.Background()),
			"Debian's package: apt-get: ", "put the four files into "+dir)
		if diff := cmp.Diff([]string{".lock"}, datatest.List(t, dir)); diff != "" {
			t.Errorf("directory (-want +got):\n%s", diff)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		fakeTools(t, nil, false)
		tar := "#!/bin/sh\necho 'tar: ./x: Cannot write: No space left on device' >&2\n" +
			"echo 'dpkg-deb: error: tar failed' >&2\nexit 2\n"
		if err := os.WriteFile(filepath.Join(filepath.Dir(os.Getenv("ASKED")), "dpkg-deb"), []byte(tar), 0o755); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		datatest.WantError(t, packageFetcher(dir).run(context.Background()), "cannot write "+dir,
			"no space left on device: free 100 MB")
		wantNoData(t, dir)
	})
	t.Run("no apt-get", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		datatest.WantError(t, packageFetcher(t.TempDir()).run(context.Background()),
			"Debian's package: apt-get is not installed")
	})
}

func TestDiagnosis(t *testing.T) {
	failed := os.ErrInvalid
	for output, want := range map[string]string{
		"": failed.Error(),
		"Reading lists\nE: Unable to locate package x\nE: more\n": "E: Unable to locate package x",
		"dpkg-deb: error: no space left\n\n":                      "dpkg-deb: error: no space left",
	} {
		if got := diagnosis(output, failed); got != want {
			t.Errorf("diagnosis of %q: %q, want %q", output, got, want)
		}
	}
}

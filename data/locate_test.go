package data

import (
	"crnn/data/known"
	"crnn/tests/datatest"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLocateOrder(t *testing.T) {
	datatest.SetCache(t)
	t.Setenv(EnvVar, "")
	inCache := known.FashionMNIST.CacheDir()
	if want := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "crnn", "fashion-mnist"); inCache != want {
		t.Errorf("cache %s, want %s", inCache, want)
	}
	if err := os.MkdirAll(inCache, 0o755); err != nil {
		t.Fatal(err)
	}
	fill := func(dir string) {
		for name, b := range datatest.OwnSet() {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	explicit, byEnv := t.TempDir(), t.TempDir()
	fill(explicit)
	fill(byEnv)

	// An incomplete data set in the cache does not count.
	if err := os.WriteFile(filepath.Join(inCache, "train-labels-idx1-ubyte"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := Locate("")
	switch {
	case Check(known.DebianDir) == nil:
		if err != nil || dir != known.DebianDir {
			t.Errorf("%s, error %v, want %s", dir, err, known.DebianDir)
		}
	default:
		datatest.WantError(t, err, inCache, known.DebianDir, "crnn data fetch", "--data", EnvVar)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
	}

	want := func(explicit, want string) {
		t.Helper()
		if dir, err := Locate(explicit); err != nil || dir != want {
			t.Errorf("%s, error %v, want %s", dir, err, want)
		}
	}
	fill(inCache)
	want("", inCache)
	t.Setenv(EnvVar, byEnv)
	want("", byEnv)
	want(explicit, explicit)
}

// A directory that the user named is never skipped for another that has the data.
func TestLocateSaysWhatANamedDirectoryLacks(t *testing.T) {
	files := datatest.OwnSet()
	good := datatest.Write(t, files)
	delete(files, "t10k-images-idx3-ubyte")
	lacking := datatest.Write(t, files)
	absent := filepath.Join(lacking, "absent")

	t.Setenv(EnvVar, good)
	_, err := Locate(lacking)
	datatest.WantError(t, err, lacking, "t10k-images-idx3-ubyte.gz")
	_, err = Locate(absent)
	datatest.WantError(t, err, "no directory "+absent)
	if errors.Is(err, ErrNotFound) {
		t.Error("the error invites to fetch the data elsewhere")
	}

	t.Setenv(EnvVar, lacking)
	_, err = Locate("")
	datatest.WantError(t, err, "environment variable "+EnvVar+": ", lacking, "t10k-images-idx3-ubyte.gz")
}

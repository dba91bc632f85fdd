package data

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLocateOrder(t *testing.T) {
	setCache(t)
	t.Setenv(EnvVar, "")
	inCache := CacheDir()
	if want := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "crnn", "fashion-mnist"); inCache != want {
		t.Errorf("cache %s, want %s", inCache, want)
	}
	if err := os.MkdirAll(inCache, 0o755); err != nil {
		t.Fatal(err)
	}
	fill := func(dir string) {
		for name, b := range ownFiles() {
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
	case Check(systemDir) == nil:
		if err != nil || dir != systemDir {
			t.Errorf("%s, error %v, want %s", dir, err, systemDir)
		}
	default:
		wantError(t, err, inCache, systemDir, "crnn data fetch", "--data", EnvVar)
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
	files := ownFiles()
	good := writeFiles(t, files)
	delete(files, "t10k-images-idx3-ubyte")
	lacking := writeFiles(t, files)
	absent := filepath.Join(lacking, "absent")

	t.Setenv(EnvVar, good)
	_, err := Locate(lacking)
	wantError(t, err, lacking, "t10k-images-idx3-ubyte.gz")
	_, err = Locate(absent)
	wantError(t, err, "no directory "+absent)
	if errors.Is(err, ErrNotFound) {
		t.Error("the error invites to fetch the data elsewhere")
	}

	t.Setenv(EnvVar, lacking)
	_, err = Locate("")
	wantError(t, err, "environment variable "+EnvVar+": ", lacking, "t10k-images-idx3-ubyte.gz")
}

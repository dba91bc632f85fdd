package train

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var someTime = time.Date(2025, 3, 4, 15, 6, 7, 0, time.UTC)

// expectError checks that err is one line with all of the words.
func expectError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, word := range append(words, "") {
		if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want one line with %q", err, word)
		}
	}
}

func TestDefaultDirs(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, want := range []string{"2025-03-04_15-06-07", "2025-03-04_15-06-07_2", "2025-03-04_15-06-07_3"} {
		d, err := CreateDir("", someTime)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if d.Path() != filepath.Join("runs", want) {
			t.Errorf("directory %s, want %s", d.Path(), want)
		}
	}
}

func TestOneRunInADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := CreateDir(path, someTime)
	if err != nil {
		t.Fatal(err)
	}
	_, err = CreateDir(path, someTime)
	expectError(t, err, path, "another run is using", "--out")

	if err := d.writeCheckpoint(testCheckpoint()); err != nil {
		t.Fatal(err)
	}
	_, _, err = OpenDir(path, 0)
	expectError(t, err, path, "another run is using")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = CreateDir(path, someTime)
	expectError(t, err, path, "holds a run already", "crnn train --resume "+path)
	d, ck, err := OpenDir(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ck.Progress.Step != 19 {
		t.Errorf("a checkpoint of step %d, want 19", ck.Progress.Step)
	}
	d.Close()
}

// The files of a run are not overwritten, and a refused directory stays as it is.
func TestCreateDirRefusesFilesOfARun(t *testing.T) {
	for name, content := range map[string]string{ConfigFile: "", BestFile: "", "other.safetensors": "",
		MetricsFile: "{}\n"} {
		path := t.TempDir()
		if err := os.WriteFile(filepath.Join(path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := CreateDir(path, someTime)
		expectError(t, err, path, name, "--out")
		if list, err := os.ReadDir(path); err != nil || len(list) != 1 {
			t.Errorf("%s: the directory holds %v (%v), want that file alone", name, list, err)
		}
	}
	path := t.TempDir()
	for _, name := range []string{MetricsFile, "notes.txt"} { // the metrics are empty
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := CreateDir(path, someTime)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

// The error of a file that cannot be written names that file, not the temporary one, and the
// remedy.
func TestCannotWrite(t *testing.T) {
	d := testDir(t)
	path := d.File(checkpointFile)
	full := &fs.PathError{Op: "write", Path: d.File(".checkpoint.tmp-01234567"), Err: syscall.ENOSPC}
	err := d.cannotWrite(path, full)
	expectError(t, err, "cannot write "+path+": "+syscall.ENOSPC.Error(), "--out")
	if strings.Contains(err.Error(), ".tmp-") || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %q, want one without the temporary file", err)
	}
	if err := d.writeCheckpoint(testCheckpoint()); err != nil {
		t.Fatal(err)
	}
	expectError(t, d.cannotWrite(path, full), "`crnn train --resume "+d.Path()+"`")

	// A directory of that name cannot be replaced.
	path = d.File(LastFile)
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	ck := testCheckpoint()
	err = d.writeWeights(ck.Last, ck.Best)
	expectError(t, err, "cannot write "+path+": ", "--resume "+d.Path())
	if strings.Contains(err.Error(), ".tmp-") {
		t.Errorf("error %q, want one without the temporary file", err)
	}
}

func TestDirectoriesThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := CreateDir(path, someTime)
		expectError(t, err, file)
	}
	absent := filepath.Join(dir, "absent")
	_, _, err := OpenDir(absent, 0)
	expectError(t, err, absent)
	_, _, err = OpenDir(file, 0)
	expectError(t, err, file, "is a file")
	_, _, err = OpenDir(dir, 0)
	expectError(t, err, dir, "holds no run")
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
		t.Error("a directory without a run was locked")
	}
}

func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	path := t.TempDir()
	half, other := filepath.Join(path, ".checkpoint.tmp-0123abcd"), filepath.Join(path, "notes.txt")
	for _, f := range []string{half, other} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := CreateDir(path, someTime)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := os.Stat(half); err == nil {
		t.Error("the half-written file is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("another file is gone")
	}
}

// A cut checkpoint is refused. The error says how to return to the previous one, and that works.
func TestDamagedCheckpointOffersTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, err := CreateDir(path, someTime)
	if err != nil {
		t.Fatal(err)
	}
	first, second := testCheckpoint(), testCheckpoint()
	first.Progress.Step = 18
	for _, ck := range []*Checkpoint{first, second} {
		if err := d.writeCheckpoint(ck); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	checkpoint, previous := filepath.Join(path, checkpointFile), filepath.Join(path, previousCheckpoint)
	b, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(checkpoint, int64(len(b)/2)); err != nil {
		t.Fatal(err)
	}
	remedy := "`mv " + previous + " " + checkpoint + "`"
	_, _, err = OpenDir(path, 0)
	expectError(t, err, checkpoint, "damaged", "after step 18", remedy)
	if err := os.Remove(checkpoint); err != nil {
		t.Fatal(err)
	}
	_, _, err = OpenDir(path, 0)
	expectError(t, err, checkpoint, "after step 18", remedy)
	if err := os.Rename(previous, checkpoint); err != nil {
		t.Fatal(err)
	}
	d, ck, err := OpenDir(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ck.Progress.Step != 18 {
		t.Errorf("a checkpoint of step %d, want 18", ck.Progress.Step)
	}
	d.Close()

	if err := os.Truncate(checkpoint, 7); err != nil {
		t.Fatal(err)
	}
	_, _, err = OpenDir(path, 0)
	expectError(t, err, checkpoint, "damaged", "no whole one before it", "--out")

	// A checkpoint of another version is not damaged: the error offers nothing.
	copy(b[8:], "\x63")
	for _, f := range []string{checkpoint, previous} {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = OpenDir(path, 0)
	expectError(t, err, checkpoint, "format 99")
	if strings.Contains(err.Error(), "mv") {
		t.Errorf("error %q offers the previous checkpoint", err)
	}
}

func TestLinkLatest(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("most users may not make symbolic links there")
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"one", "two", "two"} {
		d, err := CreateDir(filepath.Join("runs", name), someTime)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.LinkLatest(); err != nil {
			t.Fatal(err)
		}
		d.Close()
		if to, err := os.Readlink(filepath.Join("runs", "latest")); err != nil || to != name {
			t.Errorf("runs/latest leads to %q (%v), want %q", to, err, name)
		}
	}
	entries, err := os.ReadDir("runs")
	if err != nil || len(entries) != 3 {
		t.Errorf("runs holds %v (%v), want two runs and the link", entries, err)
	}

	// Something else of that name stays, and the error leaves nothing behind.
	if err := os.MkdirAll(filepath.Join("other", "runs", "latest"), 0o700); err != nil {
		t.Fatal(err)
	}
	other, err := CreateDir(filepath.Join("other", "runs", "one"), someTime)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	expectError(t, other.LinkLatest(), filepath.Join("other", "runs", "latest")+" does not lead to this run: ")
	if list, err := os.ReadDir(filepath.Join("other", "runs")); err != nil || len(list) != 2 || !list[0].IsDir() {
		t.Errorf("the folder of runs holds %v (%v), want latest and the run", list, err)
	}

	// A run elsewhere leaves no link. Opening runs/latest opens the run that it leads to.
	d, err := CreateDir("elsewhere", someTime)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.LinkLatest(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat("latest"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a link beside a run outside runs")
	}
	if err := WriteCheckpoint(filepath.Join("runs", "two", checkpointFile), testCheckpoint()); err != nil {
		t.Fatal(err)
	}
	latest, _, err := OpenDir(filepath.Join("runs", "latest"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer latest.Close()
	if latest.Path() != filepath.Join("runs", "two") {
		t.Errorf("runs/latest was opened as %s", latest.Path())
	}
}

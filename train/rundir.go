package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"

	"crnn/internal/atomicfile"
	"crnn/internal/osfile"
	"crnn/model"
)

// The files of a run, in its directory. Package report writes MetricsFile, one event per line, and
// the figures.
const (
	ConfigFile         = "config.yaml"
	BestFile           = "best.safetensors"
	LastFile           = "last.safetensors"
	checkpointFile     = "checkpoint"
	previousCheckpoint = "checkpoint.previous"
	lockFile           = ".lock"
	MetricsFile        = "metrics.jsonl"
)

// runsDir is the folder of the runs without a given directory, latestLink the name of the link in
// it to the latest run.
const (
	runsDir    = "runs"
	latestLink = "latest"
)

// Dir is the directory of a run, which no other process may use until Close.
type Dir struct {
	path  string
	lock  *flock.Flock
	saved Config // the settings in the directory's checkpoint
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// File returns the path of a file in the directory.
func (d *Dir) File(name string) string { return filepath.Join(d.path, name) }

// Close lets others use the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// CreateDir makes the directory of a new run at path, or runs/<date-time> if path is empty. It may
// exist already, unless it holds a run or files of one.
func CreateDir(path string, now time.Time) (*Dir, error) {
	if path == "" {
		var err error
		if path, err = makeDefaultDir(now); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("%w; give a directory for the run that can be made and written", err)
	}
	d := &Dir{path: path}
	if _, err := os.Lstat(d.File(lockFile)); errors.Is(err, fs.ErrNotExist) {
		if err := d.checkEmpty(); err != nil { // before a lock is left there
			return nil, err
		}
	}
	d, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	if err := d.checkEmpty(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// checkEmpty returns an error if the directory holds files of a run.
func (d *Dir) checkEmpty() error {
	if d.holdsRun() {
		return fmt.Errorf("%s holds a run already: go on with `crnn train --resume %s`, or give another --out",
			d.path, d.path)
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		taken := name == ConfigFile || filepath.Ext(name) == filepath.Ext(BestFile)
		if name == MetricsFile {
			info, err := e.Info()
			taken = err != nil || info.Size() > 0
		}
		if taken {
			return fmt.Errorf("%s holds the %s of a run already, but no checkpoint: give another --out", d.path, name)
		}
	}
	return nil
}

// makeDefaultDir makes a directory that did not exist.
func makeDefaultDir(now time.Time) (string, error) {
	if err := os.MkdirAll(runsDir, 0o755); err != nil {
		return "", fmt.Errorf("%w; give a directory for the run with --out", err)
	}
	base := filepath.Join(runsDir, now.Format("2006-01-02_15-04-05"))
	for i := 1; ; i++ {
		path := base
		if i > 1 { // another run began in the same second
			path = fmt.Sprintf("%s_%d", base, i)
		}
		err := os.Mkdir(path, 0o755)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrExist) || i == 1000 {
			return "", fmt.Errorf("%w; give a directory for the run with --out", err)
		}
	}
}

// OpenDir opens the directory of a run in order to resume it, and reads its checkpoint, which it
// extends to the given number of epochs (see Extend; 0: the run's own). The file on disk stays as
// it is. If it is damaged, the error says how to continue from the previous one.
func OpenDir(path string, epochs int) (*Dir, *Checkpoint, error) {
	// Resolve links: runs/latest may lead to another run later.
	resolved, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s does not exist: give the directory of a run to resume", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w; give the directory of a run to resume", err)
	}
	path = resolved
	if info, err := os.Stat(path); err != nil {
		return nil, nil, err
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a file: give the directory of a run to resume", path)
	}
	if d := (&Dir{path: path}); !d.holdsRun() {
		return nil, nil, fmt.Errorf("%s holds no run to resume: %s has no %s", path, path, checkpointFile)
	}
	d, err := lockDir(path)
	if err != nil {
		return nil, nil, err
	}
	ck, err := d.readCheckpoint()
	if err == nil {
		d.saved = ck.Config
		if epochs != 0 {
			err = ck.Extend(epochs)
		}
	}
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d, ck, nil
}

// lockDir takes the directory for this process alone, and removes the half-written files of killed
// processes.
func lockDir(path string) (*Dir, error) {
	d := &Dir{path: path}
	d.lock = flock.New(d.File(lockFile), flock.SetPermissions(0o644))
	locked, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot lock the run's directory: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("another run is using %s: wait for its end, or train into another directory, with --out", path)
	}
	if err := atomicfile.RemoveStale(path); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Dir) holdsRun() bool {
	for _, name := range []string{checkpointFile, previousCheckpoint} {
		if _, err := os.Lstat(d.File(name)); err == nil {
			return true
		}
	}
	return false
}

// readCheckpoint reads the run's checkpoint. If it is damaged, the error offers the previous one.
func (d *Dir) readCheckpoint() (*Checkpoint, error) {
	path, previous := d.File(checkpointFile), d.File(previousCheckpoint)
	ck, err := ReadCheckpoint(path)
	if err == nil {
		return ck, nil
	}
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	before, previousErr := ReadCheckpoint(previous)
	if previousErr != nil {
		return nil, fmt.Errorf("%w, and there is no whole one before it: start again with another --out", err)
	}
	return nil, fmt.Errorf("%w; the one before it, after step %d, is whole: to go on from there, "+
		"`mv %s %s` and resume again",
		err, before.Progress.Step, previous, path)
}

// writeCheckpoint replaces the run's checkpoint and keeps the previous one. A whole checkpoint
// exists at any time.
func (d *Dir) writeCheckpoint(ck *Checkpoint) error {
	path, previous := d.File(checkpointFile), d.File(previousCheckpoint)
	if err := atomicfile.Preserve(path, previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.cannotWrite(previous, err)
	}
	if err := WriteCheckpoint(path, ck); err != nil {
		return d.cannotWrite(path, err)
	}
	d.saved = ck.Config
	return nil
}

// writeWeights writes the weights of the last and of the best model.
func (d *Dir) writeWeights(last, best *model.State) error {
	for _, f := range []struct {
		name  string
		state *model.State
	}{{LastFile, last}, {BestFile, best}} {
		if err := model.WriteWeights(d.File(f.name), f.state); err != nil {
			return d.cannotWrite(d.File(f.name), err)
		}
	}
	return nil
}

// cannotWrite returns the error of failing to write the file at path. err is the cause; it names a
// temporary file.
func (d *Dir) cannotWrite(path string, err error) error {
	remedy := "give a directory with room, that can be written, with --out"
	if d.holdsRun() {
		remedy = fmt.Sprintf("once there is room and the right to write, "+
			"`crnn train --resume %s` goes on from the last checkpoint", d.path)
	}
	return fmt.Errorf("cannot write %s: %w; %s", path, osfile.Cause(err), remedy)
}

// LinkLatest makes runs/latest lead to the run, if it lies in a folder named runs. An error does
// not harm the run: some file systems have no links, Windows lets few users make them, and
// something else may have the name.
func (d *Dir) LinkLatest() error {
	if err := d.linkLatest(); err != nil {
		return fmt.Errorf("%s does not lead to this run: %w", filepath.Join(filepath.Dir(d.path), latestLink), err)
	}
	return nil
}

func (d *Dir) linkLatest() error {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	folder, name := filepath.Split(path)
	if filepath.Base(folder) != runsDir || name == latestLink {
		return nil
	}
	// A link cannot be changed, but a new one can be renamed over it.
	link := filepath.Join(folder, latestLink)
	temp := filepath.Join(folder, "."+latestLink+"-"+name)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(name, temp); err != nil {
		return err
	}
	if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink != 0 && runtime.GOOS == "windows" {
		os.Remove(link) // Windows does not rename over a directory link; Rename fails if it is still there
	}
	if err := os.Rename(temp, link); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

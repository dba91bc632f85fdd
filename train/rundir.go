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
	"crnn/model"
)

// The files of a run that this package writes, in its directory.
const (
	ConfigFile         = "config.yaml"
	BestFile           = "best.safetensors"
	LastFile           = "last.safetensors"
	checkpointFile     = "checkpoint"
	previousCheckpoint = "checkpoint.previous"
	lockFile           = ".lock"
)

// runsDir is the folder of the runs that were given no directory of their own, and the
// name of the link in it to the run that was started last.
const (
	runsDir    = "runs"
	latestLink = "latest"
)

// Dir is the directory of a run, which no other process may use until Close.
type Dir struct {
	path string
	lock *flock.Flock
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// File returns the path of a file in the directory.
func (d *Dir) File(name string) string { return filepath.Join(d.path, name) }

// Close lets others use the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// CreateDir makes the directory of a new run at path, or runs/<date-time> if path is
// empty. It may exist already, unless it holds a run.
func CreateDir(path string, now time.Time) (*Dir, error) {
	if path == "" {
		var err error
		if path, err = makeDefaultDir(now); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("%w; give a directory for the run that can be made and written", err)
	}
	d, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	if d.holdsRun() {
		d.Close()
		return nil, fmt.Errorf("%s holds a run already: go on with `crnn train --resume %s`, or give another --out", path, path)
	}
	return d, nil
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

// OpenDir opens the directory of a run in order to resume it, and reads its checkpoint,
// which it extends to the given number of epochs (see Extend; 0: the run's own). If the
// checkpoint is damaged, the error says how to go on from the one before it.
func OpenDir(path string, epochs int) (*Dir, *Checkpoint, error) {
	// The run that runs/latest leads to now may not be the one that it leads to later.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; give the directory of a run to resume", err)
	}
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
	if err == nil && epochs != 0 && epochs != ck.Config.Epochs {
		// On the disk too, or else a kill would leave a finished run whose test is dropped
		// from its metrics.
		if err = ck.Extend(epochs); err == nil {
			err = d.writeCheckpoint(ck)
		}
	}
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d, ck, nil
}

// lockDir takes the directory for this process alone, and removes what processes that
// were killed left half-written in it.
func lockDir(path string) (*Dir, error) {
	d := &Dir{path: path}
	d.lock = flock.New(d.File(lockFile), flock.SetPermissions(0o644))
	locked, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot lock the run's directory: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("another run is using %s: wait for its end, or give another --out", path)
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

// readCheckpoint reads the run's checkpoint. If it is damaged the error offers the one before.
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
	return nil, fmt.Errorf("%w; the one before it, after step %d, is whole: to go on from there, `mv %s %s` and resume again",
		err, before.Progress.Step, previous, path)
}

// writeCheckpoint replaces the run's checkpoint and keeps the one before it. At any instant
// a whole checkpoint is there.
func (d *Dir) writeCheckpoint(ck *Checkpoint) error {
	path := d.File(checkpointFile)
	if err := atomicfile.Preserve(path, d.File(previousCheckpoint)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return WriteCheckpoint(path, ck)
}

// writeWeights writes the weights of the last and of the best model.
func (d *Dir) writeWeights(last, best *model.State) error {
	if err := model.WriteWeights(d.File(LastFile), last); err != nil {
		return err
	}
	return model.WriteWeights(d.File(BestFile), best)
}

// LinkLatest makes runs/latest lead to the run, if it lies in a folder named runs. Windows
// lets few users make such links: there it does nothing for the others.
func (d *Dir) LinkLatest() error {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	folder, name := filepath.Split(path)
	if filepath.Base(folder) != runsDir || name == latestLink {
		return nil
	}
	// A link cannot be replaced, but another renamed in its place.
	link := filepath.Join(folder, latestLink)
	temp := filepath.Join(folder, "."+latestLink+"-"+name)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(name, temp); err != nil {
		if runtime.GOOS == "windows" {
			return nil
		}
		return err
	}
	if err := os.Rename(temp, link); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

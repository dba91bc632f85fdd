package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"crnn/internal/atomicfile"
	"crnn/train"
)

// Metrics are the events of a run, each kind in order. Metrics from a file have no confusion
// matrices.
//
// The file is train.MetricsFile: one JSON object per line, whose "event" names its kind. A number
// that is not finite, such as the loss of a run that diverged, is written as null, and null is read
// as NaN.
type Metrics struct {
	Steps  []train.Step
	Epochs []train.Epoch
	Tests  []train.Test
}

// add appends e. An epoch that was made again, after a resume from before its end, replaces the old
// one and all later ones.
func (m *Metrics) add(e train.Event) {
	switch e := e.(type) {
	case train.Step:
		m.Steps = append(m.Steps, e)
	case train.Epoch:
		for n := len(m.Epochs); n > 0 && m.Epochs[n-1].Epoch >= e.Epoch; n-- {
			m.Epochs = m.Epochs[:n-1]
		}
		m.Epochs = append(m.Epochs, e)
	case train.Test:
		m.Tests = append(m.Tests, e)
	}
}

// BestEpoch returns the epoch of the highest validation accuracy, the first among equals, or nil
// without validation.
func (m *Metrics) BestEpoch() *train.Epoch {
	var best *train.Epoch
	for i, e := range m.Epochs {
		if e.ValAccuracy == nil || math.IsNaN(*e.ValAccuracy) {
			continue
		}
		if best == nil || *e.ValAccuracy > *best.ValAccuracy {
			best = &m.Epochs[i]
		}
	}
	return best
}

// MetricsWriter appends events to the metrics of a run.
type MetricsWriter struct{ f *os.File }

// OpenMetrics opens the metrics of the run in dir for appending, and creates the file if it does
// not exist.
func OpenMetrics(dir string) (*MetricsWriter, error) {
	f, err := os.OpenFile(filepath.Join(dir, train.MetricsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &MetricsWriter{f}, nil
}

// Write appends one event in a single write, so that a killed process leaves whole lines. Epochs
// and tests are on the disk when it returns.
func (w *MetricsWriter) Write(e train.Event) error {
	line, err := encode(e)
	if err != nil {
		return err
	}
	if _, err := w.f.Write(append(line, '\n')); err != nil {
		return err
	}
	if _, isStep := e.(train.Step); isStep {
		return nil
	}
	return w.f.Sync()
}

// Close closes the file.
func (w *MetricsWriter) Close() error { return w.f.Close() }

// ReadMetrics reads the metrics of the run in dir. The last line may be cut, since the run may just
// be writing it; any other damaged line is an error that names file and line.
func ReadMetrics(dir string) (Metrics, error) {
	var m Metrics
	f, err := openMetrics(dir)
	if err != nil {
		return m, err
	}
	defer f.Close()
	err = readLines(f, f.Name(), func(line []byte) error {
		e, err := decode(line)
		if e != nil {
			m.add(e)
		}
		return err
	})
	if err != nil {
		return Metrics{}, err
	}
	return m, nil
}

// openMetrics opens the metrics of the run in dir for reading.
func openMetrics(dir string) (*os.File, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: give the directory of a run, as crnn train makes it", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file: give the directory of a run, as crnn train makes it", dir)
	}
	path := filepath.Join(dir, train.MetricsFile)
	info, err = os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not the directory of a run: it holds no %s", dir, train.MetricsFile)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file: give the directory of a run, as crnn train makes it", path)
	}
	return os.Open(path)
}

// TruncateMetrics keeps only the metrics of the first step steps of the run in dir, for a resume
// from there. Later steps and epochs are dropped, and so is every test. The file is replaced as a
// whole. A missing file is no error.
func TruncateMetrics(dir string, step int64) error {
	path := filepath.Join(dir, train.MetricsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	// Events are in the order of their steps, with a test last. So all lines after the first
	// dropped one are dropped too, damaged or not.
	errEnd := errors.New("end of the kept events")
	err = readLines(f, path, func(line []byte) error {
		e, err := decode(line)
		if err != nil {
			return err
		}
		switch e := e.(type) {
		case train.Step:
			if e.Step > step {
				return errEnd
			}
		case train.Epoch:
			if e.Step > step {
				return errEnd
			}
		case train.Test:
			return errEnd
		}
		kept.Write(line)
		kept.WriteByte('\n')
		return nil
	})
	f.Close() // Windows needs it closed before the file is replaced
	if err != nil && !errors.Is(err, errEnd) {
		return err
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(kept.Bytes())
		return err
	})
}

// maxLine is many times the longest written line, in bytes. A longer line is damage.
const maxLine = 1 << 16

// readLines calls visit for every line of r, and adds name and line number to its error. An error
// in a last line without line break is ignored: the line is cut.
func readLines(r io.Reader, name string, visit func(line []byte) error) error {
	buffered := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		line, err := buffered.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("%s:%d: damaged: the line is longer than %d bytes", name, number, maxLine)
		case err != nil && err != io.EOF:
			return err
		}
		last := err == io.EOF
		if last && len(line) == 0 {
			return nil
		}
		if err := visit(bytes.TrimRight(line, "\r\n")); err != nil && !last {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if last {
			return nil
		}
	}
}

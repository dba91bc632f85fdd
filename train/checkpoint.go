package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"crnn/internal/atomicfile"
	"crnn/internal/osfile"
	"crnn/model"
	"crnn/model/safetensors"
)

// A checkpoint file is
//
//	 8 bytes  "CRNNCKPT"
//	 4 bytes  checkpointVersion, little-endian
//	 8 bytes  length of the body, little-endian
//	32 bytes  SHA-256 of the body
//	the body  a safetensors file: the network's tensors with the prefix "last.", the
//	          optimiser's arrays ("adam_m.", "adam_v."), the best model's tensors ("best."),
//	          and a checkpointRecord as JSON in the metadata "run"
//
// Its version changes when the previous version of crnn could not continue from it to the same
// bits.
const (
	checkpointMagic   = "CRNNCKPT"
	checkpointVersion = 1
)

// optimizer is the optimiser of every run.
var optimizer model.Optimizer = model.DefaultAdam

// Checkpoint is a run between two steps: everything needed to continue it to the same bits.
type Checkpoint struct {
	Config   Config
	Progress Progress
	DataID   string // of the data set, see dataID

	Last      *model.State         // the network
	Optimizer model.OptimizerState // the optimiser's arrays
	Best      *model.State         // nil before the first epoch's end
}

// Progress says how far a run has come.
type Progress struct {
	Step  int64 // steps made
	Epoch int   // epochs ended

	// Of the current epoch.
	EpochSteps int // steps made
	Totals     model.Totals
	Seconds    float64

	// Of the finished epochs.
	BestEpoch    int     // the best model's epoch, 0 before the first
	BestAccuracy float64 // validation accuracy of the best model, percent
	BestLoss     float64 // smallest validation loss
	Waited       int     // epochs since BestLoss

	Test *Test // the result of a finished run
}

// checkpointRecord is the part of a checkpoint beside tensors.
type checkpointRecord struct {
	Config   Config
	Sizes    model.Config
	Progress Progress
	DataID   string
}

// ErrDamaged is the error of a checkpoint that was cut or changed.
var ErrDamaged = errors.New("the checkpoint is damaged")

// Extend lets the run go on to the given number of epochs. It returns a *FieldError for fewer
// epochs than the run was started with. It returns one for more epochs too if the learning rate
// depends on their number. A run that ended for another reason, --max-steps or early stopping,
// stays finished.
func (ck *Checkpoint) Extend(epochs int) error {
	c := ck.Config
	c.Epochs = epochs
	if err := c.Validate(); err != nil {
		return err
	}
	if epochs < ck.Config.Epochs {
		return &FieldError{"epochs", epochs,
			fmt.Sprintf("must be at least %d, the number that the run was started with", ck.Config.Epochs)}
	}
	if epochs > ck.Config.Epochs && c.LRSchedule == "cosine" {
		return &FieldError{"epochs", epochs,
			fmt.Sprintf("must stay %d: the cosine schedule spreads over all epochs, "+
				"and more would change the learning rates of those already made; start a new run", ck.Config.Epochs)}
	}
	ck.Config = c
	if !ck.Progress.done(c) {
		ck.Progress.Test = nil
	}
	return nil
}

// Finished returns the test's result, or nil if the run can go on.
func (ck *Checkpoint) Finished() *Test { return ck.Progress.Test }

// done reports whether the last epoch of a run has ended.
func (p *Progress) done(c Config) bool {
	return p.EpochSteps == 0 && // else the current epoch has not ended
		(p.Epoch >= c.Epochs || c.MaxSteps > 0 && p.Step >= int64(c.MaxSteps) || p.stoppedEarly(c))
}

func (p *Progress) stoppedEarly(c Config) bool {
	return c.EarlyStopping > 0 && p.Waited >= c.EarlyStopping
}

// valid reports whether a run can have the progress p. It guards the loop's arithmetic against a
// forged file with a right checksum.
func (p *Progress) valid() bool {
	for _, x := range []float64{p.Totals.Loss, p.Seconds, p.BestAccuracy, p.BestLoss} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return p.Step >= 0 && p.Epoch >= 0 && p.Epoch <= maxEpochs &&
		p.EpochSteps >= 0 && p.EpochSteps <= math.MaxInt32 && int64(p.EpochSteps) <= p.Step &&
		p.BestEpoch >= 0 && p.BestEpoch <= p.Epoch && (p.BestEpoch == 0) == (p.Epoch == 0) && p.Waited >= 0
}

// WriteCheckpoint replaces the file at path by ck.
func WriteCheckpoint(path string, ck *Checkpoint) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return encodeCheckpoint(w, ck) })
}

func encodeCheckpoint(w io.Writer, ck *Checkpoint) error {
	record, err := json.Marshal(checkpointRecord{ck.Config, ck.Last.Config, ck.Progress, ck.DataID})
	if err != nil {
		return err
	}
	layout := ck.Last.Layout()
	f := safetensors.File{Metadata: map[string]string{"run": string(record)}}
	f.Tensors = append(f.Tensors, ck.Last.Tensors("last.")...)
	for _, name := range optimizer.States() {
		f.Tensors = append(f.Tensors, layout.ParamTensors(name+".", ck.Optimizer[name])...)
	}
	if ck.Best != nil {
		f.Tensors = append(f.Tensors, ck.Best.Tensors("best.")...)
	}
	// The body is written twice, first for its length and checksum, so it never lies in memory as a
	// whole.
	sum, length := sha256.New(), byteCount(0)
	if err := safetensors.Write(io.MultiWriter(sum, &length), &f); err != nil {
		return err
	}
	if _, err := w.Write(sealOf(uint64(length), sum.Sum(nil))); err != nil {
		return err
	}
	return safetensors.Write(w, &f)
}

// sealOf returns the header of a checkpoint whose body has the given length and SHA-256.
func sealOf(length uint64, sum []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), checkpointVersion)
	b = binary.LittleEndian.AppendUint64(b, length)
	return append(b, sum...)
}

// byteCount counts what is written to it.
type byteCount uint64

func (n *byteCount) Write(b []byte) (int, error) {
	*n += byteCount(len(b))
	return len(b), nil
}

// ReadCheckpoint reads the file at path. If it is cut or changed, the error wraps ErrDamaged.
func ReadCheckpoint(path string) (*Checkpoint, error) {
	f, info, err := osfile.Open(path, "a checkpoint")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ck, err := decodeCheckpoint(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ck, nil
}

// decodeCheckpoint reads a file of the given size in bytes.
func decodeCheckpoint(r io.ReadSeeker, size int64) (*Checkpoint, error) {
	damaged := func(format string, args ...any) (*Checkpoint, error) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
	}
	var header struct {
		Magic   [8]byte
		Version uint32
		Length  uint64
		Sum     [sha256.Size]byte
	}
	headerSize := int64(binary.Size(header))
	if size < headerSize {
		return damaged("%d bytes, expected a header of %d", size, headerSize)
	}
	if err := binary.Read(r, binary.LittleEndian, &header); err != nil {
		return nil, err
	}
	if string(header.Magic[:]) != checkpointMagic {
		return damaged("it does not begin with %s", checkpointMagic)
	}
	if header.Version != checkpointVersion {
		return nil, fmt.Errorf("a checkpoint of format %d, expected %d: resume with the version of crnn that wrote it",
			header.Version, checkpointVersion)
	}
	if header.Length != uint64(size-headerSize) {
		return damaged("%d bytes after the header, expected %d", size-headerSize, header.Length)
	}
	// Check the sum of the whole body first: after it, the file is known to be unchanged.
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), header.Sum[:]) {
		return damaged("its SHA-256 is not the one in its header")
	}
	if _, err := r.Seek(headerSize, io.SeekStart); err != nil {
		return nil, err
	}
	body, err := safetensors.Read(r, size-headerSize)
	if err != nil {
		return damaged("%w", err)
	}
	ck, err := checkpointFrom(body)
	if err != nil {
		return damaged("%w", err)
	}
	return ck, nil
}

func checkpointFrom(f *safetensors.File) (*Checkpoint, error) {
	// A checkpoint of an earlier version lacks the settings that it did not have.
	record := checkpointRecord{Config: Default(), Sizes: model.Config{ImageChannels: 1}}
	if err := json.Unmarshal([]byte(f.Metadata["run"]), &record); err != nil {
		return nil, fmt.Errorf("its record of the run: %w", err)
	}
	if err := record.Config.Validate(); err != nil {
		return nil, err
	}
	if err := record.Sizes.Validate(); err != nil {
		return nil, err
	}
	if !record.Progress.valid() {
		return nil, errors.New("its record of the run holds impossible numbers")
	}
	ck := &Checkpoint{Config: record.Config, Progress: record.Progress, DataID: record.DataID,
		Optimizer: model.OptimizerState{}}
	layout := record.Sizes.Layout()
	var err error
	if ck.Last, err = model.StateFrom(f, "last.", record.Sizes); err != nil {
		return nil, err
	}
	for _, name := range optimizer.States() {
		if ck.Optimizer[name], err = layout.ParamsFrom(f, name+"."); err != nil {
			return nil, err
		}
	}
	if ck.Progress.BestEpoch > 0 {
		if ck.Best, err = model.StateFrom(f, "best.", record.Sizes); err != nil {
			return nil, err
		}
	}
	return ck, nil
}

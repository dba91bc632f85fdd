package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crnn/model"
	"crnn/model/safetensors"
)

// testCheckpoint is the checkpoint of a small network in the middle of its third epoch.
func testCheckpoint() *Checkpoint {
	sizes := model.Default()
	sizes.Channels, sizes.Kernel, sizes.InputSize, sizes.HiddenSize, sizes.NumLayers = [2]int{1, 1}, 1, 49, 2, 1
	c := Default()
	c.Seed, c.LR, c.Out = math.MaxUint64, 0.1+0.2, "runs/one"
	last, best := model.NewState(sizes, 1), model.NewState(sizes, 2)
	last.NumBatchesTracked, best.NumBatchesTracked = 19, 8
	m, v := model.NewState(sizes, 3).Params, model.NewState(sizes, 4).Params
	return &Checkpoint{
		Config: c, DataID: "some data", Last: last, Best: best, Optimizer: model.OptimizerState{"adam_m": m, "adam_v": v},
		Progress: Progress{
			Step: 19, Epoch: 2, EpochSteps: 3, Totals: model.Totals{Loss: 1.0 / 3, Hits: 7, Count: 24}, Seconds: 0.25,
			BestEpoch: 1, BestAccuracy: 100.0 / 3, BestLoss: 2.2250738585072014e-308, Waited: 1,
		},
	}
}

func encode(t testing.TB, ck *Checkpoint) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encodeCheckpoint(&b, ck); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// seal returns the body of a checkpoint with the header before it.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(sealOf(uint64(len(body)), sum[:]), body...)
}

func decode(b []byte) (*Checkpoint, error) {
	return decodeCheckpoint(bytes.NewReader(b), int64(len(b)))
}

const checkpointHeader = 8 + 4 + 8 + sha256.Size

func TestCheckpointRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*Checkpoint){
		"in an epoch": func(*Checkpoint) {},
		"at the start": func(ck *Checkpoint) {
			ck.Progress, ck.Best = Progress{}, nil
		},
		"finished": func(ck *Checkpoint) {
			ck.Progress.EpochSteps, ck.Progress.Totals = 0, model.Totals{}
			ck.Progress.Test = &Test{Loss: 0.3, Accuracy: 90.33, Epoch: 1}
		},
	} {
		want := testCheckpoint()
		change(want)
		got, err := decode(encode(t, want))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A flipped bit or a missing end never passes.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	whole := encode(t, testCheckpoint())
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(whole)
		if rapid.Bool().Draw(t, "cut") {
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
		} else {
			bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
			b[bit/8] ^= 1 << (bit % 8)
		}
		_, err := decode(b)
		if err == nil {
			t.Fatal("no error")
		}
		isVersion := len(b) == len(whole) && !bytes.Equal(b[8:12], whole[8:12])
		if errors.Is(err, ErrDamaged) == isVersion || strings.Contains(err.Error(), "\n") {
			t.Fatalf("error %q, want one line of damage", err)
		}
	})
	if _, err := decode(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v, want ErrDamaged for a byte too many", err)
	}
}

func TestCheckpointOfAnotherVersion(t *testing.T) {
	b := encode(t, testCheckpoint())
	b[8]++
	_, err := decode(b)
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "format 2, expected 1") {
		t.Errorf("error %v, want one that names the format's version", err)
	}
}

// A file whose checksum is right may still hold nonsense.
func TestForgedCheckpointIsRefused(t *testing.T) {
	body := encode(t, testCheckpoint())[checkpointHeader:]
	good, err := safetensors.Read(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*checkpointRecord)) func(*safetensors.File) {
		return func(f *safetensors.File) {
			var record checkpointRecord
			if err := json.Unmarshal([]byte(f.Metadata["run"]), &record); err != nil {
				t.Fatal(err)
			}
			change(&record)
			text, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			f.Metadata = map[string]string{"run": string(text)}
		}
	}
	for name, change := range map[string]func(*safetensors.File){
		"no record":          func(f *safetensors.File) { f.Metadata = nil },
		"record is no JSON":  func(f *safetensors.File) { f.Metadata = map[string]string{"run": "{"} },
		"bad setting":        with(func(r *checkpointRecord) { r.Config.BatchSize = 0 }),
		"bad size":           with(func(r *checkpointRecord) { r.Sizes.Kernel = 2 }),
		"huge size":          with(func(r *checkpointRecord) { r.Sizes.HiddenSize, r.Sizes.NumLayers = 8192, 256 }),
		"other size":         with(func(r *checkpointRecord) { r.Sizes.HiddenSize = 3 }),
		"negative step":      with(func(r *checkpointRecord) { r.Progress.Step = -1 }),
		"negative place":     with(func(r *checkpointRecord) { r.Progress.EpochSteps = -1 }),
		"place beyond steps": with(func(r *checkpointRecord) { r.Progress.EpochSteps = 20 }),
		"best to come":       with(func(r *checkpointRecord) { r.Progress.BestEpoch = 3 }),
		"no best":            with(func(r *checkpointRecord) { r.Progress.BestEpoch = 0 }),
		"moment missing":     func(f *safetensors.File) { f.Get("adam_v.fc.bias").Name = "x" },
		"best missing":       func(f *safetensors.File) { f.Get("best.fc.bias").Name = "x" },
		"weight missing":     func(f *safetensors.File) { f.Get("last.fc.bias").Name = "x" },
	} {
		f := &safetensors.File{Metadata: good.Metadata, Tensors: append([]safetensors.Tensor(nil), good.Tensors...)}
		change(f)
		var body bytes.Buffer
		if err := safetensors.Write(&body, f); err != nil {
			t.Fatal(err)
		}
		if _, err := decode(seal(body.Bytes())); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line of damage", name, err)
		}
	}
}

// A forged length must not make the reader ask for memory that the file does not fill.
func TestForgedCheckpointAllocatesLittle(t *testing.T) {
	lie := seal(append(binary.LittleEndian.AppendUint64(nil, 99_000_000), '{'))
	long := bytes.Clone(lie)
	binary.LittleEndian.PutUint64(long[12:], 1<<60)
	for _, b := range [][]byte{lie, long} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := decode(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("error %v, want ErrDamaged", err)
		}
		runtime.ReadMemStats(&after)
		// Reading the file takes one buffer of io.Copy; the forged lengths are 94 MiB and more.
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%d bytes allocated for a file of %d", n, len(b))
		}
	}
}

func TestExtendRefusesFewerEpochs(t *testing.T) {
	for _, epochs := range []int{-1, 0, 14, maxEpochs + 1} {
		ck := testCheckpoint()
		var bad *FieldError
		if err := ck.Extend(epochs); !errors.As(err, &bad) || bad.Field != "epochs" || ck.Config.Epochs != 15 {
			t.Errorf("%d epochs after 15: error %v, want a *FieldError of epochs and no change", epochs, err)
		}
	}
}

// More epochs would flatten the cosine that the epochs made so far followed.
func TestExtendRefusesCosine(t *testing.T) {
	ck := testCheckpoint()
	ck.Config.LRSchedule = "cosine"
	var bad *FieldError
	if err := ck.Extend(16); !errors.As(err, &bad) || bad.Field != "epochs" || ck.Config.Epochs != 15 {
		t.Errorf("error %v, want a *FieldError of epochs and no change", err)
	}
	expectError(t, bad, "cosine", "start a new run")
	if err := ck.Extend(15); err != nil {
		t.Errorf("error %v for as many epochs as before", err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	whole := encode(f, testCheckpoint())
	f.Add(whole[checkpointHeader:], true)
	f.Add(whole, false)
	f.Add(whole[:100], false)
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), true)
	f.Fuzz(func(t *testing.T, b []byte, isBody bool) {
		if isBody { // past the checksum
			b = seal(b)
		}
		ck, err := decode(b)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		again, err := decode(encode(t, ck))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, ck), encode(t, again)) {
			t.Error("another checkpoint comes back")
		}
	})
}

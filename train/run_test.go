package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gorgonia.org/tensor"

	"crnn/cpu"
	"crnn/data"
	"crnn/model"
	"crnn/rng"
)

// testConfig is a run of 21 steps that takes a fraction of a second. It has three epochs of seven
// steps: 54 training images in batches of 8, the last one of 6, and 6 validation images.
func testConfig() Config {
	c := Default()
	c.Epochs, c.BatchSize, c.HiddenSize, c.NumLayers, c.InputSize = 3, 8, 16, 2, 112
	c.LR, c.LRStep, c.LogSteps = 0.002, 1, true
	return c
}

const testStepsPerEpoch = 7

// testData are images of noise with a bright bar whose position is the label. A network learns it
// in a few steps.
func testData() *data.Dataset {
	set := func(count int, seed uint64) *data.Set {
		s := &data.Set{
			Description: data.FashionMNIST(), Count: count,
			Images: make([]uint8, count*28*28), Labels: make([]uint8, count),
		}
		noise := rng.Stream{Seed: seed}
		for i := range s.Images {
			s.Images[i] = uint8(noise.Below(100))
		}
		for i := range s.Labels {
			s.Labels[i] = uint8(noise.Below(10))
			row := 2 + 2*int(s.Labels[i])
			for x := range 28 {
				s.Image(i)[row*28+x] = 255
			}
		}
		return s
	}
	return &data.Dataset{Dir: "data", Train: set(60, 1), Test: set(24, 2)}
}

func testBackend(t testing.TB) model.Backend {
	t.Helper()
	be, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return be
}

// testDir is the directory of a new run.
func testDir(t testing.TB) *Dir {
	t.Helper()
	d, err := CreateDir(filepath.Join(t.TempDir(), "run"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// reopen opens a run as another process does after the first has ended.
func reopen(t testing.TB, d *Dir, epochs int) (*Dir, *Checkpoint) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, ck, err := OpenDir(d.Path(), epochs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, ck
}

// record collects events without the seconds of an epoch: only they differ from run to run.
func record(events *[]Event) func(Event) error {
	return func(e Event) error {
		if epoch, ok := e.(Epoch); ok {
			epoch.Seconds = 0
			e = epoch
		}
		*events = append(*events, e)
		return nil
	}
}

// truncate drops the events after a checkpoint, as a resume does with the metrics.
func truncate(events []Event, p Progress) (kept []Event) {
	for _, e := range events {
		switch e := e.(type) {
		case Step:
			if e.Step <= p.Step {
				kept = append(kept, e)
			}
		case Epoch:
			if e.Epoch <= p.Epoch {
				kept = append(kept, e)
			}
		}
	}
	return kept
}

// outcome holds the results of a run.
type outcome struct {
	Events     []Event
	Result     Result
	Best, Last []byte // the files
	Checkpoint *Checkpoint
}

func outcomeOf(t testing.TB, d *Dir, events []Event, result Result) outcome {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(d.File(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ck, err := ReadCheckpoint(d.File(checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	ck.Config.Out = "" // the directory differs
	if ck.Progress.Test != nil {
		ck.Progress.Test.Confusion = nil // not part of a checkpoint
	}
	return outcome{events, result, read(BestFile), read(LastFile), ck}
}

// uninterrupted makes a run from start to end.
func uninterrupted(t testing.TB, c Config) outcome {
	t.Helper()
	d := testDir(t)
	var events []Event
	result, err := Run(context.Background(), Job{
		Backend: testBackend(t), Data: testData(), Config: c, Dir: d, Observe: record(&events)})
	if err != nil {
		t.Fatal(err)
	}
	return outcomeOf(t, d, events, result)
}

func expectSame(t testing.TB, want, got outcome) {
	t.Helper()
	if diff := cmp.Diff(want.Events, got.Events); diff != "" {
		t.Errorf("other events: %s", diff)
	}
	if !bytes.Equal(want.Best, got.Best) {
		t.Errorf("other bits in %s", BestFile)
	}
	if !bytes.Equal(want.Last, got.Last) {
		t.Errorf("other bits in %s", LastFile)
	}
	if !cmp.Equal(want.Checkpoint, got.Checkpoint) {
		t.Error("another checkpoint")
	}
	if diff := cmp.Diff(want.Result, got.Result); diff != "" {
		t.Errorf("another result: %.500s", diff)
	}
}

func TestRunLearnsAndReports(t *testing.T) {
	c := testConfig()
	c.Epochs, c.Dropout, c.LR, c.LRSchedule = 8, 0, 0.005, "none"
	got := uninterrupted(t, c)

	steps, epochs, tests := 0, 0, 0
	best, bestEpoch := -1.0, 0
	var last Epoch
	for _, e := range got.Events {
		switch e := e.(type) {
		case Step:
			steps++
			if e.Step != int64(steps) || e.Epoch != epochs+1 || e.LR != 0.005 || !(e.Loss > 0) {
				t.Errorf("step %+v after %d steps and %d epochs", e, steps-1, epochs)
			}
		case Epoch:
			epochs++
			if e.Epoch != epochs || e.Step != int64(steps) || steps != epochs*testStepsPerEpoch {
				t.Errorf("epoch %+v after %d steps", e, steps)
			}
			if *e.ValAccuracy > best {
				best, bestEpoch = *e.ValAccuracy, e.Epoch
			}
			if n := e.Confusion.count(); n != 6 {
				t.Errorf("confusion matrix of %d images, want the 6 of the validation", n)
			}
			last = e
		case Test:
			tests++
			if e.Epoch != bestEpoch {
				t.Errorf("the model of epoch %d was tested, want the best, of epoch %d", e.Epoch, bestEpoch)
			}
			hits := int64(0)
			for i := range e.Confusion {
				hits += e.Confusion[i][i]
			}
			if accuracy := 100 * float64(hits) / 24; e.Confusion.count() != 24 || e.Accuracy != accuracy {
				t.Errorf("accuracy %v, but %v by the confusion matrix of %d images", e.Accuracy, accuracy, e.Confusion.count())
			}
		}
	}
	if epochs != 8 || tests != 1 {
		t.Errorf("%d epochs and %d tests, want 8 and 1", epochs, tests)
	}
	// Ten classes at random are a loss of log 10 = 2.3.
	if last.TrainLoss > 1 {
		t.Errorf("training loss %v after eight epochs: nothing was learned", last.TrainLoss)
	}
	if got.Result.Epochs != 8 || got.Result.Steps != 8*testStepsPerEpoch || got.Result.StoppedEarly {
		t.Errorf("result %+v", got.Result)
	}
}

// The test is of the model that the run kept, which here is not the last.
func TestBestModelIsTested(t *testing.T) {
	c := testConfig()
	c.Epochs, c.LR = 6, 0.02
	var got outcome
	for c.Seed = 1; ; c.Seed++ { // the seed depends on the processor's rounding
		if c.Seed > 10 {
			t.Fatal("with ten seeds the last model is always the best")
		}
		if got = uninterrupted(t, c); got.Result.Test.Epoch != c.Epochs {
			break
		}
	}
	be, set := testBackend(t), testData().Test
	images, err := be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
	if err != nil {
		t.Fatal(err)
	}
	net, err := model.New(be, got.Result.Best.Config, model.Options{MaxBatch: EvalBatch})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), BestFile)
	if err := os.WriteFile(path, got.Best, 0o600); err != nil {
		t.Fatal(err)
	}
	best, err := model.ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := net.SetState(best); err != nil {
		t.Fatal(err)
	}
	indices := make([]int32, set.Count)
	for i := range indices {
		indices[i] = int32(i)
	}
	e, err := Evaluate(context.Background(), net, images, set.Labels, indices)
	if err != nil {
		t.Fatal(err)
	}
	want := Test{Loss: e.Loss, Accuracy: e.Accuracy, Epoch: got.Result.Test.Epoch, Confusion: e.Confusion}
	if diff := cmp.Diff(want, got.Result.Test); diff != "" {
		t.Errorf("the test does not match %s: %s", BestFile, diff)
	}
}

func (c Confusion) count() (n int64) {
	for _, row := range c {
		for _, v := range row {
			n += v
		}
	}
	return n
}

// The epoch's figures are the means over its steps, with each batch weighted by its size.
func TestEpochAveragesItsSteps(t *testing.T) {
	for _, logSteps := range []bool{true, false} {
		c := testConfig()
		c.LogSteps = logSteps
		sum, seen, told := 0.0, 0, int64(0) // seen: images of the epoch
		for _, e := range uninterrupted(t, c).Events {
			switch e := e.(type) {
			case Step:
				if logSteps && e.Step != told+1 {
					t.Errorf("step %d comes after step %d", e.Step, told)
				}
				upTo := min(8*int(e.Step-int64(e.Epoch-1)*testStepsPerEpoch), 54)
				sum += e.Loss * float64(upTo-seen)
				seen, told = upTo, e.Step
			case Epoch:
				if seen != 54 {
					t.Errorf("epoch %d: its steps report %d images, want 54", e.Epoch, seen)
				}
				// Sums of seven doubles of about 100 each have errors of some 1e-13.
				if mean := sum / 54; math.Abs(mean-e.TrainLoss) > 1e-12 {
					t.Errorf("epoch %d: training loss %v, its steps say %v", e.Epoch, e.TrainLoss, mean)
				}
				sum, seen = 0, 0
			}
		}
	}
}

// stopAfter returns a context that ends after the given number of steps.
func stopAfter(step int64, next func(Event) error) (context.Context, func(Event) error) {
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, func(e Event) error {
		if s, ok := e.(Step); ok && s.Step == step {
			cancel()
		}
		return next(e)
	}
}

// evalStop is a backend that ends the context in the middle of the given evaluation. Evaluations
// count from 1: the validations in their order, then the test.
type evalStop struct {
	model.Backend
	left   int
	cancel func()
}

func (b *evalStop) NewHead(s model.HeadSpec) (model.Head, error) {
	h, err := b.Backend.NewHead(s)
	return &stopHead{h, b}, err
}

type stopHead struct {
	model.Head
	be *evalStop
}

// SetTotals is called with zeros in turn at the start of an epoch and of an evaluation.
func (h *stopHead) SetTotals(t model.Totals) error {
	if h.be.left--; h.be.left == 0 {
		h.be.cancel()
	}
	return h.Head.SetTotals(t)
}

// A run that is interrupted anywhere and resumed gives the same bits as an uninterrupted run.
func TestResumeGivesTheSameBits(t *testing.T) {
	want := uninterrupted(t, testConfig())

	resume := func(t *testing.T, d *Dir, events []Event) {
		t.Helper()
		d, ck := reopen(t, d, 0)
		events = truncate(events, ck.Progress)
		result, err := Run(context.Background(), Job{
			Backend: testBackend(t), Data: testData(), Dir: d, From: ck, Observe: record(&events)})
		if err != nil {
			t.Fatal(err)
		}
		expectSame(t, want, outcomeOf(t, d, events, result))
	}
	expectInterrupted := func(t *testing.T, err error, d *Dir, step int64) {
		t.Helper()
		var interrupted *Interrupted
		if !errors.As(err, &interrupted) || !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want an *Interrupted", err)
		}
		if interrupted.Step != step || !strings.Contains(err.Error(), "--resume "+d.Path()) {
			t.Errorf("error %q, want step %d and how to go on", err, step)
		}
	}

	// Stop in the middle of an epoch, before its last step, and after it, when only the validation
	// is left.
	for _, step := range []int64{1, 3, 6, 7, 8, 14, 20, 21} {
		t.Run(fmt.Sprintf("step %d", step), func(t *testing.T) {
			d := testDir(t)
			var events []Event
			ctx, observe := stopAfter(step, record(&events))
			_, err := Run(ctx, Job{Backend: testBackend(t), Data: testData(), Config: testConfig(), Dir: d, Observe: observe})
			expectInterrupted(t, err, d, step)
			resume(t, d, events)
		})
	}
	for call, step := range map[int]int64{1: 0, 2: 7, 3: 7, 4: 14, 6: 21, 7: 21} {
		name := map[int]string{1: "before the first step", 2: "first validation", 3: "second epoch", 4: "second validation",
			6: "third validation", 7: "test"}[call]
		t.Run(name, func(t *testing.T) {
			d := testDir(t)
			var events []Event
			ctx, cancel := context.WithCancel(context.Background())
			be := &evalStop{testBackend(t), call, cancel}
			_, err := Run(ctx, Job{Backend: be, Data: testData(), Config: testConfig(), Dir: d, Observe: record(&events)})
			expectInterrupted(t, err, d, step)
			resume(t, d, events)
		})
	}
	// Again and again, after every fourth step.
	t.Run("many times", func(t *testing.T) {
		d := testDir(t)
		job := Job{Backend: testBackend(t), Data: testData(), Config: testConfig(), Dir: d}
		var events []Event
		for step := int64(4); step < 21; step += 4 {
			ctx, observe := stopAfter(step, record(&events))
			job.Observe = observe
			_, err := Run(ctx, job)
			expectInterrupted(t, err, d, step)
			d, job.From = reopen(t, d, 0)
			job.Dir = d
		}
		resume(t, d, events)
	})
	// A killed process leaves its last checkpoint and loses all later work. It may die before or
	// after an event is in its metrics.
	for _, at := range []string{"before step 3", "after step 12", "before epoch 1", "after epoch 1", "after epoch 3",
		"before test", "after test"} {
		t.Run("killed "+at, func(t *testing.T) {
			d := testDir(t)
			var events []Event
			died := errors.New("killed")
			observe := record(&events)
			_, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: testConfig(), Dir: d,
				Observe: func(e Event) error {
					name := "test"
					switch e := e.(type) {
					case Step:
						name = fmt.Sprintf("step %d", e.Step)
					case Epoch:
						name = fmt.Sprintf("epoch %d", e.Epoch)
					}
					if at == "before "+name {
						return died
					}
					observe(e)
					if at == "after "+name {
						return died
					}
					return nil
				}})
			if err != died {
				t.Fatalf("error %v, want the observer's error", err)
			}
			resume(t, d, events)
		})
	}
}

// A finished run that is given more epochs ends like a run of that many epochs.
func TestResumeWithMoreEpochs(t *testing.T) {
	short, long := testConfig(), testConfig()
	short.Epochs, long.Epochs = 1, 3
	want := uninterrupted(t, long)

	d := testDir(t)
	var events []Event
	job := Job{Backend: testBackend(t), Data: testData(), Config: short, Dir: d, Observe: record(&events)}
	first, err := Run(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}

	d, ck := reopen(t, d, 0)
	if ck.Finished() == nil || ck.Finished().Accuracy != first.Test.Accuracy {
		t.Errorf("finished with %+v, want %+v", ck.Finished(), first.Test)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var field *FieldError
	if _, _, err := OpenDir(d.Path(), -1); !errors.As(err, &field) || field.Field != "epochs" {
		t.Errorf("error %v, want a *FieldError of epochs", err)
	}
	d, ck = reopen(t, d, long.Epochs)
	if ck.Finished() != nil {
		t.Fatal("still finished with more epochs")
	}
	events = truncate(events, ck.Progress)
	job.Dir, job.From = d, ck
	// The file is extended only when the run starts, since the run may be refused before.
	onDisk := func() *Checkpoint {
		ck, err := ReadCheckpoint(d.File(checkpointFile))
		if err != nil {
			t.Fatal(err)
		}
		return ck
	}
	runner, err := New(job)
	if err != nil {
		t.Fatal(err)
	}
	if now := onDisk(); now.Finished() == nil || now.Config.Epochs != short.Epochs {
		t.Error("the checkpoint was extended before the run started")
	}
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	if now := onDisk(); now.Finished() != nil || now.Config.Epochs != long.Epochs {
		t.Error("the checkpoint was not extended")
	}
	result, err := runner.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	expectSame(t, want, outcomeOf(t, d, events, result))

	d.Close()
	if _, _, err := OpenDir(d.Path(), 2); !errors.As(err, &field) || field.Field != "epochs" {
		t.Errorf("error %v, want a *FieldError of fewer epochs than before", err)
	}
}

func TestMaxSteps(t *testing.T) {
	c := testConfig()
	c.MaxSteps = 10
	got := uninterrupted(t, c)
	if got.Result.Steps != 10 || got.Result.Epochs != 2 {
		t.Errorf("%d steps and %d epochs, want 10 and 2", got.Result.Steps, got.Result.Epochs)
	}
	// As at an epoch's end, the epoch's event comes before the test.
	n := len(got.Events)
	if e, ok := got.Events[n-2].(Epoch); !ok || e.Epoch != 2 || e.Step != 10 || e.ValLoss == nil {
		t.Errorf("last but one event %+v, want epoch 2 with its validation", got.Events[n-2])
	}
	if _, ok := got.Events[n-1].(Test); !ok {
		t.Errorf("last event %+v, want the test", got.Events[n-1])
	}
	// More epochs do not lift the limit.
	ck := got.Checkpoint
	if err := ck.Extend(20); err != nil || ck.Finished() == nil {
		t.Errorf("a run that --max-steps ended goes on with more epochs (%v)", err)
	}
}

func TestEarlyStopping(t *testing.T) {
	c := testConfig()
	// With a learning rate that changes no weight, the validation loss follows the running
	// statistics, which go up and down.
	c.Epochs, c.EarlyStopping, c.LR = 9, 2, 1e-30
	c.LRSchedule = "none"
	got := uninterrupted(t, c)
	if got.Result.Epochs == 9 || !got.Result.StoppedEarly {
		t.Errorf("%d epochs, stopped early %v", got.Result.Epochs, got.Result.StoppedEarly)
	}
	losses, best := []float64{}, 0
	for _, e := range got.Events {
		if e, ok := e.(Epoch); ok {
			losses = append(losses, *e.ValLoss)
			if *e.ValLoss < losses[best] {
				best = e.Epoch - 1
			}
		}
	}
	if stop := best + 1 + c.EarlyStopping; stop != got.Result.Epochs {
		t.Errorf("stopped after epoch %d, want %d by the losses %v", got.Result.Epochs, stop, losses)
	}
	if err := got.Checkpoint.Extend(20); err != nil || got.Checkpoint.Finished() == nil {
		t.Errorf("a run that stopped early goes on with more epochs (%v)", err)
	}
}

func TestWithoutValidation(t *testing.T) {
	c := testConfig()
	c.ValFraction, c.Epochs = 0, 2
	got := uninterrupted(t, c)
	if !bytes.Equal(got.Best, got.Last) || got.Result.Test.Epoch != 2 {
		t.Errorf("the model of epoch %d was tested, want the last", got.Result.Test.Epoch)
	}
	for _, e := range got.Events {
		if e, ok := e.(Epoch); ok && (e.ValLoss != nil || e.ValAccuracy != nil || e.Confusion != nil) {
			t.Errorf("epoch %d has validation figures", e.Epoch)
		}
	}
}

func TestNoShuffleTakesFileOrder(t *testing.T) {
	c := testConfig()
	c.NoShuffle, c.ValFraction, c.MaxSteps = true, 0, 2
	be := &gatherSpy{Backend: testBackend(t)}
	if _, err := Run(context.Background(), Job{Backend: be, Data: testData(), Config: c}); err != nil {
		t.Fatal(err)
	}
	want := [][]int32{{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}}
	if diff := cmp.Diff(want, be.batches[:2]); diff != "" {
		t.Error(diff)
	}
}

// gatherSpy remembers the batches that are gathered.
type gatherSpy struct {
	model.Backend
	batches [][]int32
}

func (b *gatherSpy) NewImages(pixels, labels []uint8, channels, height, width int) (model.Images, error) {
	images, err := b.Backend.NewImages(pixels, labels, channels, height, width)
	return spiedImages{images, b}, err
}

type spiedImages struct {
	model.Images
	be *gatherSpy
}

func (s spiedImages) Gather(p model.Pass, indices []int32, x *tensor.Dense, labels model.Labels) error {
	s.be.batches = append(s.be.batches, append([]int32(nil), indices...))
	return s.Images.Gather(p, indices, x, labels)
}

// This learning rate makes weights overflow at once; the recipe's does not.
func TestDivergence(t *testing.T) {
	c := testConfig()
	c.LR, c.LRSchedule = 3e38, "none"
	d := testDir(t)
	_, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c, Dir: d})
	var diverged *Diverged
	if !errors.As(err, &diverged) {
		t.Fatalf("error %v, want a *Diverged", err)
	}
	text := err.Error()
	for _, want := range []string{"NaN", fmt.Sprintf("step %d ", diverged.Step), "learning rate 3e+38", "--lr 0.0005",
		"before its first step", d.Path()} {
		if !strings.Contains(text, want) {
			t.Errorf("error %q, want %q in it", text, want)
		}
	}
	if ck, err := ReadCheckpoint(d.File(checkpointFile)); err != nil || ck.Progress.Step != 0 {
		t.Errorf("the checkpoint from before the first step is gone (%v)", err)
	}
}

func TestInit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	sizes := model.Default()
	sizes.Channels, sizes.Kernel, sizes.HiddenSize, sizes.NumLayers, sizes.InputSize = [2]int{4, 6}, 3, 12, 3, 98
	initial := model.NewState(sizes, 77)
	initial.NumBatchesTracked = 5
	if err := model.WriteWeights(path, initial); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Init, c.Epochs, c.BatchSize = path, 1, 8
	d := testDir(t)
	result, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c, Dir: d})
	if err != nil {
		t.Fatal(err)
	}
	if result.Best.HiddenSize != 12 || result.Best.Channels != sizes.Channels ||
		result.Best.NumBatchesTracked != 5+testStepsPerEpoch {
		t.Errorf("trained %+v after %d batches, want the sizes of the weights and %d",
			result.Best.Config, result.Best.NumBatchesTracked, 5+testStepsPerEpoch)
	}
	saved, _, err := LoadConfig(d.File(ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if saved.HiddenSize != 12 || saved.NumLayers != 3 || saved.InputSize != 98 || saved.Init != path {
		t.Errorf("%s holds %+v, want the sizes of the weights", ConfigFile, saved)
	}
	if err := saved.Validate(); err != nil {
		t.Errorf("%s cannot be used again: %v", ConfigFile, err)
	}
	// The run can be resumed without the file of weights.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d, ck := reopen(t, d, 2)
	if _, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Dir: d, From: ck}); err != nil {
		t.Error(err)
	}

	if err := model.WriteWeights(path, initial); err != nil {
		t.Fatal(err)
	}
	c.HiddenSize = 64
	var field *FieldError
	_, err = Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c})
	if !errors.As(err, &field) || field.Field != "hidden-size" {
		t.Errorf("error %v, want a *FieldError of a hidden size that is not the weights'", err)
	}
	// The default is refused too if the user gave it.
	c.HiddenSize = Default().HiddenSize
	job := Job{Backend: testBackend(t), Data: testData(), Config: c, Given: map[string]bool{"hidden-size": true}}
	if _, err := New(job); !errors.As(err, &field) || field.Field != "hidden-size" {
		t.Errorf("error %v, want a *FieldError of a hidden size that was given", err)
	}
	job.Given = nil
	if _, err := New(job); err != nil {
		t.Errorf("error %v of a hidden size that was not given", err)
	}
	for _, sizes.Classes = range []int{9, 11} {
		if err := model.WriteWeights(path, model.NewState(sizes, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(job); !errors.As(err, &field) || field.Field != "init" {
			t.Errorf("error %v, want a *FieldError of weights with %d classes", err, sizes.Classes)
		}
	}
}

// Settings that a resume changes, such as the data's directory, are recorded at once.
func TestStartRecordsSettings(t *testing.T) {
	c := testConfig()
	c.MaxSteps = 9
	d := testDir(t)
	ctx, observe := stopAfter(3, func(Event) error { return nil })
	job := Job{Backend: testBackend(t), Data: testData(), Config: c, Dir: d, Observe: observe}
	if _, err := Run(ctx, job); err == nil {
		t.Fatal("no interruption")
	}
	d, ck := reopen(t, d, 0)
	before, err := os.ReadFile(d.File(previousCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		r, err := New(Job{Backend: testBackend(t), Data: testData(), Dir: d, From: ck})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
	}
	start()
	if now, err := os.ReadFile(d.File(previousCheckpoint)); err != nil || !bytes.Equal(now, before) {
		t.Errorf("a checkpoint was written without need (%v)", err)
	}
	ck.Config.Data = "elsewhere"
	start()
	if now, err := ReadCheckpoint(d.File(checkpointFile)); err != nil || now.Config.Data != "elsewhere" ||
		now.Progress.Step != 3 {
		t.Errorf("the checkpoint does not name the data (%v)", err)
	}
	if now, _, err := LoadConfig(d.File(ConfigFile)); err != nil || now.Data != "elsewhere" {
		t.Errorf("%s does not name the data (%v)", ConfigFile, err)
	}
}

func TestResumeRefusesOtherData(t *testing.T) {
	d := testDir(t)
	c := testConfig()
	c.MaxSteps = 1
	if _, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c, Dir: d}); err != nil {
		t.Fatal(err)
	}
	other := testData()
	other.Train.Images[0]++
	d, ck := reopen(t, d, 0)
	if _, err := Run(context.Background(), Job{Backend: testBackend(t), Data: other, Dir: d, From: ck}); err == nil ||
		!strings.Contains(err.Error(), "--data") {
		t.Errorf("error %v, want one that names --data", err)
	}
}

// Two runs of one configuration, and one that repeats it from config.yaml, give one result.
func TestRunsRepeat(t *testing.T) {
	c := testConfig()
	c.Epochs = 1
	d := testDir(t)
	var events []Event
	first, err := Run(context.Background(), Job{
		Backend: testBackend(t), Data: testData(), Config: c, Dir: d, Observe: record(&events),
		Build: Build{"1.2.3", "a processor"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := outcomeOf(t, d, events, first)
	loaded, _, err := LoadConfig(d.File(ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, loaded); diff != "" {
		t.Errorf("%s differs: %s", ConfigFile, diff)
	}
	expectSame(t, want, uninterrupted(t, loaded))

	c.Seed++
	if other := uninterrupted(t, c); bytes.Equal(other.Last, want.Last) {
		t.Error("another seed gives the same weights")
	}
}

// Without a directory a run leaves nothing behind.
func TestRunWithoutDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	c := testConfig()
	c.MaxSteps = 2
	result, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c})
	if err != nil {
		t.Fatal(err)
	}
	if result.Best == nil || result.Steps != 2 {
		t.Errorf("result %+v", result)
	}
	if list, err := os.ReadDir("."); err != nil || len(list) > 0 {
		t.Errorf("files %v (%v), want none", list, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, Job{Backend: testBackend(t), Data: testData(), Config: c}); err == nil ||
		strings.Contains(err.Error(), "resume") {
		t.Errorf("error %v, want an interruption without a hint to resume", err)
	}
}

func TestRunRefusesBadSettings(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"lr":           func(c *Config) { c.LR = 0 },
		"val-fraction": func(c *Config) { c.ValFraction = 0.001 },
		"input-size":   func(c *Config) { c.InputSize = 57 },
	} {
		c := testConfig()
		change(&c)
		d := testDir(t)
		var bad *FieldError
		_, err := Run(context.Background(), Job{Backend: testBackend(t), Data: testData(), Config: c, Dir: d})
		if !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("error %v, want a *FieldError of %s", err, field)
		}
		if _, err := os.Stat(d.File(checkpointFile)); err == nil {
			t.Errorf("%s: an impossible run was begun", field)
		}
	}
}

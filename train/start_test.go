package train

import (
	"os"
	"testing"

	"crnn/model"
)

// An evaluation takes EvalBatch images at a time, unless its arrays would then dominate the memory.
func TestMaxBatch(t *testing.T) {
	large := model.Default()
	large.InputSize, large.HiddenSize = 1, 2048 // 5 layers of 3136 steps: 128 MB per image
	for _, c := range []struct {
		sizes       model.Config
		batch, want int
	}{
		{model.Default(), 50, EvalBatch},
		{model.Default(), 1, EvalBatch},
		{model.Default(), 500, 500},
		{large, 1, 1},
		{large, 500, 500},
	} {
		if got := maxBatch(c.sizes, c.batch); got != c.want {
			t.Errorf("input size %d, batches of %d: made for %d images, want %d", c.sizes.InputSize, c.batch, got, c.want)
		}
	}
}

// Nothing is written before Start.
func TestNewWritesNothing(t *testing.T) {
	d := testDir(t)
	r, err := New(Job{Backend: testBackend(t), Data: testData(), Config: testConfig(), Dir: d})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(d.Path()); err != nil || len(list) != 1 { // the lock
		t.Errorf("the directory holds %v (%v), want nothing of the run", list, err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{checkpointFile, ConfigFile} {
		if _, err := os.Stat(d.File(name)); err != nil {
			t.Error(err)
		}
	}
}

package report

import (
	"os"
	"path/filepath"
	"testing"

	"crnn/train"
)

func ptr(v float64) *float64 { return &v }

// recipe returns the given number of epochs of a run like the recipe's. It has the original's
// figures at epochs 1, 3, 5, 10 and 15, straight lines between them, and the last figures from then
// on.
func recipe(epochs int) Metrics {
	known := []struct {
		epoch                                int
		trainLoss, trainAcc, valLoss, valAcc float64
	}{
		{1, 0.556, 80.296, 0.380, 86.833},
		{3, 0.329, 88.254, 0.308, 89.117},
		{5, 0.261, 90.709, 0.284, 90.400},
		{10, 0.185, 93.437, 0.267, 91.117},
		{15, 0.162, 94.330, 0.265, 91.433},
	}
	var m Metrics
	for epoch := 1; epoch <= epochs; epoch++ {
		i := 1
		for i < len(known)-1 && known[i].epoch < epoch {
			i++
		}
		a, b := known[i-1], known[i]
		part := float64(min(epoch, b.epoch)-a.epoch) / float64(b.epoch-a.epoch)
		between := func(x, y float64) float64 { return x + part*(y-x) }
		m.Epochs = append(m.Epochs, train.Epoch{
			Epoch: epoch, Step: int64(1080 * epoch),
			TrainLoss: between(a.trainLoss, b.trainLoss), TrainAccuracy: between(a.trainAcc, b.trainAcc),
			ValLoss: ptr(between(a.valLoss, b.valLoss)), ValAccuracy: ptr(between(a.valAcc, b.valAcc)),
			LR: 0.0005, Seconds: 84.25,
		})
	}
	return m
}

// withoutValidation returns m without the validation figures.
func withoutValidation(m Metrics) Metrics {
	for i := range m.Epochs {
		m.Epochs[i].ValLoss, m.Epochs[i].ValAccuracy = nil, nil
	}
	return m
}

// writeRun makes the directory of a run below dir.
func writeRun(t *testing.T, dir, name, config string, m Metrics) string {
	t.Helper()
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := OpenMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.events() {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, train.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// events returns the events of m in the order in which a run writes them.
func (m Metrics) events() []train.Event {
	var list []train.Event
	steps := m.Steps
	for _, epoch := range m.Epochs {
		for len(steps) > 0 && steps[0].Step <= epoch.Step {
			list = append(list, steps[0])
			steps = steps[1:]
		}
		list = append(list, epoch)
	}
	for _, step := range steps {
		list = append(list, step)
	}
	for _, test := range m.Tests {
		list = append(list, test)
	}
	return list
}

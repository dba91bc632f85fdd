package train

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/model"
)

func evalNetwork(t *testing.T, be model.Backend, maxBatch int) *model.Network {
	t.Helper()
	sizes := model.Default()
	sizes.InputSize, sizes.HiddenSize, sizes.NumLayers = 112, 16, 2
	net, err := model.New(be, sizes, model.Options{MaxBatch: maxBatch, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Init(1); err != nil {
		t.Fatal(err)
	}
	return net
}

// The size of the evaluation's batches does not change the result.
func TestEvaluateInAnyBatches(t *testing.T) {
	be, set := testBackend(t), testData().Train
	images, err := be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
	if err != nil {
		t.Fatal(err)
	}
	indices := []int32{5, 3, 8, 1, 59, 0, 2, 44, 4, 11, 30}
	var want Evaluation
	for i, maxBatch := range []int{EvalBatch, 4, 1, 11} {
		got, err := Evaluate(context.Background(), evalNetwork(t, be, maxBatch), images, set.Labels, indices)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = got
			if got.Count != len(indices) || got.Confusion.count() != int64(len(indices)) {
				t.Errorf("%+v of %d images", got, len(indices))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("batches of %d: %s", maxBatch, diff)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	be, set := testBackend(t), testData().Train
	images, err := be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
	if err != nil {
		t.Fatal(err)
	}
	net := evalNetwork(t, be, 8)
	if _, err := Evaluate(context.Background(), net, images, set.Labels, nil); err == nil {
		t.Error("no images were evaluated")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Evaluate(ctx, net, images, set.Labels, []int32{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's error", err)
	}
	state, err := net.State()
	if err != nil {
		t.Fatal(err)
	}
	for i := range state.Params {
		state.Params[i] = float32(math.NaN())
	}
	if err := net.SetState(state); err != nil {
		t.Fatal(err)
	}
	_, err = Evaluate(context.Background(), net, images, set.Labels, []int32{1, 2})
	expectError(t, err, "loss on 2 images", "NaN")
}

func TestArgmaxTakesTheFirst(t *testing.T) {
	for want, values := range [][]float32{{3, 1, 3}, {-2, -1, -1}, {0, 0, 1}} {
		if got := argmax(values); got != want {
			t.Errorf("argmax(%v) = %d, want %d", values, got, want)
		}
	}
}

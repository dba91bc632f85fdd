package train

import (
	"context"
	"errors"
	"fmt"

	"crnn/model"
)

// EvalBatch is the number of images that Evaluate runs at a time, if the network takes that many.
const EvalBatch = 100

// Evaluation is a network's result on some images.
type Evaluation struct {
	Count     int
	Loss      float64 // mean
	Accuracy  float64 // percent
	Confusion Confusion
}

// Evaluate runs the network in eval mode on the images of the given indices, whose labels
// are labels[index]. It overwrites the network's totals. When ctx is done it returns the
// context's error; a loss that is not finite is an error too.
func Evaluate(ctx context.Context, net *model.Network, images model.Images, labels []uint8,
	indices []int32) (Evaluation, error) {
	e := Evaluation{Count: len(indices), Confusion: make(Confusion, net.Classes)}
	if len(indices) == 0 {
		return e, errors.New("no images to evaluate")
	}
	for i := range e.Confusion {
		e.Confusion[i] = make([]int64, net.Classes)
	}
	if err := net.SetTotals(model.Totals{}); err != nil {
		return e, err
	}
	for batch := range batches(indices, min(EvalBatch, net.MaxBatch)) {
		if err := ctx.Err(); err != nil {
			return e, err
		}
		if err := net.Evaluate(images, batch); err != nil {
			return Evaluation{}, err
		}
		logits, err := net.Logits(len(batch))
		if err != nil {
			return e, err
		}
		for i, index := range batch {
			e.Confusion[labels[index]][argmax(logits[i*net.Classes:(i+1)*net.Classes])]++
		}
	}
	totals, err := net.Totals()
	if err != nil {
		return e, err
	}
	e.Loss, e.Accuracy = means(totals)
	return e, checkLoss(fmt.Sprintf("loss on %d images", len(indices)), e.Loss)
}

// batches yields the indices in batches of the given size; the last one may be smaller.
func batches(indices []int32, size int) func(yield func([]int32) bool) {
	return func(yield func([]int32) bool) {
		for start := 0; start < len(indices); start += size {
			if !yield(indices[start:min(start+size, len(indices))]) {
				return
			}
		}
	}
}

// argmax returns the first index of the largest value, as Head.Loss counts hits.
func argmax(values []float32) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}

// means returns the mean loss, and the accuracy in percent.
func means(t model.Totals) (loss, accuracy float64) {
	n := float64(t.Count)
	return t.Loss / n, 100 * float64(t.Hits) / n
}

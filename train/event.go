package train

// Event is something that happened in a run: a Step, an Epoch or a Test. metrics.jsonl holds a
// run's events, one JSON object per line.
type Event interface{ event() }

// Step reports a training step. With Config.LogSteps there is one per training step, else one now
// and then, for all steps since the previous one.
type Step struct {
	Step  int64   `json:"step"`  // from 1, over all epochs
	Epoch int     `json:"epoch"` // from 1
	Loss  float64 `json:"loss"`  // mean over the batches since the previous Step
	LR    float64 `json:"lr"`
}

// Epoch reports a finished epoch. Accuracies are in percent. The training figures are averages
// while training, with dropout. The validation figures are from eval mode, nil without a validation
// set.
type Epoch struct {
	Epoch         int      `json:"epoch"` // from 1
	Step          int64    `json:"step"`  // steps made so far
	TrainLoss     float64  `json:"train_loss"`
	TrainAccuracy float64  `json:"train_accuracy"`
	ValLoss       *float64 `json:"val_loss,omitempty"`
	ValAccuracy   *float64 `json:"val_accuracy,omitempty"`
	LR            float64  `json:"lr"`
	Seconds       float64  `json:"seconds"`

	Confusion Confusion `json:"-"` // of the validation set, nil without one
}

// Test is the best model's result on the test set.
type Test struct {
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"` // percent
	Epoch    int     `json:"epoch"`    // of the model

	Confusion Confusion `json:"-"`
}

func (Step) event()  {}
func (Epoch) event() {}
func (Test) event()  {}

// Confusion counts images: element [i][j] is the number of images of class i that were taken for
// class j.
type Confusion [][]int64

package train

// Event is something that happened in a run: a Step, an Epoch or a Test. The events of
// a run, one JSON object a line, are its metrics.jsonl.
type Event interface{ event() }

// Step is a training step that was made. With Config.LogSteps there is one for every step,
// else one now and then, for the steps since the one before.
type Step struct {
	Step  int64   `json:"step"`  // from 1, over all epochs
	Epoch int     `json:"epoch"` // from 1
	Loss  float64 `json:"loss"`  // mean of the batch, or of the batches since the Step before
	LR    float64 `json:"lr"`
}

// Epoch is an epoch that ended. Accuracies are in percent. The training figures are
// averages while training (dropout on), the validation figures those of eval mode,
// nil without a validation set.
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
	Epoch    int     `json:"epoch"`    // that the model is from

	Confusion Confusion `json:"-"`
}

func (Step) event()  {}
func (Epoch) event() {}
func (Test) event()  {}

// Confusion counts images: element [i][j] those of class i that were taken for class j.
type Confusion [][]int64

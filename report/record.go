package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"crnn/train"
)

// The records are the lines of metrics.jsonl: the kind and the fields of train's events, with
// numbers that may be missing.
type (
	stepRecord struct {
		Event string `json:"event"`
		Step  int64  `json:"step"`
		Epoch int    `json:"epoch"`
		Loss  number `json:"loss"`
		LR    number `json:"lr"`
	}
	epochRecord struct {
		Event         string `json:"event"`
		Epoch         int    `json:"epoch"`
		Step          int64  `json:"step"`
		TrainLoss     number `json:"train_loss"`
		TrainAccuracy number `json:"train_accuracy"`
		ValLoss       number `json:"val_loss,omitzero"`
		ValAccuracy   number `json:"val_accuracy,omitzero"`
		LR            number `json:"lr"`
		Seconds       number `json:"seconds"`
	}
	testRecord struct {
		Event    string `json:"event"`
		Loss     number `json:"loss"`
		Accuracy number `json:"accuracy"`
		Epoch    int    `json:"epoch"`
	}
)

// number is a figure of a record. JSON has no word for a value that is not finite: null stands for
// it, and is read as NaN.
type number struct {
	value   float64
	present bool // the record has it
}

func numberOf(v float64) number { return number{v, true} }

func optional(v *float64) number {
	if v == nil {
		return number{}
	}
	return numberOf(*v)
}

// pointer returns the value, or nil if the record lacks it.
func (n number) pointer() *float64 {
	if !n.present {
		return nil
	}
	return &n.value
}

func (n number) IsZero() bool { return !n.present }

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(n.value) || math.IsInf(n.value, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(n.value)
}

func (n *number) UnmarshalJSON(b []byte) error {
	n.present = true
	if string(b) == "null" {
		n.value = math.NaN()
		return nil
	}
	return json.Unmarshal(b, &n.value)
}

// encode returns the line of an event, without line break.
func encode(e train.Event) ([]byte, error) {
	switch e := e.(type) {
	case train.Step:
		return json.Marshal(stepRecord{"step", e.Step, e.Epoch, numberOf(e.Loss), numberOf(e.LR)})
	case train.Epoch:
		return json.Marshal(epochRecord{"epoch", e.Epoch, e.Step, numberOf(e.TrainLoss), numberOf(e.TrainAccuracy),
			optional(e.ValLoss), optional(e.ValAccuracy), numberOf(e.LR), numberOf(e.Seconds)})
	case train.Test:
		return json.Marshal(testRecord{"test", numberOf(e.Loss), numberOf(e.Accuracy), e.Epoch})
	}
	return nil, fmt.Errorf("%T is not an event of a run", e)
}

// decode returns the event of a line, or nil if this version does not know the line's kind.
func decode(line []byte) (train.Event, error) {
	var kind struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return nil, fmt.Errorf("damaged: expected one JSON object: %w", err)
	}
	switch kind.Event {
	case "":
		return nil, errors.New(`damaged: the object has no "event"`)
	case "step":
		var r stepRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		if r.Step < 1 || r.Epoch < 1 || !r.Loss.present || !r.LR.present {
			return nil, errors.New(`damaged: a step has "step" and "epoch" from 1, "loss" and "lr"`)
		}
		return train.Step{Step: r.Step, Epoch: r.Epoch, Loss: r.Loss.value, LR: r.LR.value}, nil
	case "epoch":
		var r epochRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		if r.Epoch < 1 || r.Step < 1 || !r.TrainLoss.present || !r.TrainAccuracy.present || !r.LR.present ||
			!r.Seconds.present {
			return nil, errors.New(`damaged: an epoch has "epoch" and "step" from 1, "train_loss", "train_accuracy", ` +
				`"lr" and "seconds"`)
		}
		if r.ValLoss.present != r.ValAccuracy.present {
			return nil, errors.New(`damaged: an epoch has both "val_loss" and "val_accuracy", or neither`)
		}
		return train.Epoch{
			Epoch: r.Epoch, Step: r.Step,
			TrainLoss: r.TrainLoss.value, TrainAccuracy: r.TrainAccuracy.value,
			ValLoss: r.ValLoss.pointer(), ValAccuracy: r.ValAccuracy.pointer(),
			LR: r.LR.value, Seconds: r.Seconds.value,
		}, nil
	case "test":
		var r testRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		if !r.Loss.present || !r.Accuracy.present || r.Epoch < 1 {
			return nil, errors.New(`damaged: a test has "loss", "accuracy" and "epoch" from 1`)
		}
		return train.Test{Loss: r.Loss.value, Accuracy: r.Accuracy.value, Epoch: r.Epoch}, nil
	}
	return nil, nil
}

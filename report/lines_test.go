package report

import (
	"math"
	"testing"

	"crnn/train"
)

func TestEpochLine(t *testing.T) {
	for _, c := range []struct {
		epoch train.Epoch
		want  string
	}{
		{train.Epoch{Epoch: 1, TrainLoss: 0.5561, TrainAccuracy: 80.296, ValLoss: ptr(0.38), ValAccuracy: ptr(86.8333)},
			"Epoch 1/15\tTrain Loss: 0.556\tTrain Acc: 80.296%\tVal Loss: 0.380\tVal Acc: 86.833%"},
		{train.Epoch{Epoch: 12, TrainLoss: 0.1, TrainAccuracy: 100},
			"Epoch 12/15\tTrain Loss: 0.100\tTrain Acc: 100.000%"},
		{train.Epoch{Epoch: 15, TrainLoss: math.NaN(), TrainAccuracy: 10, ValLoss: ptr(math.Inf(1)), ValAccuracy: ptr(0)},
			"Epoch 15/15\tTrain Loss: NaN\tTrain Acc: 10.000%\tVal Loss: +Inf\tVal Acc: 0.000%"},
	} {
		if got := EpochLine(c.epoch, 15); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestTestLine(t *testing.T) {
	got := TestLine(train.Test{Accuracy: 90.334}, 10000)
	if want := "Test Accuracy of RNN model on the 10000 test images: 90.33%"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

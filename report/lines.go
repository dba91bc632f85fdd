package report

import (
	"fmt"

	"crnn/train"
)

// EpochLine returns the line that standard output shows after an epoch, without line
// break. The validation figures are left out if the epoch has none.
func EpochLine(e train.Epoch, epochs int) string {
	line := fmt.Sprintf("Epoch %d/%d\tTrain Loss: %.3f\tTrain Acc: %.3f%%", e.Epoch, epochs, e.TrainLoss, e.TrainAccuracy)
	if e.ValLoss != nil && e.ValAccuracy != nil {
		line += fmt.Sprintf("\tVal Loss: %.3f\tVal Acc: %.3f%%", *e.ValLoss, *e.ValAccuracy)
	}
	return line
}

// TestLine returns the line that standard output shows after the test on the given
// number of images, without line break.
func TestLine(t train.Test, images int64) string {
	return fmt.Sprintf("Test Accuracy of RNN model on the %d test images: %.2f%%", images, t.Accuracy)
}

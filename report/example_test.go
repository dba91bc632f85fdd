package report_test

import (
	"fmt"
	"log"
	"os"

	"crnn/report"
	"crnn/train"
)

// A run's events become its lines, its metrics and its figures.
func ExampleReporter() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	progress := report.NewProgress(os.Stdout, os.Stderr, report.Plan{Epochs: 1, Steps: 2, StepsPerEpoch: 2, BatchSize: 50})
	defer progress.Close()
	reporter, err := report.NewReporter(dir, 0, report.Options{Epochs: 1, Classes: []string{"cat", "dog"}}, progress)
	if err != nil {
		log.Fatal(err)
	}
	defer reporter.Close()
	for _, event := range []train.Event{
		train.Step{Step: 1, Epoch: 1, Loss: 0.9, LR: 0.0005},
		train.Step{Step: 2, Epoch: 1, Loss: 0.7, LR: 0.0005},
		train.Epoch{Epoch: 1, Step: 2, TrainLoss: 0.8, TrainAccuracy: 60, LR: 0.0005, Seconds: 0.2},
		train.Test{Loss: 0.5, Accuracy: 75, Epoch: 1, Confusion: train.Confusion{{40, 10}, {15, 35}}},
	} {
		if err := reporter.Observe(event); err != nil {
			log.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		fmt.Println(file.Name())
	}
	// Output:
	// Epoch 1/1	Train Loss: 0.800	Train Acc: 60.000%
	// Test Accuracy of RNN model on the 100 test images: 75.00%
	// confusion.png
	// curves.png
	// metrics.jsonl
}

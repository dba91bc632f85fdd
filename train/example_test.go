package train_test

import (
	"context"
	"fmt"
	"log"

	"crnn/cpu"
	"crnn/data"
	"crnn/train"
)

// Ten steps of the recipe on the CPU, reported as they happen. Without Dir nothing is written.
func ExampleRun() {
	dir, err := data.Locate("")
	if err != nil {
		log.Fatal(err)
	}
	dataset, err := data.Load(dir)
	if err != nil {
		log.Fatal(err)
	}
	// The test set is evaluated at the end; its first images are enough here.
	dataset.Test = &data.Set{
		Description: dataset.Test.Description, Count: 100,
		Images: dataset.Test.Images[:100*28*28], Labels: dataset.Test.Labels[:100],
	}
	backend, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()

	config := train.Default()
	config.MaxSteps = 10
	config.ValFraction = 0
	first := 0.0
	result, err := train.Run(context.Background(), train.Job{
		Backend: backend, Data: dataset, Config: config,
		Observe: func(event train.Event) error {
			switch e := event.(type) {
			case train.Step:
				if e.Step == 1 {
					first = e.Loss
				} else if e.Step == 10 {
					fmt.Println("the loss fell:", e.Loss < first)
				}
			case train.Test:
				fmt.Println("better than chance:", e.Accuracy > 10)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Steps, "steps")
	// Output:
	// the loss fell: true
	// better than chance: true
	// 10 steps
}

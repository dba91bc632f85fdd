package train_test

import (
	"context"
	"fmt"
	"log"

	"crnn/cpu"
	"crnn/data"
	"crnn/train"
)

// stripes returns images with a white line whose row tells the class. The real data comes
// from data.Load.
func stripes(count int) *data.Set {
	s := &data.Set{Count: count, Height: 28, Width: 28, Images: make([]uint8, count*28*28), Labels: make([]uint8, count)}
	for i := range count {
		s.Labels[i] = uint8(i % 10)
		row := s.Image(i)[28*(4+2*(i%10)):][:28]
		for x := range row {
			row[x] = 255
		}
	}
	return s
}

// Ten steps of training. With a Dir in the Job the run would be written there, and could
// be resumed.
func ExampleRun() {
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()

	config := train.Default()
	config.BatchSize, config.MaxSteps = 8, 10
	result, err := train.Run(context.Background(), train.Job{
		Backend: backend,
		Data:    &data.Dataset{Train: stripes(60), Test: stripes(20)},
		Config:  config,
		Observe: func(e train.Event) error {
			if e, ok := e.(train.Epoch); ok {
				fmt.Printf("epoch %d ended after step %d\n", e.Epoch, e.Step)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d steps, %d parameters\n", result.Steps, result.Best.Layout().Trainable())
	// Output:
	// epoch 1 ended after step 7
	// epoch 2 ended after step 10
	// 10 steps, 209482 parameters
}

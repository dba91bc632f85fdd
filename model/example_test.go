package model_test

import (
	"fmt"
	"log"

	"crnn/cpu"
	"crnn/data"
	"crnn/data/picture"
	"crnn/model"
)

// Weights of a finished run, and the class of a picture. Weights that PyTorch saved under
// its state_dict keys are read in the same way.
func ExampleReadWeights() {
	state, err := model.ReadWeights("../docs/results/seed1/best.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	net, err := model.New(backend, state.Config, model.Options{MaxBatch: 1})
	if err != nil {
		log.Fatal(err)
	}
	if err := net.SetState(state); err != nil {
		log.Fatal(err)
	}

	shot, err := picture.Read("../docs/pullover.png")
	if err != nil {
		log.Fatal(err)
	}
	pixels, _ := shot.Image(state.Images, picture.Auto)
	images, err := backend.NewImages(pixels, []uint8{0}, 1, 28, 28) // the label does not matter
	if err != nil {
		log.Fatal(err)
	}
	if err := net.Predict(images, []int32{0}); err != nil {
		log.Fatal(err)
	}
	logits, err := net.Logits(1)
	if err != nil {
		log.Fatal(err)
	}
	best := 0
	for class, v := range logits {
		if v > logits[best] {
			best = class
		}
	}
	fmt.Println(data.FashionMNIST().Classes[best])
	// Output: Pullover
}

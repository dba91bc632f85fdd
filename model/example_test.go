package model_test

import (
	"fmt"
	"log"

	"crnn/cpu"
	"crnn/model"
)

// Weights that crnn or PyTorch wrote, and the class of an image.
func ExampleReadWeights() {
	state, err := model.ReadWeights("../testdata/weights/recipe.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	net, err := model.New(backend, state.Config, 1, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := net.SetState(state); err != nil {
		log.Fatal(err)
	}

	pixels := make([]uint8, 28*28) // black; package data reads pictures
	images, err := backend.NewImages(pixels, []uint8{0}, 28, 28)
	if err != nil {
		log.Fatal(err)
	}
	net.Gather(images, []int32{0})
	net.Forward(false)
	logits, err := net.Logits()
	if err != nil {
		log.Fatal(err)
	}
	class := 0
	for i, v := range logits {
		if v > logits[class] {
			class = i
		}
	}
	fmt.Printf("%d layers of %d, %d classes, class %d\n", state.NumLayers, state.HiddenSize, state.Classes, class)
	// Output: 5 layers of 128, 10 classes, class 4
}

package cpu_test

import (
	"fmt"
	"testing"

	"crnn/cpu"
	"crnn/model"
)

// BenchmarkStep times a training step of the recipe, batch 50, on random images.
func BenchmarkStep(b *testing.B) {
	for _, name := range cpu.Kernels() {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", name, threads), func(b *testing.B) {
				be, err := cpu.New(cpu.Options{Threads: threads, Kernels: name})
				if err != nil {
					b.Fatal(err)
				}
				const n = 50
				net, err := model.New(be, model.Default(), model.Options{MaxBatch: n, Seed: 1})
				if err != nil {
					b.Fatal(err)
				}
				if err := net.Init(1); err != nil {
					b.Fatal(err)
				}
				pixels, indices := make([]uint8, n*28*28), make([]int32, n)
				for i := range pixels {
					pixels[i] = uint8(i * 7919 >> 3)
				}
				for i := range indices {
					indices[i] = int32(i)
				}
				images, err := be.NewImages(pixels, make([]uint8, n), 1, 28, 28)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if err := net.Step(images, indices, 5e-4); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

//go:build cuda

package gpu

import (
	"slices"
	"testing"

	"crnn/data"
	"crnn/model"
)

// Images in the host's memory give the bits of images on the card, whatever the sizes of the batches,
// in training and evaluation, inside Together and outside.
func TestImagesInTheHostsMemory(t *testing.T) {
	for _, size := range []struct{ channels, height, width int }{{1, 28, 28}, {3, 9, 7}} {
		const count = 60
		pixels, labels := make([]uint8, count*size.channels*size.height*size.width), make([]uint8, count)
		for i := range pixels {
			pixels[i] = uint8(i * 37 % 251)
		}
		for i := range labels {
			labels[i] = uint8(i % 3)
		}
		run := func(make func(be *Backend) (model.Images, error)) ([]float32, []float32, model.Totals) {
			be := openTest(t, "fp32")
			c := model.Config{
				ImageHeight: size.height, ImageWidth: size.width, ImageChannels: size.channels, Channels: [2]int{4, 8}, Kernel: 3,
				HiddenSize: 16, NumLayers: 2, Classes: 3, Dropout: 0.25,
			}
			c.InputSize = c.AutoInputSize()
			net, err := model.New(be, c, model.Options{MaxBatch: 12, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := net.Init(1); err != nil {
				t.Fatal(err)
			}
			images, err := make(be)
			if err != nil {
				t.Fatal(err)
			}
			order := data.Order(data.Count(count), 7, 0, true)
			// More batches than slots, without a look in between; a larger one makes the slots grow.
			for i, n := range []int{5, 5, 5, 12, 5, 12, 1, 5} {
				if err := net.Step(images, order[5*i:][:n], 1e-3); err != nil {
					t.Fatal(err)
				}
			}
			if err := net.SetTotals(model.Totals{}); err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				if err := net.Evaluate(images, order[12*i:][:12]); err != nil {
					t.Fatal(err)
				}
			}
			// One by one.
			p := net.Pass(3, true)
			if err := net.Gather(p, images, order[2:5]); err != nil {
				t.Fatal(err)
			}
			net.Forward(p)
			net.Loss(p)
			net.Backward(p)
			net.Update(1e-3)
			totals, err := net.Totals()
			if err != nil {
				t.Fatal(err)
			}
			logits, err := net.Logits(3)
			if err != nil {
				t.Fatal(err)
			}
			return params(t, net), logits, totals
		}
		want, wantLogits, wantTotals := run(func(be *Backend) (model.Images, error) {
			return be.NewImages(pixels, labels, size.channels, size.height, size.width)
		})
		got, gotLogits, gotTotals := run(func(be *Backend) (model.Images, error) {
			set, err := model.NewImageSet(pixels, labels, size.channels, size.height, size.width)
			if err != nil {
				return nil, err
			}
			return newHostImages(be, set, pixels, labels)
		})
		if !slices.Equal(got, want) || !slices.Equal(gotLogits, wantLogits) || gotTotals != wantTotals {
			t.Errorf("%+v: other bits", size)
		}
	}
}

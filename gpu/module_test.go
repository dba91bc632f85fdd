//go:build cuda

package gpu

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"crnn/kernels"
	"crnn/model"
)

// An error of the driver's compiler must contain the compiler's log.
func TestCompilersLogIsShown(t *testing.T) {
	be := openTest(t, "fp32")
	defer be.enter()()
	_, err := loadModule("newer", ".version 99.0\n.target sm_75\n.address_size 64\n")
	e := (*Error)(nil)
	if !errors.As(err, &e) || !strings.Contains(e.Log, "99.0") {
		t.Fatalf("error %#v, want one with the compiler's log, which names version 99.0", err)
	}
	if text := err.Error(); !strings.Contains(text, "cuModuleLoadDataEx of newer: CUDA_ERROR_") ||
		!strings.Contains(text, e.Log) || strings.Contains(text, "\n") {
		t.Errorf("%q, want one line with the call, the code and the log", text)
	}
}

// clusterLayers is the number of layers that clusters compute.
var clusterLayers = kernels.RnnClusterForward(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0).Cluster

// A run loads only that it launches, since each module lengthens the first start.
func TestOnlyWhatRunsIsLoaded(t *testing.T) {
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		for _, layers := range []int{2, clusterLayers} {
			t.Run(fmt.Sprintf("%s/layers=%d", precision, layers), func(t *testing.T) {
				be := openTest(t, precision)
				c := model.Config{
					ImageHeight: 8, ImageWidth: 8, ImageChannels: 1, Channels: [2]int{4, 8}, Kernel: 3,
					InputSize: 8, HiddenSize: 16, NumLayers: layers, Classes: 3, Dropout: 0.25,
				}
				net, err := model.New(be, c, model.Options{MaxBatch: 4, Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				images, err := be.NewImages(make([]uint8, 4*64), make([]uint8, 4), 1, 8, 8)
				if err != nil {
					t.Fatal(err)
				}
				trainingAlone := []string{"adam", "conv_sum", "rnn_gradients", "rnn_gradients_mma", "rnn_gradients_sum"}
				for _, source := range trainingAlone {
					if _, ok := be.modules[source]; ok {
						t.Errorf("%s is loaded before anything is trained", source)
					}
				}
				if err := net.Step(images, []int32{0, 1, 2, 3}, 1e-3); err != nil {
					t.Fatal(err)
				}
				if err := be.Sync(); err != nil {
					t.Fatal(err)
				}
				launched := map[string]bool{}
				for _, l := range be.graphs[0].list {
					launched[l.call.Source] = true
				}
				got := slices.Sorted(maps.Keys(be.modules))
				// To find out that a card, such as a part of one, holds too few clusters for this batch, the
				// Backend loads their code.
				cluster := (&rnn{be: be, kernels: rnnKernelsOf[precision]}).clusterForward(0, 0, 0).Source
				if layers == clusterLayers && be.card.clusters && !launched[cluster] {
					got = slices.DeleteFunc(got, func(source string) bool { return source == cluster })
				}
				if want := slices.Sorted(maps.Keys(launched)); !slices.Equal(got, want) {
					t.Errorf("loaded %v, launched %v", got, want)
				}
			})
		}
	}
}

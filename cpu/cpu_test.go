package cpu_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"crnn/cpu"
	"crnn/data"
	"crnn/model"
	"crnn/tests/backendtest"
)

func device(kernels string, threads int) backendtest.Device {
	return func(t testing.TB) model.Backend {
		t.Helper()
		be, err := cpu.New(cpu.Options{Kernels: kernels, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := be.Close(); err != nil {
				t.Error(err)
			}
		})
		return be
	}
}

// inFP32 lists the kernels without tiles, which make no difference in fp32.
func inFP32() []string {
	return slices.DeleteFunc(cpu.Kernels(), func(name string) bool { return name == "amx" || name == "emulated" })
}

func TestBackend(t *testing.T) {
	for _, kernels := range inFP32() {
		for _, threads := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/threads=%d", kernels, threads), func(t *testing.T) {
				backendtest.Run(t, device(kernels, threads))
			})
		}
	}
}

// bf16 opens a Backend in bfloat16, or skips the test if the processor has no instructions for it.
func bf16(kernels string, threads int) backendtest.Device {
	return func(t testing.TB) model.Backend {
		t.Helper()
		be, err := cpu.New(cpu.Options{Kernels: kernels, Threads: threads, BF16: true})
		if errors.Is(err, cpu.ErrNoBF16) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return be
	}
}

func TestBF16(t *testing.T) {
	for _, kernels := range cpu.Kernels() {
		t.Run(kernels, func(t *testing.T) {
			backendtest.RunPrecision(t, bf16(kernels, 3), backendtest.BF16)
			for _, threads := range []int{2, 8, 61} {
				backendtest.SameBits(t, bf16(kernels, threads), bf16(kernels, 1))
			}
		})
	}
}

// The stand-in for AMX is for tests: it is used only by name, and no program contains it.
func TestStandInIsNeverChosen(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		if name := cpu.DefaultKernels(bf16); name == "emulated" {
			t.Errorf("bf16 %v: %s kernels", bf16, name)
		}
	}
}

// bf16 is computed in tiles if there are any, fp32 never.
func TestDefaultKernels(t *testing.T) {
	offered := cpu.Kernels()
	if slices.Contains(offered, "amx") != (cpu.DefaultKernels(true) == "amx") || cpu.DefaultKernels(false) == "amx" {
		t.Errorf("of %v, %s for bf16 and %s for fp32", offered, cpu.DefaultKernels(true), cpu.DefaultKernels(false))
	}
}

func TestThreadsGiveTheSameBits(t *testing.T) {
	for _, kernels := range inFP32() {
		for _, threads := range []int{2, 3, 8, 61} {
			t.Run(fmt.Sprintf("%s/threads=%d", kernels, threads), func(t *testing.T) {
				backendtest.SameBits(t, device(kernels, threads), device(kernels, 1))
			})
		}
	}
}

func TestTrajectory(t *testing.T) {
	dir, err := data.Locate("")
	if err != nil {
		t.Fatal(err)
	}
	set, err := data.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, kernels := range inFP32() {
		steps := 30
		switch {
		case testing.Short():
			steps = 1 // under an emulator or the race detector a step takes up to a minute
		case kernels == "go":
			steps = 5 // a step takes seconds
		}
		t.Run(kernels, func(t *testing.T) {
			backendtest.Trajectory(t, device(kernels, 2)(t), set.Train, steps)
		})
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		options cpu.Options
		want    string
	}{
		{cpu.Options{Threads: -1}, "threads -1"},
		{cpu.Options{Threads: 1 << 20}, "threads 1048576"},
		{cpu.Options{Kernels: "mmx"}, `kernels "mmx"`},
	} {
		if _, err := cpu.New(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.options, err, c.want)
		}
	}
}

// A network that cannot fit is refused when it is made, not when its buffers are made.
func TestMemoryLimit(t *testing.T) {
	be, err := cpu.New(cpu.Options{Memory: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.New(be, model.Default(), model.Options{MaxBatch: 50, Seed: 1}); err != nil {
		t.Errorf("batch 50 in 100 MiB: %v", err)
	}
	_, err = model.New(be, model.Default(), model.Options{MaxBatch: 5000})
	if err == nil || !strings.Contains(err.Error(), "batch-size") {
		t.Errorf("batch 5000 in 100 MiB: %v, want an error that names batch-size", err)
	}
	wide := model.Default()
	wide.InputSize, wide.HiddenSize = 1, 8192
	_, err = model.New(device("", 1)(t), wide, model.Options{MaxBatch: 100})
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("3136 steps of 100 samples of 8192 units: %v, want an error", err)
	}
}

// A profile of kernels on several threads tells operators apart, also inside Together.
func TestProfile(t *testing.T) {
	for _, kernels := range cpu.Kernels() {
		t.Run(kernels, func(t *testing.T) {
			be := device(kernels, 3)(t)
			config := model.Default()
			config.Channels, config.InputSize, config.HiddenSize, config.NumLayers = [2]int{4, 4}, 14, 16, 1
			net, err := model.New(be, config, model.Options{MaxBatch: 3, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			images, err := be.NewImages(make([]uint8, 28*28), make([]uint8, 1), 1, 28, 28)
			if err != nil {
				t.Fatal(err)
			}
			p, err := be.Alloc(1000)
			if err != nil {
				t.Fatal(err)
			}
			times, err := be.(model.Profiler).Profile(func() {
				if err := net.Evaluate(images, []int32{0, 0, 0}); err != nil {
					t.Fatal(err)
				}
				be.Together(func() { be.Adam(p, p, p, p, model.AdamStep{Step: 1}) })
			})
			if err != nil {
				t.Fatal(err)
			}
			products := map[string]bool{} // by operator
			for _, k := range times {
				products[k.Operator] = products[k.Operator] || k.Name == "matmul" && k.Launches > 0
			}
			want := map[string]bool{
				"gather": false, "convolution block 1→4 forward": true, "convolution block 4→4 forward": true,
				"RNN forward": true, "head forward": true, "loss": false, "Adam": false,
			}
			if !maps.Equal(products, want) || be.(model.Profiler).Peak() <= 0 {
				t.Errorf("%+v", times)
			}
		})
	}
}

// Timing the kernels does not change their results.
func TestProfileComputesTheSame(t *testing.T) {
	config := model.Default()
	config.Channels, config.InputSize, config.HiddenSize, config.NumLayers = [2]int{4, 20}, 28, 16, 2
	pixels := make([]uint8, 3*28*28)
	for i := range pixels {
		pixels[i] = uint8(i * 37 % 251)
	}
	for _, kernels := range cpu.Kernels() {
		for _, bf16 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/bf16=%v", kernels, bf16), func(t *testing.T) {
				steps := 0 // as many as a profile makes
				params := func(profile bool) []float32 {
					be, err := cpu.New(cpu.Options{Threads: 2, Kernels: kernels, BF16: bf16})
					if errors.Is(err, cpu.ErrNoBF16) {
						t.Skip(err)
					}
					if err != nil {
						t.Fatal(err)
					}
					net, err := model.New(be, config, model.Options{MaxBatch: 3, Seed: 1})
					if err != nil {
						t.Fatal(err)
					}
					if err := net.Init(1); err != nil {
						t.Fatal(err)
					}
					images, err := be.NewImages(pixels, []uint8{0, 1, 2}, 1, 28, 28)
					if err != nil {
						t.Fatal(err)
					}
					step := func() {
						steps++
						if err := net.Step(images, []int32{0, 1, 2}, 1e-3); err != nil {
							t.Fatal(err)
						}
					}
					if profile {
						if _, err := be.Profile(step); err != nil {
							t.Fatal(err)
						}
					} else {
						for range steps {
							step()
						}
					}
					state, err := net.State()
					if err != nil {
						t.Fatal(err)
					}
					return state.Params
				}
				if !slices.Equal(params(true), params(false)) {
					t.Error("a step that is profiled gives other parameters")
				}
			})
		}
	}
}

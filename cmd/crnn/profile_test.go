//go:build unix

package main

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// operatorFLOP returns the floating-point operations of the products in a step of n images, per
// operator. operators are in the order of their runs.
func operatorFLOP(n int, mode string) (operators []string, flop map[string]float64) {
	const (
		conv1  = 2 * 28 * 28 * 25 * 32 // each pixel's sum over a patch, for each channel
		tiles2 = 36 * 7 * 7            // Winograd's products for the tiles of 2x2
		tiles4 = 48 * 4 * 7            // for the tiles of 4x2 in eval mode, with the last ones cut in half
		conv2  = 2 * tiles2 * 32 * 64
		steps  = 56      // of the RNN
		below  = 4 * 128 // inputs of all layers but the first
		recur  = 5 * 2 * (steps - 1) * 128 * 128
		wide   = 64 // the first layer's 56 inputs, padded
		inputs = 2 * steps * (wide + below) * 128
	)
	flop = map[string]float64{
		"gather":                           0,
		"convolution block 1→32 forward":   conv1,
		"convolution block 32→64 forward":  conv2,
		"RNN forward":                      2*steps*(56+below)*128 + recur,
		"head forward":                     2 * 128 * 16, // 10 classes, padded
		"loss":                             0,
		"head backward":                    2 * 2 * 128 * 10,
		"RNN backward":                     2*inputs + 2*recur, // gradients of inputs and of weights
		"convolution block 32→64 backward": 2 * conv2,
		"convolution block 1→32 backward":  conv1, // images need no gradient
		"Adam":                             0,
	}
	if mode != "train" {
		flop["convolution block 32→64 forward"] = 2 * tiles4 * 32 * 64
	}
	for operator := range flop {
		flop[operator] *= float64(n)
	}
	operators = []string{"gather", "convolution block 1→32 forward", "convolution block 32→64 forward", "RNN forward",
		"head forward"}
	if mode != "predict" {
		operators = append(operators, "loss")
	}
	if mode == "train" {
		operators = append(operators, "head backward", "RNN backward", "convolution block 32→64 backward",
			"convolution block 1→32 backward", "Adam")
	}
	return operators, flop
}

// The profile on the CPU has every operator, with the operations that follow from its sizes, and
// accounts for the whole step.
func TestBenchProfile(t *testing.T) {
	dataDir := smallData(t)
	for _, c := range []struct {
		mode  string
		batch int
	}{{"train", 13}, {"eval", 7}, {"predict", 1}} {
		t.Run(c.mode, func(t *testing.T) {
			text := []byte(crnn(t, "bench", "--device", "cpu", "--profile", "--mode", c.mode,
				"--batch-size", strconv.Itoa(c.batch), "--steps", "3", "--threads", "2", "--data", dataDir, "--json"))
			var keys map[string]any
			var got benchmark
			for _, v := range []any{&keys, &got} {
				if err := json.Unmarshal(text, v); err != nil {
					t.Fatal(err)
				}
			}
			wantKeys := []string{"batch_size", "device", "device_name", "images_per_second", "kernels", "mode", "peak_bytes",
				"peak_gflop_per_second", "precision", "step_ms", "step_ms_min", "step_ms_p95", "threads"}
			if diff := cmp.Diff(wantKeys, keysOf(keys)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if !(got.PeakGFLOPS > 0) {
				t.Errorf("peak %v GFLOP/s", got.PeakGFLOPS)
			}

			operators, want := operatorFLOP(c.batch, c.mode)
			var seen []string
			flop, stepFLOP := map[string]float64{}, 0.0
			for _, k := range got.Kernels {
				if !slices.Contains(seen, k.Operator) {
					seen = append(seen, k.Operator)
				}
				flop[k.Operator] += 1e9 * k.GFLOP
				stepFLOP += 1e9 * k.GFLOP
				if k.Name == "" || !(k.Microseconds >= 0) || (k.GFLOP > 0) != (k.Name == "matmul" || k.Name == "recurrence") {
					t.Errorf("%+v", k)
				}
			}
			if diff := cmp.Diff(operators, seen); diff != "" {
				t.Fatalf("operators (-want +got):\n%s", diff)
			}
			for _, operator := range operators {
				// These are whole numbers below 2^53, so only the conversion to GFLOP and back
				// rounds.
				if !cmp.Equal(flop[operator], want[operator], cmpopts.EquateApprox(1e-12, 1e-3)) {
					t.Errorf("%s: %.0f operations, want %.0f", operator, flop[operator], want[operator])
				}
			}

			var table strings.Builder
			if err := got.print(&table); err != nil {
				t.Fatal(err)
			}
			row := func(name string) []string {
				for _, line := range strings.Split(table.String(), "\n") {
					if strings.HasSuffix(line, "  "+name) {
						return strings.Fields(line) // ms, share, %, …
					}
				}
				t.Fatalf("no line for %s:\n%s", name, &table)
				return nil
			}
			number := func(text string) float64 {
				v, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatalf("%v:\n%s", err, &table)
				}
				return v
			}
			shares := 0.0
			for _, operator := range operators {
				shares += number(row(operator)[1])
			}
			// Each share is rounded to 0.1.
			if rounding := 0.05 * float64(len(operators)); math.Abs(shares-100) > rounding+1e-9 {
				t.Errorf("the operators' shares add up to %.1f %%:\n%s", shares, &table)
			}
			step := row("a step")
			// Four digits of it are printed.
			if step[1] != "100.0" || math.Abs(number(step[3])-stepFLOP/1e9) > 0.5e-4 {
				t.Errorf("the step: %v, with %g GFLOP", step, stepFLOP/1e9)
			}
			if !strings.Contains(table.String(), "\npeak: ") {
				t.Errorf("no peak:\n%s", &table)
			}
		})
	}
}

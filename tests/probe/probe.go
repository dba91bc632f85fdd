// Package probe holds kernels that do no work. They measure the time that a card takes for the launches
// of a training step, and for each way of handing vectors on between the blocks of the RNN. Only tests
// use them. scripts/ptx builds them too.
package probe

import (
	"embed"
	"fmt"
	"strings"

	"crnn/kernels"
)

//go:embed ptx
var files embed.FS

// Built is the PTX of the probes.
var Built = kernels.Embedded(files)

// Sizes of wave.cuh and mbarrier.cuh.
const (
	Layers = 5   // blocks of a chain
	Width  = 384 // words that a block hands on in a wave
	Slots  = 4   // vectors that a block may be ahead of the next one
)

// CUDA returns the lowest version of CUDA (12010 for 12.1) whose driver takes a PTX text. CUDA 12.N
// has PTX ISA 8.N.
func CUDA(ptx string) int {
	for line := range strings.Lines(ptx) {
		var minor int
		if n, _ := fmt.Sscanf(line, ".version 8.%d", &minor); n == 1 {
			return 12000 + 10*minor
		}
	}
	panic("probe: PTX without a version 8")
}

// Waves returns the result of the kernels waves_…, [Width]. wave.cuh states the formula.
func Waves(seed uint32, steps int) []uint32 {
	var h [Layers][Width]uint32
	for t := range steps {
		var in [Width]uint32
		for i := range in {
			in[i] = seed + uint32(Width*t+i)
		}
		for l := range h {
			before := h[l]
			for i := range in {
				h[l][i] = 31*before[(i+33)%Width] + in[(i+65)%Width]
			}
			in = h[l]
		}
	}
	return h[Layers-1][:]
}

package cpu

import (
	"math"
	"testing"

	"crnn/rng"
)

// exactConvolution is a convolution and its gradients in float64.
type exactConvolution struct {
	convSizes
	z, dx, dw, y []float64 // y is z after ReLU and pooling
}

func newExact(s convSizes, n int, x, w, dz []float32) *exactConvolution {
	pixels, taps := s.height*s.width, s.kernel*s.kernel
	e := &exactConvolution{
		s, make([]float64, n*pixels*s.outP), make([]float64, n*s.in*pixels), make([]float64, len(w)), nil,
	}
	for b := range n {
		for o := range s.out {
			for c := range s.in {
				for tap := range taps {
					u, v := tap/s.kernel-s.kernel/2, tap%s.kernel-s.kernel/2
					at := (o*s.in+c)*taps + tap
					for i := max(0, -u); i < min(s.height, s.height-u); i++ {
						for j := max(0, -v); j < min(s.width, s.width-v); j++ {
							z := (b*pixels+i*s.width+j)*s.outP + o
							from := (b*s.in+c)*pixels + (i+u)*s.width + j + v
							e.z[z] += float64(w[at]) * float64(x[from])
							e.dx[from] += float64(w[at]) * float64(dz[z])
							e.dw[at] += float64(x[from]) * float64(dz[z])
						}
					}
				}
			}
		}
	}
	for b := range n {
		for i := 0; i+1 < s.height; i += 2 {
			for j := 0; j+1 < s.width; j += 2 {
				for o := range s.outP {
					z := func(i, j int) float64 { return e.z[(b*pixels+i*s.width+j)*s.outP+o] }
					e.y = append(e.y, max(0, z(i, j), z(i, j+1), z(i+1, j), z(i+1, j+1)))
				}
			}
		}
	}
	return e
}

// rmsError returns the root mean square of a - exact, divided by the root mean square of exact.
func rmsError(a []float32, exact []float64) float64 {
	var off, size float64
	for i, v := range exact {
		off += (float64(a[i]) - v) * (float64(a[i]) - v)
		size += v * v
	}
	return math.Sqrt(off / size)
}

// The error of Winograd's convolution against float64 has limits, relative to the error of the plain sum
// in float32, for the recipe's second convolution behind a ReLU. For the outputs and the inputs' gradient
// it is twice as large. For the filters' gradient it is five times as large: there the plain sum adds up
// image by image, which rounds little. For the larger tiles of eval mode, after pooling, it is three
// times as large. The limits leave room for kernels that round a little more.
func TestWinogradError(t *testing.T) {
	const n = 6
	s := newConvSizes(32, 64, 14, 14, 5)
	stream := rng.Stream{Seed: 3}
	normal := func(n int) []float32 {
		a := make([]float32, n)
		for i := range a {
			for range 12 {
				a[i] += stream.Float32()
			}
			a[i] -= 6
		}
		return a
	}
	x, w, dz := normal(n*s.in*196), normal(s.out*s.in*25), normal(n*196*s.outP)
	for i := range x {
		x[i] = max(0, x[i])
	}
	exact := newExact(s, n, x, w, dz)
	for _, k := range available() {
		t.Run(k.name(), func(t *testing.T) {
			be := &Backend{kernels: k, pool: newPool(1)}
			norm := &normalisation{make([]float32, s.outP), make([]float32, s.outP), make([]float32, s.outP)}
			for o := range norm.scale {
				norm.scale[o] = 1
			}
			errors := func(c interface {
				convolution
				gradientImage(thread int) (dz []float32, row int)
			}) [4]float64 {
				y := make([]float32, len(exact.y))
				c.pack(w, false)
				for b := range n {
					c.convolvePool(0, part(x, b, s.in*196), make([]float32, s.outP), norm, part(y, b, 49*s.outP))
				}
				z, dx, dw := make([]float32, len(dz)), make([]float32, len(x)), make([]float32, len(w))
				c.pack(w, true)
				c.prepare(n)
				for b := range n {
					image := part(x, b, s.in*196)
					c.convolve(0, image, make([]float32, s.outP), part(z, b, 196*s.outP))
					to, row := c.gradientImage(0)
					for i := range s.height {
						copy(to[i*row:], dz[(b*196+i*14)*s.outP:][:14*s.outP])
					}
					c.gradients(0, 0, b == 0, image, part(dx, b, s.in*196))
				}
				c.weightGradient(dw, n)
				return [4]float64{rmsError(z, exact.z), rmsError(dx, exact.dx), rmsError(dw, exact.dw), rmsError(y, exact.y)}
			}
			direct, fast := errors(newDirect(be, s)), errors(newWinograd(be, s))
			for i, name := range []string{"z", "dx", "dw", "y"} {
				t.Logf("%s: %.2g, of the plain sum %.2g", name, fast[i], direct[i])
				if !(fast[i] <= []float64{3, 3, 6, 4}[i]*direct[i]) {
					t.Errorf("%s: the error %.2g is %.1f times that of the plain sum", name, fast[i], fast[i]/direct[i])
				}
			}
		})
	}
}

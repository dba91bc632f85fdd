package cpu

import (
	"math"
	"testing"

	"crnn/rng"
)

// exactConvolution computes a convolution and its gradients in float64.
type exactConvolution struct {
	convSizes
	z, dx, dw []float64
}

func newExact(s convSizes, n int, x, w, dz []float32) *exactConvolution {
	pixels, taps := s.height*s.width, s.kernel*s.kernel
	e := &exactConvolution{s, make([]float64, n*pixels*s.outP), make([]float64, n*s.in*pixels), make([]float64, len(w))}
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
	return e
}

// rmsError returns the root of the mean square of a - exact, relative to that of exact.
func rmsError(a []float32, exact []float64) float64 {
	var off, size float64
	for i, v := range exact {
		off += (float64(a[i]) - v) * (float64(a[i]) - v)
		size += v * v
	}
	return math.Sqrt(off / size)
}

// The error of Winograd's convolution against float64, beside that of the plain sum in float32,
// for the recipe's second convolution behind a ReLU. Of the outputs and the inputs' gradient it
// is twice as large, of the filters' gradient five times: there the plain sum adds up image by
// image, which rounds little. Other kernels than today's may round a little more.
func TestWinogradError(t *testing.T) {
	const n = 6
	s := convSizes{in: 32, out: 64, height: 14, width: 14, kernel: 5, inP: 32, outP: 64}
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
			errors := func(c convolution) [3]float64 {
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
				return [3]float64{rmsError(z, exact.z), rmsError(dx, exact.dx), rmsError(dw, exact.dw)}
			}
			direct, fast := errors(newDirect(be, s)), errors(newWinograd(be, s))
			for i, name := range []string{"z", "dx", "dw"} {
				t.Logf("%s: %.2g, of the plain sum %.2g", name, fast[i], direct[i])
				if !(fast[i] <= []float64{3, 3, 6}[i]*direct[i]) {
					t.Errorf("%s: the error %.2g is %.1f times that of the plain sum", name, fast[i], fast[i]/direct[i])
				}
			}
		})
	}
}

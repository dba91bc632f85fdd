package backendtest

import (
	"math"

	"crnn/model"
	"crnn/rng"
)

// reference computes the loss of a network in float64, directly by the formulas of model.Backend:
// nested loops, no layout, no packing.
type reference struct {
	model.Config
	params map[string][]float64 // by state_dict key
	seed   uint64
	step   uint64
}

// image is [channels][height][width].
type image struct {
	channels, height, width int
	v                       []float64
}

func newImage(channels, height, width int) image {
	return image{channels, height, width, make([]float64, channels*height*width)}
}

func (m image) at(c, i, j int) float64 {
	if i < 0 || i >= m.height || j < 0 || j >= m.width {
		return 0
	}
	return m.v[(c*m.height+i)*m.width+j]
}

func (m image) set(c, i, j int, v float64) { m.v[(c*m.height+i)*m.width+j] = v }

// convBlock is convolution, batch normalisation by the batch's statistics, ReLU and pooling.
func (r *reference) convBlock(layer string, x []image, out int) []image {
	w, bias := r.params[layer+".0.weight"], r.params[layer+".0.bias"]
	gamma, beta := r.params[layer+".1.weight"], r.params[layer+".1.bias"]
	k, p := r.Kernel, (r.Kernel-1)/2
	z, y := make([]image, len(x)), make([]image, len(x))
	for b, in := range x {
		z[b] = newImage(out, in.height, in.width)
		y[b] = newImage(out, in.height/2, in.width/2)
		for o := range out {
			for i := range in.height {
				for j := range in.width {
					sum := bias[o]
					for c := range in.channels {
						for u := range k {
							for v := range k {
								sum += w[((o*in.channels+c)*k+u)*k+v] * in.at(c, i+u-p, j+v-p)
							}
						}
					}
					z[b].set(o, i, j, sum)
				}
			}
		}
	}
	for o := range out {
		var mean, variance, count float64
		each := func(f func(v float64)) {
			for _, m := range z {
				for i := range m.height {
					for j := range m.width {
						f(m.at(o, i, j))
					}
				}
			}
		}
		each(func(v float64) { mean += v; count++ })
		mean /= count
		each(func(v float64) { variance += (v - mean) * (v - mean) / count })
		for b, m := range z {
			for i := range m.height / 2 {
				for j := range m.width / 2 {
					best := 0.0
					for k := range 4 {
						u := gamma[o]*(m.at(o, 2*i+k/2, 2*j+k%2)-mean)/math.Sqrt(variance+1e-5) + beta[o]
						best = max(best, u)
					}
					y[b].set(o, i, j, best)
				}
			}
		}
	}
	return y
}

// kept returns mask / (1 - Dropout) for unit j of layer l, sample b, step t.
func (r *reference) kept(l, b, t, j int) float64 {
	threshold := uint32(math.Round(r.Dropout * (1 << 16)))
	stream := rng.Stream{Seed: r.seed, Purpose: rng.Dropout.Sub(l), Step: r.step}
	word := stream.Block(uint32((b*r.SeqLen()+t)*((r.HiddenSize+7)/8) + j/8))[j%8/2]
	if word>>(16*(j%2))&0xffff < threshold {
		return 0
	}
	return 1 / (1 - float64(threshold)/(1<<16))
}

// loss returns the mean cross-entropy in training mode.
func (r *reference) loss(images []image, labels []uint8) float64 {
	a := r.convBlock("layer2", r.convBlock("layer1", images, r.Channels[0]), r.Channels[1])
	total := 0.0
	for b, features := range a {
		in := make([][]float64, r.SeqLen())
		for t := range in {
			in[t] = features.v[t*r.InputSize:][:r.InputSize]
		}
		for l := range r.NumLayers {
			suffix := "_l" + string(rune('0'+l))
			ih, hh := r.params["rnn.weight_ih"+suffix], r.params["rnn.weight_hh"+suffix]
			bih, bhh := r.params["rnn.bias_ih"+suffix], r.params["rnn.bias_hh"+suffix]
			h := make([]float64, r.HiddenSize)
			out := make([][]float64, len(in))
			for t := range in {
				next := make([]float64, r.HiddenSize)
				out[t] = make([]float64, r.HiddenSize)
				for j := range next {
					sum := bih[j] + bhh[j]
					for i, v := range in[t] {
						sum += ih[j*len(in[t])+i] * v
					}
					for i, v := range h {
						sum += hh[j*len(h)+i] * v
					}
					next[j] = math.Tanh(sum)
					out[t][j] = next[j]
					if l < r.NumLayers-1 {
						out[t][j] *= r.kept(l, b, t, j)
					}
				}
				h = next
			}
			in = out
		}
		last, w := in[len(in)-1], r.params["fc.weight"]
		sum, logit := 0.0, 0.0
		for k := range r.Classes {
			z := r.params["fc.bias"][k]
			for i, v := range last {
				z += w[k*len(last)+i] * v
			}
			sum += math.Exp(z)
			if k == int(labels[b]) {
				logit = z
			}
		}
		total += math.Log(sum) - logit
	}
	return total / float64(len(images))
}

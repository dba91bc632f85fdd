package backendtest

import (
	"math"
	"strconv"
)

// recurrent is an RNN without dropout in float64, by the formulas of model.Backend.
type recurrent struct {
	layers, n, steps, in, hidden int
	arrays                       map[string][]float64 // of the fixture
}

// at returns the index of unit j in layer l, for sample b and step t.
func (r *recurrent) at(l, b, t, j int) int { return ((l*r.n+b)*r.steps+t)*r.hidden + j }

// run returns y, all gradients and the argument of each tanh. The result of tanh number erring is
// wrong by the amount by; -1: all are exact.
func (r *recurrent) run(erring int, by float64) (results map[string][]float64, sums []float64) {
	results = map[string][]float64{}
	total := r.at(r.layers, 0, 0, 0)
	sums, h, d := make([]float64, total), make([]float64, total), make([]float64, total)
	name := func(s string, l int) string { return s + "_l" + strconv.Itoa(l) }
	input := func(l, b, t int) []float64 {
		if l == 0 {
			return r.arrays["x"][(b*r.steps+t)*r.in:][:r.in]
		}
		return h[r.at(l-1, b, t, 0):][:r.hidden]
	}
	before := func(l, b, t int) []float64 {
		if t == 0 {
			return make([]float64, r.hidden)
		}
		return h[r.at(l, b, t-1, 0):][:r.hidden]
	}
	// each calls f with every layer, sample and step, in reverse order if backward.
	each := func(backward bool, f func(l, b, t int)) {
		for k := range r.layers * r.n * r.steps {
			if backward {
				k = r.layers*r.n*r.steps - 1 - k
			}
			f(k/(r.n*r.steps), k/r.steps%r.n, k%r.steps)
		}
	}
	each(false, func(l, b, t int) {
		ih, hh := r.arrays[name("weight_ih", l)], r.arrays[name("weight_hh", l)]
		for j := range r.hidden {
			in, old := input(l, b, t), before(l, b, t)
			sum := r.arrays[name("bias_ih", l)][j] + r.arrays[name("bias_hh", l)][j]
			for i, v := range in {
				sum += ih[j*len(in)+i] * v
			}
			for i, v := range old {
				sum += hh[j*r.hidden+i] * v
			}
			k := r.at(l, b, t, j)
			sums[k], h[k] = sum, math.Tanh(sum)
			if k == erring {
				h[k] += by
			}
		}
	})
	result := func(name string, length int) []float64 {
		if results[name] == nil {
			results[name] = make([]float64, length)
		}
		return results[name]
	}
	each(true, func(l, b, t int) {
		in, old := input(l, b, t), before(l, b, t)
		ih, hh := r.arrays[name("weight_ih", l)], r.arrays[name("weight_hh", l)]
		dih, dhh := result(name("dweight_ih", l), len(ih)), result(name("dweight_hh", l), len(hh))
		bih, bhh := result(name("dbias_ih", l), r.hidden), result(name("dbias_hh", l), r.hidden)
		y, dx := result("y", r.n*r.hidden), result("dx", len(r.arrays["x"]))
		var above, after, next []float64 // what goes back to h from the layer above, by next, and from the next step
		if l < r.layers-1 {
			next = r.arrays[name("weight_ih", l+1)]
			above = d[r.at(l+1, b, t, 0):][:r.hidden]
		}
		if t < r.steps-1 {
			after = d[r.at(l, b, t+1, 0):][:r.hidden]
		}
		for j := range r.hidden {
			k, dh := r.at(l, b, t, j), 0.0
			if above == nil && after == nil {
				dh = r.arrays["dy"][b*r.hidden+j]
				y[b*r.hidden+j] = h[k]
			}
			for i, v := range above {
				dh += next[i*r.hidden+j] * v
			}
			for i, v := range after {
				dh += hh[i*r.hidden+j] * v
			}
			d[k] = dh * (1 - h[k]*h[k])
			for i, v := range in {
				dih[j*len(in)+i] += d[k] * v
				if l == 0 {
					dx[(b*r.steps+t)*r.in+i] += d[k] * ih[j*r.in+i]
				}
			}
			for i, v := range old {
				dhh[j*r.hidden+i] += d[k] * v
			}
			bih[j] += d[k]
			bhh[j] += d[k]
		}
	})
	return results, sums
}

// tanhErrors returns the allowed errors of y and every gradient of an RNN's fixture, relative to
// the largest magnitude. They hold for a card whose ex2 and rcp err as much as the PTX manual
// allows.
//
// In the kernels' PTX, tanhf is 1 - 2 rcp(1 + ex2(2 log2(e) |a|)) for |a| from 0.6 to 9.01, and
// uses neither instruction elsewhere. ex2 may be off by 2 units in the last place, at most 2^-22 of
// it, and rcp by one, 2^-23. With h = tanh |a| the reciprocal is (1-h)/2, and 1 + ex2 takes over
// (1+h)/2 of ex2's relative error. So h errs by
//
//	(1-h) (2^-23 + 2^-22 (1+h)/2) = (1-h) (2+h) 2^-23.
//
// To first order the error of a result is the sum of the effects of each unit's error. All errors
// are assumed to have the worst sign.
func (b *bench) tanhErrors() map[string]float64 {
	b.Helper()
	r := &recurrent{
		layers: b.int("layers"), n: b.int("batch"), steps: b.int("steps"), in: b.int("in"), hidden: b.int("hidden"),
		arrays: map[string][]float64{},
	}
	names := []string{"x", "dy"}
	for l := range r.layers {
		for _, s := range []string{"weight_ih", "weight_hh", "bias_ih", "bias_hh"} {
			names = append(names, s+"_l"+strconv.Itoa(l))
		}
	}
	for _, name := range names {
		for _, v := range b.F32(name) {
			r.arrays[name] = append(r.arrays[name], float64(v))
		}
	}
	values, sums := r.run(-1, 0)
	moved, most := map[string][]float64{}, map[string]float64{}
	for name, v := range values {
		moved[name] = make([]float64, len(v))
	}
	for k, a := range sums {
		if math.Abs(a) < 0.6 || math.Abs(a) >= 9.02 {
			continue
		}
		const large = 1000 // keeps the difference above float64's rounding
		h := math.Tanh(math.Abs(a))
		off, _ := r.run(k, large*(1-h)*(2+h)/(1<<23))
		for name, v := range off {
			for i := range v {
				moved[name][i] += math.Abs(v[i]-values[name][i]) / large
			}
		}
	}
	for name, v := range values {
		largest, want := 0.0, b.F32(name)
		for i := range v {
			largest = max(largest, math.Abs(v[i]))
			most[name] = max(most[name], moved[name][i])
			if !(math.Abs(v[i]-float64(want[i])) <= 1e-6*math.Abs(float64(want[i]))+1e-6) {
				b.Fatalf("%s[%d] in float64 is %v, want %v", name, i, v[i], want[i])
			}
		}
		most[name] /= largest
	}
	return most
}

package cpu

import (
	"math"
	"runtime"

	"crnn/rng"
)

// goKernels are the plain versions. The C kernels are tested against them, and they run where cgo is
// off.
type goKernels struct{}

func (goKernels) name() string  { return "go" }
func (goKernels) hasBF16() bool { return true }

// hasTiles is false: the plain versions of tiles are for tests. In Go, products without tiles are faster.
func (goKernels) hasTiles() bool { return false }

func (goKernels) matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32) {
	for i := range s.batch {
		for m := range s.m {
			a, c := a[i*s.batchA+int64(aOffset[m]):], c[i*s.batchC+int64(cOffset[m]):][:s.n]
			// Eight columns at a time: their sums stay in registers and do not wait for each other.
			for n := int64(0); n < s.n; n += 8 {
				column, row := n, s.rowB
				if s.panelRows > 0 {
					first := n / panelWidth * panelWidth
					row = min(panelWidth, s.n-first)
					column = first*s.panelRows + n - first
				}
				sum := s.columns(a, b[i*s.batchB+column:], row)
				switch s.add {
				case addBias:
					for j := range sum {
						sum[j] += bias[n+int64(j)]
					}
				case addC:
					for j := range sum {
						sum[j] += c[n+int64(j)]
					}
				}
				copy(c[n:], sum[:])
			}
		}
	}
}

// columns returns the products of one row of A with eight columns of B, whose rows are row
// elements apart.
func (s *matmulShape) columns(a, b []float32, row int64) (sum [8]float32) {
	if s.twoSums != 0 {
		half := *s
		half.twoSums = 0
		half.strideA[2] *= 2
		half.strideB[2] *= 2
		half.count[2] = (s.count[2] + 1) / 2
		sum = half.columns(a, b, row)
		if half.count[2] = s.count[2] / 2; half.count[2] > 0 {
			for j, v := range half.columns(a[s.strideA[2]:], b[s.strideB[2]*row:], row) {
				sum[j] += v
			}
		}
	} else if s.bf16 != 0 {
		s.eightPairs(&sum, a, b, row)
	} else {
		s.eight(&sum, a, b, row)
	}
	return sum
}

// eight adds to sum the products of one row of A with eight columns of B.
func (s *matmulShape) eight(sum *[8]float32, a, b []float32, row int64) {
	s0, s1, s2, s3, s4, s5, s6, s7 := sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7]
	for x := range s.count[0] {
		for y := range s.count[1] {
			at := x*s.strideA[0] + y*s.strideA[1]
			from := (x*s.strideB[0] + y*s.strideB[1]) * row
			for range s.count[2] {
				v, b := a[at], (*[8]float32)(b[from:])
				s0 += v * b[0]
				s1 += v * b[1]
				s2 += v * b[2]
				s3 += v * b[3]
				s4 += v * b[4]
				s5 += v * b[5]
				s6 += v * b[6]
				s7 += v * b[7]
				at += s.strideA[2]
				from += s.strideB[2] * row
			}
		}
	}
	*sum = [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
}

// eightPairs is eight for pairs of bfloat16.
func (s *matmulShape) eightPairs(sum *[8]float32, a, b []float32, row int64) {
	for x := range s.count[0] {
		for y := range s.count[1] {
			at := x*s.strideA[0] + y*s.strideA[1]
			from := (x*s.strideB[0] + y*s.strideB[1]) * row
			for range s.count[2] {
				u := math.Float32bits(a[at])
				low, high := math.Float32frombits(u<<16), math.Float32frombits(u&^0xffff)
				for j, v := range b[from:][:8] {
					w := math.Float32bits(v)
					sum[j] += high * math.Float32frombits(w&^0xffff)
					sum[j] += low * math.Float32frombits(w<<16)
				}
				at += s.strideA[2]
				from += s.strideB[2] * row
			}
		}
	}
}

func (goKernels) transpose(dst, src []float32, rows, columns, dstRow, srcRow int) {
	for r := range rows {
		for c, v := range src[r*srcRow:][:columns] {
			dst[c*dstRow+r] = v
		}
	}
}

func (goKernels) channelMoments(z []float32, rows, channels int, mean, m2 []float32) {
	for c := range channels {
		var sum, squares float64
		for i := c; i < rows*channels; i += channels {
			sum += float64(z[i])
		}
		mu := sum / float64(rows)
		for i := c; i < rows*channels; i += channels {
			squares += (float64(z[i]) - mu) * (float64(z[i]) - mu)
		}
		mean[c], m2[c] = float32(mu), float32(squares)
	}
}

// windows calls f for every pooling window and channel. at is the offset of its first element in z,
// pooled its offset in y; i and j are its row and column before pooling.
func (s *poolShape) windows(f func(at, pooled, c, i, j int64)) {
	pooled := int64(0)
	for i := int64(0); i+1 < s.height; i += 2 {
		for j := int64(0); j+1 < s.width; j += 2 {
			for c := range s.channels {
				f((i*s.width+j)*s.channels+c, pooled, c, i, j)
				pooled++
			}
		}
	}
}

func (goKernels) bnReluPool(s *poolShape, z, mean, scale, beta, y, largest []float32, index []uint8) {
	offsets := [4]int64{0, s.channels, s.width * s.channels, (s.width + 1) * s.channels}
	s.windows(func(at, pooled, c, _, _ int64) {
		var best, chosen float32
		var which uint8
		for k, o := range offsets {
			d := z[at+o] - mean[c]
			u := d*scale[c] + beta[c]
			if k == 0 || u > best || u != u { // NaN counts as largest, as in PyTorch
				best, chosen, which = u, d, uint8(k)
			}
		}
		if best <= 0 {
			best, which = 0, 4
		}
		y[pooled] = best
		if index != nil {
			largest[pooled], index[pooled] = chosen, which
		}
	})
}

func (goKernels) bnReluPoolSums(rows, channels int, largest []float32, index []uint8, dy, sumG, sumGZ []float32) {
	for c := range channels {
		var g, gz float64
		for i := c; i < rows*channels; i += channels {
			if index[i] != 4 {
				g += float64(dy[i])
				gz += float64(dy[i]) * float64(largest[i])
			}
		}
		sumG[c], sumGZ[c] = float32(g), float32(gz)
	}
}

func (goKernels) bnReluPoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1, dz,
	sumDZ []float32) {
	clear(sumDZ)
	s.windows(func(at, pooled, c, i, j int64) {
		for k := range int64(4) {
			row, pixel := k/2, k%2
			d := kZ[c]*(z[at+(row*s.width+pixel)*s.channels]-mean[c]) + k1[c]
			if k == int64(index[pooled]) {
				d += scale[c] * dy[pooled]
			}
			dz[(i+row)*s.outRow+(j+pixel)*s.channels+c] = d
			sumDZ[c] += d
		}
	})
	for i := range s.height {
		for j := range s.width {
			if i < s.height/2*2 && j < s.width/2*2 {
				continue // in a window
			}
			for c := range s.channels {
				d := kZ[c]*(z[(i*s.width+j)*s.channels+c]-mean[c]) + k1[c]
				dz[i*s.outRow+j*s.channels+c] = d
				sumDZ[c] += d
			}
		}
	}
}

// each calls f for every tile (r,t) and channel c; tile is the offset of its frequency 0.
func (s *winogradShape) each(f func(r, t, c, tile int64)) {
	for r := range s.rows {
		for t := range s.tiles {
			for c := range s.channels {
				f(r, t, c, (r*s.tiles+t)*s.channels+c)
			}
		}
	}
}

// pixel returns the offset of row i, column j of tile (r,t) in the image.
func (s *winogradShape) pixel(r, t, c int64, i, j int) int64 {
	return (s.tileHeight*r+int64(i))*s.imageRow + (2*t+int64(j))*s.channels + c
}

// load returns a tile of the image, with the given rows and columns.
func (s *winogradShape) load(image []float32, r, t, c int64, rows, columns int) *winogradMatrix {
	m := winogradMatrix{rows: rows, columns: columns}
	for i := range rows {
		for j := range columns {
			m.v[i][j] = image[s.pixel(r, t, c, i, j)]
		}
	}
	return &m
}

func (goKernels) winogradInput(s *winogradShape, x, v []float32) {
	along := winogradOf(int(s.tileHeight))
	s.each(func(r, t, c, tile int64) {
		d := s.load(x, r, t, c, along.bt.columns, 6)
		d.transform(&along.bt, &winograd2.bt).store(v[tile:], int(s.frequency))
	})
}

func (goKernels) winogradOutput(s *winogradShape, m, bias, z []float32) {
	s.each(func(r, t, c, tile int64) {
		y := loadWinograd(m[tile:], int(s.frequency), 6, 6).transform(&winograd2.at, &winograd2.at)
		for i := range 2 {
			for j := range 2 {
				z[s.pixel(r, t, c, i, j)] = y.v[i][j] + bias[c]
			}
		}
	})
}

func (goKernels) winogradOutputPool(s *winogradShape, m, bias, mean, scale, beta, y []float32) {
	along := winogradOf(int(s.tileHeight))
	s.each(func(r, t, c, tile int64) {
		z := loadWinograd(m[tile:], int(s.frequency), along.at.columns, 6).transform(&along.at, &winograd2.at)
		for i := int64(0); i < s.tileHeight/2 && s.tileHeight/2*r+i < s.pooledRows; i++ {
			window := []float32{z.v[2*i][0], z.v[2*i][1], z.v[2*i+1][0], z.v[2*i+1][1]}
			for k := range window {
				window[k] += bias[c]
			}
			to := ((s.tileHeight/2*r+i)*s.tiles+t)*s.channels + c
			one := &poolShape{height: 2, width: 2, channels: 1}
			goKernels{}.bnReluPool(one, window, mean[c:], scale[c:], beta[c:], y[to:], nil, nil)
		}
	})
}

func (goKernels) winogradOutputGradient(s *winogradShape, dz, q []float32) {
	s.each(func(r, t, c, tile int64) {
		s.load(dz, r, t, c, 2, 2).transform(&winograd2.a, &winograd2.a).store(q[tile:], int(s.frequency))
	})
}

func (goKernels) winogradInputGradient(s *winogradShape, p, dx []float32) {
	s.each(func(r, t, c, tile int64) {
		d := loadWinograd(p[tile:], int(s.frequency), 6, 6).transform(&winograd2.b, &winograd2.b)
		for i := range 6 {
			for j := range 6 {
				dx[s.pixel(r, t, c, i, j)] += d.v[i][j]
			}
		}
	})
}

func (goKernels) winogradFilter(tileHeight int, w []float32, channels, frequency int, u []float32) {
	along := winogradOf(tileHeight)
	for c := range channels {
		g := winogradMatrix{rows: 5, columns: 5}
		for i := range 5 {
			for j := range 5 {
				g.v[i][j] = w[(5*i+j)*channels+c]
			}
		}
		g.transform(&along.g, &winograd2.g).store(u[c:], frequency)
	}
}

func (goKernels) winogradFilterGradient(s []float32, channels, frequency, groups, group int, dw []float32) {
	for c := range channels {
		sum := loadWinograd(s[c:], frequency, 6, 6)
		for g := 1; g < groups; g++ {
			for i, row := range loadWinograd(s[g*group+c:], frequency, 6, 6).v {
				for j, v := range row {
					sum.v[i][j] += v
				}
			}
		}
		d := sum.transform(&winograd2.gt, &winograd2.gt)
		for i := range 5 {
			for j := range 5 {
				dw[(5*i+j)*channels+c] = d.v[i][j]
			}
		}
	}
}

func (goKernels) rnnForward(s *rnnShape, row []int32, w, h []float32, d *rnnDropout, keep []uint8,
	kept, step []float32) {
	size := s.samples * s.hidden
	for t := range s.steps {
		now := h[t*size:][:size]
		if t > 0 {
			goKernels{}.matmul(s.recurrent(addC), row, row, s.operands(h[(t-1)*size:], step), w, nil, now)
		}
		for i, v := range now {
			now[i] = float32(math.Tanh(float64(v)))
		}
		if keep == nil {
			continue
		}
		for b := range s.samples {
			d.mask(keep[t*size+b*s.hidden:], uint32(((d.first+uint64(b))*uint64(s.steps)+uint64(t))*d.blocks))
		}
		for i := t * size; i < (t+1)*size; i++ {
			kept[i] = float32(keep[i]) * (h[i] * d.scale)
		}
	}
}

// recurrent returns the shape of the product of one step with the recurrent weights.
func (s *rnnShape) recurrent(add int64) *matmulShape {
	terms := s.units
	if s.bf16 != 0 {
		terms = (s.units + 1) / 2
	}
	return &matmulShape{
		m: s.samples, n: s.hidden, count: [3]int64{1, 1, terms}, strideA: [3]int64{2: 1}, strideB: [3]int64{2: 1},
		add: add, panelRows: terms, batch: 1, bf16: s.bf16,
	}
}

// operands returns the rows of a step as operands of its product: unchanged, or as bfloat16, written to
// step.
func (s *rnnShape) operands(rows, step []float32) []float32 {
	if s.bf16 == 0 {
		return rows
	}
	for b := range s.samples {
		goKernels{}.narrow(step[b*s.hidden:], rows[b*s.hidden:], int(s.hidden))
	}
	return step
}

// bfloat16 returns v rounded to nearest even, as the upper half of a float32's bits.
func bfloat16(v float32) uint32 {
	bits := math.Float32bits(v)
	if v != v {
		return bits>>16 | 1<<6 // stays NaN
	}
	return (bits + 0x7fff + bits>>16&1) >> 16
}

// pair puts two bfloat16 into one element.
func pair(low, high float32) float32 {
	return math.Float32frombits(bfloat16(low) | bfloat16(high)<<16)
}

func (goKernels) narrow(dst, src []float32, n int) {
	for i := range n / 2 {
		dst[i] = pair(src[2*i], src[2*i+1])
	}
}

func (goKernels) pairRows(dst, src []float32, rows, columns int) {
	for r := 0; r < rows; r += 2 {
		for c := range columns {
			high := float32(0)
			if r+1 < rows {
				high = src[(r+1)*columns+c]
			}
			dst[r/2*columns+c] = pair(src[r*columns+c], high)
		}
	}
}

// mask sets the mask of a row: keep[8i+w] is 1 if 16-bit word w of block first+i is at least
// the threshold, else 0.
func (d *rnnDropout) mask(keep []uint8, first uint32) {
	stream := rng.Stream{Seed: d.seed, Purpose: rng.Purpose(d.purpose), Step: d.step}
	for i := range uint32(d.blocks) {
		for w, word := range stream.Block(first + i) {
			for half, v := range [2]uint32{word & 0xffff, word >> 16} {
				k := uint8(0)
				if uint64(v) >= d.threshold {
					k = 1
				}
				keep[8*int(i)+2*w+half] = k
			}
		}
	}
}

func (goKernels) rnnBackward(s *rnnShape, row []int32, w, h []float32, keep []uint8, scale float32,
	dz, dbias, step []float32) {
	size := s.samples * s.hidden
	for t := s.steps - 1; t >= 0; t-- {
		last := t == s.steps-1
		if !last {
			goKernels{}.matmul(s.recurrent(addNothing), row, row, s.operands(dz[(t+1)*size:], step[size:]), w, nil, step)
		}
		for i := range size {
			at, d := t*size+i, float32(0)
			if last || s.lastOnly == 0 {
				d = dz[at]
			}
			if keep != nil {
				d = float32(keep[at]) * (d * scale)
			}
			if !last {
				d += step[i]
			}
			d *= 1 - h[at]*h[at]
			dz[at] = d
			dbias[i%s.hidden] += d
		}
	}
}

func (goKernels) sumRows(sum, a []float32, rows, stride, n int) {
	for r := range rows {
		for i, v := range a[r*stride:][:n] {
			sum[i] += v
		}
	}
}

func (goKernels) multiplyAdds(n int) int64 {
	var a [8]float32
	for range n {
		for i := range a {
			a[i] = a[i]*0.5 + 1
		}
	}
	runtime.KeepAlive(a) // otherwise it may not be computed
	return int64(n) * 2 * int64(len(a))
}

func (goKernels) adam(s *adamStep, p, g, m, v []float32, n int) {
	for i, g := range g[:n] {
		m[i] += s.oneMinusBeta1 * (g - m[i])
		v[i] = s.beta2*v[i] + s.oneMinusBeta2*(g*g)
		p[i] -= s.stepSize * (m[i] / (float32(math.Sqrt(float64(v[i])))/s.rootCorrection2 + s.eps))
	}
}

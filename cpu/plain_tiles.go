package cpu

import "math"

// widen returns the value of a bfloat16.
func widen(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

func (goKernels) tileProduct(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, c []float32) {
	for i := range s.blocks {
		for r := range s.rows {
			for n := range tileRows * s.columns {
				to := &c[int64(cOffset[i])+r*s.rowC+n]
				sum := float32(0)
				switch s.add {
				case addBias:
					sum = bias[n]
				case addC:
					sum = *to
				}
				for t := range s.terms {
					at := int64(aOffset[i]) + int64(termA[t]) + r*s.rowA
					from := n/tileRows*s.columnB + t*s.termB + n%tileRows
					for k := range int64(tileTerms / 2) {
						w := b[from+k*s.rowB]
						sum += widen(a[at+2*k]) * widen(uint16(w))
						sum += widen(a[at+2*k+1]) * widen(uint16(w>>16))
					}
				}
				*to = sum
			}
		}
	}
}

func (goKernels) tileProductPool(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32,
	bias, z []float32, pool *poolShape, mean, scale, beta, y []float32) {
	two, windows := *s, *pool
	two.blocks, windows.height = 2*s.blocks/pool.height, 2
	for i := int64(0); i+two.blocks <= s.blocks; i += two.blocks {
		goKernels{}.tileProduct(&two, aOffset[i:], cOffset, termA, a, b, bias, z)
		goKernels{}.bnReluPool(&windows, z, mean, scale, beta, y, nil, nil)
		y = y[pool.width/2*pool.channels:]
	}
}

func (goKernels) tilePack(s *tilePack, dst []uint32, src []float32, keep []uint8) {
	at := func(r, c int64) float32 {
		if r -= s.zeroRows; r < 0 || r >= s.rows-s.zeroRows || c >= s.columns {
			return 0
		}
		at := r*s.srcRow + c
		if s.narrow != 0 {
			return widen(uint16(math.Float32bits(src[at/2]) >> (at % 2 * 16)))
		}
		v := src[at]
		switch {
		case keep == nil:
			return v
		case keep[at] == 0:
			return 0
		}
		return v * s.scale
	}
	stepR, stepC := int64(2), int64(1) // rows and columns of src per pair
	if s.pairColumns != 0 {
		stepR, stepC = 1, 2
	}
	for r := int64(0); r < s.rows; r += tileRows * stepR {
		for c := int64(0); c < s.columns; c += tileRows * stepC {
			outer, inner := c/(tileRows*stepC), r/(tileRows*stepR)
			if s.pairColumns != 0 {
				outer, inner = inner, outer
			}
			tile := dst[outer*s.outer+inner*tileSize:][:tileSize]
			for i := range int64(tileRows) {
				for j := range int64(tileRows) {
					y, x := r+i*stepR, c+j*stepC
					word := bfloat16(at(y, x)) | bfloat16(at(y+2-stepC, x+stepC-1))<<16
					if s.transposed != 0 {
						tile[j*tileRows+i] = word
					} else {
						tile[i*tileRows+j] = word
					}
				}
			}
		}
	}
}

func (goKernels) tileImage(s *tileImage, x []float32, first, last []uint16) {
	for c := range (s.in + 15) / 16 * 16 {
		for i := range s.height {
			for j := range s.width {
				v := uint32(0)
				if c < s.in {
					v = bfloat16(x[(c*s.height+i)*s.width+j])
				}
				pixel := (s.border+i)*s.row + s.border + j
				if first != nil && c < s.in {
					first[c*s.plane+pixel] = uint16(v)
				}
				if last != nil {
					last[pixel*s.channels+c] = uint16(v)
				}
			}
		}
	}
}

func (goKernels) tilePoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1 []float32,
	last []uint16, pairs []uint32, sumDZ []float32) {
	plain := *s
	plain.outRow = s.width * s.channels
	dz := make([]float32, s.height*plain.outRow)
	goKernels{}.bnReluPoolBackward(&plain, z, mean, scale, index, dy, kZ, k1, dz, sumDZ)
	for i := range s.height {
		for j := range s.width {
			for c := range s.channels {
				v := bfloat16(dz[(i*s.width+j)*s.channels+c])
				if last != nil {
					last[i*s.outRow+j*s.outPixel+c] = uint16(v)
				}
				at := (i*s.pairRow+j)/2*s.channels + c
				if j%2 == 0 {
					pairs[at] = v
				} else {
					pairs[at] |= v << 16
				}
			}
		}
	}
}

// rows returns the shape of the product of a step's rows with weights.
func (s *tileRNN) rows(terms, add int64) *tileShape {
	return &tileShape{
		blocks: 1, rows: s.samples, columns: s.hidden / tileRows, terms: terms,
		rowA: terms * tileTerms, rowB: tileRows, rowC: s.hidden,
		termB: tileSize, columnB: terms * tileSize, add: add,
	}
}

func (goKernels) tileRNNForward(s *tileRNN, termA []int32, wIH, wHH []uint32, bias []float32, in []uint16, h []float32,
	out, state []uint16, step []float32, d *rnnDropout, keep []uint8) {
	size, zero := s.samples*s.hidden, []int32{0}
	for t := range s.steps {
		now, o := h[t*s.hStep:][:size], out[t*size:]
		goKernels{}.tileProduct(s.rows(s.in/tileTerms, addBias), zero, zero, termA, in[t*s.samples*s.in:], wIH, bias, now)
		if t > 0 {
			goKernels{}.tileProduct(s.rows(s.hidden/tileTerms, addC), zero, zero, termA, state, wHH, nil, now)
		}
		if keep == nil {
			state = o
		} else {
			for b := range s.samples {
				d.mask(keep[t*size+b*s.hidden:], uint32(((d.first+uint64(b))*uint64(s.steps)+uint64(t))*d.blocks))
			}
		}
		for i, v := range now {
			now[i] = float32(math.Tanh(float64(v)))
			state[i] = uint16(bfloat16(now[i]))
			if keep != nil {
				o[i] = uint16(bfloat16(float32(keep[t*size+int64(i)]) * (now[i] * d.scale)))
			}
		}
	}
}

func (goKernels) tileRNNBackward(s *tileRNN, termA []int32, wIH, wHH []uint32, h []float32, keep []uint8, scale float32,
	dy []float32, dz []uint16, dx, dbias, step []float32) {
	size, zero := s.samples*s.hidden, []int32{0}
	for t := s.steps - 1; t >= 0; t-- {
		last := t == s.steps-1
		if !last {
			goKernels{}.tileProduct(s.rows(s.hidden/tileTerms, addNothing), zero, zero, termA, dz[(t+1)*size:], wHH, nil, step)
		}
		for i := range size {
			at, d := t*size+i, float32(0)
			if last || s.lastOnly == 0 {
				d = dy[at]
			}
			if keep != nil {
				d = float32(keep[at]) * (d * scale)
			}
			if !last {
				d += step[i]
			}
			d *= 1 - h[at]*h[at]
			dz[at] = uint16(bfloat16(d))
			dbias[i%s.hidden] += d
		}
	}
	all := s.rows(s.hidden/tileTerms, addNothing)
	all.columns, all.rowC = s.in/tileRows, s.in
	for t := range s.steps {
		goKernels{}.tileProduct(all, zero, zero, termA, dz[t*size:], wIH, nil, dx[t*s.samples*s.in:])
	}
}

//go:build emulateamx && cgo

package cpu

import (
	"math"
	"testing"
)

// The stand-in for the tile instructions gives the processor's bits for all values of bfloat16 and
// float32, denormals and infinities too. NaN must be NaN, in any bits.
func TestStandInIsAMX(t *testing.T) {
	var amx kernels
	for _, k := range available() {
		if k.hasTiles() {
			amx = k
		}
	}
	if amx == nil {
		t.Skip("this processor has no AMX, or the system refuses it")
	}
	eachTiles(t, func(d *drawn, k kernels) {
		s := drawTiles(d)
		// Exponents near each other make sums that round, extreme ones make denormals and infinities.
		low, span := d.size("lowest exponent", 0, 255), d.size("exponents", 1, 40)
		word := func() uint32 {
			exponent := uint32(min(low+int(d.stream.Below(uint32(span))), 255))
			return d.stream.Below(2)<<31 | exponent<<23 | d.stream.Below(1<<23)
		}
		for i := range s.a {
			s.a[i] = uint16(word() >> 16)
		}
		if d.size("reciprocal", 0, 1) == 1 { // products near 1, or near the old C
			low = 254 - min(low+span/2, 254)
		}
		for i := range s.b {
			s.b[i] = word()>>16 | word()&0xffff0000
		}
		low = d.size("lowest exponent of C", 0, 255)
		for i := range s.c {
			s.c[i] = math.Float32frombits(word())
		}
		run := func(k kernels) []float32 {
			c := clone(s.c)
			k.tileProduct(&s.tileShape, s.aOffset, s.cOffset, s.termA, s.a, s.b, s.bias, c)
			return c
		}
		got, want := run(k), run(amx)
		for i := range want {
			if g, w := math.Float32bits(got[i]), math.Float32bits(want[i]); g != w && (got[i] == got[i] || want[i] == want[i]) {
				d.Fatalf("c[%d] = %#08x, the processor's is %#08x", i, g, w)
			}
		}
	})
}

// A sum is a denormal if it is below 2^-126 after rounding to 24 bits, whatever its exponent. Random
// terms never come so near to that limit.
func TestStandInAtTheLeastNumber(t *testing.T) {
	for _, k := range available() {
		if !k.hasTiles() {
			continue
		}
		// One row and one column of C. The even terms are 2^-126, then -2^-150 or 0.
		for least, want := range map[float32]uint32{0: 0x00800000, -0x1p-75: 0} {
			s := tileShape{blocks: 1, rows: 16, columns: 1, terms: 1, rowA: 32, rowB: 16, rowC: 16, add: addNothing}
			a, b, c := make([]uint16, 16*32), make([]uint32, 16*16), make([]float32, 16*16)
			word := func(x float32) uint32 { return math.Float32bits(x) >> 16 }
			a[0], a[2] = uint16(word(0x1p-63)), uint16(word(0x1p-75))
			b[0], b[16] = word(0x1p-63), word(least)
			k.tileProduct(&s, []int32{0}, []int32{0}, []int32{0}, a, b, nil, c)
			if got := math.Float32bits(c[0]); got != want {
				t.Errorf("%s: 2^-126 and 2^-75 times %g are %#08x, want %#08x", k.name(), least, got, want)
			}
		}
	}
}

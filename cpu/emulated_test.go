//go:build emulateamx && cgo

package cpu

import (
	"math"
	"testing"
)

// The stand-in for the tile instructions gives the processor's bits, for all that bfloat16 and float32
// can be: denormals, infinities, and NaN, of which only that it is NaN counts.
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
		// Exponents near each other make sums that round, and those at the ends denormals and infinities.
		low, span := d.size("lowest exponent", 0, 255), d.size("exponents", 1, 40)
		word := func() uint32 {
			exponent := uint32(min(low+int(d.stream.Below(uint32(span))), 255))
			return d.stream.Below(2)<<31 | exponent<<23 | d.stream.Below(1<<23)
		}
		for i := range s.a {
			s.a[i] = uint16(word() >> 16)
		}
		if d.size("reciprocal", 0, 1) == 1 { // products near 1, or near what the C added to is
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

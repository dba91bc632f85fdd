package memory

import "testing"

func TestZeros(t *testing.T) {
	for _, n := range []int{0, 1, 4096, hugePage - 1, hugePage, 5*hugePage + 123} {
		a := Zeros(n)
		if len(a) != n {
			t.Errorf("%d bytes, want %d", len(a), n)
		}
		for i := range a {
			if a[i] != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, a[i])
			}
			a[i] = 1
		}
	}
}

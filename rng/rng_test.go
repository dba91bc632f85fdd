package rng

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The known-answer vectors that the authors publish with Random123 (kat_vectors, philox4x32 10).
func TestPhiloxPublishedVectors(t *testing.T) {
	for _, v := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{},
			[4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(v.counter, v.key); got != v.want {
			t.Errorf("Philox(%08x, %08x) = %08x, want %08x", v.counter, v.key, got, v.want)
		}
	}
}

func TestStreamReadsItsBlocksInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Stream{Seed: rapid.Uint64().Draw(t, "seed"), Purpose: Dropout.Sub(3), Step: rapid.Uint64().Draw(t, "step")}
		for i := uint32(0); i < 5; i++ {
			for _, want := range s.Block(i) {
				if got := s.Uint32(); got != want {
					t.Fatalf("block %d: got %08x, want %08x", i, got, want)
				}
			}
		}
	})
}

func TestShuffleIsAPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "n")
		a := make([]int32, n)
		for i := range a {
			a[i] = int32(i)
		}
		(&Stream{Seed: rapid.Uint64().Draw(t, "seed"), Purpose: Order}).Shuffle(a)
		seen := make([]bool, n)
		for _, v := range a {
			if seen[v] {
				t.Fatalf("%d appears twice in %v", v, a)
			}
			seen[v] = true
		}
	})
}

// Every order of four elements is equally frequent. Chi-squared with 23 degrees of freedom exceeds
// 49.7 once in a thousand. The seeds are fixed, so the result is always the same.
func TestShuffleIsUniform(t *testing.T) {
	const draws = 24000
	count := map[[4]int32]int{}
	for i := range draws {
		a := []int32{0, 1, 2, 3}
		(&Stream{Seed: uint64(i), Purpose: Order}).Shuffle(a)
		count[[4]int32(a)]++
	}
	if len(count) != 24 {
		t.Fatalf("%d of 24 orders appeared", len(count))
	}
	chi2 := 0.0
	for _, n := range count {
		chi2 += math.Pow(float64(n)-draws/24, 2) / (draws / 24)
	}
	if chi2 > 49.7 {
		t.Errorf("chi-squared %.1f, want at most 49.7", chi2)
	}
}

func TestFloat32Range(t *testing.T) {
	s := Stream{Seed: 1, Purpose: Init}
	sum := 0.0
	const n = 100000
	for range n {
		f := s.Float32()
		if f < 0 || f >= 1 {
			t.Fatalf("%v is outside [0, 1)", f)
		}
		sum += float64(f)
	}
	// The mean of n uniform numbers has standard deviation 1/sqrt(12 n) = 0.0009. The limit is four
	// of them.
	if mean := sum / n; math.Abs(mean-0.5) > 0.0037 {
		t.Errorf("mean %v, want 0.5", mean)
	}
}

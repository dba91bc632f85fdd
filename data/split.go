package data

import (
	"math"
	"slices"

	"crnn/rng"
)

// Split divides the indices 0 to n-1 at random into a training and a validation part, both in
// ascending order. The validation part has round(n*valFraction) of them, with valFraction from 0 to
// 1. The split depends only on the arguments.
func Split(n int, valFraction float64, seed uint64) (train, val []int32) {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	(&rng.Stream{Seed: seed, Purpose: rng.Split}).Shuffle(all)
	nVal := int(math.Round(float64(n) * valFraction))
	chosen := make([]bool, n)
	for _, i := range all[:nVal] {
		chosen[i] = true
	}
	val, train = all[:0:nVal], make([]int32, 0, n-nVal)
	for i, c := range chosen {
		if c {
			val = append(val, int32(i))
		} else {
			train = append(train, int32(i))
		}
	}
	return train, val
}

// Order returns the indices in the order in which epoch, counted from 0, takes them: at
// random, or without shuffle ascending, as the images lie in the file. It depends on the
// set of the indices, not on their order, and leaves them as they are.
func Order(indices []int32, seed uint64, epoch int, shuffle bool) []int32 {
	order := slices.Clone(indices)
	slices.Sort(order)
	if shuffle {
		(&rng.Stream{Seed: seed, Purpose: rng.Order, Step: uint64(epoch)}).Shuffle(order)
	}
	return order
}

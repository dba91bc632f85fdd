package data

import (
	"math"
	"slices"

	"crnn/rng"
)

// Count returns the numbers from 0 to n-1.
func Count(n int) []int32 {
	a := make([]int32, n)
	for i := range a {
		a[i] = int32(i)
	}
	return a
}

// Split divides the indices 0 to n-1 at random into a training and a validation part, both in
// ascending order. The validation part has round(n*valFraction) of them, with valFraction from 0 to
// 1. The split depends only on the arguments.
func Split(n int, valFraction float64, seed uint64) (train, val []int32) {
	all := Count(n)
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

// SplitByClass divides indices at random into two parts, both ascending. The second one has of each
// class round(n*fraction) of its n images, but at least one of three and never all. The split depends
// only on the arguments; forTest says which of the two splits of a data set this is.
func SplitByClass(labels []uint8, indices []int32, classes int, fraction float64, seed uint64,
	forTest bool) (first, second []int32) {
	byClass := make([][]int32, classes)
	for _, i := range indices {
		byClass[labels[i]] = append(byClass[labels[i]], i)
	}
	for class, members := range byClass {
		// Step 0 is Split's.
		step := uint64(1 + 2*class)
		if forTest {
			step++
		}
		slices.Sort(members)
		(&rng.Stream{Seed: seed, Purpose: rng.Split, Step: step}).Shuffle(members)
		n := int(math.Round(float64(len(members)) * fraction))
		if fraction > 0 && len(members) >= 3 {
			n = max(n, 1)
		}
		n = max(0, min(n, len(members)-1))
		second = append(second, members[:n]...)
		first = append(first, members[n:]...)
	}
	slices.Sort(first)
	slices.Sort(second)
	return first, second
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

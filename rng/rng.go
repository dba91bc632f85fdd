// Package rng draws every random number of crnn from a counter-based generator, Philox 4x32-10
// (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC11). A number
// depends only on the seed, its purpose, the step and its place. So split, order, initial weights
// and dropout are the same on every device, for every number of threads and after a resume.
package rng

import "math/bits"

// Purpose says what a random number is for; numbers of two purposes never share a counter.
type Purpose uint32

const (
	Split   Purpose = 1 // train and validation split; step 0
	Order   Purpose = 2 // order of an epoch's images; step = epoch, from 0
	Init    Purpose = 3 // initial weights; step = index of the parameter
	Dropout Purpose = 4 // dropout masks; step = training step, from 0; Sub = RNN layer
)

// Sub returns the purpose of part i (0 ≤ i < 2^24) of p, for example of one RNN layer.
func (p Purpose) Sub(i int) Purpose { return p | Purpose(i)<<8 }

// Philox returns the four words of Philox 4x32-10 at counter under key.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	const m0, m1 = 0xD2511F53, 0xCD9E8D57 // multipliers
	const w0, w1 = 0x9E3779B9, 0xBB67AE85 // Weyl sequence of the key
	for round := 0; ; round++ {
		hi0, lo0 := bits.Mul32(m0, counter[0])
		hi1, lo1 := bits.Mul32(m1, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		if round == 9 {
			return counter
		}
		key[0] += w0
		key[1] += w1
	}
}

// Stream is the sequence of random words of one seed, purpose and step.
// Its zero value is the stream of seed 0, purpose 0 and step 0.
type Stream struct {
	Seed    uint64
	Purpose Purpose
	Step    uint64

	next  uint32 // index of the next block
	block [4]uint32
	left  int // words of block not yet used
}

// Block returns block i of the stream, words 4i to 4i+3. Earlier reads do not matter.
func (s *Stream) Block(i uint32) [4]uint32 {
	return Philox(
		[4]uint32{i, uint32(s.Purpose), uint32(s.Step), uint32(s.Step >> 32)},
		[2]uint32{uint32(s.Seed), uint32(s.Seed >> 32)})
}

// Uint32 returns the next word.
func (s *Stream) Uint32() uint32 {
	if s.left == 0 {
		s.block = s.Block(s.next)
		s.next++
		s.left = 4
	}
	s.left--
	return s.block[3-s.left]
}

// Float32 returns the next number, uniform in [0, 1), a multiple of 2^-24.
func (s *Stream) Float32() float32 { return float32(s.Uint32()>>8) * (1.0 / (1 << 24)) }

// Below returns the next number of [0, n), each equally likely
// (Lemire: "Fast random integer generation in an interval", 2019). n must not be 0.
func (s *Stream) Below(n uint32) uint32 {
	hi, lo := bits.Mul32(s.Uint32(), n)
	if lo < n {
		for threshold := -n % n; lo < threshold; {
			hi, lo = bits.Mul32(s.Uint32(), n)
		}
	}
	return hi
}

// Shuffle puts a in random order (Fisher-Yates).
func (s *Stream) Shuffle(a []int32) {
	for i := len(a) - 1; i > 0; i-- {
		j := s.Below(uint32(i + 1))
		a[i], a[j] = a[j], a[i]
	}
}

package data

import "crypto/sha256"

// hasher computes the SHA-256 of the bytes that it is given, beside what else is to do.
type hasher struct {
	pieces chan []byte
	done   chan struct{}
	result [sha256.Size]byte
}

func newHasher() *hasher {
	const ahead = 256 // pieces: who reads Fashion-MNIST never waits
	h := &hasher{pieces: make(chan []byte, ahead), done: make(chan struct{})}
	go func() {
		all := sha256.New()
		for piece := range h.pieces {
			all.Write(piece)
		}
		all.Sum(h.result[:0])
		close(h.done)
	}()
	return h
}

// add appends bytes, which must not change any more.
func (h *hasher) add(piece []byte) { h.pieces <- piece }

// end says that all were added.
func (h *hasher) end() { close(h.pieces) }

// sum waits until all have been added and taken in, and returns their sum.
func (h *hasher) sum() [sha256.Size]byte {
	<-h.done
	return h.result
}

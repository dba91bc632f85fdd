package idx

import "crypto/sha256"

// hasher computes the SHA-256 of its bytes in the background.
type hasher struct {
	pieces chan []byte
	done   chan struct{}
	result [sha256.Size]byte
}

func newHasher() *hasher {
	const ahead = 256 // pieces: enough that a reader of Fashion-MNIST never waits
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

// add appends bytes. They must not change afterwards.
func (h *hasher) add(piece []byte) { h.pieces <- piece }

// end says that all bytes were added.
func (h *hasher) end() { close(h.pieces) }

// sum waits until all bytes are added and hashed, and returns their SHA-256.
func (h *hasher) sum() [sha256.Size]byte {
	<-h.done
	return h.result
}

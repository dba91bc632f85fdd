package cpu

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// pool runs the parts of an operator on several threads.
type pool struct{ threads int }

// run calls f(…, 0) to f(…, n-1), each once, on at most the pool's threads, and returns when
// all have returned; thread, below the pool's threads, is the number of the one that calls.
// Threads take the next part as they become free: one that the machine holds up costs the
// others no more than a part.
func (p pool) run(n int, f func(thread, i int)) {
	threads := min(p.threads, n)
	if threads <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	var next atomic.Int64
	work := func(thread int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(thread, i)
		}
	}
	var wait sync.WaitGroup
	var panicked atomic.Value
	wait.Add(threads - 1)
	for thread := range threads - 1 {
		go func() {
			defer wait.Done()
			// A panic here would end the program past every recover of the caller.
			defer func() {
				if p := recover(); p != nil {
					panicked.CompareAndSwap(nil, fmt.Sprint(p))
				}
			}()
			work(thread + 1)
		}()
	}
	work(0)
	wait.Wait()
	if p := panicked.Load(); p != nil {
		panic(p)
	}
}

// groups is the number of groups into which n samples are cut for sums over all of them: a
// sum is made by group, one group on one thread, and then over the groups in order. It depends
// on n alone, or the bits would depend on the number of threads.
func groups(n int) int { return min(max(n/6, 1), 16) }

// group returns the samples [lo, hi) of group g of n samples.
func group(g, n int) (lo, hi int) { return g * n / groups(n), (g + 1) * n / groups(n) }

// sumGroups adds the sums of all groups of n samples, size elements each, to those of the first
// and returns them.
func (be *Backend) sumGroups(sums []float32, size, n int) []float32 {
	const chunk = 1 << 12
	be.pool.run((size+chunk-1)/chunk, func(_, i int) {
		lo, hi := i*chunk, min((i+1)*chunk, size)
		for g := 1; g < groups(n); g++ {
			be.sumRows(sums[lo:hi], sums[g*size+lo:], 1, size)
		}
	})
	return sums[:size]
}

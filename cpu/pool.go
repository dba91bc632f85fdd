package cpu

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// pool runs the parts of an operator on several threads.
type pool struct{ threads int }

// run calls f(0) … f(n-1), each once, on at most the pool's threads, and returns when all
// have returned. Threads take the next part as they become free: one that the machine holds
// up costs the others no more than a part.
func (p pool) run(n int, f func(i int)) {
	threads := min(p.threads, n)
	if threads <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var wait sync.WaitGroup
	var panicked atomic.Value
	wait.Add(threads - 1)
	for range threads - 1 {
		go func() {
			defer wait.Done()
			// A panic here would end the program past every recover of the caller.
			defer func() {
				if p := recover(); p != nil {
					panicked.CompareAndSwap(nil, fmt.Sprint(p))
				}
			}()
			work()
		}()
	}
	work()
	wait.Wait()
	if p := panicked.Load(); p != nil {
		panic(p)
	}
}

// runChunks cuts 0 … n into as many even parts as keep every thread busy, with at most
// largest elements in each, and calls f for each part's bounds.
func (p pool) runChunks(n, largest int, f func(lo, hi int)) {
	chunks := max((n+largest-1)/largest, 1)
	chunks = min((chunks+p.threads-1)/p.threads*p.threads, n)
	p.run(chunks, func(i int) { f(i*n/chunks, (i+1)*n/chunks) })
}

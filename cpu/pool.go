package cpu

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// pool runs the parts of an operator on several threads.
//
// Thread 0 is the caller. The others are a team of goroutines. They poll for the next job, since it
// usually follows within microseconds, and end if none comes.
type pool struct {
	threads int
	chunk   int                 // largest number of samples that samples takes at once
	job     atomic.Pointer[job] // the current one
	awake   []atomic.Bool       // per thread of the team: whether its goroutine runs

	// While together runs, the work put off: see samples.
	inTogether bool
	putOff     []func(thread, lo, hi int)
	n          int // its samples
}

// chunkSamples is the largest number of samples that a thread takes at once: through the layers and
// steps of the RNN, and in eval mode through the whole network. A step's product then loads the
// recurrent weights once per chunk, and a layer's states stay in the core's second cache until the
// next layer has used them.
const chunkSamples = 8

func newPool(threads int) *pool {
	p := &pool{threads: threads, chunk: chunkSamples, awake: make([]atomic.Bool, threads)}
	p.job.Store(nothing)
	return p
}

// run calls f(…, 0) to f(…, n-1), each once, on the pool's threads, and returns when all have returned.
// thread is the number of the calling thread, below the number of threads. A free thread takes the next
// part: a thread that the machine holds up delays the others by one part at most.
func (p *pool) run(n int, f func(thread, i int)) {
	p.flush()
	if p.threads <= 1 || n <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	j := &job{n: n, f: f, finished: make(chan struct{}, 1)}
	p.job.Store(j)
	defer p.job.Store(nothing) // otherwise the memory of f would stay alive
	for thread := 1; thread < min(p.threads, n); thread++ {
		if p.awake[thread].CompareAndSwap(false, true) {
			go p.serve(thread)
		}
	}
	j.work(0)
	j.wait()
}

// serve works on jobs as they come, as a thread of the team.
func (p *pool) serve(thread int) {
	for last := nothing; ; {
		j := p.job.Load()
		if j != last {
			j.work(thread)
			last = j
			continue
		}
		if spin(func() bool { return p.job.Load() != last }) {
			continue
		}
		p.awake[thread].Store(false)
		// A job that came before this line counted on this thread: it stays, unless another
		// goroutine has taken its place.
		if p.job.Load() == last || !p.awake[thread].CompareAndSwap(false, true) {
			return
		}
	}
}

// together runs body, inside which samples puts its work off.
func (p *pool) together(body func()) {
	if p.inTogether {
		body()
		return
	}
	p.inTogether = true
	defer func() { p.inTogether, p.putOff = false, nil }()
	body()
	p.flush()
}

// samples calls f for chunks [lo, hi) of n samples that do not depend on each other. Inside together
// the work is put off until flush, which takes a chunk through all of it before the next chunk begins.
// Then an operator finds the results of the one before in the core's cache, and no thread waits for
// another in between.
func (p *pool) samples(n int, f func(thread, lo, hi int)) {
	if n != p.n {
		p.flush()
	}
	p.n = n
	p.putOff = append(p.putOff, f)
	if !p.inTogether {
		p.flush()
	}
}

// flush does the work put off. Call it before reading results of samples on the host; run calls it
// too.
func (p *pool) flush() {
	if len(p.putOff) == 0 {
		return
	}
	work, n := p.putOff, p.n
	p.putOff = nil
	count := (n + p.chunk - 1) / p.chunk
	count = min((count+p.threads-1)/p.threads*p.threads, n)
	p.run(count, func(thread, i int) {
		lo, hi := split(i, n, count)
		for _, f := range work {
			f(thread, lo, hi)
		}
	})
}

// job is one call of run.
type job struct {
	n          int
	f          func(thread, i int)
	next, done atomic.Int64 // parts begun, parts returned
	panicked   atomic.Value
	sleeps     atomic.Bool   // the caller of run sleeps
	finished   chan struct{} // wakes it after the last part
}

// nothing is a job without parts.
var nothing = &job{}

// work does parts until all are begun.
func (j *job) work(thread int) {
	for i := int(j.next.Add(1)) - 1; i < j.n; i = int(j.next.Add(1)) - 1 {
		j.part(thread, i)
		if int(j.done.Add(1)) == j.n && j.sleeps.Load() {
			j.finished <- struct{}{}
		}
	}
}

// part does part i. A panic in a goroutine would end the program despite a recover in the caller, so
// run panics in its place.
func (j *job) part(thread, i int) {
	defer func() {
		if p := recover(); p != nil {
			j.panicked.CompareAndSwap(nil, fmt.Sprint(p))
		}
	}()
	j.f(thread, i)
}

// wait returns when all parts have returned.
func (j *job) wait() {
	finished := func() bool { return int(j.done.Load()) == j.n }
	if !spin(finished) {
		j.sleeps.Store(true)
		if !finished() {
			<-j.finished
		}
	}
	if p := j.panicked.Load(); p != nil {
		panic(p)
	}
}

// spin polls a condition for some tens of microseconds and reports whether it holds. Polling longer
// would keep the processor from other work.
func spin(condition func() bool) bool {
	for range 200 {
		for range 50 {
			if condition() {
				return true
			}
		}
		runtime.Gosched()
	}
	return false
}

// groups returns the number of groups for sums over n samples: one thread sums a group, and the sums of
// the groups are added in order. It depends on n alone, otherwise the bits would depend on the number of
// threads.
func groups(n int) int { return min(max(n/6, 1), 16) }

// group returns the samples [lo, hi) of group g of n samples.
func group(g, n int) (lo, hi int) { return split(g, n, groups(n)) }

// split returns part [lo, hi) of number i when [0, n) is cut into parts. The larger ones come first, so
// that threads end together.
func split(i, n, parts int) (lo, hi int) {
	size, larger := n/parts, n%parts
	lo = i*size + min(i, larger)
	hi = lo + size
	if i < larger {
		hi++
	}
	return
}

package cpu

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// pool runs the parts of an operator on several threads.
//
// The threads are the caller's, number 0, and a team of others: goroutines that look out for the
// next job awake, since it usually follows within microseconds, and end if none comes.
type pool struct {
	threads int
	chunk   int                 // the most samples that samples takes at once
	job     atomic.Pointer[job] // at hand
	awake   []atomic.Bool       // of the team: whether there is a thread of that number

	// While together runs, the work that is put off: see samples.
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

// run calls f(…, 0) to f(…, n-1), each once, on at most the pool's threads, and returns when
// all have returned; thread, below the pool's threads, is the number of the one that calls.
// Threads take the next part as they become free: one that the machine holds up costs the
// others no more than a part.
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
	defer p.job.Store(nothing) // or what f holds would stay alive
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
		// A job that came before this line counted on the thread: it stays, unless another
		// has begun in its place.
		if p.job.Load() == last || !p.awake[thread].CompareAndSwap(false, true) {
			return
		}
	}
}

// together runs body, inside which samples puts off what it is given.
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

// samples has f called for chunks [lo, hi) of n samples, each of which needs nothing of the others.
// Inside together the call is put off until flush, which takes a chunk through all that were put
// off before the next one begins: what one leaves for the other is then still in the core's
// cache, and no thread waits for another in between.
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

// flush does what is put off. Whoever reads on the host what samples computes calls it first; run
// does.
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
	next, done atomic.Int64 // parts begun, parts that returned
	panicked   atomic.Value
	sleeps     atomic.Bool   // the caller of run waits for
	finished   chan struct{} // the last part
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

// part does part i. A panic would end the program past every recover of the caller, so it is
// kept for run.
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

// spin waits for a condition awake, for some tens of microseconds, and tells whether it holds.
// Longer than that would take the processor from whoever needs it.
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

// groups is the number of groups into which n samples are cut for sums over all of them: a
// sum is made by group, one group on one thread, and then over the groups in order. It depends
// on n alone, or the bits would depend on the number of threads.
func groups(n int) int { return min(max(n/6, 1), 16) }

// group returns the samples [lo, hi) of group g of n samples.
func group(g, n int) (lo, hi int) { return split(g, n, groups(n)) }

// split returns part i of 0 … n, cut into so many parts. The larger ones come first, which lets
// threads end together.
func split(i, n, parts int) (lo, hi int) {
	size, larger := n/parts, n%parts
	lo = i*size + min(i, larger)
	hi = lo + size
	if i < larger {
		hi++
	}
	return
}

package cpu

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// pool runs the parts of an operator on several threads.
type pool struct {
	threads int
	// team is there while together runs: threads that wait for the next operator awake, since
	// the next one follows within microseconds.
	team *team
}

// run calls f(…, 0) to f(…, n-1), each once, on at most the pool's threads, and returns when
// all have returned; thread, below the pool's threads, is the number of the one that calls.
// Threads take the next part as they become free: one that the machine holds up costs the
// others no more than a part.
func (p *pool) run(n int, f func(thread, i int)) {
	if p.threads <= 1 || n <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	j := &job{n: n, f: f, finished: make(chan struct{}, 1)}
	if p.team != nil {
		p.team.begin(j)
	} else {
		for thread := 1; thread < min(p.threads, n); thread++ {
			go j.work(thread)
		}
	}
	j.work(0)
	j.wait()
}

// together runs body, whose calls of run share a team.
func (p *pool) together(body func()) {
	if p.threads <= 1 || p.team != nil {
		body()
		return
	}
	p.team = &team{wake: make(chan struct{}, p.threads)}
	p.team.job.Store(&job{}) // nothing to do
	for thread := 1; thread < p.threads; thread++ {
		go p.team.serve(thread)
	}
	defer func() {
		p.team.begin(nil)
		p.team = nil
	}()
	body()
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

// team is threads that do one job after the other.
type team struct {
	job      atomic.Pointer[job] // at hand; nil when there will be no more
	sleeping atomic.Int64        // threads that wait for
	wake     chan struct{}
}

// begin gives the team a job.
func (t *team) begin(j *job) {
	t.job.Store(j)
	for range t.sleeping.Load() {
		select {
		case t.wake <- struct{}{}:
		default: // as many as there are threads are under way
		}
	}
}

// serve works on jobs as they come.
func (t *team) serve(thread int) {
	for last := t.job.Load(); last != nil; last = t.job.Load() {
		last.work(thread)
		isNew := func() bool { return t.job.Load() != last }
		if !spin(isNew) {
			t.sleeping.Add(1)
			if !isNew() {
				<-t.wake
			}
			t.sleeping.Add(-1)
		}
	}
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

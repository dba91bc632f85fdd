package cpu

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every part runs once, on a thread that runs no other part at the same time, and run returns after all
// of them: outside and inside together, and also when the team's threads have ended between two calls.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPool(rapid.IntRange(1, 9).Draw(t, "threads"))
		calls := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 20).Draw(t, "parts")
		pause := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond}).Draw(t, "pause")
		all := func() {
			for _, n := range calls {
				ran, busy := make([]atomic.Int32, n), make([]atomic.Bool, p.threads)
				p.run(n, func(thread, i int) {
					if busy[thread].Swap(true) {
						t.Errorf("two parts at once have thread %d", thread)
					}
					ran[i].Add(1)
					if i%7 == 3 {
						time.Sleep(time.Microsecond)
					}
					busy[thread].Store(false)
				})
				for i := range ran {
					if c := ran[i].Load(); c != 1 {
						t.Fatalf("part %d of %d ran %d times", i, n, c)
					}
				}
				time.Sleep(pause)
			}
		}
		all()
		p.together(all)
		p.together(func() { p.together(all) })
	})
}

// Work given to samples runs once per sample, after earlier work on the same sample, and at the latest
// when run begins or together returns.
func TestPoolSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPool(rapid.IntRange(1, 9).Draw(t, "threads"))
		const most = 100
		var seen, want [most]int // per sample, calls that have seen it and that should have
		add := func(n int) {
			before := want
			for b := range n {
				want[b]++
			}
			p.samples(n, func(thread, lo, hi int) {
				for b := lo; b < hi; b++ {
					if seen[b] != before[b] || thread >= p.threads {
						t.Errorf("sample %d has seen %d calls, not %d, when the next comes on thread %d of %d",
							b, seen[b], before[b], thread, p.threads)
					}
					seen[b]++
				}
			})
		}
		done := func(when string) {
			if seen != want {
				t.Errorf("%s samples have seen %v calls, want %v", when, seen, want)
			}
		}
		size := rapid.IntRange(1, most)
		n := size.Draw(t, "samples")
		add(n)
		done("outside together")
		p.together(func() {
			for range rapid.IntRange(0, 3).Draw(t, "calls before run") {
				add(n)
			}
			p.run(3, func(_, i int) { done("in run") })
			for range rapid.IntRange(0, 3).Draw(t, "calls after run") {
				add(n)
			}
			add(size.Draw(t, "samples of another batch"))
		})
		done("after together")
	})
}

// A panic in a part reaches the caller of run and leaves the pool usable.
func TestPoolPanics(t *testing.T) {
	p := newPool(4)
	panics := func() (what any) {
		defer func() { what = recover() }()
		p.run(20, func(_, i int) {
			if i == 11 {
				panic("part 11")
			}
		})
		return nil
	}
	p.together(func() {
		if what := panics(); fmt.Sprint(what) != "part 11" {
			t.Errorf("panic %v, want part 11", what)
		}
		var sum atomic.Int64
		p.run(100, func(_, i int) { sum.Add(int64(i)) })
		if sum.Load() != 4950 {
			t.Errorf("sum %d after a panic", sum.Load())
		}
	})
	if what := panics(); fmt.Sprint(what) != "part 11" {
		t.Errorf("panic %v, want part 11", what)
	}
	func() { // work put off before a body panics is dropped
		defer func() { recover() }()
		p.together(func() {
			p.samples(1, func(_, _, _ int) { t.Error("work of a body that has panicked was done") })
			panic("body")
		})
	}()
	p.run(1, func(_, _ int) {})
}

// Groups depend on the number of samples alone, cover them in order, and differ by at most one sample.
func TestGroups(t *testing.T) {
	for n := 1; n < 300; n++ {
		at, largest, smallest := 0, 0, n
		for g := range groups(n) {
			lo, hi := group(g, n)
			if lo != at {
				t.Fatalf("group %d of %d samples begins at %d, want %d", g, n, lo, at)
			}
			at, largest, smallest = hi, max(largest, hi-lo), min(smallest, hi-lo)
		}
		if at != n || largest-smallest > 1 || smallest < 1 {
			t.Fatalf("%d groups of %d samples end at %d, with %d to %d samples", groups(n), n, at, smallest, largest)
		}
	}
}

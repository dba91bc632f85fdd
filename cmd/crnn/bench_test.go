package main

import (
	"testing"
	"time"
)

func TestBenchmarkSummary(t *testing.T) {
	ms := func(list ...int) (times []time.Duration) {
		for _, n := range list {
			times = append(times, time.Duration(n)*time.Millisecond)
		}
		return times
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		times                    []time.Duration
		median, fastest, p95, ps float64
	}{
		{ms(4), 4, 4, 4, 12500},
		{ms(30, 10, 20), 20, 10, 30, 2500},
		{ms(4, 1, 2, 3), 2.5, 1, 4, 20000},
		{ms(hundred...), 50.5, 1, 95, 1000 * 50 / 50.5},
	} {
		b := benchmark{BatchSize: 50}
		b.summarise(c.times)
		if b.StepMS != c.median || b.StepMSMin != c.fastest || b.StepMSP95 != c.p95 || b.ImagesPerSecond != c.ps {
			t.Errorf("%v: %+v, want median %v, fastest %v, p95 %v, images/s %v", c.times, b, c.median, c.fastest, c.p95, c.ps)
		}
	}
}

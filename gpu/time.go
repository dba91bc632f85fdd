//go:build cuda

package gpu

import (
	"time"

	"gorgonia.org/cu"

	"crnn/model"
)

// laps are the events recorded by Lap.
type laps []cu.Event

// close destroys the events.
func (l *laps) close() error {
	var first error
	for i := range *l {
		if err := failed("cuEventDestroy", cu.DestroyEvent(&(*l)[i])); err != nil && first == nil {
			first = err
		}
	}
	*l = nil
	return first
}

// mark records an event on the stream.
func (be *Backend) mark() (cu.Event, error) {
	event, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return event, failed("cuEventCreate", err)
	}
	return event, failed("cuEventRecord", event.Record(be.stream))
}

// Lap implements model.Backend.
func (be *Backend) Lap() {
	if be.err != nil {
		return
	}
	defer be.enter()()
	event, err := be.mark()
	be.fail(err)
	if event != (cu.Event{}) {
		be.laps = append(be.laps, event)
	}
}

// Laps implements model.Backend.
func (be *Backend) Laps() ([]time.Duration, error) {
	defer be.enter()()
	if err := be.sync(); err != nil {
		return nil, err
	}
	var times []time.Duration
	for i := 1; i < len(be.laps); i++ {
		ms, err := be.laps[i-1].Elapsed(be.laps[i])
		if err != nil {
			return nil, failed("cuEventElapsedTime", err)
		}
		times = append(times, time.Duration(ms*float64(time.Millisecond)))
	}
	return times, be.laps.close()
}

// ClockMHz returns the present clock of the card's multiprocessors, 0 if unknown. An idle card lowers
// its clock, so call it right after the work of interest.
func (be *Backend) ClockMHz() int {
	monitor, err := ReadMonitor()
	if err != nil {
		return 0
	}
	for _, card := range monitor.Cards {
		if card.UUID == be.card.UUID {
			return card.ClockMHz
		}
	}
	return 0
}

// Profile implements model.Profiler. Each kernel is timed by itself, as a graph of repetitions. The
// time includes the kernel's start and end, which overlap with its neighbours' in a step. The data are
// in the cache if they fit.
func (be *Backend) Profile(body func()) ([]model.KernelTime, error) {
	be.record(body)
	if be.err != nil {
		return nil, be.err
	}
	defer be.enter()()
	be.fail(be.flush())
	var times []model.KernelTime
	for _, l := range be.list {
		t, err := be.timeLaunch(l)
		if err != nil {
			return nil, err
		}
		times = append(times, model.KernelTime{Name: l.call.Name, Launches: 1, Time: t})
	}
	return times, be.err
}

// timeLaunch returns how long a kernel runs.
func (be *Backend) timeLaunch(l launch) (time.Duration, error) {
	const repetitions = 20
	if _, err := be.function(l.call.Source, l.call.Name); err != nil {
		return 0, err
	}
	g, err := capture(be.stream, func() error {
		for range repetitions {
			if err := be.submit(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	be.fail(g.launch(be.stream)) // to warm up
	be.Lap()
	be.fail(g.launch(be.stream))
	be.Lap()
	times, err := be.Laps()
	if err != nil {
		return 0, err
	}
	return times[0] / repetitions, g.destroy()
}

// Peak implements model.Profiler: it is not measured.
func (be *Backend) Peak() float64 { return 0 }

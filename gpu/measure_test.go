//go:build cuda

package gpu

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"gorgonia.org/cu"

	"crnn/data"
	"crnn/kernels"
	"crnn/model"
)

// scripts/gpu-check runs the benchmarks here besides `crnn bench`. It runs each once (-test.benchtime
// 1x); they report their figures as metrics.

// measureSteps is the environment variable for the number of steps, or launches, of a measurement.
const measureSteps = "CRNN_MEASURE_STEPS"

// setting returns a number from the environment, which gives the emulated driver less work, or usual.
func setting(b *testing.B, name string, usual int) int {
	text, ok := os.LookupEnv(name)
	if !ok {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q: expected a number from 1 on", name, text)
	}
	return n
}

// reportMetrics reports metrics instead of the time of the benchmark function, which is meaningless.
func reportMetrics(b *testing.B, metrics map[string]float64) {
	b.ReportMetric(0, "ns/op")
	for unit, value := range metrics {
		b.ReportMetric(value, unit)
	}
}

var entry = regexp.MustCompile(`\.entry (\w+)`)

// BenchmarkModule loads each source by itself. The time is the compiler's, if CUDA_CACHE_PATH names an
// empty folder. It also reports the resources of each compiled kernel.
func BenchmarkModule(b *testing.B) {
	be := openTest(b, "fp32")
	for _, source := range kernels.Sources() {
		text, _, ok := kernels.PTX(source, be.card.Capability)
		if !ok {
			continue
		}
		b.Run(source, func(b *testing.B) {
			defer be.enter()()
			start := time.Now()
			m, err := loadModule(source, text)
			if err != nil {
				b.Fatal(err)
			}
			loading := map[string]float64{"load-ms": milliseconds(time.Since(start))}
			b.Run("load", func(b *testing.B) { reportMetrics(b, loading) })
			for _, name := range entry.FindAllStringSubmatch(text, -1) {
				f, err := m.Function(name[1])
				if err != nil {
					b.Fatal(err)
				}
				metrics := map[string]float64{}
				for unit, attribute := range map[string]cu.FunctionAttribute{
					"registers": cu.NumRegs, "local-bytes": cu.LocalSizeBytes, "shared-bytes": cu.SharedSizeBytes,
				} {
					value, err := f.Attribute(attribute)
					if err != nil {
						b.Fatal(err)
					}
					metrics[unit] = float64(value)
				}
				b.Run(name[1], func(b *testing.B) { reportMetrics(b, metrics) })
			}
			if err := m.Unload(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkClusters reports how many clusters of the RNN's kernels the card holds at once.
func BenchmarkClusters(b *testing.B) {
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		b.Run(precision, func(b *testing.B) {
			be := openTest(b, precision)
			if !be.card.clusters {
				b.Skip("the card has no clusters")
			}
			r := &rnn{be: be, kernels: rnnKernelsOf[precision]}
			defer be.enter()()
			metrics := map[string]float64{}
			for unit, call := range map[string]kernels.Call{
				"forward": r.clusterForward(0, 0, 0), "backward": r.clusterBackward(0, 0, 0),
			} {
				f, err := be.function(call.Source, call.Name)
				if err != nil {
					b.Fatal(err)
				}
				count, err := residentClusters(f, call)
				if err != nil {
					b.Skip(err)
				}
				metrics[unit] = float64(count)
			}
			reportMetrics(b, metrics)
		})
	}
}

// BenchmarkStep times a training step of the recipe in several ways:
//
//   - step: as training makes it, each step timed by the card's events
//   - graph: its graph alone, without the copy of the indices before it
//   - wall: as training makes it, by the host's clock over all steps, without events between them
//   - graph-wall: its graph alone, timed like wall
//   - flushed: each step after the card's L2 cache was overwritten
//
// Times are in microseconds: median and fastest by events, the mean by the host's clock. Each comes with
// the clock of the multiprocessors right after it.
func BenchmarkStep(b *testing.B) {
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		b.Run(precision, func(b *testing.B) {
			s := newStepper(b, openTest(b, precision))
			metrics := map[string]float64{}
			each := func(name string, before, step func()) {
				times := s.be.timeRuns(b, s.steps, before, step)
				metrics[name+"-MHz"] = float64(s.be.ClockMHz())
				metrics[name+"-us"], metrics[name+"-fastest-us"] = median(times), times[0]
			}
			wall := func(name string, step func()) {
				s.be.warmUp(b, step)
				metrics[name+"-us"] = microseconds(s.byWall(step))
				metrics[name+"-MHz"] = float64(s.be.ClockMHz())
			}
			each("step", nil, s.step)
			each("graph", nil, s.graph)
			wall("wall", s.step)
			wall("graph-wall", s.graph)
			each("flushed", s.flusher(), s.step)
			reportMetrics(b, metrics)
		})
	}
}

// stepper makes training steps of the recipe.
type stepper struct {
	*testing.B
	be     *Backend
	net    *model.Network
	images model.Images
	order  []int32
	batch  int
	steps  int // per measurement
	made   int
}

func newStepper(b *testing.B, be *Backend) *stepper {
	s := &stepper{B: b, be: be, batch: setting(b, "CRNN_MEASURE_BATCH", 50), steps: setting(b, measureSteps, 2000)}
	set := trainingSet(b)
	var err error
	if s.images, err = be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width); err != nil {
		b.Fatal(err)
	}
	if s.net, err = model.New(be, model.Default(), model.Options{MaxBatch: s.batch, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	if err := s.net.Init(1); err != nil {
		b.Fatal(err)
	}
	all, _ := data.Split(set.Count, 0, 1)
	s.order = data.Order(all, 1, 0, true)
	return s
}

func (s *stepper) step() {
	first := s.made * s.batch % (len(s.order) - s.batch)
	s.made++
	if err := s.net.Step(s.images, s.order[first:][:s.batch], 5e-4); err != nil {
		s.Fatal(err)
	}
}

// graph replays the last step. A step must have been made before.
func (s *stepper) graph() {
	defer s.be.enter()()
	s.be.fail(s.be.graphs[0].graph.launch(s.be.stream))
}

// flusher returns a function that overwrites the card's L2 cache.
func (s *stepper) flusher() func() {
	size, err := s.be.device.Attribute(cu.L2CacheSize)
	if err != nil {
		s.Fatal(err)
	}
	room := 2 * int64(size)
	address, err := s.be.alloc(room)
	if err != nil {
		s.Fatal(err)
	}
	return func() {
		defer s.be.enter()()
		s.be.fail(failed("cuMemsetD8Async", cu.MemsetD8Async(cu.DevicePtr(address), 0, room, s.be.stream)))
	}
}

// warmUp calls run for 200 ms, after which a card has raised its clock.
func (be *Backend) warmUp(b *testing.B, run func()) {
	b.Helper()
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		run()
		if err := be.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// timeRuns warms up, then times each run by the card's events. It returns microseconds, ascending. The
// calls of before are not timed.
func (be *Backend) timeRuns(b *testing.B, runs int, before, run func()) (times []float64) {
	b.Helper()
	be.warmUp(b, run)
	for range runs {
		if before != nil {
			before()
		}
		be.Lap()
		run()
		be.Lap()
	}
	laps, err := be.Laps()
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(laps); i += 2 { // the others lie between two runs
		times = append(times, microseconds(laps[i]))
	}
	slices.Sort(times)
	return times
}

func median(ascending []float64) float64 { return ascending[len(ascending)/2] }

func (s *stepper) sync() {
	s.Helper()
	if err := s.be.Sync(); err != nil {
		s.Fatal(err)
	}
}

// byWall returns the time of a step by the host's clock, without events.
func (s *stepper) byWall(step func()) time.Duration {
	start := time.Now()
	for range s.steps {
		step()
	}
	s.sync()
	return time.Since(start) / time.Duration(s.steps)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

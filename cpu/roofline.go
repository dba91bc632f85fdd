package cpu

import (
	"time"

	"crnn/model"
)

// profileSteps is the number of times that Profile runs its body: a single step is as noisy as the machine.
const profileSteps = 20

// Profile implements model.Profiler. The time of a kernel is the mean over some steps and over the
// threads: the sum of all threads, divided by their number.
func (be *Backend) Profile(body func()) ([]model.KernelTime, error) {
	plain := be.kernels
	be.peak = be.measurePeak()
	be.profile = &profile{threads: be.pool.threads}
	be.kernels = profiled{plain, be.profile}
	for range profileSteps {
		body()
		be.profile.end()
		be.profile.operator = ""
	}
	times := make([]model.KernelTime, len(be.profile.list))
	for i, k := range be.profile.list {
		times[i] = *k
		times[i].Launches /= profileSteps
		times[i].Time /= time.Duration(profileSteps * be.pool.threads)
		times[i].FLOP /= profileSteps
	}
	be.kernels, be.profile = plain, nil
	be.peak = max(be.peak, be.measurePeak())
	return times, be.err
}

// Peak implements model.Profiler: the best of the measurements before and after the last Profile.
func (be *Backend) Peak() float64 { return be.peak }

// measurePeak returns the floating-point operations per second of all threads together, measured by
// multiply-adds in registers.
func (be *Backend) measurePeak() float64 {
	const rounds, iterations = 5, 1 << 20
	best := 0.0
	for range rounds {
		flop := make([]int64, be.pool.threads)
		start := time.Now()
		be.pool.run(be.pool.threads, func(_, i int) { flop[i] = be.multiplyAdds(iterations) })
		took := time.Since(start).Seconds()
		var sum int64
		for _, f := range flop {
			sum += f
		}
		best = max(best, float64(sum)/took)
	}
	return best
}

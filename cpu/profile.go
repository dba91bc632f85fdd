package cpu

import (
	"sync"
	"time"

	"crnn/model"
)

// profileSteps is how often Profile runs its body: one step alone is as noisy as the machine.
const profileSteps = 20

// profile adds up the time of the kernels.
type profile struct {
	sync.Mutex
	operator string    // that runs,
	since    time.Time // and since when
	threads  int
	list     []*model.KernelTime
}

// operator says which operator calls kernels from now on.
func (be *Backend) operator(operator string) {
	if be.profile != nil {
		be.profile.end()
		be.profile.operator = operator
	}
}

// waiting is what an operator's threads do beside its kernels.
const waiting = "waiting for threads, and between kernels"

// end counts the time of the operator that ends here on every thread, less that of its kernels,
// which add takes away.
func (p *profile) end() {
	if now := time.Now(); p.operator != "" {
		p.entry(waiting).Time += time.Duration(p.threads) * now.Sub(p.since)
		p.since = now
	} else {
		p.since = now
	}
}

// entry returns the entry of a kernel of the operator that runs.
func (p *profile) entry(kernel string) *model.KernelTime {
	for _, k := range p.list {
		if k.Operator == p.operator && k.Name == kernel {
			return k
		}
	}
	k := &model.KernelTime{Operator: p.operator, Name: kernel}
	p.list = append(p.list, k)
	return k
}

// add counts a call of a kernel that began at start and made so many floating-point operations.
func (p *profile) add(kernel string, start time.Time, flop int64) {
	took := time.Since(start)
	p.Lock()
	defer p.Unlock()
	k := p.entry(kernel)
	k.Launches++
	k.Time += took
	k.FLOP += float64(flop)
	p.entry(waiting).Time -= took
}

// Profile implements model.Profiler. The time of a kernel is the mean over some steps, and
// over the threads: what all of them spent in it, divided by their number.
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

// Peak implements model.Profiler: the best before and after the last Profile.
func (be *Backend) Peak() float64 { return be.peak }

// measurePeak returns how many floating-point operations a second all threads make together, by
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

// profiled are kernels that are timed.
type profiled struct {
	kernels
	p *profile
}

// precise returns the name of a kernel, with the precision of its operands if that is not fp32.
func precise(name string, bf16 int64) string {
	if bf16 != 0 {
		return name + ", bf16"
	}
	return name
}

func (k profiled) matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32) {
	defer k.p.add(precise("matmul", s.bf16), time.Now(), 2*(1+s.bf16)*s.batch*s.m*s.n*s.count[0]*s.count[1]*s.count[2])
	k.kernels.matmul(s, aOffset, cOffset, a, b, bias, c)
}

func (k profiled) transpose(dst, src []float32, rows, columns, dstRow, srcRow int) {
	defer k.p.add("transpose", time.Now(), 0)
	k.kernels.transpose(dst, src, rows, columns, dstRow, srcRow)
}

func (k profiled) channelMoments(z []float32, mean, m2 []float32) {
	defer k.p.add("channel moments", time.Now(), 0)
	k.kernels.channelMoments(z, mean, m2)
}

func (k profiled) bnReluPool(s *poolShape, z, mean, scale, beta, y, largest []float32, index []uint8) {
	defer k.p.add("normalise, ReLU, pool", time.Now(), 0)
	k.kernels.bnReluPool(s, z, mean, scale, beta, y, largest, index)
}

func (k profiled) bnReluPoolSums(largest []float32, index []uint8, dy, sumG, sumGZ []float32) {
	defer k.p.add("gradient's sums", time.Now(), 0)
	k.kernels.bnReluPoolSums(largest, index, dy, sumG, sumGZ)
}

func (k profiled) bnReluPoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1, dz, sumDZ []float32) {
	defer k.p.add("normalise, ReLU, pool", time.Now(), 0)
	k.kernels.bnReluPoolBackward(s, z, mean, scale, index, dy, kZ, k1, dz, sumDZ)
}

func (k profiled) winogradInput(s *winogradShape, x, v []float32) {
	defer k.p.add("Winograd transforms", time.Now(), 0)
	k.kernels.winogradInput(s, x, v)
}

func (k profiled) winogradOutput(s *winogradShape, m, bias, z []float32) {
	defer k.p.add("Winograd transforms", time.Now(), 0)
	k.kernels.winogradOutput(s, m, bias, z)
}

func (k profiled) winogradOutputPool(s *winogradShape, m, bias, mean, scale, beta, y []float32) {
	defer k.p.add("Winograd transforms", time.Now(), 0)
	k.kernels.winogradOutputPool(s, m, bias, mean, scale, beta, y)
}

func (k profiled) winogradOutputGradient(s *winogradShape, dz, q []float32) {
	defer k.p.add("Winograd transforms", time.Now(), 0)
	k.kernels.winogradOutputGradient(s, dz, q)
}

func (k profiled) winogradInputGradient(s *winogradShape, p, dx []float32) {
	defer k.p.add("Winograd transforms", time.Now(), 0)
	k.kernels.winogradInputGradient(s, p, dx)
}

func (k profiled) winogradFilter(tileHeight, channels, frequency int, w, u []float32) {
	defer k.p.add("Winograd filters", time.Now(), 0)
	k.kernels.winogradFilter(tileHeight, channels, frequency, w, u)
}

func (k profiled) winogradFilterGradient(channels, frequency, groups, group int, s, dw []float32) {
	defer k.p.add("Winograd filters", time.Now(), 0)
	k.kernels.winogradFilterGradient(channels, frequency, groups, group, s, dw)
}

// recurrentFLOP counts the operations of a layer's recurrent product.
func (s *rnnShape) recurrentFLOP() int64 { return 2 * s.samples * s.units * s.hidden * (s.steps - 1) }

func (k profiled) rnnForward(s *rnnShape, row []int32, w, h []float32, d *rnnDropout, keep []uint8, kept, step []float32) {
	defer k.p.add(precise("recurrence", s.bf16), time.Now(), s.recurrentFLOP())
	k.kernels.rnnForward(s, row, w, h, d, keep, kept, step)
}

func (k profiled) rnnBackward(s *rnnShape, row []int32, w, h []float32, keep []uint8, scale float32, dz, dbias, step []float32) {
	defer k.p.add(precise("recurrence", s.bf16), time.Now(), s.recurrentFLOP())
	k.kernels.rnnBackward(s, row, w, h, keep, scale, dz, dbias, step)
}

func (k profiled) narrow(dst, src []float32) {
	defer k.p.add("to bfloat16", time.Now(), 0)
	k.kernels.narrow(dst, src)
}

func (k profiled) pairRows(dst, src []float32, rows, columns int) {
	defer k.p.add("to bfloat16", time.Now(), 0)
	k.kernels.pairRows(dst, src, rows, columns)
}

// flop counts the operations of a product.
func (s *tileShape) flop() int64 {
	return 2 * s.blocks * s.rows * s.columns * tileRows * s.terms * tileTerms
}

func (k profiled) tileProduct(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, c []float32) {
	defer k.p.add("matmul, bf16 in tiles", time.Now(), s.flop())
	k.kernels.tileProduct(s, aOffset, cOffset, termA, a, b, bias, c)
}

func (k profiled) tileProductPool(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, z []float32,
	pool *poolShape, mean, scale, beta, y []float32) {
	defer k.p.add("matmul, bf16 in tiles, and pool", time.Now(), s.flop())
	k.kernels.tileProductPool(s, aOffset, cOffset, termA, a, b, bias, z, pool, mean, scale, beta, y)
}

func (k profiled) tilePack(s *tilePack, dst []uint32, src []float32, keep []uint8) {
	defer k.p.add("to tiles of bfloat16", time.Now(), 0)
	k.kernels.tilePack(s, dst, src, keep)
}

func (k profiled) tileImage(s *tileImage, x []float32, first, last []uint16) {
	defer k.p.add("to images in bfloat16", time.Now(), 0)
	k.kernels.tileImage(s, x, first, last)
}

func (k profiled) tilePoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1 []float32,
	last []uint16, pairs []uint32, sumDZ []float32) {
	defer k.p.add("normalise, ReLU, pool", time.Now(), 0)
	k.kernels.tilePoolBackward(s, z, mean, scale, index, dy, kZ, k1, last, pairs, sumDZ)
}

func (k profiled) tileRNNForward(s *tileRNN, termA []int32, wIH, wHH []uint32, bias []float32, in []uint16, h []float32,
	out, state []uint16, step []float32, d *rnnDropout, keep []uint8) {
	defer k.p.add("layer, bf16 in tiles", time.Now(), 2*s.samples*s.hidden*(s.steps*s.in+(s.steps-1)*s.hidden))
	k.kernels.tileRNNForward(s, termA, wIH, wHH, bias, in, h, out, state, step, d, keep)
}

func (k profiled) tileRNNBackward(s *tileRNN, termA []int32, wIH, wHH []uint32, h []float32, keep []uint8, scale float32,
	dy []float32, dz []uint16, dx, dbias, step []float32) {
	defer k.p.add("layer, bf16 in tiles", time.Now(), 2*s.samples*s.hidden*(s.steps*s.in+(s.steps-1)*s.hidden))
	k.kernels.tileRNNBackward(s, termA, wIH, wHH, h, keep, scale, dy, dz, dx, dbias, step)
}

func (k profiled) sumRows(sum, a []float32, rows, stride int) {
	defer k.p.add("sum of groups", time.Now(), 0)
	k.kernels.sumRows(sum, a, rows, stride)
}

func (k profiled) adam(s *adamStep, p, g, m, v []float32) {
	defer k.p.add("adam", time.Now(), 0)
	k.kernels.adam(s, p, g, m, v)
}

//go:build cuda

package gpu

import (
	"math"

	"crnn/kernels"
	"crnn/model"
)

// rnn is the unrolled tanh RNN. Forward and backward through time are one kernel each. For sizes that
// kernels/rnn_cluster.cu supports it is that wavefront, if the card runs all clusters of the batch at
// once. Otherwise kernels/rnn.cu computes the layers one after the other.
type rnn struct {
	be *Backend
	model.RNNSpec
	kernels rnnKernels

	layers   kernels.Ptr // table of deviceLayer
	h, da    kernels.F32 // [Layers,n,TimeSteps,Hidden]
	parts    kernels.F32 // parts of the gradients of all parameters, which rnn_gradients_sum adds
	slice    int64       // elements of one part
	clusters int         // clusters of rnn_cluster.cu that are resident at once
	counted  bool        // clusters has been asked from the driver

	threshold uint32 // a unit is dropped if its 16-bit word is below it
	keepScale float32
	dropping  uint32     // threshold of the last Forward: 0 if it dropped nothing
	lastPass  model.Pass // of Forward
}

// deviceLayer is the struct RNNLayer of kernels/rnn.cuh.
type deviceLayer [8]kernels.F32

// The kernels of kernels/rnn.cu and rnn_gradients.cu, in one precision. h is [layers,n,steps,hidden],
// and so is da, the gradient before tanh.
type (
	rnnForward func(layers kernels.Ptr, x, h, y kernels.F32, step kernels.Ptr, seed uint64, threshold uint32,
		keepScale float32, samples, n, steps, in, hidden, layerCount int32) kernels.Call
	rnnBackward func(layers kernels.Ptr, h, dy, da, dx kernels.F32, step kernels.Ptr, seed uint64, threshold uint32,
		keepScale float32, samples, n, steps, in, hidden, layerCount int32) kernels.Call
	rnnGradients func(layers kernels.Ptr, x, h, da, parts kernels.F32, step kernels.Ptr, seed uint64, threshold uint32,
		keepScale float32, n, steps, in, hidden, layerCount int32) kernels.Call
)

// The kernels of kernels/rnn_cluster.cu.
type (
	rnnClusterForward func(layers kernels.Ptr, x, h, y kernels.F32, step kernels.Ptr, seed uint64, threshold uint32,
		keepScale float32, n, steps, in, hidden int32) kernels.Call
	rnnClusterBackward func(layers kernels.Ptr, h, dy, da, dx kernels.F32, step kernels.Ptr, seed uint64, threshold uint32,
		keepScale float32, n, steps, in, hidden int32) kernels.Call
)

// rnnKernels are the kernels of one precision.
type rnnKernels struct {
	forward         rnnForward
	backward        rnnBackward
	gradients       rnnGradients
	clusterForward  rnnClusterForward
	clusterBackward rnnClusterBackward
}

var rnnKernelsOf = map[string]rnnKernels{
	"fp32": {
		kernels.RnnForward, kernels.RnnBackward, kernels.RnnGradients,
		kernels.RnnClusterForward, kernels.RnnClusterBackward,
	},
	"tf32": {
		kernels.RnnForwardTf32, kernels.RnnBackwardTf32, kernels.RnnGradientsTf32,
		kernels.RnnClusterForwardTf32, kernels.RnnClusterBackwardTf32,
	},
	"bf16": {
		kernels.RnnForwardBf16, kernels.RnnBackwardBf16, kernels.RnnGradientsBf16,
		kernels.RnnClusterForwardBf16, kernels.RnnClusterBackwardBf16,
	},
}

const (
	maxBlockSamples = 8   // samples per block of rnn.cu, at most
	clusterSamples  = 3   // samples per cluster of rnn_cluster.cu
	clusterWidth    = 128 // input and hidden units of rnn_cluster.cu, at most

	// Pieces of the weight gradients, as kernels/rnn_gradients.cuh cuts them.
	pieceRows, pieceColumns = 128, 64
	// The rows of the sequences are cut into parts: two blocks for each of an H100's 132
	// multiprocessors. A part has at least minPartRows rows. The numbers are the same
	// on every card, and so are the sums.
	gradientBlocks = 264
	minPartRows    = 64
)

// NewRNN implements model.Backend.
func (be *Backend) NewRNN(spec model.RNNSpec) (model.RNN, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	r := &rnn{be: be, RNNSpec: spec, kernels: rnnKernelsOf[be.precision]}
	if !r.inClusters(spec.MaxBatch) {
		source := "rnn"
		if be.precision != "fp32" {
			source = "rnn_mma"
		}
		if err := be.ready(source); err != nil {
			return nil, err
		}
	}
	r.threshold = uint32(math.Round(spec.Dropout * (1 << 16)))
	r.keepScale = float32((1 << 16) / float64((1<<16)-r.threshold))

	var table []deviceLayer
	hidden, width := int64(spec.Hidden), int64(spec.In)
	for _, l := range spec.Layers {
		table = append(table, deviceLayer{
			f32(l.WeightIH), f32(l.WeightHH), f32(l.BiasIH), f32(l.BiasHH),
			f32(l.DWeightIH), f32(l.DWeightHH), f32(l.DBiasIH), f32(l.DBiasHH),
		})
		r.slice += hidden * (width + hidden + 1)
		width = hidden
	}
	states := 4 * int64(len(table)) * int64(spec.MaxBatch) * int64(spec.TimeSteps) * hidden
	var parts int64
	if count := r.gradientParts(spec.MaxBatch); count > 1 {
		parts = 4 * r.slice * int64(count)
	}
	layers := bytesOf(table)
	for _, a := range []struct {
		to    *uint64
		bytes int64
	}{
		{(*uint64)(&r.layers), int64(len(layers))}, {(*uint64)(&r.h), states},
		{(*uint64)(&r.da), states}, {(*uint64)(&r.parts), parts},
	} {
		if a.bytes == 0 {
			continue
		}
		var err error
		if *a.to, err = be.alloc(a.bytes); err != nil {
			return nil, err
		}
	}
	if err := be.upload(uint64(r.layers), layers); err != nil {
		return nil, err
	}
	return r, be.err
}

// inClusters says whether rnn_cluster.cu computes n samples. It does if its clusters need not take
// turns; otherwise rnn.cu is faster, with more samples per block.
func (r *rnn) inClusters(n int) bool {
	if !r.be.card.clusters || len(r.Layers) != r.clusterForward(0, 0, 0).Cluster || max(r.In, r.Hidden) > clusterWidth {
		return false
	}
	needed := ceil(n, clusterSamples)
	// A block takes all registers of a multiprocessor. Only for a batch that may fit, the code is loaded
	// and its clusters counted.
	if needed > r.be.card.multiprocessors/len(r.Layers) {
		return false
	}
	if !r.counted {
		r.countClusters()
	}
	return needed <= r.clusters
}

// countClusters loads the kernels of rnn_cluster.cu and asks the driver how many clusters the card can
// run at the same time. An error, as in parts of a card (MIG, vGPU) without clusters, counts as none:
// rnn.cu computes the same.
func (r *rnn) countClusters() {
	be := r.be
	r.clusters, r.counted = 0, true
	if be.planning() {
		return
	}
	defer be.enter()()
	least := math.MaxInt
	for _, call := range []kernels.Call{r.clusterForward(0, 0, 0), r.clusterBackward(0, 0, 0)} {
		f, err := be.function(call.Source, call.Name)
		if err != nil {
			be.fail(err)
			return
		}
		count, err := residentClusters(f, call)
		if err != nil {
			return
		}
		least = min(least, count)
	}
	r.clusters = least
}

// blockSamples returns how many samples a block of rnn.cu takes: as few as possible without more
// blocks than multiprocessors, since the time of a step grows with the samples.
func (r *rnn) blockSamples(n int) int {
	samples := 1
	for samples < maxBlockSamples && ceil(n, samples) > r.be.card.multiprocessors {
		samples *= 2
	}
	return samples
}

// Forward implements model.RNN.
func (r *rnn) Forward(p model.Pass) {
	if !r.be.begin("RNN forward", p.Check(r.MaxBatch)) {
		return
	}
	r.lastPass = p
	n := p.Samples
	r.dropping = 0
	if p.Train {
		r.dropping = r.threshold
		r.setMasks(p)
	}
	if r.inClusters(n) {
		r.be.launchClusters(ceil(n, clusterSamples), r.clusterForward(f32(r.X), f32(r.Y), n))
		return
	}
	samples := r.blockSamples(n)
	r.be.launch(r.kernels.forward(r.layers, f32(r.X), r.h, f32(r.Y), r.be.step, r.Seed, r.dropping, r.keepScale,
		int32(samples), int32(n), int32(r.TimeSteps), int32(r.In), int32(r.Hidden), int32(len(r.Layers))),
		grid{ceil(n, samples), 1, 1})
}

// setMasks sets step and first block of the masks, since another network of the Backend may have set
// its own.
func (r *rnn) setMasks(p model.Pass) {
	r.be.setDropout(p.Step, uint32(p.First*r.TimeSteps*ceil(r.Hidden, 8)))
}

func (r *rnn) clusterForward(x, y kernels.F32, n int) kernels.Call {
	return r.kernels.clusterForward(r.layers, x, r.h, y, r.be.step, r.Seed, r.dropping, r.keepScale,
		int32(n), int32(r.TimeSteps), int32(r.In), int32(r.Hidden))
}

// Backward implements model.RNN.
func (r *rnn) Backward(p model.Pass) {
	if !r.be.begin("RNN backward", p.CheckBackward(r.MaxBatch), p.CheckAfter(r.lastPass)) {
		return
	}
	r.setMasks(p)
	n := p.Samples
	if r.inClusters(n) {
		r.be.launchClusters(ceil(n, clusterSamples), r.clusterBackward(f32(r.DY), f32(r.DX), n))
	} else {
		samples := r.blockSamples(n)
		r.be.launch(r.kernels.backward(r.layers, r.h, f32(r.DY), r.da, f32(r.DX), r.be.step, r.Seed, r.dropping, r.keepScale,
			int32(samples), int32(n), int32(r.TimeSteps), int32(r.In), int32(r.Hidden), int32(len(r.Layers))),
			grid{ceil(n, samples), 1, 1})
	}
	r.gradients(n)
}

func (r *rnn) clusterBackward(dy, dx kernels.F32, n int) kernels.Call {
	return r.kernels.clusterBackward(r.layers, r.h, dy, r.da, dx, r.be.step, r.Seed, r.dropping, r.keepScale,
		int32(n), int32(r.TimeSteps), int32(r.In), int32(r.Hidden))
}

// gradientPieces returns the number of pieces of the gradients of all layers.
func (r *rnn) gradientPieces() int {
	down, across, acrossIn := ceil(r.Hidden, pieceRows), ceil(r.Hidden, pieceColumns), ceil(r.In, pieceColumns)
	return down * (acrossIn + across + (len(r.Layers)-1)*2*across)
}

// gradientParts returns the number of parts into which the rows (sample, step) of n samples are cut.
func (r *rnn) gradientParts(n int) int {
	return max(1, min(gradientBlocks/r.gradientPieces(), n*r.TimeSteps/minPartRows))
}

// gradients computes the weights' and biases' gradients from h and da.
func (r *rnn) gradients(n int) {
	parts, layers := r.gradientParts(n), int32(len(r.Layers))
	r.be.launch(r.kernels.gradients(r.layers, f32(r.X), r.h, r.da, r.parts, r.be.step, r.Seed, r.dropping, r.keepScale,
		int32(n), int32(r.TimeSteps), int32(r.In), int32(r.Hidden), layers),
		grid{r.gradientPieces(), parts, 1})
	if parts > 1 {
		r.be.launchEach(int(r.slice),
			kernels.RnnGradientsSum(r.layers, r.parts, int32(parts), int32(r.In), int32(r.Hidden), layers))
	}
}

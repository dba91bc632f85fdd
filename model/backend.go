package model

import (
	"time"

	"gorgonia.org/tensor"
)

// Backend runs the operators of the network on one device. The network is
// written once on top of it (network.go); a new device is a new Backend.
//
// Arrays are *tensor.Dense of float32, row-major, in PyTorch's layouts: images [n,C,H,W], sequences
// [n,T,I]. Each operator states its own. Their memory is the device's: only Upload and Download
// reach it from outside.
//
// In all formulas n is the number of samples of the current pass. Operators are made for at most
// MaxBatch samples, the first dimension of their arrays, and use the first n rows.
//
// Operators may run asynchronously, in the order of the calls. When one fails, for example because
// its pass has too many samples, nothing is computed any more. The next call that returns an error
// returns that one, and so do all later calls.
//
// The same calls with the same inputs give the same bits, whatever the number
// of threads.
type Backend interface {
	// Name is the device in the notation of the --device flag: "cpu", "cuda:0".
	Name() string

	// Alloc returns a zeroed array.
	Alloc(shape ...int) (*tensor.Dense, error)
	// View returns shape elements of the one-dimensional array a, from element offset on,
	// sharing its memory.
	View(a *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error)
	// Upload copies host values into dst, Download device values into dst; the lengths must agree.
	Upload(dst *tensor.Dense, src []float32) error
	Download(dst []float32, src *tensor.Dense) error

	// NewImages puts a data set on the device: images [channels,height,width] of bytes, and one label
	// per image.
	NewImages(pixels, labels []uint8, channels, height, width int) (Images, error)

	// NewConvBlock, NewRNN and NewHead make the three operators of the network. An operator is
	// bound to the arrays of its spec; arrays that do not fit each other are an error. Backward
	// follows the Forward of the same training pass: the operator keeps what Backward needs.
	NewConvBlock(spec ConvBlockSpec) (ConvBlock, error)
	NewRNN(spec RNNSpec) (RNN, error)
	NewHead(spec HeadSpec) (Head, error)

	// Adam applies one step of Adam (Kingma and Ba, 2015) to the flat array p of parameters, given
	// their gradients g and the moments m and v, all equally long:
	//
	//	m = β1 m + (1-β1) g        v = β2 v + (1-β2) g²
	//	p = p - LR/(1-β1^t) · m / (√v/√(1-β2^t) + ε)
	Adam(p, g, m, v *tensor.Dense, step AdamStep)

	// Together runs body, which calls operators of this Backend for one pass, and no other method
	// of it. A device may submit these calls as one; the results are the same as without Together.
	Together(body func())

	// Lap marks the time at which the operators called so far have run. Laps waits for all marks,
	// returns the times between them, one fewer than the marks, and forgets them.
	Lap()
	Laps() ([]time.Duration, error)

	// Sync waits until every operator called so far has run.
	Sync() error
	// Close releases the device. Nothing made by this Backend may be used after it.
	Close() error
}

// Profiler is a Backend that can tell how long its kernels run.
type Profiler interface {
	// Profile runs body, once or several times, and returns the time of each kernel in it, in the
	// order of the runs. The results of body are unusable afterwards.
	Profile(body func()) ([]KernelTime, error)
	// Peak returns the floating-point operations per second that the device reaches, as Profile
	// measured them, or 0 if that is unknown.
	Peak() float64
}

// KernelTime is the time of a kernel in one run of the body.
type KernelTime struct {
	Operator string // the operator that calls it; may be empty
	Name     string
	Launches int
	Time     time.Duration // of all launches
	FLOP     float64       // floating-point operations; 0 unless the kernel computes products
}

// Images is a data set on the device.
type Images interface {
	// Set returns the number and size of the images, and the number of classes.
	Set() ImageSet
	// Replace puts other images, as many and of the same size, in place of these. Labels are below
	// Set().Classes.
	Replace(pixels, labels []uint8) error
	// Gather writes the images of the given indices into x [n,C,H,W] as pixel/255 and their labels
	// into labels. Inside Together, indices must not change until Together returns. An index beyond
	// the set is an error, and so is a set with more classes than labels has: then nothing is
	// written.
	Gather(p Pass, indices []int32, x *tensor.Dense, labels Labels) error
}

// ImageSet is the size of a data set.
type ImageSet struct {
	Count                   int
	Channels, Height, Width int
	Classes                 int // one more than the largest label
}

// Labels are the classes of a batch, on the device. NewHead's Head makes them.
type Labels interface {
	// Classes is the number of classes: labels are below it.
	Classes() int
	// Len is the number of samples that fit.
	Len() int
}

// ConvBlockSpec describes convolution, batch normalisation, ReLU and max pooling
// as one operator. Parameter arrays are views of the flat buffers.
type ConvBlockSpec struct {
	MaxBatch      int
	In, Out       int // channels
	Height, Width int // of the input, at least 2
	Kernel        int // odd; stride 1, padding (Kernel-1)/2, so that the size stays
	Eps, Momentum float64

	X, Y   *tensor.Dense // [MaxBatch,In,Height,Width], [MaxBatch,Out,⌊Height/2⌋,⌊Width/2⌋]
	DX, DY *tensor.Dense // gradients of the loss with respect to X and Y; DX may be nil

	Weight, Bias            *tensor.Dense // [Out,In,K,K], [Out]
	Gamma, Beta             *tensor.Dense // [Out]
	RunningMean, RunningVar *tensor.Dense // [Out], updated by Forward in training

	// Gradients, overwritten by Backward.
	DWeight, DBias, DGamma, DBeta *tensor.Dense
}

// ConvBlock is the operator of a ConvBlockSpec.
type ConvBlock interface {
	// Forward computes y from x, the first n samples of Y and X:
	//
	//	z[b,o,i,j] = Bias[o] + Σ_{c,u,v} Weight[o,c,u,v] · x[b,c,i+u-P,j+v-P]      (x = 0 outside)
	//	u = Gamma (z - mean) / √(var + Eps) + Beta
	//	y[b,o,i,j] = max(0, max_{r,s ∈ {0,1}} u[b,o,2i+r,2j+s])
	//
	// Of an odd side, the last row or column has no y. In training, mean and var are taken of z over
	// all b,i,j (var with divisor n·H·W). The running statistics become (1-Momentum) old +
	// Momentum new, with the unbiased variance (divisor n·H·W - 1). Outside of training, mean and
	// var are the running statistics.
	Forward(p Pass)
	// Backward computes the parameters' gradients from DY = ∂loss/∂Y, and DX unless it is nil. X
	// must be as Forward saw it. Among equal values of a pool the first in row-major order takes
	// the gradient, as in PyTorch.
	Backward(p Pass)
}

// RNNSpec describes an Elman RNN of several layers, h0 = 0, read at its last step.
type RNNSpec struct {
	MaxBatch              int
	TimeSteps, In, Hidden int
	Layers                []RNNLayer
	Dropout               float64 // of the output of every layer but the last, in [0,1)
	Seed                  uint64  // of the dropout masks

	X, Y   *tensor.Dense // X [MaxBatch,TimeSteps,In], or its memory in another shape; Y [MaxBatch,Hidden]
	DX, DY *tensor.Dense // gradients of the loss with respect to X and Y
}

// RNNLayer holds the parameters of one layer and their gradients. In is RNNSpec.In for
// layer 0 and Hidden above.
type RNNLayer struct {
	WeightIH, WeightHH, BiasIH, BiasHH     *tensor.Dense // [Hidden,In], [Hidden,Hidden], [Hidden], [Hidden]
	DWeightIH, DWeightHH, DBiasIH, DBiasHH *tensor.Dense // overwritten by Backward
}

// RNN is the operator of an RNNSpec.
type RNN interface {
	// Forward computes y [n,Hidden], the last layer's output at the last step, from
	// x [n,TimeSteps,In], the first n samples of Y and X:
	//
	//	h_l[t] = tanh(WeightIH_l i_l[t] + BiasIH_l + WeightHH_l h_l[t-1] + BiasHH_l)
	//	i_0[t] = x[t],  i_l[t] = h_{l-1}[t] ⊙ mask_{l-1}[t] / (1 - Dropout)
	//
	// Outside of training the masks are 1 and nothing is scaled. In training
	// mask_l[b,t,j] is 1 if word ≥ round(2^16 Dropout), else 0, where word is the
	// 16-bit word j%8 (low halves first: word 2i is the low half of Philox word i)
	// of block ((First+b)·TimeSteps+t)·⌈Hidden/8⌉ + ⌊j/8⌋ of the rng.Stream of Seed,
	// rng.Dropout.Sub(l) and the pass's Step. Dropout is thereby rounded to a multiple of
	// 2^-16, and the scale uses the rounded rate.
	Forward(p Pass)
	// Backward computes the parameters' gradients by backpropagation through time from
	// DY = ∂loss/∂Y, and DX. X must be as Forward saw it.
	Backward(p Pass)
}

// HeadSpec describes the linear layer with cross-entropy.
type HeadSpec struct {
	MaxBatch       int
	In, Classes    int
	Weight, Bias   *tensor.Dense // [Classes,In], [Classes]
	DWeight, DBias *tensor.Dense // overwritten by Backward

	X, DX  *tensor.Dense // [MaxBatch,In], and the gradient of the loss with respect to it
	Logits *tensor.Dense // [MaxBatch,Classes]
}

// Head is the operator of a HeadSpec. It owns the labels of a batch and the running totals.
type Head interface {
	NewLabels() (Labels, error)
	// Forward computes logits [n,Classes] = x Weightᵀ + Bias from x [n,In], the first n samples of
	// Logits and X.
	Forward(p Pass)
	// Loss adds to the totals, for each sample b with label k:
	//
	//	loss = log Σ_j exp(logits[b,j]) - logits[b,k]
	//	hit  = 1 if k is the first largest of logits[b,:], else 0
	Loss(p Pass, labels Labels)
	// Backward computes the gradients of the mean loss of the whole batch: with
	// d[b,j] = (softmax(logits[b,:])[j] - [j = label]) / Whole, they are DWeight = dᵀ x,
	// DBias = Σ_b d[b,:] and dx [n,In] = d Weight.
	Backward(p Pass, labels Labels)

	// Totals returns the sums over all samples since SetTotals.
	Totals() (Totals, error)
	SetTotals(Totals) error
}

// Totals are sums over samples.
type Totals struct {
	Loss  float64
	Hits  int64
	Count int64
}

// AdamStep holds the numbers of one step of Adam; Step counts from 1.
type AdamStep struct {
	LR, Beta1, Beta2, Eps float64
	Step                  int64
}

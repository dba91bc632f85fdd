//go:build cuda

package gpu

import (
	"unsafe"

	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// head is the linear layer with cross-entropy.
type head struct {
	be *Backend
	model.HeadSpec
	totals kernels.Ptr // a deviceTotals
}

// labels is the device address of a batch's classes.
type labels kernels.U8

// deviceTotals is the struct Totals of kernels/head.cu.
type deviceTotals struct {
	loss        float64
	hits, count int64
}

// NewHead implements model.Backend.
func (be *Backend) NewHead(spec model.HeadSpec) (model.Head, error) {
	if err := be.ready("head"); err != nil {
		return nil, err
	}
	address, err := be.alloc(int64(unsafe.Sizeof(deviceTotals{})))
	return &head{be: be, HeadSpec: spec, totals: kernels.Ptr(address)}, err
}

// NewLabels implements model.Head. It also makes room for the indices of a batch.
func (h *head) NewLabels() (model.Labels, error) {
	if err := h.be.growStep(h.MaxBatch); err != nil {
		return nil, err
	}
	address, err := h.be.alloc(int64(h.MaxBatch))
	return labels(address), err
}

// Forward implements model.Head.
func (h *head) Forward(x, logits *tensor.Dense, n int) {
	h.be.launch(kernels.HeadForward(f32(x), f32(h.Weight), f32(h.Bias), f32(logits), int32(h.In), int32(h.Classes)),
		dim{n, 1, 1}, dim{128, 1, 1})
}

// Loss implements model.Head.
func (h *head) Loss(logits *tensor.Dense, l model.Labels, n int) {
	h.be.launch(kernels.HeadLoss(f32(logits), kernels.U8(l.(labels)), h.totals, int32(n), int32(h.Classes)),
		dim{1, 1, 1}, dim{256, 1, 1})
}

// Backward implements model.Head.
func (h *head) Backward(x, logits *tensor.Dense, l model.Labels, dx *tensor.Dense, n int) {
	blocks := n + h.Classes*((h.In+31)/32)
	h.be.launch(kernels.HeadBackward(f32(x), f32(logits), kernels.U8(l.(labels)), f32(h.Weight),
		f32(dx), f32(h.DWeight), f32(h.DBias), int32(n), int32(h.In), int32(h.Classes)),
		dim{blocks, 1, 1}, dim{256, 1, 1})
}

// Totals implements model.Head.
func (h *head) Totals() (model.Totals, error) {
	t := make([]deviceTotals, 1)
	err := h.be.download(bytesOf(t), uint64(h.totals))
	return model.Totals{Loss: t[0].loss, Hits: t[0].hits, Count: t[0].count}, err
}

// SetTotals implements model.Head.
func (h *head) SetTotals(t model.Totals) error {
	return h.be.upload(uint64(h.totals), bytesOf([]deviceTotals{{t.Loss, t.Hits, t.Count}}))
}

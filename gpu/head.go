//go:build cuda

package gpu

import (
	"unsafe"

	"crnn/kernels"
	"crnn/model"
)

// head is the linear layer with cross-entropy.
type head struct {
	be *Backend
	model.HeadSpec
	totals kernels.Ptr // a deviceTotals
}

// gradientColumns is the number of columns of the weights' gradient per block of head_backward.
const gradientColumns = 32

// labels are the classes of a batch's samples.
type labels struct {
	of            kernels.U8
	room, classes int // samples that fit, and classes there are
}

// Classes and Len implement model.Labels.
func (l *labels) Classes() int { return l.classes }
func (l *labels) Len() int     { return l.room }

// deviceTotals is the struct Totals of kernels/head.cu.
type deviceTotals struct {
	loss        float64
	hits, count int64
}

// NewHead implements model.Backend.
func (be *Backend) NewHead(spec model.HeadSpec) (model.Head, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
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
	return &labels{kernels.U8(address), h.MaxBatch, h.Classes}, err
}

// Forward implements model.Head.
func (h *head) Forward(p model.Pass) {
	if !h.be.begin("head forward", p.Check(h.MaxBatch)) {
		return
	}
	h.be.launch(kernels.HeadForward(f32(h.X), f32(h.Weight), f32(h.Bias), f32(h.Logits), int32(h.In), int32(h.Classes)),
		grid{p.Samples, 1, 1})
}

// Loss implements model.Head.
func (h *head) Loss(p model.Pass, l model.Labels) {
	if !h.be.begin("loss", p.Check(h.MaxBatch), p.CheckLabels(l, h.Classes)) {
		return
	}
	h.be.launch(kernels.HeadLoss(f32(h.Logits), l.(*labels).of, h.totals, int32(p.Samples), int32(h.Classes)),
		grid{1, 1, 1})
}

// Backward implements model.Head.
func (h *head) Backward(p model.Pass, l model.Labels) {
	if !h.be.begin("head backward", p.CheckBackward(h.MaxBatch), p.CheckLabels(l, h.Classes)) {
		return
	}
	blocks := p.Samples + h.Classes*ceil(h.In, gradientColumns)
	h.be.launch(kernels.HeadBackward(f32(h.X), f32(h.Logits), l.(*labels).of, f32(h.Weight),
		f32(h.DX), f32(h.DWeight), f32(h.DBias), int32(p.Samples), int32(p.Whole), int32(h.In), int32(h.Classes)),
		grid{blocks, 1, 1})
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

package cpu

import (
	"sync"
	"time"

	"crnn/model"
)

// profile adds up the time of the kernels.
type profile struct {
	sync.Mutex
	operator string    // the current one
	since    time.Time // when it began
	threads  int
	list     []*model.KernelTime
}

// waiting names the time of an operator's threads outside its kernels.
const waiting = "waiting for threads, and between kernels"

// begin makes operator the current one, which calls kernels from now on. p is nil outside a profile.
func (p *profile) begin(operator string) {
	if p != nil {
		p.end()
		p.operator = operator
	}
}

// end counts the time of the operator that ends here as waiting, on every thread; add subtracts the time
// of its kernels.
func (p *profile) end() {
	if now := time.Now(); p.operator != "" {
		p.entry(waiting).Time += time.Duration(p.threads) * now.Sub(p.since)
		p.since = now
	} else {
		p.since = now
	}
}

// entry returns the entry of a kernel of the current operator.
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

// add counts a call of a kernel that began at start, with its floating-point operations.
func (p *profile) add(start time.Time, kernel string, flop int64) {
	took := time.Since(start)
	p.Lock()
	defer p.Unlock()
	k := p.entry(kernel)
	k.Launches++
	k.Time += took
	k.FLOP += float64(flop)
	p.entry(waiting).Time -= took
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

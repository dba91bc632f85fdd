package model

import "fmt"

// Planner is a Backend with its own memory that can tell what fits into it.
type Planner interface {
	Backend
	// Plan returns a Backend that computes nothing and only counts. Its MemoryUsed is the memory
	// that its arrays and operators would take on this one.
	Plan() Planner
	// MemoryUsed returns the bytes taken so far, MemoryFree the bytes left.
	MemoryUsed() int64
	MemoryFree() (int64, error)
}

// MemoryError says that something does not fit into a device's memory.
type MemoryError struct {
	Device       string
	Needed, Free int64 // bytes
	MaxBatch     int   // of the requested network; 0: the memory was for something else
	Fits         int   // the largest batch size that would fit; 0: none
}

func (e *MemoryError) Error() string {
	needed, free := size(e.Needed), size(e.Free)
	if e.MaxBatch == 0 {
		return fmt.Sprintf("%s is out of memory: %s were needed, %s are free; ending other programs that use it helps, "+
			"or computing on the CPU", e.Device, needed, free)
	}
	text := fmt.Sprintf("%s has too little memory: the network with batches of %d images needs %s, %s are free",
		e.Device, e.MaxBatch, needed, free)
	if e.Fits == 0 {
		return text + "; no batch-size would fit: smaller images or hidden-size, fewer layers, " +
			"ending other programs that use it, or computing on the CPU helps"
	}
	return fmt.Sprintf("%s; a batch-size of %d would fit", text, e.Fits)
}

// size writes a number of bytes.
func size(bytes int64) string {
	const mib = 1 << 20
	if bytes < 1024*mib {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/mib)
	}
	return fmt.Sprintf("%.2f GiB", float64(bytes)/(1024*mib))
}

// checkMemory returns a *MemoryError if a network does not fit.
func checkMemory(be Planner, c Config, o Options) error {
	maxBatch := o.MaxBatch
	need := func(batch int) (int64, error) {
		plan := be.Plan()
		o.MaxBatch = batch
		_, err := build(plan, c, o)
		return plan.MemoryUsed(), err
	}
	free, err := be.MemoryFree()
	if err != nil {
		return err
	}
	all, err := need(maxBatch)
	if err != nil || all <= free {
		return err
	}
	fits, tooLarge := 0, maxBatch
	for tooLarge-fits > 1 {
		half := (fits + tooLarge) / 2
		if bytes, err := need(half); err == nil && bytes <= free {
			fits = half
		} else {
			tooLarge = half
		}
	}
	return &MemoryError{Device: be.Name(), Needed: all, Free: free, MaxBatch: maxBatch, Fits: fits}
}

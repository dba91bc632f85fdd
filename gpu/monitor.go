package gpu

// Monitor is what NVIDIA's management library (NVML) tells about the machine.
type Monitor struct {
	Driver string // its version
	CUDA   string // the driver's version of CUDA, empty if unknown
	Cards  []Card
}

// Card is a GPU of the machine, whether CUDA shows it or not.
type Card struct {
	Name, UUID  string
	MIG         bool    // divided into parts, which CUDA shows instead of the card
	Used, Total int64   // bytes of memory; Total is 0 if unknown
	Temperature int     // °C, 0 if unknown
	Power       float64 // W, 0 if unknown
	ClockMHz    int     // present clock of the multiprocessors, 0 if unknown
	Processes   []Process
}

// Process is a process that computes on a card.
type Process struct {
	ID     int
	Name   string // empty if unknown, as for a process of another container
	Memory int64  // bytes on the card, 0 if unknown
}

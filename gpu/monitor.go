package gpu

// Monitor is what NVIDIA's management library (NVML) tells about the machine.
type Monitor struct {
	Driver string // its version
	CUDA   string // the version of CUDA that it has, empty if it does not tell
	Cards  []Card
}

// Card is a GPU of the machine, whether CUDA shows it or not.
type Card struct {
	Name, UUID  string
	MIG         bool    // it is divided into parts, which CUDA shows in its place
	Used, Total int64   // bytes of memory; 0 in Total if the card does not tell
	Temperature int     // °C, 0 if the card does not tell
	Power       float64 // W, 0 if the card does not tell
	ClockMHz    int     // of the multiprocessors, now; 0 if the card does not tell
	Processes   []Process
}

// Process is one that computes on a card.
type Process struct {
	ID     int
	Name   string // empty if it is not told, as of another container's
	Memory int64  // bytes on the card, 0 if it is not told
}

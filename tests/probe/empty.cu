// architectures: 75

// empty does nothing. A graph of it, with the grids and blocks of a training step, takes as long as
// the launches of the step alone. Grid: any.
extern "C" __global__ void __launch_bounds__(1024) empty() {}

// architectures: 90

// empty_cluster does nothing, in clusters of 5 blocks. Grid: any number of clusters.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(1024) empty_cluster() {}

// architectures: 90
// isa: 8.1
#include "mbarrier.cuh"

// The way of handing vectors on within a cluster in PTX ISA 8.1, of CUDA 12.1.

// Each thread sends its word, and the store counts its bytes at a barrier of the next block: no thread
// waits for the block's other words.
template <Scope SCOPE>
struct Async : Linked<4 * WIDTH, SCOPE> {
    __device__ __forceinline__ void hand(int t, int i, unsigned value) {
        asm volatile(  // [st.async]
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(
                this->slot_above(t) + 4 * i),
            "r"(value), "r"(this->full_above(t))
            : "memory");
    }
    __device__ __forceinline__ void handed(int) {}
};

// waves_async: asynchronous stores. Grid: 5 blocks per chain; out [chains][384].
// SASS: STAS; a credit in one warp, MEMBAR.ALL.CTA, MEMBAR.ALL.GPU, ERRBAR, CGAERRBAR,
// SYNCS.ARRIVE.TRANS64.RED.A1T0; in all, twice, SYNCS.PHASECHK.TRANS64.TRYWAIT, CCTL.IVALL; BAR.SYNC.
extern "C" __global__ void __cluster_dims__(LAYERS, 1, 1) __launch_bounds__(THREADS, 1)
waves_async(unsigned *out, unsigned seed, int steps) {
    linked<Async<CLUSTER>>(out, seed, steps);
}

// waves_async_cta: the same with waits and arrivals of scope .cta, as in NVIDIA's libraries, and so
// without any fence. By the manual's memory model that is not enough. Grid and out as for waves_async.
// SASS: STAS, SYNCS.ARRIVE.TRANS64.RED.A1T0, SYNCS.PHASECHK.TRANS64.TRYWAIT, BAR.SYNC.
extern "C" __global__ void __cluster_dims__(LAYERS, 1, 1) __launch_bounds__(THREADS, 1)
waves_async_cta(unsigned *out, unsigned seed, int steps) {
    linked<Async<CTA>>(out, seed, steps);
}

// architectures: 90
#include "mbarrier.cuh"

// The ways of handing vectors on within a cluster in PTX ISA 8.0.

// A barrier of the cluster ends each wave; block l computes step wave - l.
struct Lockstep {
    unsigned in[2][WIDTH], own[2][WIDTH];
};

// waves_barrier: a barrier of the cluster in each wave, as in rnn_cluster.cu. Grid: 5 blocks per
// chain; out [chains][384].
// SASS: ST.E; in all warps MEMBAR.ALL.GPU, ERRBAR, CGAERRBAR, UCGABAR_ARV, UCGABAR_WAIT, CCTL.IVALL.
extern "C" __global__ void __cluster_dims__(LAYERS, 1, 1) __launch_bounds__(THREADS, 1)
waves_barrier(unsigned *out, unsigned seed, int steps) {
    __shared__ __align__(16) Lockstep s;
    auto cluster = cooperative_groups::this_cluster();
    const int l = cluster.block_rank(), i = threadIdx.x;
    const bool owner = i < WIDTH;
    out += blockIdx.x / LAYERS * WIDTH;
    Lockstep *above = l + 1 < LAYERS ? cluster.map_shared_rank(&s, l + 1) : nullptr;
    Ballast ballast;
    ballast.load(out);
    if (owner) s.own[0][i] = s.own[1][i] = 0;
    cluster.sync();
    for (int wave = 0; wave < steps + LAYERS - 1; wave++) {
        const int t = wave - l, now = wave % 2;
        if (owner && t >= 0 && t < steps) {
            unsigned value = next(s.own[now], l == 0 ? input(seed, t, from(i)) : s.in[now][from(i)], i);
            s.own[1 - now][i] = value;
            if (above) above->in[1 - now][i] = value;
            else if (t == steps - 1) out[i] = value;
        }
        cluster.barrier_arrive();
        cluster.barrier_wait();
    }
    ballast.store(out, steps);
}

// Each thread stores its word with st.shared::cluster; one thread arrives for the block.
struct Stores : Linked<0> {
    __device__ __forceinline__ void hand(int t, int i, unsigned value) {
        unsigned to = slot_above(t) + 4 * i;
        asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(to), "r"(value) : "memory");  // [st]
    }
    __device__ __forceinline__ void handed(int t) {
        if (threadIdx.x == 0) arrive_there<CLUSTER>(full_above(t));
    }
};

// One thread starts a copy of the vector from the block's own states.
struct Bulk : Linked<4 * WIDTH> {
    // Makes the word visible to the copy [membar/fence: .proxy.async].
    __device__ __forceinline__ void hand(int, int, unsigned) {
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __device__ __forceinline__ void handed(int t) {
        if (threadIdx.x > 0) return;
        asm volatile(  // [cp.async.bulk]
            "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                slot_above(t)),
            "r"(address(ring.own[t % SLOTS])), "r"(4 * WIDTH), "r"(full_above(t))
            : "memory");
    }
};

// waves_mbarrier: stores, then one arrival at a barrier of the next block, and one back when that
// block has read. Grid and out as for waves_barrier.
// SASS: ST.E, BAR.SYNC; in one warp for each of the two arrivals MEMBAR.ALL.CTA, MEMBAR.ALL.GPU, ERRBAR,
// CGAERRBAR, SYNCS.ARRIVE.TRANS64.RED.A1T0; in all, twice, SYNCS.PHASECHK.TRANS64.TRYWAIT, CCTL.IVALL.
extern "C" __global__ void __cluster_dims__(LAYERS, 1, 1) __launch_bounds__(THREADS, 1)
waves_mbarrier(unsigned *out, unsigned seed, int steps) {
    linked<Stores>(out, seed, steps);
}

// waves_bulk: an asynchronous copy of the vector, which counts its bytes at a barrier of the next
// block. Grid and out as for waves_barrier.
// SASS: MEMBAR.ALL.CTA, FENCE.VIEW.ASYNC.S, BAR.SYNC; in one warp UBLKCP.S.S; credit and waits as in
// waves_mbarrier; SYNCS.ARRIVE.TRANS64 for the bytes to come.
extern "C" __global__ void __cluster_dims__(LAYERS, 1, 1) __launch_bounds__(THREADS, 1)
waves_bulk(unsigned *out, unsigned seed, int steps) {
    linked<Bulk>(out, seed, steps);
}

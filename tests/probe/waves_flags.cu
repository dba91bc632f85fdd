// architectures: 75
#include "wave.cuh"

// The way of handing vectors on without clusters: through global memory, with a flag for each
// vector. All blocks of a chain must be resident at once; otherwise the resident ones wait forever.

// Flags of a hand-over: how many vectors were sent, and read. They are 0 before and after a kernel.
struct Flags {
    unsigned sent, read;
};

// [ld: .acquire]
static __device__ __forceinline__ unsigned acquire(const unsigned *flag) {
    unsigned value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}

// [st: .release]
static __device__ __forceinline__ void release(unsigned *flag, unsigned value) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

static __device__ __forceinline__ void wait(const unsigned *flag, unsigned value) {
    for (unsigned tries = 0; acquire(flag) < value; tries++)
        if (tries == PATIENCE) __trap();
}

// One thread waits for a flag, and the block waits for that thread.
struct Global {
    unsigned (*below)[WIDTH], (*above)[WIDTH];  // rings of SLOTS vectors
    Flags *flags_below, *flags_above;

    __device__ __forceinline__ void arrived(int t) {
        if (threadIdx.x == 0) wait(&flags_below->sent, t + 1);
        __syncthreads();
    }
    __device__ __forceinline__ const unsigned *in(int t) const { return below[t % SLOTS]; }
    __device__ __forceinline__ void room(int t) {
        if (t < SLOTS) return;
        if (threadIdx.x == 0) wait(&flags_above->read, t + 1 - SLOTS);
        __syncthreads();
    }
    __device__ __forceinline__ void hand(int t, int i, unsigned value) { above[t % SLOTS][i] = value; }
    __device__ __forceinline__ void handed(int t) {
        if (threadIdx.x == 0) release(&flags_above->sent, t + 1);
    }
    __device__ __forceinline__ void read(int t) {
        if (threadIdx.x == 32) release(&flags_below->read, t + 1);
    }
};

// waves_flags: flags in global memory. Grid: 5 blocks per chain; out [chains][384], ring
// [chains][4][4][384], flags [chains][4], zeros before and after the kernel.
// SASS: STG.E, LDG.E; in one warp each LDG.E.STRONG.GPU, CCTL.IVALL and MEMBAR.ALL.GPU, ERRBAR, CGAERRBAR,
// STG.E.STRONG.GPU; BAR.SYNC three times. sm_75 and 80 have no CGAERRBAR.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
waves_flags(unsigned *out, unsigned *ring, Flags *flags, unsigned seed, int steps) {
    __shared__ unsigned own[SLOTS][WIDTH];
    const int l = blockIdx.x % LAYERS, c = blockIdx.x / LAYERS;
    const int at = c * (LAYERS - 1) + l;  // index of the hand-over to the next block
    auto slots = (unsigned(*)[WIDTH])ring;
    Global way{slots + (at - 1) * SLOTS, slots + at * SLOTS, flags + at - 1, flags + at};
    chain(way, own, l, out + c * WIDTH, seed, steps);
    // The block that waits for a flag sets it to zero, when the flag has its last value.
    if (threadIdx.x == 0) {
        if (l > 0) way.flags_below->sent = 0;
        if (l < LAYERS - 1) {
            wait(&way.flags_above->read, steps);
            way.flags_above->read = 0;
        }
    }
}

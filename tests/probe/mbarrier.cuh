// mbarriers of a cluster, in inline PTX. Names in brackets are sections of the PTX ISA manual.
#pragma once

#include <cooperative_groups.h>

#include "wave.cuh"

// Addresses of shared memory as the instructions take them, in 32 bits.
static __device__ __forceinline__ unsigned address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// The same place in another block of the cluster [mapa].
static __device__ __forceinline__ unsigned in_block(unsigned at, unsigned rank) {
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
    return there;
}

// A barrier whose phases end when count threads have arrived [mbarrier.init].
static __device__ __forceinline__ void init(unsigned bar, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}

// Publishes this thread's new barriers to the cluster and to asynchronous copies
// [membar/fence: .mbarrier_init, .proxy.async]. A barrier of the cluster must follow.
static __device__ __forceinline__ void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async;" ::: "memory");
}

// The scope in which arrivals and waits order memory. By the manual's memory model it must be the
// cluster, since the two are in different blocks. CTA is the instructions' default.
enum Scope { CLUSTER, CTA };

// Arrives at a barrier of another block. A thread that waits there sees everything that this thread
// did before, and its block's other threads before a barrier of the block [mbarrier.arrive: .release].
template <Scope SCOPE>
static __device__ __forceinline__ void arrive_there(unsigned bar) {
    if (SCOPE == CLUSTER)
        asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(bar) : "memory");
    else
        asm volatile("mbarrier.arrive.release.cta.shared::cluster.b64 _, [%0];" ::"r"(bar) : "memory");
}

// Arrives at a barrier of the own block; the phase does not end before `bytes` bytes have arrived
// [mbarrier.arrive: .expect_tx].
static __device__ __forceinline__ void expect(unsigned bar, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

// Says whether a phase is over, after waiting some time for it [mbarrier.test_wait/try_wait]. parity
// is the lowest bit of the phase's number.
template <Scope SCOPE>
static __device__ __forceinline__ bool is_over(unsigned bar, unsigned parity) {
    unsigned over;
    if (SCOPE == CLUSTER)
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(over)
            : "r"(bar), "r"(parity)
            : "memory");
    else
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(over)
            : "r"(bar), "r"(parity)
            : "memory");
    return over;
}

template <Scope SCOPE>
static __device__ __forceinline__ void wait(unsigned bar, unsigned parity) {
    for (unsigned tries = 0; !is_over<SCOPE>(bar, parity); tries++)
        if (tries == PATIENCE) __trap();
}

// Ring is a block's shared memory.
struct Ring {
    unsigned in[SLOTS][WIDTH], own[SLOTS][WIDTH];
    unsigned long long full[SLOTS];  // mbarriers: the slot of in holds a vector
    unsigned long long free[SLOTS];  // mbarriers: the next block has read its slot
};

// Linked is the common part of the ways with mbarriers. BYTES is the number of a vector's bytes that
// arrive asynchronously, counted by full; it is 0 if the block before arrives at full itself.
template <unsigned BYTES, Scope SCOPE = CLUSTER>
struct Linked {
    Ring &ring;
    const unsigned l;

    __device__ __forceinline__ unsigned full(int t) const { return address(&ring.full[t % SLOTS]); }
    __device__ __forceinline__ unsigned free(int t) const { return address(&ring.free[t % SLOTS]); }
    // The barriers, and the slot, of a neighbour.
    __device__ __forceinline__ unsigned full_above(int t) const { return in_block(full(t), l + 1); }
    __device__ __forceinline__ unsigned slot_above(int t) const {
        return in_block(address(ring.in[t % SLOTS]), l + 1);
    }
    __device__ __forceinline__ unsigned free_below(int t) const { return in_block(free(t), l - 1); }

    // make makes the barriers. A barrier of the cluster must follow.
    __device__ __forceinline__ void make() {
        if (threadIdx.x > 0) return;
        for (int t = 0; t < SLOTS; t++) {
            init(full(t), 1);
            init(free(t), 1);
            if (BYTES) expect(full(t), BYTES);
        }
        publish_barriers();
    }

    __device__ __forceinline__ void arrived(int t) {
        wait<SCOPE>(full(t), t / SLOTS % 2);
        // The next vector for this slot comes only after read(t).
        if (BYTES && threadIdx.x == 0) expect(full(t), BYTES);
    }
    __device__ __forceinline__ const unsigned *in(int t) const { return ring.in[t % SLOTS]; }
    __device__ __forceinline__ void room(int t) {
        if (t >= SLOTS) wait<SCOPE>(free(t), (t / SLOTS - 1) % 2);
    }
    // By another warp than the sending one, so that neither waits for the other.
    __device__ __forceinline__ void read(int t) {
        if (threadIdx.x == 32) arrive_there<SCOPE>(free_below(t));
    }
};

// linked is a kernel in which Way, a Linked, links the blocks of a cluster. out is as in waves_barrier.
template <class Way>
static __device__ __forceinline__ void linked(unsigned *out, unsigned seed, int steps) {
    __shared__ __align__(16) Ring ring;
    auto cluster = cooperative_groups::this_cluster();
    const unsigned l = cluster.block_rank();
    Way way{{ring, l}};
    way.make();
    cluster.sync();
    chain(way, ring.own, l, out + blockIdx.x / LAYERS * WIDTH, seed, steps);
    cluster.sync();  // the neighbours may still write here
}

// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as
// package rng computes it: key = seed; counter = (index, purpose, step low, step high).
#pragma once

// Purpose of the dropout masks in package rng; layer l has DROPOUT | l << 8.
constexpr unsigned DROPOUT = 4;

// philox returns block index of the stream of seed, purpose and step: four random words.
static __device__ __forceinline__ uint4 philox(unsigned long long seed, unsigned purpose,
                                               unsigned long long step, unsigned index) {
    uint4 c = make_uint4(index, purpose, (unsigned)step, (unsigned)(step >> 32));
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned lo0 = 0xD2511F53u * c.x, hi0 = __umulhi(0xD2511F53u, c.x);
        unsigned lo1 = 0xCD9E8D57u * c.z, hi1 = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(hi1 ^ c.y ^ k0, lo1, hi0 ^ c.w ^ k1, lo0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

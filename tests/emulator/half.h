// The formats with 16 bits and tf32, and rounding to them.
#pragma once
#include <cstdint>

#include "decode.h"

namespace ptx {

enum class Rounding : uint8_t { nearest, zero, down, up, away };  // away: to nearest, ties away from zero

double from_f16(uint64_t bits);
inline double from_bf16(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// A double rounded once to the format. NaN becomes the format's 0x7fff (tf32: 0x7fffffff).
uint64_t round_f32(double v, Rounding r, bool ftz);
uint64_t round_f16(double v, Rounding r);
uint64_t round_bf16(double v, Rounding r);
uint64_t round_tf32(double v, Rounding r);  // as f32 bits, the low 13 zero

// An integer of 64 bits rounded once to t.
uint64_t integer_to_real(uint64_t v, bool sign, Type t, Rounding r, bool sat);

}  // namespace ptx

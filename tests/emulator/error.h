// The largest errors that NVIDIA's manual (PTX ISA 9.1) allows, for CRNN_EMULATOR_ERROR.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "ptx.h"

namespace ptx {

// The allowed results: any f32 number at most this far from the centre.
struct Bound {
  double centre, allowed;
};

// One unit in the last place of x as f32.
inline double ulp(double x) {
  return std::ldexp(1.0, std::max(x == 0 ? -126 : std::ilogb(x), -126) - 23);
}

// An error in units of the last place never changes the sign.
inline Bound ulps(double x, double n) { return {x, std::min(n * ulp(x), std::abs(x))}; }

inline Bound relative(double x, double error) { return {x, std::abs(x) * error}; }

// The finite number that lies farthest up or down within a bound.
inline float farthest(Bound b, bool up) {
  constexpr float greatest = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
  double limit = up ? b.centre + b.allowed : b.centre - b.allowed;
  if (std::abs(limit) >= greatest) return std::copysign(greatest, static_cast<float>(limit));
  float r = static_cast<float>(limit);
  return (up ? r > limit : r < limit) ? std::nextafter(r, up ? -infinity : infinity) : r;
}

// Says whether an instruction errs upward. A random direction depends on the operands, so that the
// same operands always give the same result, as on a card.
template <class... Operands>
bool upward(const Errors &e, Operands... operands) {
  if (e.kind != Errors::random) return e.kind == Errors::up;
  uint64_t h = e.seed;
  for (uint32_t bits : {std::bit_cast<uint32_t>(operands)...}) {
    h = (h + bits + 1) * 0x9e3779b97f4a7c15ull;
    h = (h ^ h >> 32) * 0xbf58476d1ce4e5b9ull;
    h ^= h >> 29;
  }
  return h & 1;
}

}  // namespace ptx

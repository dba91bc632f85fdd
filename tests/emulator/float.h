// The common parts of all floating-point instructions.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace ptx {

template <class T> T canonical() {
  if constexpr (sizeof(T) == 4) return std::bit_cast<T>(0x7fffffffu);
  else return std::bit_cast<T>(0xfff8000000000000ull);
}

// .ftz: subnormal numbers become zeros of their sign.
template <bool Ftz, class T> T flush(T a) {
  if constexpr (Ftz) {
    constexpr T smallest = sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022);
    return std::abs(a) < smallest ? std::copysign(T(0), a) : a;
  }
  return a;
}

// Finishes the result r of an instruction: saturation, .ftz, NaN.
template <class T, bool Ftz, bool Sat> T finish(T r) {
  if constexpr (Sat) r = r > T(1) ? T(1) : r > T(0) ? r : T(0);  // NaN and -0 become +0
  r = flush<Ftz>(r);
  if constexpr (sizeof(T) == 4 && !Sat) r = r != r ? canonical<T>() : r;
  return r;
}

}  // namespace ptx

#include "half.h"

#include <cmath>

namespace ptx {
namespace {

// The magnitude fraction / 2^shift * 2^k, rounded to an integer multiple of 2^k.
uint64_t round_fraction(uint64_t fraction, int shift, bool negative, Rounding r) {
  if (shift <= 0) return fraction << -shift;
  if (shift > 64) shift = 64, fraction = fraction ? 1 : 0;
  uint64_t whole = shift == 64 ? 0 : fraction >> shift;
  uint64_t rest = shift == 64 ? fraction : fraction & ((1ull << shift) - 1), half = 1ull << (shift - 1);
  bool up = false;
  switch (r) {
    case Rounding::nearest: up = rest > half || (rest == half && whole & 1); break;
    case Rounding::away: up = rest >= half; break;
    case Rounding::zero: break;
    case Rounding::down: up = negative && rest; break;
    case Rounding::up: up = !negative && rest; break;
  }
  return whole + up;
}

// fraction * 2^exponent as a floating-point number with `mantissa` bits, without the hidden one, and
// `exponents` bits.
uint64_t encode(uint64_t fraction, int exponent, bool negative, int mantissa, int exponents, Rounding r) {
  int bias = (1 << (exponents - 1)) - 1;
  uint64_t sign = static_cast<uint64_t>(negative) << (mantissa + exponents);
  if (!fraction) return sign;
  int top = 63 - std::countl_zero(fraction);
  int e = std::max(top + exponent, 1 - bias);  // of the leading bit, or of the subnormals
  uint64_t m = round_fraction(fraction, e - mantissa - exponent, negative, r);
  // The hidden bit, or a carry out of the fraction, adds to the exponent's field.
  uint64_t bits = m + (static_cast<uint64_t>(e + bias - 1) << mantissa);
  uint64_t infinity = ((1ull << exponents) - 1) << mantissa;
  if (bits >= infinity) {
    bool finite = r == Rounding::zero || (r == Rounding::down && !negative) || (r == Rounding::up && negative);
    bits = finite ? infinity - 1 : infinity;
  }
  return sign | bits;
}

uint64_t encode(double v, int mantissa, int exponents, Rounding r) {
  bool negative = std::signbit(v);
  uint64_t sign = static_cast<uint64_t>(negative) << (mantissa + exponents);
  if (v != v) return (1ull << (mantissa + exponents)) - 1;
  if (std::isinf(v)) return sign | ((1ull << exponents) - 1) << mantissa;
  if (v == 0) return sign;
  int e;
  double f = std::frexp(std::abs(v), &e);
  return encode(static_cast<uint64_t>(std::ldexp(f, 53)), e - 53, negative, mantissa, exponents, r);
}

}  // namespace

double from_f16(uint64_t bits) {
  int e = bits >> 10 & 31, m = bits & 1023;
  double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
  return bits & 0x8000 ? -v : v;
}

uint64_t round_f32(double v, Rounding r, bool ftz) {
  uint64_t bits = encode(v, 23, 8, r);
  return ftz && !(bits & 0x7f800000) ? bits & 0x80000000 : bits;
}
uint64_t round_f16(double v, Rounding r) { return encode(v, 10, 5, r); }
uint64_t round_bf16(double v, Rounding r) { return encode(v, 7, 8, r); }
uint64_t round_tf32(double v, Rounding r) { return v != v ? 0x7fffffff : encode(v, 10, 8, r) << 13; }

uint64_t integer_to_real(uint64_t v, bool sign, Type t, Rounding r, bool sat) {
  bool negative = sign && static_cast<int64_t>(v) < 0;
  uint64_t magnitude = negative ? -v : v;
  if (sat) magnitude = magnitude && !negative, negative = false;
  if (t.bits == 64) return encode(magnitude, 0, negative, 52, 11, r);
  if (t.is("B")) return encode(magnitude, 0, negative, 7, 8, r);
  if (t.bits == 16) return encode(magnitude, 0, negative, 10, 5, r);
  return encode(magnitude, 0, negative, 23, 8, r);
}

}  // namespace ptx

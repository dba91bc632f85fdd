// Arithmetic in f16, bf16 and pairs of them.
#include <cmath>

#include "half.h"
#include "lanes.h"

namespace ptx {
namespace {

struct F16 {
  static double value(uint16_t v) { return from_f16(v); }
  static uint16_t round(double v) { return round_f16(v, Rounding::nearest); }
  static constexpr uint16_t exponent = 0x7c00;
};
struct BF16 {
  static double value(uint16_t v) { return from_bf16(v); }
  static uint16_t round(double v) { return round_bf16(v, Rounding::nearest); }
  static constexpr uint16_t exponent = 0x7f80;
};

// a b + c in double, rounded to odd: a second rounding to a shorter format then gives the same result
// as a single rounding.
double multiply_add(double a, double b, double c) {
  double p = a * b, s = p + c;  // the product is exact
  if (!std::isfinite(s)) return s;
  double back = s - p, rest = (p - (s - back)) + (c - back);
  uint64_t bits = std::bit_cast<uint64_t>(s);
  if (rest != 0 && !(bits & 1)) bits += (rest > 0) == (s > 0) ? 1 : -1;
  return std::bit_cast<double>(bits);
}

enum class Clamp { none, sat, relu };

template <class T, bool Ftz> double in(uint16_t v) {
  if (Ftz && !(v & T::exponent)) v &= 0x8000;
  return T::value(v);
}
template <class T, bool Ftz, Clamp C> uint16_t out(double v) {
  if (C == Clamp::sat) v = v > 1 ? 1 : v > 0 ? v : 0;
  if (C == Clamp::relu && v == v && !(v > 0)) v = 0;
  uint16_t r = T::round(v);
  return Ftz && !(r & T::exponent) ? r & 0x8000 : r;
}

template <auto F, class... A> uint32_t both(A... a) {
  uint32_t lo = F(static_cast<uint16_t>(a)...), hi = F(static_cast<uint16_t>(a >> 16)...);
  return hi << 16 | lo;
}

template <auto F, class... A>
void emit_half(Decoder &d, Type t) {
  if (t.count == 2) emit_lanes<both<F, std::conditional_t<true, uint32_t, A>...>, uint32_t,
                               std::conditional_t<true, uint32_t, A>...>(d);
  else emit_lanes<F, uint16_t, A...>(d);
}

using H = uint16_t;
template <class T, bool Z, Clamp C> H add(H a, H b) { return out<T, Z, C>(multiply_add(in<T, Z>(a), 1, in<T, Z>(b))); }
template <class T, bool Z, Clamp C> H sub(H a, H b) { return out<T, Z, C>(multiply_add(in<T, Z>(b), -1, in<T, Z>(a))); }
template <class T, bool Z, Clamp C> H mul(H a, H b) { return out<T, Z, C>(in<T, Z>(a) * in<T, Z>(b)); }
template <class T, bool Z, Clamp C> H fma(H a, H b, H c) {
  return out<T, Z, C>(multiply_add(in<T, Z>(a), in<T, Z>(b), in<T, Z>(c)));
}

enum class Op { add, sub, mul, fma };

template <Op O>
void arithmetic(Decoder &d) {
  bool rn = d.take("rn"), ftz = d.take("ftz");
  Clamp clamp = d.take("sat") ? Clamp::sat : O == Op::fma && d.take("relu") ? Clamp::relu : Clamp::none;
  Type t = d.type();
  if ((O == Op::fma && !rn) || (t.is("B") && (ftz || clamp == Clamp::sat))) d.unknown();
  auto emit = [&]<class T, bool Z, Clamp C>() {
    if constexpr (O == Op::add) emit_half<add<T, Z, C>, H, H>(d, t);
    else if constexpr (O == Op::sub) emit_half<sub<T, Z, C>, H, H>(d, t);
    else if constexpr (O == Op::mul) emit_half<mul<T, Z, C>, H, H>(d, t);
    else emit_half<fma<T, Z, C>, H, H, H>(d, t);
  };
  auto clamped = [&]<class T, bool Z>() {
    if (clamp == Clamp::sat) emit.template operator()<T, Z, Clamp::sat>();
    else if (clamp == Clamp::relu) emit.template operator()<T, Z, Clamp::relu>();
    else emit.template operator()<T, Z, Clamp::none>();
  };
  if (t.is("B")) clamped.template operator()<BF16, false>();
  else if (ftz) clamped.template operator()<F16, true>();
  else clamped.template operator()<F16, false>();
}

template <class T, bool Z, bool Max, bool Nan> H extreme(H a, H b) {
  double x = in<T, Z>(a), y = in<T, Z>(b);
  if (x != x || y != y) {
    if (Nan || (x != x && y != y)) return 0x7fff;
    return T::round(x != x ? y : x);
  }
  if (x == y) return T::round(std::signbit(x) == Max ? y : x);
  return T::round((x < y) != Max ? x : y);
}

template <bool Max>
void op_extreme(Decoder &d) {
  bool ftz = d.take("ftz"), nan = d.take("NaN");
  Type t = d.type();
  if (t.is("B") && ftz) d.unknown();
  auto emit = [&]<class T, bool Z>() {
    if (nan) emit_half<extreme<T, Z, Max, true>, H, H>(d, t);
    else emit_half<extreme<T, Z, Max, false>, H, H>(d, t);
  };
  if (t.is("B")) emit.template operator()<BF16, false>();
  else if (ftz) emit.template operator()<F16, true>();
  else emit.template operator()<F16, false>();
}

// neg and abs change the sign bit.
template <bool Abs, bool Z> H sign(H a) {
  if (Z && !(a & F16::exponent)) a &= 0x8000;
  return Abs ? a & 0x7fff : a ^ 0x8000;
}
template <bool Abs>
void op_sign(Decoder &d) {
  bool ftz = d.take("ftz");
  Type t = d.type();
  if (t.is("B") && ftz) d.unknown();
  if (ftz) emit_half<sign<Abs, true>, H>(d, t);
  else emit_half<sign<Abs, false>, H>(d, t);
}

const Opcode ops[] = {
    {{"add/h"}, arithmetic<Op::add>}, {{"sub/h"}, arithmetic<Op::sub>}, {{"mul/h"}, arithmetic<Op::mul>},
    {{"fma/h"}, arithmetic<Op::fma>}, {{"min/h"}, op_extreme<false>},   {{"max/h"}, op_extreme<true>},
    {{"neg/h"}, op_sign<false>},      {{"abs/h"}, op_sign<true>},
};

}  // namespace
}  // namespace ptx

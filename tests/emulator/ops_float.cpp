// f32 and f64 arithmetic. NaN results are the hardware's: 0x7fffffff in f32; in f64
// the payload passes through, as on the host.
#include <cfenv>
#include <cmath>

#include "error.h"
#include "float.h"
#include "lanes.h"

namespace ptx {
namespace {

// Runs Base in a rounding mode of the host.
template <int Mode, class Base>
struct Rounded {
  static void full(Warp &w, const Inst *i, uint32_t count, Mask m) { run(Base::full, w, i, count, m); }
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) { run(Base::masked, w, i, count, m); }

 private:
  // Calls through an opaque pointer, so that the compiler moves no arithmetic across.
  static void run(Exec e, Warp &w, const Inst *i, uint32_t count, Mask m) {
    Exec volatile opaque = e;
    std::fesetround(Mode);
    opaque(w, i, count, m);
    std::fesetround(FE_TONEAREST);
  }
};

template <class T> T add(T a, T b) { return a + b; }
template <class T> T sub(T a, T b) { return a - b; }
template <class T> T mul(T a, T b) { return a * b; }
template <class T> T div(T a, T b) { return a / b; }
template <class T> T fma(T a, T b, T c) {
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  else return __builtin_fma(a, b, c);
}
template <class T> T root(T a) {
  if constexpr (sizeof(T) == 4) return __builtin_sqrtf(a);
  else return __builtin_sqrt(a);
}
template <class T> T inverse(T a) { return 1 / a; }

template <auto F, class T, bool Ftz, bool Sat, class... A>
T finished(A... a) {
  return finish<T, Ftz, Sat>(F(flush<Ftz>(a)...));
}

// .rnd{.ftz}{.sat}.type with N operands; F is made of T by the caller.
template <auto F, class T, bool Ftz, bool Sat, class... A>
Draft &emit_rounded(Decoder &d, int mode) {
  using L = Lanes<finished<F, T, Ftz, Sat, A...>, T, A...>;
  emit_lanes<finished<F, T, Ftz, Sat, A...>, T, A...>(d);
  Draft &draft = d.last();
  auto set = [&]<int Mode>() {
    draft.full = Rounded<Mode, L>::full;
    draft.masked = Rounded<Mode, L>::masked;
  };
  if (mode == FE_TOWARDZERO) set.template operator()<FE_TOWARDZERO>();
  if (mode == FE_DOWNWARD) set.template operator()<FE_DOWNWARD>();
  if (mode == FE_UPWARD) set.template operator()<FE_UPWARD>();
  return draft;
}

int take_rounding(Decoder &d, bool required) {
  if (d.take("rn")) return FE_TONEAREST;
  if (d.take("rz")) return FE_TOWARDZERO;
  if (d.take("rm")) return FE_DOWNWARD;
  if (d.take("rp")) return FE_UPWARD;
  if (required) d.fail("a rounding mode is missing");
  return FE_TONEAREST;
}

template <auto F32, auto F64, class... N>
void arithmetic(Decoder &d, bool required, bool saturates) {
  int mode = take_rounding(d, required);
  bool ftz = d.take("ftz"), sat = saturates && d.take("sat");
  Type t = d.type();
  Draft *draft;
  if (t.bits == 64) {
    if (ftz || sat) d.unknown();
    draft = &emit_rounded<F64, double, false, false, std::conditional_t<true, double, N>...>(d, mode);
  } else {
    using T = float;
    if (ftz && sat) draft = &emit_rounded<F32, T, true, true, std::conditional_t<true, T, N>...>(d, mode);
    else if (ftz) draft = &emit_rounded<F32, T, true, false, std::conditional_t<true, T, N>...>(d, mode);
    else if (sat) draft = &emit_rounded<F32, T, false, true, std::conditional_t<true, T, N>...>(d, mode);
    else draft = &emit_rounded<F32, T, false, false, std::conditional_t<true, T, N>...>(d, mode);
  }
  draft->fma = sizeof...(N) == 3;
}

// An approximate instruction is computed in double precision and rounded once. This is closer to the
// true value than a card, which promises only the bound of Op. With Options::errors the result is the
// end of that bound, except for operands and results in the manual's tables: zeros, infinities, NaN.
template <class Op, bool Ftz, class... A>
struct Approximate {
  static void full(Warp &w, const Inst *i, uint32_t count, Mask m) {
    if (errors(w).kind == Errors::none) return Exact::full(w, i, count, m);
    run(w, i, count, kFull, std::index_sequence_for<A...>());
  }
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    if (errors(w).kind == Errors::none) return Exact::masked(w, i, count, m);
    run(w, i, count, m, std::index_sequence_for<A...>());
  }
  static float nearest(A... a) {
    return finish<float, Ftz, false>(static_cast<float>(Op::value(static_cast<double>(flush<Ftz>(a))...)));
  }
  using Exact = Lanes<nearest, float, A...>;

 private:
  static const Errors &errors(const Warp &w) { return w.worker->machine->options.errors; }
  template <size_t... K>
  static void run(Warp &w, const Inst *i, uint32_t count, Mask m, std::index_sequence<K...>) {
    for (; count; count--, i++) {
      alignas(64) float t[kLanes];
      for (int l = 0; l < kLanes; l++) t[l] = worst(errors(w), flush<Ftz>(values<const A>(w, i->op[K + 1])[l])...);
      blend(values<float>(w, i->op[0]), t, m);
    }
  }
  static float worst(const Errors &e, A... a) {
    float near = nearest(a...);
    if (!std::isfinite(near) || !((std::isfinite(a) && a != 0) && ...)) return near;
    Bound bound = Op::bound(a..., Op::value(static_cast<double>(a)...));
    bound.allowed *= e.times;
    // If a reciprocal follows a power, as in tanh, errors of opposite sign add up.
    return finish<float, Ftz, false>(farthest(bound, upward(e, a...) != (Op::falls && e.kind != Errors::random)));
  }
};

template <class Op, bool Ftz, class... A>
void emit_approximate(Decoder &d) {
  using L = Approximate<Op, Ftz, A...>;
  emit_lanes<L::nearest, float, A...>(d);
  d.last().full = L::full;
  d.last().masked = L::masked;
}

template <class Op, class... A>
void approximate(Decoder &d) {
  bool ftz = d.take("ftz");
  if (!d.take("f32")) d.unknown();
  if (ftz) emit_approximate<Op, true, A...>(d);
  else emit_approximate<Op, false, A...>(d);
}

// Their values, and the bounds of the manual's sections "Floating Point Instructions: …".
struct Rising {
  static constexpr bool falls = false;
};
struct Falling {
  static constexpr bool falls = true;
};
struct Division : Falling {  // div: 2 ulp, of .full too
  static double value(double a, double b) { return a / b; }
  static Bound bound(float, float, double x) { return ulps(x, 2); }
};
struct Reciprocal : Falling {  // rcp: 1 ulp
  static double value(double a) { return 1 / a; }
  static Bound bound(float, double x) { return ulps(x, 1); }
};
struct Root : Rising {  // sqrt: relative error 2^-23
  static double value(double a) { return std::sqrt(a); }
  static Bound bound(float, double x) { return relative(x, 0x1p-23); }
};
struct InverseRoot : Falling {  // rsqrt: relative error 2^-22.9
  static double value(double a) { return 1 / std::sqrt(a); }
  static Bound bound(float, double x) { return relative(x, std::exp2(-22.9)); }
};
struct Power : Rising {  // ex2: 2 ulp from the correctly rounded result
  static double value(double a) { return std::exp2(a); }
  static Bound bound(float, double x) { return ulps(static_cast<float>(x), 2); }
};
struct Logarithm : Rising {  // lg2: absolute error 2^-22 in (0.5, 2), relative error 2^-22 elsewhere
  static double value(double a) { return std::log2(a); }
  static Bound bound(float a, double x) { return a > 0.5f && a < 2 ? Bound{x, 0x1p-22} : relative(x, 0x1p-22); }
};
// sin and cos: absolute error 2^-20.5 within 2 pi, 2^-14.7 within 100 pi; nothing is promised beyond.
struct Circular : Rising {
  static Bound bound(float a, double x) { return {x, std::exp2(std::abs(a) <= 6.2831853f ? -20.5 : -14.7)}; }
};
struct Sine : Circular {
  static double value(double a) { return std::sin(a); }
};
struct Cosine : Circular {
  static double value(double a) { return std::cos(a); }
};
struct Tangent : Rising {  // tanh: relative error 2^-11
  static double value(double a) { return std::tanh(a); }
  static Bound bound(float, double x) { return relative(x, 0x1p-11); }
};

template <class Op>
void op_approximate(Decoder &d) {
  if (!d.take("approx")) d.unknown();
  approximate<Op, float>(d);
}

void op_div(Decoder &d) {
  if (d.take_any({"approx", "full"})) return approximate<Division, float, float>(d);
  arithmetic<div<float>, div<double>, int, int>(d, true, false);
}

// rcp and sqrt: .approx or a rounding mode; rcp.approx.ftz.f64 drops the low 32 bits.
double reciprocal_f64(double a) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(1 / flush<true>(a)) & 0xffffffff00000000ull);
}
void op_rcp(Decoder &d) {
  if (d.peek() != "approx") return arithmetic<inverse<float>, inverse<double>, int>(d, true, false);
  if (!d.ends_with("f64")) return op_approximate<Reciprocal>(d);
  d.take("approx");
  if (!d.take("ftz") || !d.take("f64")) d.unknown();
  emit_lanes<finished<reciprocal_f64, double, true, false, double>, double, double>(d);
}

void op_sqrt(Decoder &d) {
  if (d.peek() == "approx") return op_approximate<Root>(d);
  arithmetic<root<float>, root<double>, int>(d, true, false);
}

void op_rsqrt(Decoder &d) {
  if (!d.ends_with("f64")) return op_approximate<InverseRoot>(d);
  if (!d.take("approx")) d.unknown();
  d.take("ftz");
  if (!d.take("f64")) d.unknown();
  emit_lanes<[](double a) { return static_cast<double>(1 / std::sqrt(static_cast<long double>(a))); }, double,
             double>(d);
}

void op_tanh(Decoder &d) {
  if (!d.take("approx") || !d.take("f32")) d.unknown();
  emit_approximate<Tangent, false, float>(d);
}

// abs and neg change only the sign bit; in f32 they also give the hardware's NaN.
template <class T, bool Ftz> T absolute(T a) { return finish<T, Ftz, false>(std::abs(flush<Ftz>(a))); }
template <class T, bool Ftz> T negative(T a) { return finish<T, Ftz, false>(-flush<Ftz>(a)); }
void op_abs(Decoder &d) {
  bool ftz = d.take("ftz");
  Type t = d.type();
  if (t.bits == 64 && ftz) d.unknown();
  if (t.bits == 64) emit_lanes<absolute<double, false>, double, double>(d);
  else if (ftz) emit_lanes<absolute<float, true>, float, float>(d);
  else emit_lanes<absolute<float, false>, float, float>(d);
}
void op_neg(Decoder &d) {
  bool ftz = d.take("ftz");
  Type t = d.type();
  if (t.bits == 64 && ftz) d.unknown();
  if (t.bits == 64) emit_lanes<negative<double, false>, double, double>(d);
  else if (ftz) emit_lanes<negative<float, true>, float, float>(d);
  else emit_lanes<negative<float, false>, float, float>(d);
}

// A NaN operand is ignored, unless the instruction has .NaN; -0 is less than +0.
template <class T, bool Max, bool Ftz, bool Nan, bool Xor> T extreme(T x, T y) {
  T a = flush<Ftz>(x), b = flush<Ftz>(y);
  bool negative = std::signbit(a) != std::signbit(b);
  if (Xor) a = std::abs(a), b = std::abs(b);
  T r;
  if (a != a || b != b) r = Nan || (a != a && b != b) ? canonical<T>() : a != a ? b : a;
  else if (a == b) r = std::signbit(a) == Max ? b : a;
  else r = (a < b) != Max ? a : b;
  if (Xor) r = r != r ? r : negative ? -std::abs(r) : std::abs(r);
  return r;
}
template <bool Max>
void op_extreme(Decoder &d) {
  bool ftz = d.take("ftz"), nan = d.take("NaN"), flip = d.take("xorsign");
  if (flip && !d.take("abs")) d.unknown();
  Type t = d.type();
  if (t.bits == 64) {
    if (ftz || nan || flip) d.unknown();
    return emit_lanes<extreme<double, Max, false, false, false>, double, double, double>(d);
  }
  auto emit = [&]<bool Ftz, bool Nan, bool Xor>() {
    emit_lanes<extreme<float, Max, Ftz, Nan, Xor>, float, float, float>(d);
  };
  switch (ftz * 4 + nan * 2 + flip) {
    case 0: return emit.template operator()<0, 0, 0>();
    case 1: return emit.template operator()<0, 0, 1>();
    case 2: return emit.template operator()<0, 1, 0>();
    case 3: return emit.template operator()<0, 1, 1>();
    case 4: return emit.template operator()<1, 0, 0>();
    case 5: return emit.template operator()<1, 0, 1>();
    case 6: return emit.template operator()<1, 1, 0>();
    case 7: return emit.template operator()<1, 1, 1>();
  }
}

// The sign of a with the magnitude of b.
void op_copysign(Decoder &d) {
  if (d.take("f32"))
    return emit_lanes<[](uint32_t a, uint32_t b) { return (a & 0x80000000u) | (b & 0x7fffffffu); }, uint32_t, uint32_t,
                      uint32_t>(d);
  if (!d.take("f64")) d.unknown();
  emit_lanes<[](uint64_t a, uint64_t b) { return (a & 1ull << 63) | (b & ~(1ull << 63)); }, uint64_t, uint64_t,
             uint64_t>(d);
}

template <class T, class F>
void classify(Decoder &d, F) {
  d.expect(2);
  Slot a = d.in(1, sizeof(T)), p = d.out(size_t(0), 1);
  Exec run = [](Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      Mask &d = w.pred(i->op[0]);
      d = (d & ~m) | (Tests<F{}, T>::of(w, i, 1) & m);
    }
  };
  d.emit(run, run, {p, a});
}
void op_testp(Decoder &d) {
  std::string_view what = d.next();
  bool wide = d.take("f64");
  if (!wide && !d.take("f32")) d.unknown();
  auto test = [&](auto f) { wide ? classify<double>(d, f) : classify<float>(d, f); };
  if (what == "finite") return test([](auto a) { return std::isfinite(a); });
  if (what == "infinite") return test([](auto a) { return std::isinf(a); });
  if (what == "number") return test([](auto a) { return a == a; });
  if (what == "notanumber") return test([](auto a) { return a != a; });
  if (what == "normal") return test([](auto a) { return std::isnormal(a); });
  if (what == "subnormal") return test([](auto a) { return std::fpclassify(a) == FP_SUBNORMAL; });
  d.unknown();
}

const Opcode ops[] = {
    {{"add/f"}, [](Decoder &d) { arithmetic<add<float>, add<double>, int, int>(d, false, true); }},
    {{"sub/f"}, [](Decoder &d) { arithmetic<sub<float>, sub<double>, int, int>(d, false, true); }},
    {{"mul/f"}, [](Decoder &d) { arithmetic<mul<float>, mul<double>, int, int>(d, false, true); }},
    {{"fma/f", "mad/f"}, [](Decoder &d) { arithmetic<fma<float>, fma<double>, int, int, int>(d, true, true); }},
    {{"div/f"}, op_div},
    {{"rcp"}, op_rcp},
    {{"sqrt"}, op_sqrt},
    {{"rsqrt"}, op_rsqrt},
    {{"ex2/f"}, op_approximate<Power>},
    {{"lg2"}, op_approximate<Logarithm>},
    {{"sin"}, op_approximate<Sine>},
    {{"cos"}, op_approximate<Cosine>},
    {{"tanh/f"}, op_tanh},
    {{"abs/f"}, op_abs},
    {{"neg/f"}, op_neg},
    {{"min/f"}, op_extreme<false>},
    {{"max/f"}, op_extreme<true>},
    {{"copysign"}, op_copysign},
    {{"testp"}, op_testp},
};

}  // namespace
}  // namespace ptx

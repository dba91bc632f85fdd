// f32 and f64 arithmetic. Rounding is checked against exact values, by the sign of the rounding error in
// 113 bits.
#pragma once
#include <cfenv>

#include "harness.h"

namespace test {

using U = uint64_t;
using Quad = __float128;

inline float f32(U v) { return std::bit_cast<float>(uint32_t(v)); }
inline double f64(U v) { return std::bit_cast<double>(v); }
inline U bits(float v) { return v != v ? 0x7fffffffu : std::bit_cast<uint32_t>(v); }  // the NaN of the hardware
inline U bits(double v) { return std::bit_cast<U>(v); }
inline float flushed(float v) { return std::abs(v) < 0x1p-126f ? std::copysign(0.f, v) : v; }
inline float saturated(float v) { return v >= 1 ? 1 : v > 0 ? v : 0; }

// r, the exact value rounded to nearest, in another mode; lacks: the exact value less r.
inline float directed(float r, Quad lacks, const std::string &mode) {
  if (r != r || lacks == 0) return r;
  float inf = INFINITY;
  if (mode == "rm" && lacks < 0) return std::nextafter(r, -inf);
  if (mode == "rp" && lacks > 0) return std::nextafter(r, inf);
  if (mode == "rz" && (r > 0 ? lacks < 0 : r < 0 ? lacks > 0 : false)) return std::nextafter(r, 0.f);
  return r;
}

// a b + c.
inline float multiply_add(float a, float b, float c, const std::string &mode) {
  float r = std::fma(a, b, c);
  if (mode == "rn" || std::isnan(r) || std::isinf(a) || std::isinf(b) || std::isinf(c)) return r;
  Quad p = Quad(a) * b;  // exact
  if (p + c == 0 && p != 0) return mode == "rm" ? -0.f : 0.f;  // an exact zero of two numbers
  if (p == 0 && c == 0) {
    bool n = std::signbit(a) != std::signbit(b), m = std::signbit(c);
    return n == m ? (n ? -0.f : 0.f) : mode == "rm" ? -0.f : 0.f;
  }
  Quad big = p, small = c;
  if ((p < 0 ? -p : p) < (c < 0 ? -Quad(c) : Quad(c))) std::swap(big, small);
  Quad lacks = std::isinf(r) ? (r > 0 ? -1 : 1) : (big - r) + small;
  return directed(r, lacks, mode);
}

inline void float_arithmetic() {
  for (std::string mode : {"", "rn", "rz", "rm", "rp"}) {
    std::string m = mode.empty() ? "" : mode + ".", round = mode.empty() ? "rn" : mode;
    for (bool ftz : {false, true})
      for (bool sat : {false, true}) {
        std::string suffix = m + (ftz ? "ftz." : "") + (sat ? "sat." : "") + "f32";
        auto in = [=](U v) { return ftz ? flushed(f32(v)) : f32(v); };
        auto out = [=](float v) {
          if (sat) return bits(saturated(v != v ? 0 : ftz ? flushed(v) : v));
          return bits(ftz ? flushed(v) : v);
        };
        op("add." + suffix, "f32", {"f32", "f32"},
           [=](U a, U b, U, U) { return out(multiply_add(in(a), 1, in(b), round)); });
        op("sub." + suffix, "f32", {"f32", "f32"},
           [=](U a, U b, U, U) { return out(multiply_add(in(a), 1, -in(b), round)); });
        // A zero with the sign of the product, so that adding it changes nothing.
        op("mul." + suffix, "f32", {"f32", "f32"}, [=](U a, U b, U, U) {
          float x = in(a), y = in(b);
          return out(multiply_add(x, y, std::signbit(x) != std::signbit(y) ? -0.f : 0.f, round));
        });
        if (mode.empty()) continue;
        op("fma." + suffix, "f32", {"f32", "f32", "f32"},
           [=](U a, U b, U c, U) { return out(multiply_add(in(a), in(b), in(c), round)); });
        if (sat) continue;
        std::string plain = m + (ftz ? "ftz." : "") + "f32";
        // The sign of a - r b, or of a - r r, tells whether quotient or root r is too small.
        op("div." + plain, "f32", {"f32", "f32"}, [=](U a, U b, U, U) {
          float x = in(a), y = in(b), r = x / y;
          if (std::isnan(r) || std::isinf(x) || std::isinf(y) || y == 0) return out(r);
          Quad rest = std::isinf(r) ? Quad(std::signbit(x) != std::signbit(y) ? 1 : -1) * (y < 0 ? -1 : 1)
                                    : Quad(x) - Quad(r) * y;
          return out(directed(r, y < 0 ? -rest : rest, round));
        });
        op("rcp." + plain, "f32", {"f32"}, [=](U a, U, U, U) {
          float y = in(a), r = 1 / y;
          if (std::isnan(r) || std::isinf(y) || y == 0) return out(r);
          Quad rest = std::isinf(r) ? Quad(y < 0 ? 1 : -1) * (y < 0 ? -1 : 1) : 1 - Quad(r) * y;
          return out(directed(r, y < 0 ? -rest : rest, round));
        });
        op("sqrt." + plain, "f32", {"f32"}, [=](U a, U, U, U) {
          float x = in(a), r = std::sqrt(x);
          if (std::isnan(r) || std::isinf(r)) return out(r);
          return out(directed(r, Quad(x) - Quad(r) * r, round));
        });
      }
    // f64: in the rounding mode of the host.
    auto set = [round] {
      std::fesetround(round == "rn"   ? FE_TONEAREST
                      : round == "rz" ? FE_TOWARDZERO
                      : round == "rm" ? FE_DOWNWARD
                                      : FE_UPWARD);
    };
    auto rounded = [=](double (*f)(double, double, double), U a, U b, U c) {
      volatile double x = f64(a), y = f64(b), z = f64(c);
      set();
      volatile double r = f(x, y, z);
      std::fesetround(FE_TONEAREST);
      return bits(double(r));
    };
    auto two = [=](const std::string &name, double (*f)(double, double, double)) {
      op(name + "." + m + "f64", "f64", {"f64", "f64"}, [=](U a, U b, U, U) { return rounded(f, a, b, 0); }, "",
         {0, true});
    };
    two("add", [](double a, double b, double) { return a + b; });
    two("sub", [](double a, double b, double) { return a - b; });
    two("mul", [](double a, double b, double) { return a * b; });
    if (mode.empty()) continue;
    two("div", [](double a, double b, double) { return a / b; });
    op("fma." + m + "f64", "f64", {"f64", "f64", "f64"}, [=](U a, U b, U c, U) {
      return rounded([](double x, double y, double z) { return std::fma(x, y, z); }, a, b, c);
    }, "", {0, true});
    op("sqrt." + m + "f64", "f64", {"f64"}, [=](U a, U, U, U) {
      return rounded([](double x, double, double) { return std::sqrt(x); }, a, 0, 0);
    }, "", {0, true});
    op("rcp." + m + "f64", "f64", {"f64"}, [=](U a, U, U, U) {
      return rounded([](double x, double, double) { return 1 / x; }, a, 0, 0);
    }, "", {0, true});
  }
}

// The least and the greatest: NaN gives way to a number, -0 is less than +0.
inline float least(float a, float b, bool max, bool nan) {
  if (a != a || b != b) return nan || (a != a && b != b) ? NAN : a != a ? b : a;
  if (a == 0 && b == 0)
    return (max ? std::signbit(a) && std::signbit(b) : std::signbit(a) || std::signbit(b)) ? -0.f : 0.f;
  return max ? (a > b ? a : b) : (a < b ? a : b);
}

inline void float_others() {
  for (bool ftz : {false, true}) {
    std::string z = ftz ? "ftz." : "";
    auto in = [=](U v) { return ftz ? flushed(f32(v)) : f32(v); };
    op("abs." + z + "f32", "f32", {"f32"}, [=](U a, U, U, U) { return bits(std::fabs(in(a))); });
    op("neg." + z + "f32", "f32", {"f32"}, [=](U a, U, U, U) { return bits(-in(a)); });
    for (bool max : {false, true})
      for (bool nan : {false, true})
        op((max ? "max." : "min.") + z + (nan ? "NaN." : "") + "f32", "f32", {"f32", "f32"},
           [=](U a, U b, U, U) { return bits(least(in(a), in(b), max, nan)); });
    for (std::string c : {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}) {
      auto holds = [=](double a, double b) {
        bool unordered = a != a || b != b;
        if (c == "num") return !unordered;
        if (c == "nan") return unordered;
        if (unordered) return c.size() == 3;
        std::string o = c.substr(0, 2);
        return o == "eq"   ? a == b
               : o == "ne" ? a != b
               : o == "lt" ? a < b
               : o == "le" ? a <= b
               : o == "gt" ? a > b
                           : a >= b;
      };
      op("setp." + c + "." + z + "f32", "pred", {"f32", "f32"}, [=](U a, U b, U, U) { return U(holds(in(a), in(b))); });
      if (!ftz)
        op("setp." + c + ".f64", "pred", {"f64", "f64"}, [=](U a, U b, U, U) { return U(holds(f64(a), f64(b))); });
    }
    op("slct." + z + "b32.f32", "b32", {"b32", "b32", "f32"}, [=](U a, U b, U c, U) { return in(c) >= 0 ? a : b; });
    // Approximations: within the error that the manual allows, zeros and infinities exact.
    auto approximation = [&](const std::string &name, double (*f)(double), double ulp) {
      op(name + ".approx." + z + "f32", "f32", {"f32"}, [=](U a, U, U, U) {
        float r = static_cast<float>(f(in(a)));
        return bits(ftz ? flushed(r) : r);
      }, "", {ulp});
    };
    approximation("ex2", [](double x) { return std::exp2(x); }, 2);
    approximation("lg2", [](double x) { return std::log2(x); }, 2);
    approximation("rcp", [](double x) { return 1 / x; }, 1);
    approximation("sqrt", [](double x) { return std::sqrt(x); }, 1);
    approximation("rsqrt", [](double x) { return 1 / std::sqrt(x); }, 2);
    approximation("sin", [](double x) { return std::sin(x); }, 2);
    approximation("cos", [](double x) { return std::cos(x); }, 2);
    for (std::string kind : {"approx", "full"})
      op("div." + kind + "." + z + "f32", "f32", {"f32", "f32"}, [=](U a, U b, U, U) {
        float r = in(a) / in(b);
        return bits(ftz ? flushed(r) : r);
      }, "", {2});
  }
  op("tanh.approx.f32", "f32", {"f32"},
     [](U a, U, U, U) { return bits(static_cast<float>(std::tanh(double(f32(a))))); }, "", {2});
  op("abs.f64", "f64", {"f64"}, [](U a, U, U, U) { return a & ~(1ull << 63); });
  op("neg.f64", "f64", {"f64"}, [](U a, U, U, U) { return a ^ 1ull << 63; });
  op("min.f64", "f64", {"f64", "f64"}, [](U a, U b, U, U) {
    double x = f64(a), y = f64(b);
    if (x == 0 && y == 0) return a | b;
    return x != x ? b : y != y || x < y ? a : b;
  }, "", {0, true});
  op("max.f64", "f64", {"f64", "f64"}, [](U a, U b, U, U) {
    double x = f64(a), y = f64(b);
    if (x == 0 && y == 0) return a & b;
    return x != x ? b : y != y || x > y ? a : b;
  }, "", {0, true});
  op("copysign.f32", "f32", {"f32", "f32"}, [](U a, U b, U, U) { return (a & 0x80000000) | (b & 0x7fffffff); });
  op("copysign.f64", "f64", {"f64", "f64"}, [](U a, U b, U, U) { return (a & 1ull << 63) | (b & ~(1ull << 63)); });
  std::map<std::string, std::function<bool(U, U)>> tests = {  // of the exponent (all ones: 255) and the fraction
      {"finite", [](U e, U) { return e != 255; }},
      {"infinite", [](U e, U f) { return e == 255 && !f; }},
      {"number", [](U e, U f) { return e != 255 || !f; }},
      {"notanumber", [](U e, U f) { return e == 255 && f; }},
      {"normal", [](U e, U) { return e && e != 255; }},
      {"subnormal", [](U e, U f) { return !e && f; }}};
  for (auto &[name, test] : tests)
    op("testp." + name + ".f32", "pred", {"f32"},
       [test = test](U a, U, U, U) { return U(test(a >> 23 & 255, a & 0x7fffff)); });
}

}  // namespace test

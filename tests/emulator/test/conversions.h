// cvt, against exact values and, for the small formats, a list of all their numbers.
#pragma once
#include <algorithm>

#include "floats.h"
#include "integers.h"

namespace test {

// All non-negative finite numbers of a format with 16 bits, ascending: index = bits.
inline std::vector<double> all_of(int mantissa) {
  std::vector<double> v;
  int bias = mantissa == 10 ? 15 : 127, top = mantissa == 10 ? 31 : 255;
  for (int e = 0; e < top; e++)
    for (int m = 0; m < 1 << mantissa; m++)
      v.push_back(e ? std::ldexp((1 << mantissa) + m, e - bias - mantissa) : std::ldexp(m, 1 - bias - mantissa));
  return v;
}

inline U to_16(double x, int mantissa, const std::string &mode) {
  static const std::vector<double> half = all_of(10), brain = all_of(7);
  auto &all = mantissa == 10 ? half : brain;
  if (x != x) return 0x7fff;
  U sign = std::signbit(x) ? 0x8000 : 0;
  double a = std::abs(x);
  if (std::isinf(x)) return sign | all.size();  // follows the greatest number
  auto up = std::lower_bound(all.begin(), all.end(), a);
  size_t hi = up - all.begin();
  if (hi < all.size() && *up == a) return sign | hi;
  size_t lo = hi - 1;
  bool away = mode == "rp" ? !sign : mode == "rm" ? bool(sign) : false;
  if (mode == "rn") {
    double next = hi < all.size() ? all[hi] : 2 * all[lo] - all[lo - 1];  // as if the format went on
    away = a - all[lo] > next - a || (a - all[lo] == next - a && lo % 2);
  }
  return sign | (away ? hi : lo);
}

inline double from_16(U v, int mantissa) {
  if (mantissa == 7) return f32(v << 16);
  static const std::vector<double> half = all_of(10);
  U a = v & 0x7fff;
  double x = a < half.size() ? half[a] : a == half.size() ? INFINITY : NAN;
  return v & 0x8000 ? -x : x;
}

inline Quad integral(Quad v, const std::string &mode) {
  if (v != v || v > 0x1p70 || v < -0x1p70) return v;
  I i = I(v);  // toward zero
  Quad rest = v - Quad(i);
  if (rest == 0 || mode[1] == 'z') return i;
  if (mode[1] == 'm') return rest < 0 ? i - 1 : i;
  if (mode[1] == 'p') return rest > 0 ? i + 1 : i;
  Quad a = rest < 0 ? -rest : rest;
  int step = rest < 0 ? -1 : 1;
  return a > Quad(0.5) || (a == Quad(0.5) && i & 1) ? i + step : i;
}

inline I limit(Quad v, const std::string &type) {
  unsigned n = bits_of(type);
  I top = (I(1) << (type[0] == 's' ? n - 1 : n)) - 1, least = type[0] == 's' ? -top - 1 : 0;
  return v != v ? I(0) : v >= Quad(top) ? top : v <= Quad(least) ? least : I(v);
}

inline void conversions() {
  std::vector<std::string> integers = {"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"};
  auto reg = [](std::string t) { return bits_of(t) == 8 ? "u16" : t; };  // 8 bits are kept in 16
  for (auto &to : integers)
    for (auto &from : integers) {
      auto wide = [=](I v) { return U(number(U(v), to)); };  // the register is filled by the sign of the type
      op("cvt." + to + "." + from, reg(to), {reg(from)}, [=](U a, U, U, U) { return wide(number(a, from)); });
      op("cvt.sat." + to + "." + from, reg(to), {reg(from)},
         [=](U a, U, U, U) { return wide(limit(Quad(number(a, from)), to)); });
    }
  for (auto &i : integers) {
    for (std::string mode : {"rni", "rzi", "rmi", "rpi"}) {
      op("cvt." + mode + "." + i + ".f32", reg(i), {"f32"},
         [=](U a, U, U, U) { return U(limit(integral(f32(a), mode), i)); });
      op("cvt." + mode + ".ftz." + i + ".f32", reg(i), {"f32"},
         [=](U a, U, U, U) { return U(limit(integral(flushed(f32(a)), mode), i)); });
      op("cvt." + mode + "." + i + ".f64", reg(i), {"f64"},
         [=](U a, U, U, U) { return U(limit(integral(f64(a), mode), i)); });
      op("cvt." + mode + "." + i + ".f16", reg(i), {"f16"},
         [=](U a, U, U, U) { return U(limit(integral(from_16(a, 10), mode), i)); });
    }
    for (std::string mode : {"rn", "rz", "rm", "rp"}) {
      op("cvt." + mode + ".f32." + i, "f32", {reg(i)}, [=](U a, U, U, U) {
        Quad v = number(a, i);
        float r = static_cast<float>(v);
        return bits(directed(r, v - r, mode));
      });
      op("cvt." + mode + ".f64." + i, "f64", {reg(i)}, [=](U a, U, U, U) {
        Quad v = number(a, i);
        double r = static_cast<double>(v);
        if (mode == "rm" && r > v) r = std::nextafter(r, -INFINITY);
        if (mode == "rp" && r < v) r = std::nextafter(r, INFINITY);
        if (mode == "rz" && (v > 0 ? r > v : r < v)) r = std::nextafter(r, 0.);
        return bits(r);
      });
      if (bits_of(i) <= 32)
        op("cvt." + mode + ".f16." + i, "f16", {reg(i)},
           [=](U a, U, U, U) { return to_16(double(number(a, i)), 10, mode); });
    }
  }
  op("cvt.f64.f32", "f64", {"f32"}, [](U a, U, U, U) { return bits(double(f32(a))); }, "", {0, true});
  for (std::string mode : {"rn", "rz", "rm", "rp"})
    for (bool sat : {false, true})
      op("cvt." + mode + (sat ? ".sat" : "") + ".f32.f64", "f32", {"f64"}, [=](U a, U, U, U) {
        double x = f64(a);
        if (sat) x = x != x ? 0 : x > 1 ? 1 : x > 0 ? x : 0;
        float r = static_cast<float>(x);
        if (std::isnan(x) || std::isinf(x)) return bits(r);
        return bits(directed(r, std::isinf(r) ? Quad(r > 0 ? -1 : 1) : Quad(x) - r, mode));
      });
  op("cvt.sat.f32.f32", "f32", {"f32"}, [](U a, U, U, U) { return bits(saturated(f32(a))); });
  op("cvt.ftz.f32.f32", "f32", {"f32"}, [](U a, U, U, U) { return bits(flushed(f32(a))); });
  for (std::string mode : {"rni", "rzi", "rmi", "rpi"}) {
    auto keep_sign = [](float r, float x) { return bits(r == 0 ? std::copysign(0.f, x) : r); };
    op("cvt." + mode + ".f32.f32", "f32", {"f32"}, [=](U a, U, U, U) {
      float x = f32(a);
      return std::isfinite(x) ? keep_sign(static_cast<float>(integral(x, mode)), x) : bits(x);
    });
    op("cvt." + mode + ".f64.f64", "f64", {"f64"}, [=](U a, U, U, U) {
      double x = f64(a), r = std::isfinite(x) ? static_cast<double>(integral(x, mode)) : x;
      return bits(r == 0 ? std::copysign(0., x) : r);
    }, "", {0, true});
  }
  for (std::string mode : {"rn", "rz"}) {
    for (auto [name, mantissa] : std::map<std::string, int>{{"f16", 10}, {"bf16", 7}}) {
      int m = mantissa;
      op("cvt." + mode + "." + name + ".f32", name, {"f32"}, [=](U a, U, U, U) { return to_16(f32(a), m, mode); });
      op("cvt." + mode + ".relu." + name + ".f32", name, {"f32"}, [=](U a, U, U, U) {
        float x = f32(a);
        return to_16(x != x ? x : x > 0 ? x : 0, m, mode);
      });
      op("cvt." + mode + "." + name + "x2.f32", "b32", {"f32", "f32"},
         [=](U a, U b, U, U) { return to_16(f32(a), m, mode) << 16 | to_16(f32(b), m, mode); });
    }
  }
  op("cvt.rm.f16.f32", "f16", {"f32"}, [](U a, U, U, U) { return to_16(f32(a), 10, "rm"); });
  op("cvt.rp.f16.f32", "f16", {"f32"}, [](U a, U, U, U) { return to_16(f32(a), 10, "rp"); });
  op("cvt.rn.f16.f64", "f16", {"f64"}, [](U a, U, U, U) { return to_16(f64(a), 10, "rn"); });
  op("cvt.f32.f16", "f32", {"f16"}, [](U a, U, U, U) { return bits(static_cast<float>(from_16(a, 10))); });
  op("cvt.f64.f16", "f64", {"f16"}, [](U a, U, U, U) { return bits(from_16(a, 10)); }, "", {0, true});
  op("cvt.f32.bf16", "f32", {"bf16"}, [](U a, U, U, U) { return bits(static_cast<float>(from_16(a, 7))); });
  // To nearest, ties away from zero, at bit 13. For NaN like the code of ptxas 12.9 and 13.4 for sm_80 to sm_120:
  // FSETP.GEU P0, |a|, +INF; @!P0 IADD a, a, 0x1000; LOP3 d, a & 0xffffe000.
  op("cvt.rna.tf32.f32", "b32", {"f32"}, [](U a, U, U, U) -> U {
    U low = a & 0x1fff, cut = a - low;
    return low >= 0x1000 && std::isfinite(f32(a)) ? cut + 0x2000 : cut;
  });
}

}  // namespace test

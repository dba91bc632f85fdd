// Options::errors: results at the end of the bound that the manual allows, and never beyond it.
#pragma once
#include <functional>
#include <map>
#include <random>
#include <set>

#include "floats.h"
#include "warp.h"

namespace test {

using Long = long double;  // its functions err by far less than any bound here

inline ptx::Options with(ptx::Errors errors) {
  ptx::Options o;
  o.errors = errors;
  return o;
}

// The results of an instruction for all a (and b), with errors.
inline std::vector<float> approximated(const std::string &opcode, const std::vector<float> &a,
                                       const std::vector<float> &b, ptx::Errors errors) {
  std::string operands = opcode.starts_with("div") ? "%f2, %f0, %f1" : "%f2, %f0";
  auto m = ptx::parse(kernel("mov.u32 %r0, %ctaid.x;\nmad.lo.u32 %r1, %r0, 128, %t;\nmul.wide.u32 %d0, %r1, 4;\n"
                             "add.u64 %d1, %a, %d0;\nld.global.f32 %f0, [%d1];\nadd.u64 %d2, %b, %d0;\n"
                             "ld.global.f32 %f1, [%d2];\n" + opcode + " " + operands +
                             ";\nadd.u64 %d3, %out, %d0;\nst.global.f32 [%d3], %f2;\n"));
  Device d;
  uint64_t out = d.put(std::vector<float>(a.size()));
  launch(*m, d, Params().add(out).add(d.put(a)).add(d.put(b)), {unsigned(a.size() / 128), 128}, with(errors));
  return d.get<float>(out);
}

struct Approximation {
  std::string opcode;
  std::function<Long(Long, Long)> value;
  std::function<Long(Long, Long)> allowed;  // the bound of the error, by a and the value
  bool falls = false;                       // `up` makes it smaller
  bool from_rounded = false;                // the centre is the correctly rounded result
};

inline Long unit(Long x) { return std::ldexp(Long(1), std::max(std::ilogb(x), -126) - 23); }

inline void approximate_errors() {
  auto ulps = [](Long n) { return [n](Long, Long x) { return n * unit(x); }; };
  auto times = [](Long e) { return [e](Long, Long x) { return e * std::abs(x); }; };
  auto circular = [](Long a, Long) { return std::exp2(std::abs(a) < 6.28 ? Long(-20.5) : Long(-14.7)); };
  const std::vector<Approximation> all = {
      {"ex2.approx.ftz.f32", [](Long a, Long) { return std::exp2(a); }, ulps(2), false, true},
      {"rcp.approx.ftz.f32", [](Long a, Long) { return 1 / a; }, ulps(1), true},
      {"div.approx.f32", [](Long a, Long b) { return a / b; }, ulps(2), true},
      {"div.full.f32", [](Long a, Long b) { return a / b; }, ulps(2), true},
      {"sqrt.approx.f32", [](Long a, Long) { return std::sqrt(a); }, times(0x1p-23L)},
      {"rsqrt.approx.f32", [](Long a, Long) { return 1 / std::sqrt(a); }, times(std::exp2(Long(-22.9))), true},
      {"lg2.approx.f32", [](Long a, Long) { return std::log2(a); },
       [](Long a, Long x) { return 0x1p-22L * (a > 0.5L && a < 2 ? 1 : std::abs(x)); }},
      {"tanh.approx.f32", [](Long a, Long) { return std::tanh(a); }, times(0x1p-11L)},
      {"sin.approx.f32", [](Long a, Long) { return std::sin(a); }, circular},
      {"cos.approx.f32", [](Long a, Long) { return std::cos(a); }, circular}};
  std::mt19937 dice(8);
  std::vector<float> a, b;
  std::uniform_real_distribution<float> any(-6, 6), positive(0.01f, 60);
  for (int k = 0; k < 4096; k++) {
    a.push_back(k % 2 ? positive(dice) : any(dice));
    b.push_back(k % 4 ? any(dice) : std::exp2(any(dice)));
  }
  for (int k = 0; k < 32; k++) a[2 * k] = std::ldexp(1.f, k - 16), b[2 * k] = 1;  // results without any rounding
  using E = ptx::Errors;
  for (auto &f : all) {
    // One instruction: `up` and `down` are the last numbers within the bound.
    std::vector<float> ends[2];
    for (bool down : {false, true}) {
      auto got = ends[down] = approximated(f.opcode, a, b, {down ? E::down : E::up, 0, 1});
      float way = down != f.falls ? -INFINITY : INFINITY;
      for (size_t k = 0; k < a.size(); k++) {
        Long x = f.value(a[k], b[k]);
        if (!std::isfinite(float(x))) {
          if (bits(got[k]) != bits(float(x))) fail(f.opcode + ": an infinity or NaN has an error");
          continue;
        }
        Long centre = f.from_rounded ? Long(float(x)) : x, limit = f.allowed(a[k], centre) * (1 + 0x1p-40L);
        if (!(std::abs(got[k] - centre) <= limit)) return fail(f.opcode + ": an error above the bound");
        limit = f.allowed(a[k], centre) * (1 - 0x1p-40L);
        if (std::abs(std::nextafter(got[k], way) - centre) <= limit)
          return fail(f.opcode + ": an error below the bound");
      }
    }
    // At random: each end often, and always the same end for the same operand.
    auto got = approximated(f.opcode, a, b, {E::random, 5, 1}), other = approximated(f.opcode, a, b, {E::random, 6, 1});
    size_t up = 0, differs = 0, results = 0;
    for (size_t k = 0; k < a.size(); k++) {
      if (got[k] != got[k]) continue;
      if (got[k] != ends[0][k] && got[k] != ends[1][k]) return fail(f.opcode + ": a random error is not at an end");
      results++, up += got[k] == ends[0][k], differs += got[k] != other[k];
    }
    if (up < results / 3 || up > results * 2 / 3) fail(f.opcode + ": random errors have one direction");
    if (differs < results / 3) fail(f.opcode + ": the seed does not matter");
    auto ra = a, rb = b;
    std::reverse(ra.begin(), ra.end()), std::reverse(rb.begin(), rb.end());
    auto turned = approximated(f.opcode, ra, rb, {E::random, 5, 1});
    std::reverse(turned.begin(), turned.end());
    for (size_t k = 0; k < a.size(); k++)
      if (bits(got[k]) != bits(turned[k])) return fail(f.opcode + ": a random error depends on the lane");
    // A hundred times the bound is an error beyond it.
    got = approximated(f.opcode, a, b, {E::up, 0, 100});
    for (size_t k = 0; k < 64; k += 2)
      if (got[k] == got[k] && std::isfinite(float(f.value(a[k], b[k]))) && got[k] == ends[0][k])
        return fail(f.opcode + ": times has no effect");
  }
  // What the manual's tables promise.
  const float inf = INFINITY, nan = NAN;
  std::map<std::string, std::vector<std::pair<float, float>>> tables = {
      {"ex2.approx.ftz.f32",
       {{-inf, 0.f}, {-0.f, 1}, {0.f, 1}, {inf, inf}, {nan, nan}, {0x1p-130f, 1}, {-200, 0.f}, {200, inf}}},
      {"rcp.approx.ftz.f32", {{-inf, -0.f}, {-0.f, -inf}, {0.f, inf}, {inf, 0.f}, {nan, nan}, {0x1p127f, 0.f}}},
      {"sqrt.approx.f32", {{-inf, nan}, {-1, nan}, {-0.f, -0.f}, {0.f, 0.f}, {inf, inf}, {nan, nan}}},
      {"rsqrt.approx.f32", {{-inf, nan}, {-1, nan}, {-0.f, -inf}, {0.f, inf}, {inf, 0.f}, {nan, nan}}},
      {"lg2.approx.f32", {{-inf, nan}, {-1, nan}, {-0.f, -inf}, {0.f, -inf}, {inf, inf}, {nan, nan}}},
      {"sin.approx.f32", {{-inf, nan}, {-0.f, -0.f}, {0.f, 0.f}, {inf, nan}, {nan, nan}}},
      {"cos.approx.f32", {{-inf, nan}, {-0.f, 1}, {0.f, 1}, {inf, nan}, {nan, nan}}},
      {"tanh.approx.f32", {{-inf, -1}, {-0.f, -0.f}, {0.f, 0.f}, {inf, 1}, {nan, nan}}}};
  for (auto &[opcode, rows] : tables)
    for (auto kind : {E::up, E::down, E::random}) {
      std::vector<float> in(128);
      for (size_t k = 0; k < rows.size(); k++) in[k] = rows[k].first;
      auto got = approximated(opcode, in, in, {kind, 1, 1});
      for (size_t k = 0; k < rows.size(); k++)
        if (bits(got[k]) != bits(rows[k].second)) fail(opcode + ": a special value has an error");
    }
}

// The sum of c and the products, four k at a time, truncated; the integers of test::matrices cannot show it.
inline float four_at_a_time(float c, const std::vector<float> &a, const std::vector<float> &b, bool ascends) {
  for (size_t group = 0; group < a.size(); group += 4) {
    size_t first = ascends ? group : a.size() - 4 - group;
    std::vector<Long> terms = {c};
    for (size_t k = first; k < first + 4; k++) terms.push_back(Long(a[k]) * b[k]);
    Long most = 0, sum = 0, plain = 0;
    for (Long t : terms) most = std::max(most, std::abs(t)), plain += t;
    if (!std::isfinite(plain)) {
      c = float(plain);
      continue;
    }
    int e = most == 0 ? -149 : std::max(std::ilogb(most) - 23, -149);
    for (Long t : terms) sum += std::trunc(std::ldexp(t, -e));
    float r = float(std::ldexp(sum, e));
    if (std::isfinite(r) && std::abs(Long(r)) > std::abs(std::ldexp(sum, e))) r = std::nextafter(r, 0.f);
    c = r;
  }
  return c;
}

inline void matrix_errors() {
  using E = ptx::Errors;
  for (bool brain : {false, true}) {
    const int n = brain ? 16 : 8, per = brain ? 2 : 1;
    std::string opcode = std::string("mma.sync.aligned.") +
                         (brain ? "m16n8k16.row.col.f32.bf16.bf16.f32" : "m16n8k8.row.col.f32.tf32.tf32.f32");
    std::mt19937 dice(9);
    std::normal_distribution<float> normal;
    auto value = [&] {
      return std::bit_cast<float>(std::bit_cast<uint32_t>(normal(dice)) & (brain ? 0xffff0000u : 0xffffe000u));
    };
    std::vector<std::vector<float>> a(16, std::vector<float>(n)), b(8, a[0]), c(16, std::vector<float>(8));
    for (auto &r : a) for (float &v : r) v = value();
    for (auto &r : b) for (float &v : r) v = value();
    for (auto &r : c) for (float &v : r) v = normal(dice);
    a[3][1] = INFINITY, a[4][2] = NAN, a[5][0] = INFINITY, a[5][1] = -INFINITY, b[2][1] = b[3][1] = 0;
    a[6].assign(n, 0), c[6].assign(8, 0x1p-140f), a[7].assign(n, 0), c[7].assign(8, 0);
    for (float &v : a[8]) v *= 0x1p-70f;
    for (float &v : b[5]) v *= 0x1p-60f;
    for (float &v : a[9]) v = 0x1p60f;
    for (float &v : b[6]) v = 0x1p66f;
    std::vector<uint32_t> ra(32 * 4), rb(32 * 2);
    std::vector<float> rc(32 * 4);
    auto number = [&](float v) { return std::bit_cast<uint32_t>(v) >> (brain ? 16 : 0); };
    for (int lane = 0; lane < 32; lane++) {
      for (int i = 0; i < 4 * per; i++) {
        auto [row, k] = of_a(per, lane, i);
        ra[lane * 4 + i / per] |= number(a[row][k]) << i % per * 16;
      }
      for (int i = 0; i < 2 * per; i++) {
        auto [k, column] = of_b(per, lane, i);
        rb[lane * 2 + i / per] |= number(b[column][k]) << i % per * 16;
      }
      for (int i = 0; i < 4; i++) rc[lane * 4 + i] = c[of_c(lane, i).row][of_c(lane, i).column];
    }
    auto m = ptx::parse(multiplication(opcode, 4, 2));
    auto results = [&](E errors) {
      Device d;
      uint64_t out = d.put(rc);
      launch(*m, d, Params().add(out).add(d.put(ra)).add(d.put(rb)), {1, 32}, with(errors));
      return d.get<float>(out);
    };
    auto up = results({E::up, 0, 1}), down = results({E::down, 0, 1});
    auto either = results({E::random, 3, 1}), near = results({});
    size_t ups = 0, downs = 0, cut = 0;
    for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
        auto [row, column] = of_c(lane, i);
        int at = lane * 4 + i;
        if (bits(up[at]) != bits(four_at_a_time(c[row][column], a[row], b[column], true)))
          return fail(opcode + ": a wrong element from k = 0 on");
        if (bits(down[at]) != bits(four_at_a_time(c[row][column], a[row], b[column], false)))
          return fail(opcode + ": a wrong element down to k = 0");
        if (bits(either[at]) != bits(up[at]) && bits(either[at]) != bits(down[at]))
          return fail(opcode + ": neither order");
        if (bits(up[at]) != bits(down[at])) ++(bits(either[at]) == bits(up[at]) ? ups : downs);
        cut += bits(up[at]) != bits(near[at]);
      }
    if (!ups || !downs) fail(opcode + ": the order does not change");
    if (cut < 10) fail(opcode + ": nothing was cut off");
  }
}

}  // namespace test

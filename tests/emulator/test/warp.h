// Instructions among lanes, matrices, and moves between registers.
#pragma once
#include "conversions.h"

namespace test {

using Lanes = std::vector<uint32_t>;  // a value of each lane

// Tests a body that reads %r0 (from a) and %r1 (from b) and leaves its result in %r2. Only the lanes
// of the mask run it.
inline void warp_op(const std::string &opcode, const std::string &body, const Lanes &a, const Lanes &b, uint32_t mask,
                    const Lanes &want, unsigned threads = 32) {
  tested.insert(opcode);
  expect_fault(opcode, none, {}, [&] {
    auto m = ptx::parse(kernel("mul.wide.u32 %d0, %t, 4;\nadd.u64 %d1, %a, %d0;\nadd.u64 %d2, %b, %d0;\n"
                               "add.u64 %d3, %out, %d0;\n"
                               "ld.global.u32 %r0, [%d1];\nld.global.u32 %r1, [%d2];\nmov.u32 %r2, 3735928559;\n"
                               "mov.u32 %r3, %lanemask_eq;\nand.b32 %r3, %r3, " + std::to_string(mask) +
                               ";\nsetp.eq.u32 %p7, %r3, 0;\n@%p7 bra SKIP;\n" + body + "\nSKIP:\n"
                               "st.global.u32 [%d3], %r2;\n"));
    Device d;
    uint64_t out = d.put(Lanes(threads));
    launch(*m, d, Params().add(out).add(d.put(a)).add(d.put(b)), {1, threads});
    auto got = d.get<uint32_t>(out);
    for (unsigned l = 0; l < threads; l++) {
      uint32_t w = mask >> l & 1 ? want[l] : 3735928559u;
      if (got[l] != w)
        return fail(opcode + ": lane " + std::to_string(l) + " has " + std::to_string(got[l]) + ", not " +
                    std::to_string(w));
    }
  });
}

inline void warps() {
  std::mt19937 dice(2);
  auto random = [&](uint32_t below) {
    Lanes v(32);
    for (auto &x : v) x = below ? dice() % below : dice();
    return v;
  };
  for (std::string mode : {"up", "down", "bfly", "idx"})
    for (uint32_t mask : {0xffffffffu, 0x0000ffffu})
      for (uint32_t c : {0x1fu, 0x0u, 0x181fu, 0x1c1fu, 0x1800u, 0x0fu}) {
        Lanes a = random(0), b = random(mask == 0xffffffff ? 40 : 8), want(32), inside(32);
        if (mask != 0xffffffff && mode != "bfly" && mode != "up") continue;  // others read missing lanes
        if (mask != 0xffffffff) std::fill(b.begin(), b.end(), b[0]);
        for (int lane = 0; lane < 32; lane++) {
          int bval = b[lane] & 31, cval = c & 31, segment = c >> 8 & 31, j = 0;
          int most = (lane & segment) | (cval & ~segment), least = lane & segment;
          bool p = false;
          if (mode == "up") j = lane - bval, p = j >= most;
          if (mode == "down") j = lane + bval, p = j <= most;
          if (mode == "bfly") j = lane ^ bval, p = j <= most;
          if (mode == "idx") j = least | (bval & ~segment), p = j <= most;
          want[lane] = a[p ? j : lane];
          inside[lane] = p;
        }
        std::string text =
            "shfl.sync." + mode + ".b32 D, %r0, %r1, " + std::to_string(c) + ", " + std::to_string(mask) + ";\n";
        warp_op("shfl.sync." + mode + ".b32", replaced(text, {{"D", "%r2"}}), a, b, mask, want);
        warp_op("shfl.sync." + mode + ".b32", replaced(text, {{"D", "%r4|%p0"}}) + "selp.u32 %r2, 1, 0, %p0;\n", a, b,
                mask, inside);
        warp_op("shfl.sync." + mode + ".b32", replaced(text, {{"D, %r0", "%r0|%p0, %r0"}}) + "mov.u32 %r2, %r0;\n", a,
                b, mask, want);
      }
  for (uint32_t mask : {0xffffffffu, 0x0ff0ff01u})
    for (int density : {0, 1, 2, 5}) {
      Lanes a(32), all(32), any(32), uni(32), ballot(32), active(32);
      uint32_t set = 0;
      for (int l = 0; l < 32; l++) a[l] = density == 5 ? 1 : density ? dice() % density == 0 : 0, set |= a[l] << l;
      for (int l = 0; l < 32; l++) {
        uint32_t yes = set & mask;
        all[l] = yes == mask, any[l] = yes != 0, uni[l] = yes == 0 || yes == mask, ballot[l] = yes, active[l] = mask;
      }
      std::string m = std::to_string(mask), p = "setp.ne.u32 %p0, %r0, 0;\n", r = "selp.u32 %r2, 1, 0, %p1;\n";
      warp_op("vote.sync.all.pred", p + "vote.sync.all.pred %p1, %p0, " + m + ";\n" + r, a, a, mask, all);
      warp_op("vote.sync.any.pred", p + "vote.sync.any.pred %p1, %p0, " + m + ";\n" + r, a, a, mask, any);
      warp_op("vote.sync.uni.pred", p + "vote.sync.uni.pred %p1, !%p0, " + m + ";\n" + r, a, a, mask, uni);
      warp_op("vote.sync.ballot.b32", p + "vote.sync.ballot.b32 %r2, %p0, " + m + ";\n", a, a, mask, ballot);
      warp_op("activemask.b32", "activemask.b32 %r2;\n", a, a, mask, active);
    }
  for (uint32_t mask : {0xffffffffu, 0x00ffff00u})
    for (uint32_t kinds : {1u, 3u, 100u}) {
      Lanes a = random(kinds), any(32), all(32), equal(32), elected(32), first(32);
      std::map<std::string, Lanes> reduced;
      for (int l = 0; l < 32; l++) {
        bool same = true;
        for (int k = 0; k < 32; k++)
          if (mask >> k & 1) any[l] |= (a[k] == a[l]) << k, same &= a[k] == a[l];
        all[l] = same ? mask : 0, equal[l] = same;
        first[l] = std::countr_zero(mask), elected[l] = l == std::countr_zero(mask);
      }
      std::string m = std::to_string(mask);
      warp_op("match.any.sync.b32", "match.any.sync.b32 %r2, %r0, " + m + ";\n", a, a, mask, any);
      warp_op("match.any.sync.b64", "cvt.s64.s32 %d5, %r0;\n"
              "match.any.sync.b64 %r2, %d5, " + m + ";\n", a, a, mask, any);
      warp_op("match.all.sync.b32", "match.all.sync.b32 %r2, %r0, " + m + ";\n", a, a, mask, all);
      warp_op("match.all.sync.b32", "match.all.sync.b32 %r4|%p0, %r0, " + m + ";\n"
              "selp.u32 %r2, 1, 0, %p0;\n", a, a, mask, equal);
      warp_op("elect.sync", "elect.sync %r2|%p0, " + m + ";\n", a, a, mask, first);
      warp_op("elect.sync", "elect.sync _|%p0, " + m + ";\nselp.u32 %r2, 1, 0, %p0;\n", a, a, mask, elected);
      std::map<std::string, std::function<uint32_t(uint32_t, uint32_t)>> ops = {
          {"add.u32", [](auto x, auto y) { return x + y; }}, {"add.s32", [](auto x, auto y) { return x + y; }},
          {"min.u32", [](auto x, auto y) { return std::min(x, y); }},
          {"max.u32", [](auto x, auto y) { return std::max(x, y); }},
          {"min.s32", [](auto x, auto y) { return int(x) < int(y) ? x : y; }},
          {"max.s32", [](auto x, auto y) { return int(x) > int(y) ? x : y; }},
          {"and.b32", [](auto x, auto y) { return x & y; }}, {"or.b32", [](auto x, auto y) { return x | y; }},
          {"xor.b32", [](auto x, auto y) { return x ^ y; }}};
      Lanes wide = random(0);
      for (auto &[name, f] : ops) {
        uint32_t r = wide[std::countr_zero(mask)];
        for (int l = std::countr_zero(mask) + 1; l < 32; l++)
          if (mask >> l & 1) r = f(r, wide[l]);
        warp_op("redux.sync." + name, "redux.sync." + name + " %r2, %r0, " + m + ";\n", wide, wide, mask, Lanes(32, r));
      }
    }
  // bar.warp.sync: a value of another lane through shared memory; halves with masks of their own.
  Lanes a = random(0), want(32);
  for (int l = 0; l < 32; l++) want[l] = a[l ^ 1];
  warp_op("bar.warp.sync", "mov.u64 %d5, s;\nadd.u64 %d6, %d5, %d0;\nst.shared.u32 [%d6], %r0;\n"
          "setp.lt.u32 %p0, %t, 16;\n"
          "@%p0 bra LOW;\nbar.warp.sync 4294901760;\nbra.uni JOIN;\nLOW:\nbar.warp.sync 65535;\nJOIN:\n"
          "xor.b32 %r4, %t, 1;\n"
          "mul.wide.u32 %d6, %r4, 4;\nadd.u64 %d6, %d6, %d5;\nld.shared.u32 %r2, [%d6];\n"
          ".shared .align 4 .b8 s[128];\n",
          a, a, ~0u, want);
  for (int l = 0; l < 32; l++) want[l] = l;
  warp_op("mov.u32", "mov.u32 %r2, %laneid;\n", a, a, ~0u, want);
  for (int l = 0; l < 32; l++) want[l] = (1u << l) - 1;
  warp_op("mov.u32", "mov.u32 %r2, %lanemask_lt;\n", a, a, ~0u, want);
  for (int l = 0; l < 32; l++) want[l] = ~((1ull << (l + 1)) - 1);
  warp_op("mov.u32", "mov.u32 %r2, %lanemask_gt;\n", a, a, ~0u, want);
  // A result may take the register of the members, which is no longer needed.
  for (int l = 0; l < 32; l++) want[l] = 0xaaaaaaaa;
  warp_op("vote.sync.ballot.b32", "and.b32 %r4, %t, 1;\nsetp.ne.u32 %p0, %r4, 0;\nmov.u32 %r5, -1;\n"
          "vote.sync.ballot.b32 %r2, %p0, %r5;\n",
          a, a, ~0u, want);
  // Clocks go on.
  for (std::string c : {"%clock64", "%globaltimer"})
    warp_op("mov.u64", "mov.u64 %d5, " + c + ";\nnanosleep.u32 100;\nmov.u64 %d6, " + c +
            ";\nsetp.ge.u64 %p0, %d6, %d5;\nselp.u32 %r2, 1, 0, %p0;\n", a, a, ~0u, Lanes(32, 1));
  tested.insert("nanosleep.u32");
  // Packing: the first element is the low part.
  for (int l = 0; l < 32; l++) want[l] = (a[l] & 0xffff) << 16 | a[l] >> 16;
  warp_op("mov.b32", "mov.b32 {%h0, %h1}, %r0;\nmov.b32 %r2, {%h1, %h0};\n", a, a, ~0u, want);
  Lanes b = random(0);
  for (int l = 0; l < 32; l++) want[l] = a[l] ^ (b[l] >> 16) ^ b[l];
  warp_op("mov.b64", "mov.b64 %d5, {%r0, %r1};\nmov.b64 {_, %r4}, %d5;\nmov.b64 {%h0, %h1, %h2, %h3}, %d5;\n"
          "mov.b64 {%r5, _}, %d5;\n"
          "cvt.u32.u16 %r6, %h3;\nxor.b32 %r2, %r4, %r5;\nxor.b32 %r2, %r2, %r6;\n", a, b, ~0u, want);
  // Two predicates of a comparison: p = test op c, q = !test op c.
  for (int l = 0; l < 32; l++) want[l] = (a[l] < b[l] && a[l] & 1) | (!(a[l] < b[l]) && a[l] & 1) << 1;
  warp_op("setp.lt.and.u32", "and.b32 %r4, %r0, 1;\nsetp.ne.u32 %p2, %r4, 0;\nsetp.lt.and.u32 %p0|%p1, %r0, %r1, %p2;\n"
          "selp.u32 %r2, 1, 0, %p0;\nselp.u32 %r4, 2, 0, %p1;\nor.b32 %r2, %r2, %r4;\n", a, b, ~0u, want);
  // Carries: 64-bit sums and differences from 32-bit halves.
  for (int l = 0; l < 32; l++) {
    U x = U(b[l]) << 32 | a[l], y = U(a[l]) << 32 | b[l], s = x + y, e = x - y;
    want[l] = uint32_t(s >> 32) ^ uint32_t(s) ^ uint32_t(e >> 32) ^ uint32_t(e);
  }
  warp_op("addc.u32", "add.cc.u32 %r4, %r0, %r1;\naddc.u32 %r5, %r1, %r0;\nsub.cc.u32 %r6, %r0, %r1;\n"
          "subc.u32 %r7, %r1, %r0;\n"
          "xor.b32 %r2, %r4, %r5;\nxor.b32 %r2, %r2, %r6;\nxor.b32 %r2, %r2, %r7;\n", a, b, ~0u, want);
  // 32 x 64 bits added to 64 bits: the high word and the carry out of it.
  for (int l = 0; l < 32; l++) {
    unsigned __int128 s = static_cast<unsigned __int128>(U(b[l]) << 32 | a[l]) * a[l] + (U(a[l]) << 32 | b[l]);
    want[l] = uint32_t(s) ^ uint32_t(s >> 32) ^ uint32_t(s >> 64);
  }
  warp_op("madc.hi.u32", "mad.lo.cc.u32 %r4, %r0, %r0, %r1;\nmadc.hi.cc.u32 %r5, %r0, %r0, %r0;\naddc.u32 %r6, 0, 0;\n"
          "mad.lo.cc.u32 %r5, %r1, %r0, %r5;\nmadc.hi.u32 %r6, %r1, %r0, %r6;\nxor.b32 %r2, %r4, %r5;\n"
          "xor.b32 %r2, %r2, %r6;\n",
          a, b, ~0u, want);
  for (auto *name : {"mad.lo.cc.u32", "madc.hi.cc.u32"}) tested.insert(name);
  for (auto *name : {"add.cc.u32", "sub.cc.u32", "subc.u32"}) tested.insert(name);
}

// Where element i of a lane's part of a matrix lies, from the tables of the manual: lane = 4 group + thread. A register
// holds `per` elements of A and B.
struct Element {
  int row, column;
};
inline Element of_a(int per, int lane, int i) {
  int group = lane / 4, thread = lane % 4;
  if (per == 1) return {i % 2 ? group + 8 : group, i < 2 ? thread : thread + 4};
  return {i % 4 < 2 ? group : group + 8, thread * 2 + i % 2 + (i < 4 ? 0 : 8)};
}
inline Element of_b(int per, int lane, int i) {
  int group = lane / 4, thread = lane % 4;
  return {per == 1 ? thread + 4 * i : thread * 2 + i % 2 + (i < 2 ? 0 : 8), group};
}
inline Element of_c(int lane, int i) { return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2}; }

// A kernel k(c, a, b) that does one mma. Per lane it uses `a` of 4 registers of A and `b` of 2 of B.
inline std::string multiplication(const std::string &opcode, int a, int b) {
  std::string as, bs;
  for (int i = 0; i < a; i++) as += (i ? ", %r" : "%r") + std::to_string(i);
  for (int i = 0; i < b; i++) bs += (i ? ", %r" : "%r") + std::to_string(4 + i);
  return kernel("mul.wide.u32 %d0, %t, 16;\nadd.u64 %d1, %a, %d0;\nld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%d1];\n"
                "mul.wide.u32 %d2, %t, 8;\nadd.u64 %d3, %b, %d2;\nld.global.v2.u32 {%r4, %r5}, [%d3];\n"
                "add.u64 %d4, %out, %d0;\nld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%d4];\n" + opcode +
                " {%f4, %f5, %f6, %f7}, {" + as + "}, {" + bs + "}, {%f0, %f1, %f2, %f3};\n"
                "st.global.v4.f32 [%d4], {%f4, %f5, %f6, %f7};\n");
}

// mma against sums of exact products. Entries are small integers, so that every order of addition gives
// the same sum. Fractions too fine for the format must have no effect.
inline void matrices() {
  struct Form {
    std::string name;
    int k, per, a, b;  // depth, numbers per register, registers of A and B
  };
  for (auto &f : {Form{"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 1, 2, 1},
                  Form{"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 1, 4, 2},
                  Form{"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 2, 1},
                  Form{"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 2, 4, 2},
                  Form{"m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 2, 1},
                  Form{"m16n8k16.row.col.f32.f16.f16.f32", 16, 2, 4, 2}}) {
    std::string opcode = "mma.sync.aligned." + f.name;
    tested.insert(opcode);
    expect_fault(opcode, none, {}, [&] {
      std::mt19937 dice(4);
      int a[16][16], b[16][8], c[16][8];
      for (auto &r : a) for (int &v : r) v = int(dice() % 201) - 100;
      for (auto &r : b) for (int &v : r) v = int(dice() % 201) - 100;
      for (auto &r : c) for (int &v : r) v = int(dice() % 2001) - 1000;
      auto number = [&](int v) -> uint32_t {
        if (f.per == 1) return std::bit_cast<uint32_t>(float(v)) | (dice() & 0x1fff);  // tf32: these bits are ignored
        return to_16(v, f.name.find("bf16") == f.name.npos ? 10 : 7, "rn");
      };
      std::vector<uint32_t> ra(32 * 4), rb(32 * 2);
      std::vector<float> rc(32 * 4);
      for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < f.a * f.per; i++) {
          auto [row, k] = of_a(f.per, lane, i);
          ra[lane * 4 + i / f.per] |= number(a[row][k]) << (i % f.per * 16);
        }
        for (int i = 0; i < f.b * f.per; i++) {
          auto [k, column] = of_b(f.per, lane, i);
          rb[lane * 2 + i / f.per] |= number(b[k][column]) << (i % f.per * 16);
        }
        for (int i = 0; i < 4; i++) rc[lane * 4 + i] = c[of_c(lane, i).row][of_c(lane, i).column];
      }
      auto m = ptx::parse(multiplication(opcode, f.a, f.b));
      Device d;
      uint64_t out = d.put(rc);
      launch(*m, d, Params().add(out).add(d.put(ra)).add(d.put(rb)), {1, 32});
      auto got = d.get<float>(out);
      for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
          auto [row, column] = of_c(lane, i);
          int want = c[row][column];
          for (int k = 0; k < f.k; k++) want += a[row][k] * b[k][column];
          if (got[lane * 4 + i] != float(want)) return fail(opcode + ": wrong element");
        }
    });
  }
  for (int n : {1, 2, 4})
    for (bool transposed : {false, true}) {
      std::string opcode =
          "ldmatrix.sync.aligned.m8n8.x" + std::to_string(n) + (transposed ? ".trans" : "") + ".shared.b16";
      tested.insert(opcode);
      expect_fault(opcode, none, {}, [&] {
        std::string list = n == 1 ? "{%r0}" : n == 2 ? "{%r0, %r1}" : "{%r0, %r1, %r2, %r3}";
        auto m = ptx::parse(kernel(
            "mov.u32 %r0, 0;\nmov.u32 %r1, 0;\nmov.u32 %r2, 0;\nmov.u32 %r3, 0;\nmov.u64 %d5, s;\n"
            "mul.wide.u32 %d0, %t, 16;\n"
            "add.u64 %d1, %a, %d0;\nadd.u64 %d2, %d5, %d0;\nld.global.v2.u64 {%d3, %d4}, [%d1];\n"
            "st.shared.v2.u64 [%d2], {%d3, %d4};\n"
            "bar.sync 0;\nxor.b32 %r5, %t, 5;\nmul.wide.u32 %d2, %r5, 16;\n"
            "add.u64 %d2, %d2, %d5;\n" + opcode + " " + list +
            ", [%d2];\nadd.u64 %d1, %out, %d0;\n"
            "st.global.v4.u32 [%d1], {%r0, %r1, %r2, %r3};\n", "", ".shared .align 16 .b8 s[512];\n"));
        Device d;
        std::vector<uint16_t> in(256);
        std::mt19937 dice(6);
        for (auto &v : in) v = dice();
        uint64_t out = d.put(std::vector<uint32_t>(128));
        launch(*m, d, Params().add(out).add(d.put(in)).add(out), {1, 32});
        auto got = d.get<uint32_t>(out);
        for (int lane = 0; lane < 32; lane++)
          for (int k = 0; k < n; k++) {
            auto element = [&](int row, int col) -> uint32_t { return in[((k * 8 + row) ^ 5) * 8 + col]; };
            int row = lane / 4, col = lane % 4 * 2;
            uint32_t want = transposed ? element(col, row) | element(col + 1, row) << 16
                                       : element(row, col) | element(row, col + 1) << 16;
            if (got[lane * 4 + k] != want) return fail(opcode + ": wrong element");
          }
      });
    }
}

// f16 and bf16 arithmetic: the exact result, rounded once.
inline void halves() {
  for (auto [type, mantissa] : std::map<std::string, int>{{"f16", 10}, {"bf16", 7}}) {
    int m = mantissa;
    auto value = [=](U v) { return from_16(v & 0xffff, m); };
    // Exact sums of three 16-bit products need more than a double: to odd from 113 bits.
    auto round = [=](Quad v) {
      double r = static_cast<double>(v);
      if (std::isfinite(r) && Quad(r) != v) {
        if ((r > 0 && Quad(r) > v) || (r < 0 && Quad(r) < v)) r = std::nextafter(r, 0.);
        r = std::bit_cast<double>(std::bit_cast<U>(r) | 1);
      }
      return to_16(r, m, "rn");
    };
    auto fma = [=](double a, double b, double c) -> U {
      double near = std::fma(a, b, c);
      if (!std::isfinite(near)) return to_16(near, m, "rn");
      Quad p = Quad(a) * b, s = p + c;
      if (s == 0) return to_16(near, m, "rn");
      Quad big = p, small = c;
      if ((p < 0 ? -p : p) < (c < 0 ? -Quad(c) : Quad(c))) std::swap(big, small);
      Quad rest = (big - s) + small;  // what 113 bits cannot hold moves the sum off any tie
      return round(rest == 0 ? s : s + (rest > 0 ? 1 : -1) * (s < 0 ? -s : s) * Quad(0x1p-100));
    };
    std::string rn = type == "bf16" ? "rn." : "";
    auto pairs = [=](auto f) {
      return [=](U a, U b, U c, U) {
        return U(f(a >> 16, b >> 16, c >> 16) & 0xffff) << 16 | (f(a & 0xffff, b & 0xffff, c & 0xffff) & 0xffff);
      };
    };
    auto both = [&](const std::string &name, int n, auto f) {
      op(name + type, type, std::vector<std::string>(n, type), [=](U a, U b, U c, U) { return U(f(a, b, c)); });
      op(name + type + "x2", "b32", std::vector<std::string>(n, "b32"), pairs(f));
    };
    both("add." + rn, 2, [=](U a, U b, U) { return fma(value(a), 1, value(b)); });
    both("sub." + rn, 2, [=](U a, U b, U) { return fma(value(b), -1, value(a)); });
    both("mul." + rn, 2, [=](U a, U b, U) { return to_16(value(a) * value(b), m, "rn"); });
    both("fma.rn.", 3, [=](U a, U b, U c) { return fma(value(a), value(b), value(c)); });
    both("fma.rn.relu.", 3, [=](U a, U b, U c) {
      U r = fma(value(a), value(b), value(c));
      return r & 0x8000 ? 0 : r;
    });
    both("neg.", 1, [](U a, U, U) { return a ^ 0x8000; });
    both("abs.", 1, [](U a, U, U) { return a & 0x7fff; });
    for (bool max : {false, true})
      for (bool nan : {false, true})
        both(std::string(max ? "max." : "min.") + (nan ? "NaN." : ""), 2,
             [=](U a, U b, U) { return to_16(least(float(value(a)), float(value(b)), max, nan), m, "rn"); });
  }
}

}  // namespace test

// Integer instructions against their definitions in the PTX ISA manual, bit by bit where the
// manual defines them so.
#pragma once
#include "harness.h"

namespace test {

using I = __int128;
using U = uint64_t;

// The value of the low bits as a number of this type.
inline I number(U v, const std::string &type) {
  unsigned bits = std::atoi(type.c_str() + 1);
  U low = bits == 64 ? v : v & ((1ull << bits) - 1);
  if (type[0] == 's' && low >> (bits - 1)) return I(low) - (I(1) << bits);
  return low;
}
inline unsigned bits_of(const std::string &type) { return std::atoi(type.c_str() + 1); }

inline U bit(U v, int k) { return v >> k & 1; }

inline void integers() {
  for (std::string t : {"u16", "s16", "u32", "s32", "u64", "s64"}) {
    unsigned bits = bits_of(t);
    auto n = [t](U v) { return number(v, t); };
    op("add." + t, t, {t, t}, [=](U a, U b, U, U) { return U(n(a) + n(b)); });
    op("sub." + t, t, {t, t}, [=](U a, U b, U, U) { return U(n(a) - n(b)); });
    op("mul.lo." + t, t, {t, t}, [=](U a, U b, U, U) { return U(n(a) * n(b)); });
    op("mul.hi." + t, t, {t, t}, [=](U a, U b, U, U) {
      if (t == "u64") return U(static_cast<unsigned __int128>(a) * b >> 64);
      return U(n(a) * n(b) >> bits);
    });
    op("mad.lo." + t, t, {t, t, t}, [=](U a, U b, U c, U) { return U(n(a) * n(b) + n(c)); });
    op("mad.hi." + t, t, {t, t, t}, [=](U a, U b, U c, U) {
      if (t == "u64") return U(static_cast<unsigned __int128>(a) * b >> 64) + c;
      return U((n(a) * n(b) >> bits) + n(c));
    });
    // The manual leaves division by zero open; the hardware gives all ones.
    op("div." + t, t, {t, t}, [=](U a, U b, U, U) { return n(b) == 0 ? ~0ull : U(n(a) / n(b)); });
    op("rem." + t, t, {t, t}, [=](U a, U b, U, U) { return n(b) == 0 ? ~0ull : U(n(a) % n(b)); });
    op("min." + t, t, {t, t}, [=](U a, U b, U, U) { return n(a) < n(b) ? a : b; });
    op("max." + t, t, {t, t}, [=](U a, U b, U, U) { return n(a) > n(b) ? a : b; });
    op("sad." + t, t, {t, t, t}, [=](U a, U b, U c, U) { return U(n(c) + (n(a) < n(b) ? n(b) - n(a) : n(a) - n(b))); });
    if (t[0] == 's') {
      op("abs." + t, t, {t}, [=](U a, U, U, U) { return U(n(a) < 0 ? -n(a) : n(a)); });
      op("neg." + t, t, {t}, [=](U a, U, U, U) { return U(-n(a)); });
    }
    op("shr." + t, t, {t, "u32"}, [=](U a, U b, U, U) { return U(n(a) >> std::min<U>(b, bits)); });
    std::string w = t.substr(0, 1) + std::to_string(bits * 2);
    if (bits < 64) {
      op("mul.wide." + t, w, {t, t}, [=](U a, U b, U, U) { return U(n(a) * n(b)); });
      op("mad.wide." + t, w, {t, t, w}, [=](U a, U b, U c, U) { return U(n(a) * n(b) + number(c, w)); });
    }
    for (std::string c : {"eq", "ne", "lt", "le", "gt", "ge"}) {
      auto holds = [=](U a, U b) {
        I x = n(a), y = n(b);
        return c == "eq"   ? x == y
               : c == "ne" ? x != y
               : c == "lt" ? x < y
               : c == "le" ? x <= y
               : c == "gt" ? x > y
                           : x >= y;
      };
      op("setp." + c + "." + t, "pred", {t, t}, [=](U a, U b, U, U) { return U(holds(a, b)); });
      op("setp." + c + ".and." + t, "pred", {t, t, "pred"}, [=](U a, U b, U p, U) { return U(holds(a, b) && p); });
      op("set." + c + ".u32." + t, "u32", {t, t}, [=](U a, U b, U, U) { return holds(a, b) ? ~0ull : 0; });
      op("set." + c + ".f32." + t, "f32", {t, t}, [=](U a, U b, U, U) { return holds(a, b) ? 0x3f800000u : 0u; });
    }
    op("setp.lt.or." + t, "pred", {t, t, "pred"}, [=](U a, U b, U p, U) { return U(n(a) < n(b) || !p); }, "", {},
       "%pd, %a, %b, !%pc");
    op("setp.lt.xor." + t, "pred", {t, t, "pred"}, [=](U a, U b, U p, U) { return U((n(a) < n(b)) != bool(p)); });
    op("selp." + t, t, {t, t, "pred"}, [=](U a, U b, U p, U) { return p ? a : b; });
    op("slct." + t + ".s32", t, {t, t, "s32"}, [=](U a, U b, U c, U) { return number(c, "s32") >= 0 ? a : b; });
  }
  for (std::string t : {"u32", "u64"})
    for (auto [c, f] : std::map<std::string, bool (*)(U, U)>{{"lo", [](U a, U b) { return a < b; }},
                                                            {"ls", [](U a, U b) { return a <= b; }},
                                                            {"hi", [](U a, U b) { return a > b; }},
                                                            {"hs", [](U a, U b) { return a >= b; }}})
      op("setp." + c + "." + t, "pred", {t, t}, [f = f](U a, U b, U, U) { return U(f(a, b)); });
  for (std::string t : {"u32", "s32"}) {
    auto n = [t](U v) { return number(v, t); };
    auto low = [t](U v) { return number(v << 8, t) >> 8; };  // 24 bits
    op("mul24.lo." + t, t, {t, t}, [=](U a, U b, U, U) { return U(low(a) * low(b)); });
    op("mul24.hi." + t, t, {t, t}, [=](U a, U b, U, U) { return U(low(a) * low(b) >> 16); });
    op("mad24.lo." + t, t, {t, t, t}, [=](U a, U b, U c, U) { return U(low(a) * low(b) + n(c)); });
  }
  auto saturated = [](I v) { return U(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v); };
  auto s = [](U v) { return number(v, "s32"); };
  op("add.sat.s32", "s32", {"s32", "s32"}, [=](U a, U b, U, U) { return saturated(s(a) + s(b)); });
  op("sub.sat.s32", "s32", {"s32", "s32"}, [=](U a, U b, U, U) { return saturated(s(a) - s(b)); });
  op("mad.hi.sat.s32", "s32", {"s32", "s32", "s32"},
     [=](U a, U b, U c, U) { return saturated((s(a) * s(b) >> 32) + s(c)); });

  for (std::string t : {"b16", "b32", "b64"}) {
    unsigned bits = bits_of(t);
    op("and." + t, t, {t, t}, [](U a, U b, U, U) { return a & b; });
    op("or." + t, t, {t, t}, [](U a, U b, U, U) { return a | b; });
    op("xor." + t, t, {t, t}, [](U a, U b, U, U) { return a ^ b; });
    op("not." + t, t, {t}, [](U a, U, U, U) { return ~a; });
    op("cnot." + t, t, {t}, [](U a, U, U, U) { return U(a == 0); });
    op("shl." + t, t, {t, "u32"}, [=](U a, U b, U, U) { return b >= bits ? 0 : a << b; });
    op("selp." + t, t, {t, t, "pred"}, [](U a, U b, U p, U) { return p ? a : b; });
    op("setp.eq." + t, "pred", {t, t}, [](U a, U b, U, U) { return U(a == b); });
    op("setp.ne." + t, "pred", {t, t}, [](U a, U b, U, U) { return U(a != b); });
    op("mov." + t, t, {t}, [](U a, U, U, U) { return a; });
    if (bits == 16) continue;
    op("shr." + t, t, {t, "u32"}, [=](U a, U b, U, U) { return b >= bits ? 0 : a >> b; });
    op("popc." + t, "u32", {t}, [=](U a, U, U, U) {
      U n = 0;
      for (unsigned k = 0; k < bits; k++) n += bit(a, k);
      return n;
    });
    op("clz." + t, "u32", {t}, [=](U a, U, U, U) {
      U n = 0;
      while (n < bits && !bit(a, bits - 1 - n)) n++;
      return n;
    });
    op("brev." + t, t, {t}, [=](U a, U, U, U) {
      U r = 0;
      for (unsigned k = 0; k < bits; k++) r |= bit(a, k) << (bits - 1 - k);
      return r;
    });
    op("bfi." + t, t, {t, t, "u32", "u32"}, [=](U a, U b, U c, U e) {
      U f = b, pos = c & 255, len = e & 255;
      for (U i = 0; i < len && pos + i <= bits - 1; i++) f = (f & ~(1ull << (pos + i))) | bit(a, i) << (pos + i);
      return f;
    });
  }
  for (std::string t : {"u32", "s32", "u64", "s64"}) {
    unsigned bits = bits_of(t);
    op("bfe." + t, t, {t, "u32", "u32"}, [=](U a, U b, U c, U) {
      U msb = bits - 1, pos = b & 255, len = c & 255, d = 0;
      U sign = t[0] == 'u' || len == 0 ? 0 : bit(a, std::min<U>(pos + len - 1, msb));
      for (U i = 0; i <= msb; i++) d |= (i < len && pos + i <= msb ? bit(a, pos + i) : sign) << i;
      return d;
    });
    for (bool shift : {false, true})
      op(std::string("bfind.") + (shift ? "shiftamt." : "") + t, "u32", {t}, [=](U a, U, U, U) {
        U msb = bits - 1, d = 0xffffffff;
        if (t[0] == 's' && bit(a, msb)) a = ~a;
        for (int i = msb; i >= 0; i--)
          if (bit(a, i)) {
            d = i;
            break;
          }
        return shift && d != 0xffffffff ? msb - d : d;
      });
  }
  auto pair = [](U a, U b) { return b << 32 | a; };
  op("shf.l.clamp.b32", "b32", {"b32", "b32", "u32"}, [=](U a, U b, U c, U) {
    U n = std::min<U>(c, 32);
    return n == 32 ? a : pair(a, b) << n >> 32;
  });
  op("shf.r.clamp.b32", "b32", {"b32", "b32", "u32"},
     [=](U a, U b, U c, U) { return pair(a, b) >> std::min<U>(c, 32); });
  op("shf.l.wrap.b32", "b32", {"b32", "b32", "u32"}, [=](U a, U b, U c, U) { return pair(a, b) << (c & 31) >> 32; });
  op("shf.r.wrap.b32", "b32", {"b32", "b32", "u32"}, [=](U a, U b, U c, U) { return pair(a, b) >> (c & 31); });
  for (int table : {0x00, 0x80, 0x96, 0xe8, 0xca, 0x1b, 0xff})
    op("lop3.b32", "b32", {"b32", "b32", "b32"}, [=](U a, U b, U c, U) {
      U d = 0;
      for (int k = 0; k < 32; k++) d |= U(table >> (bit(a, k) * 4 + bit(b, k) * 2 + bit(c, k)) & 1) << k;
      return d;
    }, std::to_string(table));
  auto byte = [](U a, U b, U s) { return ((s & 7) < 4 ? a >> 8 * (s & 3) : b >> 8 * (s & 3)) & 255; };
  op("prmt.b32", "b32", {"b32", "b32", "u32"}, [=](U a, U b, U c, U) {
    U d = 0;
    for (int k = 0; k < 4; k++) {
      U s = c >> 4 * k & 15, v = byte(a, b, s);
      d |= (s & 8 ? (v & 128 ? 255ull : 0) : v) << 8 * k;
    }
    return d;
  });
  // The table of the manual: selectors of d.b3, d.b2, d.b1, d.b0 for c[1:0] = 0 to 3.
  std::map<std::string, std::vector<std::string>> modes = {
      {"f4e", {"3210", "4321", "5432", "6543"}}, {"b4e", {"5670", "6701", "7012", "0123"}},
      {"rc8", {"0000", "1111", "2222", "3333"}}, {"ecl", {"3210", "3211", "3222", "3333"}},
      {"ecr", {"0000", "1110", "2210", "3210"}}, {"rc16", {"1010", "3232", "1010", "3232"}}};
  for (auto &[mode, table] : modes)
    op("prmt.b32." + mode, "b32", {"b32", "b32", "u32"}, [=](U a, U b, U c, U) {
      U d = 0;
      for (int k = 0; k < 4; k++) d |= byte(a, b, table[c & 3][3 - k] - '0') << 8 * k;
      return d;
    });
  for (std::string x : {"u32", "s32"})
    for (std::string y : {"u32", "s32"})
      op("dp4a." + x + "." + y, "u32", {x, y, "u32"}, [=](U a, U b, U c, U) {
        I d = I(c);
        for (int k = 0; k < 4; k++)
          d += number(a >> 8 * k, x == "u32" ? "u8" : "s8") * number(b >> 8 * k, y == "u32" ? "u8" : "s8");
        return U(d);
      });
  op("and.pred", "pred", {"pred", "pred"}, [](U a, U b, U, U) { return a & b; });
  op("or.pred", "pred", {"pred", "pred"}, [](U a, U b, U, U) { return a | b; });
  op("xor.pred", "pred", {"pred", "pred"}, [](U a, U b, U, U) { return a ^ b; });
  op("not.pred", "pred", {"pred"}, [](U a, U, U, U) { return a ^ 1; });
  op("mov.pred", "pred", {"pred"}, [](U a, U, U, U) { return a; });
  for (std::string t : {"u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"})
    op("mov." + t, t, {t}, [](U a, U, U, U) { return a; });
  for (std::string t : {"f32", "f64"}) op("selp." + t, t, {t, t, "pred"}, [](U a, U b, U p, U) { return p ? a : b; });
}

}  // namespace test

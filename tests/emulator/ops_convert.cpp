// cvt between all types.
#include <cfenv>
#include <cmath>
#include <limits>

#include "float.h"
#include "half.h"
#include "lanes.h"
#include "types.h"

namespace ptx {
namespace {

// A conversion goes through one of two wide forms, and is rounded once: integers have 64 bits,
// floating-point values are double, which holds all formats exactly.
struct Plan {
  Type from, to;
  uint8_t from_width, to_width;  // bytes of the registers
  Rounding rounding;
  bool to_integral;  // the result is rounded to an integer
  bool ftz, sat, relu;
};

uint64_t read(const Warp &w, uint32_t offset, unsigned width, int l) {
  switch (width) {
    case 2: return values<uint16_t>(w, offset)[l];
    case 4: return values<uint32_t>(w, offset)[l];
  }
  return values<uint64_t>(w, offset)[l];
}

uint64_t extend(uint64_t v, Type t) {
  unsigned up = 64 - t.bits;
  return t.is("s") ? static_cast<uint64_t>(static_cast<int64_t>(v << up) >> up) : v << up >> up;
}

void write(Warp &w, uint32_t offset, unsigned width, int l, uint64_t v) {
  switch (width) {
    case 2: values<uint16_t>(w, offset)[l] = v; return;
    case 4: values<uint32_t>(w, offset)[l] = v; return;
  }
  values<uint64_t>(w, offset)[l] = v;
}

double round_integral(double v, Rounding r) {
  switch (r) {
    case Rounding::nearest: return std::nearbyint(v);
    case Rounding::zero: return std::trunc(v);
    case Rounding::down: return std::floor(v);
    case Rounding::up: return std::ceil(v);
    case Rounding::away: return std::round(v);
  }
  return v;
}

double to_double(uint64_t bits, Type t, bool ftz) {
  switch (t.bits) {
    case 64: return std::bit_cast<double>(bits);
    case 32: {
      float f = std::bit_cast<float>(static_cast<uint32_t>(bits));
      return ftz ? flush<true>(f) : f;
    }
  }
  return t.is("B") ? from_bf16(bits) : from_f16(bits);
}

uint64_t from_double(double v, const Plan &p) {
  if (p.sat) v = v > 1 ? 1 : v > 0 ? v : 0;  // NaN becomes 0
  if (p.relu && !(v > 0) && v == v) v = 0;
  if (p.to.bits == 64) return std::bit_cast<uint64_t>(v);
  if (p.to.is("T")) return round_tf32(v, p.rounding);
  if (p.to.is("B")) return round_bf16(v, p.rounding);
  if (p.to.bits == 16) return round_f16(v, p.rounding);
  return round_f32(v, p.rounding, p.ftz);
}

// Out of range: the nearest value of the type; NaN: 0.
uint64_t double_to_integer(double v, const Plan &p) {
  if (v != v) return 0;
  v = round_integral(v, p.rounding);
  bool sign = p.to.is("s");
  double above = std::ldexp(1.0, p.to.bits - sign), least = sign ? -above : 0;
  uint64_t top = sign ? (1ull << (p.to.bits - 1)) - 1 : ~0ull >> (64 - p.to.bits);
  if (v >= above) return top;
  if (v <= least) return sign ? ~top : 0;
  return sign ? static_cast<uint64_t>(static_cast<int64_t>(v)) : static_cast<uint64_t>(v);
}

uint64_t integer_to_integer(uint64_t v, const Plan &p) {
  if (p.sat) {
    bool negative = p.from.is("s") && static_cast<int64_t>(v) < 0, sign = p.to.is("s");
    uint64_t top = sign ? (1ull << (p.to.bits - 1)) - 1 : ~0ull >> (64 - p.to.bits);
    if (!negative && v > top) v = top;
    else if (negative && !sign) v = 0;
    else if (negative && static_cast<int64_t>(v) < static_cast<int64_t>(~top)) v = ~top;
  }
  return extend(v, p.to);
}

uint64_t convert(uint64_t bits, const Plan &p) {
  bool from_real = p.from.is("fB"), to_real = p.to.is("fBT");
  if (!from_real) {
    uint64_t v = extend(bits, p.from);
    if (!to_real) return integer_to_integer(v, p);
    return integer_to_real(v, p.from.is("s"), p.to, p.rounding, p.sat);
  }
  double v = to_double(bits, p.from, p.ftz);
  if (!to_real) return extend(double_to_integer(v, p), p.to);
  if (p.to_integral) v = round_integral(v, p.rounding);
  if (v != v && p.to.bits == 32 && !p.sat) return 0x7fffffffu;
  return from_double(v, p);
}

void run_plan(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const Plan &p = *reinterpret_cast<const Plan *>(i->imm);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      write(w, i->op[0], p.to_width, l, convert(read(w, i->op[1], p.from_width, l), p));
    }
  }
}

// Two values to a packed pair: the first operand goes to the upper half.
void run_pair(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const Plan &p = *reinterpret_cast<const Plan *>(i->imm);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      uint64_t hi = convert(read(w, i->op[1], 4, l), p), lo = convert(read(w, i->op[2], 4, l), p);
      values<uint32_t>(w, i->op[0])[l] = static_cast<uint32_t>(hi << 16 | (lo & 0xffff));
    }
  }
}

// The most common conversions of kernels for tensor cores, on the bits of an f32.
uint32_t bf16_nearest(uint32_t v) {
  if ((v & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (v + 0x7fff + (v >> 16 & 1)) >> 16;  // a carry out of the fraction is right, up to infinity
}
uint32_t bf16_pair(uint32_t hi, uint32_t lo) { return bf16_nearest(hi) << 16 | bf16_nearest(lo); }
// Like the machine code on all cards so far, it also truncates NaN. So 0x7fffffff becomes 0x7fffe000,
// and a NaN with zeros above its low 13 bits becomes an infinity.
uint32_t tf32_away(uint32_t v) { return ((v & 0x7fffffff) < 0x7f800000 ? v + 0x1000 : v) & ~0x1fffu; }

// Plans are never freed: there are few different ones.
const Plan *keep(const Plan &p);

bool quick(Decoder &d, const Plan &p) {
  if (p.ftz || p.sat || p.relu || p.to_integral) return false;
  auto is = [](Type t, unsigned width, char kind, unsigned bits) {
    return t.kind == kind && t.bits == bits && t.count == 1 && width * 8 == bits;
  };
  auto from = [&](char kind, unsigned bits) { return is(p.from, p.from_width, kind, bits); };
  auto to = [&](char kind, unsigned bits) { return is(p.to, p.to_width, kind, bits); };
  if (from('s', 32) && (to('s', 64) || to('u', 64)))
    return emit_lanes<[](int32_t a) -> int64_t { return a; }, int64_t, int32_t>(d), true;
  if (from('u', 32) && (to('s', 64) || to('u', 64)))
    return emit_lanes<[](uint32_t a) -> uint64_t { return a; }, uint64_t, uint32_t>(d), true;
  if ((from('s', 64) || from('u', 64)) && (to('s', 32) || to('u', 32)))
    return emit_lanes<[](uint64_t a) -> uint32_t { return a; }, uint32_t, uint64_t>(d), true;
  if (p.to.is("T") && p.rounding == Rounding::away) return emit_lanes<tf32_away, uint32_t, uint32_t>(d), true;
  if (p.rounding == Rounding::nearest) {
    if (from('f', 32) && to('B', 16))
      return emit_lanes<[](uint32_t v) -> uint16_t { return bf16_nearest(v); }, uint16_t, uint32_t>(d), true;
    if (from('s', 32) && to('f', 32)) return emit_lanes<[](int32_t a) -> float { return a; }, float, int32_t>(d), true;
    if (from('u', 32) && to('f', 32))
      return emit_lanes<[](uint32_t a) -> float { return a; }, float, uint32_t>(d), true;
  }
  return false;
}

void op_cvt(Decoder &d) {
  Plan p{};
  bool integral = false, rounded = true;
  if (d.take("rn")) p.rounding = Rounding::nearest;
  else if (d.take("rz")) p.rounding = Rounding::zero;
  else if (d.take("rm")) p.rounding = Rounding::down;
  else if (d.take("rp")) p.rounding = Rounding::up;
  else if (d.take("rna")) p.rounding = Rounding::away;
  else if (d.take("rni")) p.rounding = Rounding::nearest, integral = true;
  else if (d.take("rzi")) p.rounding = Rounding::zero, integral = true;
  else if (d.take("rmi")) p.rounding = Rounding::down, integral = true;
  else if (d.take("rpi")) p.rounding = Rounding::up, integral = true;
  else rounded = false;
  p.relu = d.take("relu");
  p.ftz = d.take("ftz");
  p.sat = d.take("sat");
  p.to = d.type();
  p.from = d.type();
  bool from_real = p.from.is("fB"), to_real = p.to.is("fBT");
  if (p.to.kind == 'p' || p.from.kind == 'p' || p.to.kind == 'b' || p.from.kind == 'b' || p.from.count != 1)
    d.unknown();
  // Whether a rounding is needed, forbidden, or to an integer.
  bool narrows = to_real && (!from_real || p.to.is("T") || p.to.bits < p.from.bits ||
                             (p.to.bits == 16 && p.from.bits == 16 && p.to.kind != p.from.kind));
  bool needs = to_real ? narrows : from_real;
  if (integral) {
    if (!from_real || (to_real && (p.to.bits != p.from.bits || p.to.kind != p.from.kind))) d.unknown();
    p.to_integral = to_real;
  } else if (rounded != needs || (rounded && !to_real)) {
    d.fail(rounded ? "this rounding is not possible here" : "a rounding is missing");
  }
  if (p.rounding == Rounding::away && !p.to.is("T")) d.unknown();
  if (p.relu && !(p.to.is("BT") || p.to.bits == 16)) d.unknown();
  if (p.to.is("T") && p.from.bits != 32) d.unknown();
  if (p.ftz && p.to.bits != 32 && p.from.bits != 32) d.unknown();
  if (p.sat && p.to.is("BT")) d.unknown();
  if (p.to.count == 2) {
    if (p.from.kind != 'f' || p.from.bits != 32) d.unknown();
    d.expect(3);
    if (p.to.is("B") && p.rounding == Rounding::nearest && !p.relu)
      return emit_lanes<bf16_pair, uint32_t, uint32_t, uint32_t>(d);
    Slot hi = d.in(1, 4), lo = d.in(2, 4), o = d.out(size_t(0), 4);
    p.to.count = 1;
    p.from_width = 4;
    d.emit(run_pair, run_pair, {o, hi, lo}, reinterpret_cast<int64_t>(keep(p)));
    return;
  }
  d.expect(2);
  auto width = [&](const Operand &o, Type t) {
    unsigned w = d.width(o), least = std::max(2u, t.bytes());
    if (!w) return least;
    if (w < least || (w > least && t.is("fBT"))) d.fail("a register has the wrong size");
    return w;
  };
  p.to_width = width(d.operand(0), p.to);
  p.from_width = width(d.operand(1), p.from);
  if (quick(d, p)) return;
  Slot a = d.in(1, p.from_width), o = d.out(size_t(0), p.to_width);
  d.emit(run_plan, run_plan, {o, a}, reinterpret_cast<int64_t>(keep(p)));
}

const Plan *keep(const Plan &p) {
  static std::mutex lock;
  static std::vector<std::unique_ptr<Plan>> plans;
  std::lock_guard guard(lock);
  for (auto &k : plans)
    if (!std::memcmp(k.get(), &p, sizeof p)) return k.get();
  plans.push_back(std::make_unique<Plan>());
  std::memcpy(plans.back().get(), &p, sizeof p);
  return plans.back().get();
}

const Opcode ops[] = {{{"cvt"}, op_cvt}};

}  // namespace
}  // namespace ptx

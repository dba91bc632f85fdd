// mov, selection and comparison: selp, slct, setp, set.
#include <chrono>
#include <cmath>

#include "float.h"
#include "lanes.h"
#include "types.h"

namespace ptx {
namespace {

template <class T> T same(T a) { return a; }

// Packing and unpacking: the first element is the low part.
template <class W, class N>
struct Vector {
  static constexpr int n = sizeof(W) / sizeof(N);
  static void pack(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      W *d = values<W>(w, i->op[0]);
      for (int l = 0; l < kLanes; l++) {
        if (!(m >> l & 1)) continue;
        W v = 0;
        for (int k = 0; k < n; k++) v |= static_cast<W>(values<N>(w, i->op[1 + k])[l]) << sizeof(N) * 8 * k;
        d[l] = v;
      }
    }
  }
  static void unpack(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      const W *a = values<W>(w, i->op[n]);
      for (int l = 0; l < kLanes; l++) {
        if (!(m >> l & 1)) continue;
        for (int k = 0; k < n; k++) values<N>(w, i->op[k])[l] = static_cast<N>(a[l] >> sizeof(N) * 8 * k);
      }
    }
  }
};

template <class W, class N>
void pack_or_unpack(Decoder &d) {
  bool pack = d.operand(1).kind == Operand::vector;
  auto &parts = d.operand(pack ? 1 : 0).parts;
  if (parts.size() != Vector<W, N>::n) d.fail("the vector has the wrong length");
  std::vector<Slot> slots;
  for (auto &p : parts) {
    if (pack) slots.push_back(d.in(p, sizeof(N)));
    else slots.push_back(p.kind == Operand::sink ? d.scratch(sizeof(N)) : d.out(p, sizeof(N)));
  }
  if (pack) {
    slots.insert(slots.begin(), d.out(size_t(0), sizeof(W)));
    d.emit(Vector<W, N>::pack, Vector<W, N>::pack, slots);
  } else {
    slots.push_back(d.in(1, sizeof(W)));
    d.emit(Vector<W, N>::unpack, Vector<W, N>::unpack, slots);
  }
}

void vectors(Decoder &d, Type t) {
  const Operand &v = d.operand(d.operand(1).kind == Operand::vector ? 1 : 0);
  unsigned part = t.bytes() / v.parts.size();
  if (t.bytes() == 4 && part == 2) return pack_or_unpack<uint32_t, uint16_t>(d);
  if (t.bytes() == 8 && part == 4) return pack_or_unpack<uint64_t, uint32_t>(d);
  if (t.bytes() == 8 && part == 2) return pack_or_unpack<uint64_t, uint16_t>(d);
  d.fail("a vector of this kind is not supported");
}

// Clocks advance by themselves; %globaltimer counts nanoseconds.
void clock_value(Warp &w, const Inst *i, Mask m) {
  using namespace std::chrono;
  uint64_t now = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    if (i->imm == 8) values<uint64_t>(w, i->op[0])[l] = now;
    else values<uint32_t>(w, i->op[0])[l] = static_cast<uint32_t>(i->imm == 32 ? now >> 32 : now);
  }
}

bool clocks(Decoder &d) {
  const Operand &o = d.operand(1);
  if (o.kind != Operand::name) return false;
  unsigned bytes;
  int64_t high = 0;
  if (o.text == "%clock" || o.text == "%globaltimer_lo") bytes = 4;
  else if (o.text == "%clock_hi" || o.text == "%globaltimer_hi") bytes = 4, high = 32;
  else if (o.text == "%clock64" || o.text == "%globaltimer") bytes = 8;
  else return false;
  Exec run = [](Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) clock_value(w, i, m);
  };
  Slot out = d.out(size_t(0), bytes);
  d.emit(run, run, {out}, high ? high : bytes);
  return true;
}

void op_mov(Decoder &d) {
  Type t = d.type();
  d.expect(2);
  if (t.kind == 'p') {
    Slot a = d.pred(d.operand(1)), p = d.out(size_t(0), 1);
    Exec run = [](Warp &w, const Inst *i, uint32_t count, Mask m) {
      for (; count; count--, i++) {
        Mask &d = w.pred(i->op[0]);
        d = (d & ~m) | (w.pred(i->op[1]) & m);
      }
    };
    d.emit(run, run, {p, a});
    return;
  }
  if (d.operand(0).kind == Operand::vector || d.operand(1).kind == Operand::vector) return vectors(d, t);
  if (clocks(d)) return;
  by_bits(d, t, [&]<class T>() { emit_lanes<same<T>, T, T>(d); });
}

template <class T>
struct Select {
  static void full(Warp &w, const Inst *i, uint32_t count, Mask) {
    for (; count; count--, i++) run(values<T>(w, i->op[0]), w, i);
  }
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      alignas(64) T t[kLanes];
      run(t, w, i);
      blend(values<T>(w, i->op[0]), t, m);
    }
  }

 private:
  static void run(T *d, Warp &w, const Inst *i) {
    const T *a = values<const T>(w, i->op[1]), *b = values<const T>(w, i->op[2]);
    Mask p = w.pred(i->op[3]);
#pragma GCC ivdep
    for (int l = 0; l < kLanes; l++) d[l] = p >> l & 1 ? a[l] : b[l];
  }
};

void op_selp(Decoder &d) {
  Type t = d.type();
  if (t.kind == 'p' || t.count != 1) d.unknown();
  d.expect(4);
  by_bits(d, t, [&]<class T>() {
    Slot a = d.in(1, sizeof(T)), b = d.in(2, sizeof(T)), p = d.pred(d.operand(3)), o = d.out(size_t(0), sizeof(T));
    d.emit(Select<T>::full, Select<T>::masked, {o, a, b, p});
  });
}

// a where c >= 0, otherwise b.
void op_slct(Decoder &d) {
  bool ftz = d.take("ftz");
  Type t = d.type(), c = d.type();
  if (t.kind == 'p' || c.bits != 32 || !c.is("sf") || (ftz && !c.is("f"))) d.unknown();
  by_bits(d, t, [&]<class T>() {
    if (c.is("s")) emit_lanes<[](T a, T b, int32_t s) -> T { return s < 0 ? b : a; }, T, T, T, int32_t>(d);
    else if (ftz) emit_lanes<[](T a, T b, float s) -> T { return flush<true>(s) >= 0 ? a : b; }, T, T, T, float>(d);
    else emit_lanes<[](T a, T b, float s) -> T { return s >= 0 ? a : b; }, T, T, T, float>(d);
  });
}

// Comparisons. A test passes the mask of lanes for which it is true to its Use.
enum Join : int64_t { kAlone, kAnd, kOr, kXor };

struct SetPredicate {  // op: p, a, b
  static void use(Warp &w, const Inst *i, Mask r, Mask m) {
    Mask &p = w.pred(i->op[0]);
    p = (p & ~m) | (r & m);
  }
};

// op: p, a, b, q, c; imm: how c joins, and 4 for !c.
Mask joined(Warp &w, const Inst *i, Mask r) {
  Mask c = w.pred(i->op[4]) ^ (i->imm & 4 ? kFull : 0);
  switch (i->imm & 3) {
    case kAnd: return r & c;
    case kOr: return r | c;
    case kXor: return r ^ c;
  }
  return r;
}
struct SetBoth {
  static void use(Warp &w, const Inst *i, Mask r, Mask m) {
    Mask first = joined(w, i, r), second = joined(w, i, ~r);
    Mask &p = w.pred(i->op[0]);
    p = (p & ~m) | (first & m);
    Mask &q = w.pred(i->op[3]);
    q = (q & ~m) | (second & m);
  }
};
struct SetValue {  // set: all ones or 1.0f; imm & 8: float
  static void use(Warp &w, const Inst *i, Mask r, Mask m) {
    uint32_t *d = values<uint32_t>(w, i->op[0]), one = i->imm & 8 ? 0x3f800000u : ~0u;
    r = joined(w, i, r);
    for (int l = 0; l < kLanes; l++)
      if (m >> l & 1) d[l] = r >> l & 1 ? one : 0;
  }
};

template <class Use, auto F, class T>
void compare(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) Use::use(w, i, Tests<F, T, T>::of(w, i, 1), m);
}

template <class Use, class T>
Exec comparison(Decoder &d, std::string_view op) {
  if (op == "eq") return compare<Use, [](T a, T b) { return a == b; }, T>;
  if (op == "ne") return compare<Use, [](T a, T b) { return a < b || b < a; }, T>;
  if (op == "lt") return compare<Use, [](T a, T b) { return a < b; }, T>;
  if (op == "le") return compare<Use, [](T a, T b) { return a <= b; }, T>;
  if (op == "gt") return compare<Use, [](T a, T b) { return b < a; }, T>;
  if (op == "ge") return compare<Use, [](T a, T b) { return b <= a; }, T>;
  if constexpr (std::is_floating_point_v<T>) {
    // Unordered comparisons are true if an operand is NaN.
    if (op == "equ") return compare<Use, [](T a, T b) { return !(a < b || b < a); }, T>;
    if (op == "neu") return compare<Use, [](T a, T b) { return a != b; }, T>;
    if (op == "ltu") return compare<Use, [](T a, T b) { return !(b <= a); }, T>;
    if (op == "leu") return compare<Use, [](T a, T b) { return !(b < a); }, T>;
    if (op == "gtu") return compare<Use, [](T a, T b) { return !(a <= b); }, T>;
    if (op == "geu") return compare<Use, [](T a, T b) { return !(a < b); }, T>;
    if (op == "num") return compare<Use, [](T a, T b) { return a == a && b == b; }, T>;
    if (op == "nan") return compare<Use, [](T a, T b) { return a != a || b != b; }, T>;
  } else if constexpr (std::is_unsigned_v<T>) {
    if (op == "lo") return comparison<Use, T>(d, "lt");
    if (op == "ls") return comparison<Use, T>(d, "le");
    if (op == "hi") return comparison<Use, T>(d, "gt");
    if (op == "hs") return comparison<Use, T>(d, "ge");
  }
  d.unknown();
}

// f32 with subnormal operands taken as zero.
struct Flushed {
  float value;
  operator float() const { return flush<true>(value); }
};
template <class Use>
Exec comparison_ftz(Decoder &d, std::string_view op) {
  using T = Flushed;
  auto c = [](auto f) -> Exec { return compare<Use, decltype(f){}, T>; };
  if (op == "eq") return c([](T a, T b) { return float(a) == float(b); });
  if (op == "ne") return c([](T a, T b) { return float(a) < float(b) || float(b) < float(a); });
  if (op == "lt") return c([](T a, T b) { return float(a) < float(b); });
  if (op == "le") return c([](T a, T b) { return float(a) <= float(b); });
  if (op == "gt") return c([](T a, T b) { return float(b) < float(a); });
  if (op == "ge") return c([](T a, T b) { return float(b) <= float(a); });
  if (op == "equ") return c([](T a, T b) { return !(float(a) < float(b) || float(b) < float(a)); });
  if (op == "neu") return c([](T a, T b) { return float(a) != float(b); });
  if (op == "ltu") return c([](T a, T b) { return !(float(b) <= float(a)); });
  if (op == "leu") return c([](T a, T b) { return !(float(b) < float(a)); });
  if (op == "gtu") return c([](T a, T b) { return !(float(a) <= float(b)); });
  if (op == "geu") return c([](T a, T b) { return !(float(a) < float(b)); });
  if (op == "num") return c([](T a, T b) { return float(a) == float(a) && float(b) == float(b); });
  if (op == "nan") return c([](T a, T b) { return float(a) != float(a) || float(b) != float(b); });
  d.unknown();
}

template <class Use>
Exec comparison_of(Decoder &d, std::string_view op, Type t, bool ftz) {
  if (t.count != 1 || t.bits < 16) d.unknown();
  if (t.is("b") && op != "eq" && op != "ne") d.unknown();
  if (t.is("f")) {
    if (t.bits == 16) d.unknown();
    if (t.bits == 64) return comparison<Use, double>(d, op);
    return ftz ? comparison_ftz<Use>(d, op) : comparison<Use, float>(d, op);
  }
  Exec e = nullptr;
  by_integer(d, t, [&]<class T>() { e = comparison<Use, T>(d, op); });
  return e;
}

int64_t take_join(Decoder &d) { return d.take("and") ? kAnd : d.take("or") ? kOr : d.take("xor") ? kXor : kAlone; }

// setp.cmp{.bool}{.ftz}.type p{|q}, a, b{, {!}c}
void op_setp(Decoder &d) {
  std::string_view op = d.next();
  int64_t join = take_join(d);
  bool ftz = d.take("ftz");
  Type t = d.type();
  d.expect(join == kAlone ? 3 : 4);
  Slot a = d.in(1, t.bytes()), b = d.in(2, t.bytes());
  const Operand &o = d.operand(0);
  if (join == kAlone && o.kind == Operand::reg) {
    Exec run = comparison_of<SetPredicate>(d, op, t, ftz);
    Slot p = d.out(o, 1);
    d.emit(run, run, {p, a, b});
    return;
  }
  Slot c = d.number(0, 1);
  if (join != kAlone) {
    Operand third = d.operand(3);
    if (third.negated) join |= 4, third.negated = false;
    c = d.pred(third);
  }
  auto result = [&](const Operand &r) { return r.kind == Operand::sink ? d.scratch(1) : d.out(r, 1); };
  bool pair = o.kind == Operand::pair;
  Slot p = result(pair ? o.parts[0] : o), q = pair ? result(o.parts[1]) : d.scratch(1);
  Exec run = comparison_of<SetBoth>(d, op, t, ftz);
  d.emit(run, run, {p, a, b, q, c}, join);
}

// set.cmp{.bool}{.ftz}.type.type d, a, b{, {!}c}
void op_set(Decoder &d) {
  std::string_view op = d.next();
  int64_t join = take_join(d);
  bool ftz = d.take("ftz");
  Type to = d.type(), t = d.type();
  if (to.bits != 32 || !to.is("usf")) d.unknown();
  d.expect(join == kAlone ? 3 : 4);
  Slot a = d.in(1, t.bytes()), b = d.in(2, t.bytes()), c = d.number(0, 1);
  if (join != kAlone) {
    Operand third = d.operand(3);
    if (third.negated) join |= 4, third.negated = false;
    c = d.pred(third);
  }
  Slot o = d.out(size_t(0), 4);
  Exec run = comparison_of<SetValue>(d, op, t, ftz);
  d.emit(run, run, {o, a, b, o, c}, join | (to.is("f") ? 8 : 0));
}

const Opcode ops[] = {
    {{"mov"}, op_mov}, {{"selp"}, op_selp}, {{"slct"}, op_slct}, {{"setp"}, op_setp}, {{"set"}, op_set},
};

}  // namespace
}  // namespace ptx

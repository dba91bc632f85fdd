// atom and red. OS threads share memory, so every operation is an atomic operation of the host.
#include <algorithm>

#include "address.h"
#include "lanes.h"
#include "operands.h"

namespace ptx {
namespace {

template <class F, class T>
T exchange(char *p, F f, bool &changed) {
  std::atomic_ref<T> place(*reinterpret_cast<T *>(p));
  T old = place.load(), now;
  do now = f(old);
  while (!place.compare_exchange_weak(old, now));
  changed |= old != now;
  return old;
}

// op: d, b, c, -, address, space. T: an unsigned integer of the size; lanes one after the other.
template <auto F, class T, bool Result>
void atomic(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    uint64_t offset[kLanes], seen = 0;
    char *p = locate_in(static_cast<Space>(i->op[8]), w, *i, m, sizeof(T), offset);
    const T *b = values<const T>(w, i->op[1]), *c = values<const T>(w, i->op[2]);
    T old[kLanes];
    bool changed = false;
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      auto f = [&](T a) { return F(a, b[l], c[l]); };
      old[l] = exchange<decltype(f), T>(p + offset[l], f, changed);
      seen = seen * 31 + old[l] + offset[l];
    }
    if (Result)
      for (Mask rest = m; rest; rest &= rest - 1) {
        int l = std::countr_zero(rest);
        values<T>(w, i->op[0])[l] = old[l];
      }
    if (changed) note_write(w);
    else note_strong(w, *i, seen);
  }
}

template <class T, class U>
constexpr auto add_real = [](U a, U b, U) {
  return std::bit_cast<U>(static_cast<T>(std::bit_cast<T>(a) + std::bit_cast<T>(b)));
};

template <bool Result>
Exec operation(Decoder &d, std::string_view op, Type t) {
  using U = uint32_t;
  using V = uint64_t;
  using S = int32_t;
  using W = int64_t;
  auto is = [&](const char *kinds, unsigned bits) { return t.is(kinds) && t.bits == bits && t.count == 1; };
  if (op == "add" && (is("us", 32))) return atomic<[](U a, U b, U) { return a + b; }, U, Result>;
  if (op == "add" && is("u", 64)) return atomic<[](V a, V b, V) { return a + b; }, V, Result>;
  if (op == "add" && is("f", 32)) return atomic<add_real<float, U>, U, Result>;
  if (op == "add" && is("f", 64)) return atomic<add_real<double, V>, V, Result>;
  if (op == "and" && is("b", 32)) return atomic<[](U a, U b, U) { return a & b; }, U, Result>;
  if (op == "and" && is("b", 64)) return atomic<[](V a, V b, V) { return a & b; }, V, Result>;
  if (op == "or" && is("b", 32)) return atomic<[](U a, U b, U) { return a | b; }, U, Result>;
  if (op == "or" && is("b", 64)) return atomic<[](V a, V b, V) { return a | b; }, V, Result>;
  if (op == "xor" && is("b", 32)) return atomic<[](U a, U b, U) { return a ^ b; }, U, Result>;
  if (op == "xor" && is("b", 64)) return atomic<[](V a, V b, V) { return a ^ b; }, V, Result>;
  if (op == "exch" && is("b", 32)) return atomic<[](U, U b, U) { return b; }, U, Result>;
  if (op == "exch" && is("b", 64)) return atomic<[](V, V b, V) { return b; }, V, Result>;
  if (op == "inc" && is("u", 32)) return atomic<[](U a, U b, U) { return a >= b ? 0 : a + 1; }, U, Result>;
  if (op == "dec" && is("u", 32)) return atomic<[](U a, U b, U) { return a == 0 || b < a ? b : a - 1; }, U, Result>;
  if (op == "min" && is("u", 32)) return atomic<[](U a, U b, U) { return std::min(a, b); }, U, Result>;
  if (op == "min" && is("s", 32)) return atomic<[](U a, U b, U) -> U { return std::min<S>(a, b); }, U, Result>;
  if (op == "min" && is("u", 64)) return atomic<[](V a, V b, V) { return std::min(a, b); }, V, Result>;
  if (op == "min" && is("s", 64)) return atomic<[](V a, V b, V) -> V { return std::min<W>(a, b); }, V, Result>;
  if (op == "max" && is("u", 32)) return atomic<[](U a, U b, U) { return std::max(a, b); }, U, Result>;
  if (op == "max" && is("s", 32)) return atomic<[](U a, U b, U) -> U { return std::max<S>(a, b); }, U, Result>;
  if (op == "max" && is("u", 64)) return atomic<[](V a, V b, V) { return std::max(a, b); }, V, Result>;
  if (op == "max" && is("s", 64)) return atomic<[](V a, V b, V) -> V { return std::max<W>(a, b); }, V, Result>;
  if (op == "cas" && is("b", 32)) return atomic<[](U a, U b, U c) { return a == b ? c : a; }, U, Result>;
  if (op == "cas" && is("b", 64)) return atomic<[](V a, V b, V c) { return a == b ? c : a; }, V, Result>;
  d.unknown();
}

// atom{.sem}{.scope}{.space}.op.type d, [a], b{, c}; red without d.
template <bool Result>
void op_atomic(Decoder &d) {
  uint32_t flags = kStrong | kAtomic | kWrite;
  d.take_any({"relaxed", "acquire", "release", "acq_rel"});
  d.take_any({"cta", "cluster", "gpu", "sys"});
  Space space = take_space(d);
  if (space == Space::local || space == Space::param) d.unknown();
  std::string_view op = d.next();
  Type t = d.type();
  Exec run = operation<Result>(d, op, t);
  if (!Result && (op == "exch" || op == "cas")) d.unknown();
  size_t first = Result ? 1 : 0;
  d.expect(first + (op == "cas" ? 3 : 2));
  Address a = take_address(d, d.operand(first), space);
  if (a.narrow) flags |= kAddress32;
  Slot b = d.in(first + 1, t.bytes()), c = op == "cas" ? d.in(first + 2, t.bytes()) : b;
  Slot r = b;
  if (Result) r = d.operand(0).kind == Operand::sink ? d.scratch(t.bytes()) : d.out(size_t(0), t.bytes());
  Draft &draft = d.emit(run, run, {r, b, c, b, a.base}, a.offset);
  draft.inst.op[8] = static_cast<uint32_t>(a.space);
  draft.inst.op[kFlags] = flags;
  draft.inst.aux = d.access();
}

const Opcode ops[] = {{{"atom"}, op_atomic<true>}, {{"red"}, op_atomic<false>}};

}  // namespace
}  // namespace ptx

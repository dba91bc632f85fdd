// Instructions that do the same to every lane, as loops that the compiler vectorises.
#pragma once
#include <utility>

#include "decode.h"

namespace ptx {

template <class T>
inline T *values(const Warp &w, uint32_t offset) {
  return static_cast<T *>(__builtin_assume_aligned(w.file + offset, 64));
}

// d = t for the lanes of m. Not inlined: GCC 12 fails on some masked operations.
template <class D>
[[gnu::noinline]] void blend(D *d, const D *t, Mask m) {
#pragma GCC ivdep
  for (int l = 0; l < kLanes; l++) d[l] = m >> l & 1 ? t[l] : d[l];
}

// d = F(a…) for each lane. A destination may be one of the sources, but never overlaps one
// otherwise (build.cpp), so lanes are independent.
template <auto F, class D, class... A>
struct Lanes {
  static void full(Warp &w, const Inst *i, uint32_t count, Mask) {
    for (; count; count--, i++) run(w, i, std::index_sequence_for<A...>());
  }
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) run_masked(w, i, m, std::index_sequence_for<A...>());
  }

 private:
  template <size_t... K>
  static void run(Warp &w, const Inst *i, std::index_sequence<K...>) {
    loop(values<D>(w, i->op[0]), values<const A>(w, i->op[K + 1])...);
  }
  template <size_t... K>
  static void run_masked(Warp &w, const Inst *i, Mask m, std::index_sequence<K...>) {
    alignas(64) D t[kLanes];
    loop(t, values<const A>(w, i->op[K + 1])...);
    blend(values<D>(w, i->op[0]), t, m);
  }
  static void loop(D *d, const A *...a) {
#pragma GCC ivdep
    for (int l = 0; l < kLanes; l++) d[l] = F(a[l]...);
  }
};

// Predicate d = F(a…) for each lane.
template <auto F, class... A>
struct Tests {
  static Mask value(const A *...a) {
    Mask r = 0;
    for (int l = 0; l < kLanes; l++) r |= static_cast<Mask>(F(a[l]...)) << l;
    return r;
  }
  template <size_t... K>
  static Mask run(Warp &w, const Inst *i, size_t first, std::index_sequence<K...>) {
    return value(values<const A>(w, i->op[first + K])...);
  }
  // The test over the operands from op[first] on.
  static Mask of(Warp &w, const Inst *i, size_t first) { return run(w, i, first, std::index_sequence_for<A...>()); }
};

// emit_lanes emits d = F(a…) over the statement's operands in order.
template <auto F, class D, class... A>
void emit_lanes(Decoder &d) {
  d.expect(1 + sizeof...(A));
  std::vector<Slot> slots;
  size_t k = 1;
  (slots.push_back(d.in(k++, sizeof(A))), ...);
  slots.insert(slots.begin(), d.out(size_t(0), sizeof(D)));
  d.emit(Lanes<F, D, A...>::full, Lanes<F, D, A...>::masked, slots);
}

}  // namespace ptx

// ld, st and addresses: cvta, mapa, isspacep, prefetch.
#include <algorithm>

#include "lanes.h"
#include "mbarrier.h"
#include "address.h"
#include "operands.h"

namespace ptx {
namespace {

template <class T>
T load(const char *p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

typedef uint32_t Four [[gnu::vector_size(16)]];

// 32 times 16 bytes, turned into four registers.
void transpose(const char *p, const uint64_t *offset, uint32_t *const d[4]) {
  for (int l = 0; l < kLanes; l += 4) {
    Four a = load<Four>(p + offset[l]), b = load<Four>(p + offset[l + 1]), c = load<Four>(p + offset[l + 2]),
         e = load<Four>(p + offset[l + 3]);
    Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ce = __builtin_shufflevector(c, e, 0, 4, 1, 5);
    Four ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), ce2 = __builtin_shufflevector(c, e, 2, 6, 3, 7);
    Four r[4] = {__builtin_shufflevector(ab, ce, 0, 1, 4, 5), __builtin_shufflevector(ab, ce, 2, 3, 6, 7),
                 __builtin_shufflevector(ab2, ce2, 0, 1, 4, 5), __builtin_shufflevector(ab2, ce2, 2, 3, 6, 7)};
    for (int k = 0; k < 4; k++) std::memcpy(d[k] + l, &r[k], sizeof r[k]);
  }
}

bool contiguous(const uint64_t *offset, unsigned step) {
  if (offset[kLanes - 1] - offset[0] != step * (kLanes - 1ull)) return false;
  uint64_t differs = 0;
  for (int l = 0; l < kLanes; l++) differs |= (offset[l] - offset[0]) ^ (step * static_cast<uint64_t>(l));
  return !differs;
}

// V values of type T per lane, into registers of type R.
template <class T, class R, int V>
void gather(const char *p, const uint64_t *offset, R *const d[V]) {
  if constexpr (V == 4 && sizeof(T) == 4 && sizeof(R) == 4) {
    transpose(p, offset, reinterpret_cast<uint32_t *const *>(d));
  } else {
    if (V == 1 && sizeof(T) == sizeof(R) && contiguous(offset, sizeof(T))) {
      std::memcpy(d[0], p + offset[0], sizeof(T) * kLanes);
      return;
    }
    for (int l = 0; l < kLanes; l++)
      for (int k = 0; k < V; k++) d[k][l] = static_cast<R>(load<T>(p + offset[l] + k * sizeof(T)));
  }
}

uint64_t digest(const uint64_t *offset, const void *values, size_t bytes) {
  uint64_t h = 14695981039346656037ull;
  auto add = [&](uint64_t v) { h = (h ^ v) * 1099511628211ull; };
  for (int l = 0; l < kLanes; l++) add(offset[l]);
  for (size_t k = 0; k < bytes; k++) add(static_cast<const unsigned char *>(values)[k]);
  return h;
}

template <Space S, class T, class R, int V>
struct Load {
  static void full(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      alignas(64) uint64_t offset[kLanes];
      const char *p = locate<S>(w, *i, m, sizeof(T) * V, offset);
      R *d[V];
      for (int k = 0; k < V; k++) d[k] = values<R>(w, i->op[k]);
      gather<T, R, V>(p, offset, d);
      if (i->op[kFlags] & kStrong) note_strong(w, *i, digest(offset, d[0], sizeof(R) * kLanes));
    }
  }
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      alignas(64) uint64_t offset[kLanes];
      alignas(64) R t[V][kLanes];
      const char *p = locate<S>(w, *i, m, sizeof(T) * V, offset);
      R *d[V];
      for (int k = 0; k < V; k++) d[k] = t[k];
      gather<T, R, V>(p, offset, d);
      for (int k = 0; k < V; k++) blend(values<R>(w, i->op[k]), t[k], m);
      if (i->op[kFlags] & kStrong) note_strong(w, *i, digest(offset, t[0], sizeof(R) * kLanes));
    }
  }
};

template <Space S, class T, class R, int V>
void store(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    alignas(64) uint64_t offset[kLanes];
    char *p = locate<S>(w, *i, m, sizeof(T) * V, offset);
    const R *s[V];
    for (int k = 0; k < V; k++) s[k] = values<const R>(w, i->op[k]);
    note_write(w);
    if (m == kFull) {
      if (V == 1 && sizeof(T) == sizeof(R) && contiguous(offset, sizeof(T))) {
        std::memcpy(p + offset[0], s[0], sizeof(T) * kLanes);
        continue;
      }
      for (int l = 0; l < kLanes; l++)
        for (int k = 0; k < V; k++) {
          T v = static_cast<T>(s[k][l]);
          std::memcpy(p + offset[l] + k * sizeof(T), &v, sizeof v);
        }
      continue;
    }
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      for (int k = 0; k < V; k++) {
        T v = static_cast<T>(s[k][l]);
        std::memcpy(p + offset[l] + k * sizeof(T), &v, sizeof v);
      }
    }
  }
}

struct Handlers {
  Exec full, masked;
};

template <Space S, class T, class R>
Handlers handlers(Decoder &d, bool write, int vector) {
  auto of = [&]<int V>() -> Handlers {
    if (write) return {store<S, T, R, V>, store<S, T, R, V>};
    return {Load<S, T, R, V>::full, Load<S, T, R, V>::masked};
  };
  switch (vector) {
    case 1: return of.template operator()<1>();
    case 2: return of.template operator()<2>();
    case 4:
      if (sizeof(T) <= 4) return of.template operator()<4>();
  }
  d.fail("a vector of this length is not supported");
}

// The register may be wider than the type: a loaded value is extended by the type's sign.
template <Space S>
Handlers choose(Decoder &d, Type t, unsigned width, bool write, int vector) {
  bool sign = t.kind == 's';
  switch (t.bytes() * 10 + width) {
    case 12:
      return sign ? handlers<S, int8_t, int16_t>(d, write, vector) : handlers<S, uint8_t, uint16_t>(d, write, vector);
    case 14:
      return sign ? handlers<S, int8_t, int32_t>(d, write, vector) : handlers<S, uint8_t, uint32_t>(d, write, vector);
    case 18:
      return sign ? handlers<S, int8_t, int64_t>(d, write, vector) : handlers<S, uint8_t, uint64_t>(d, write, vector);
    case 22: return handlers<S, uint16_t, uint16_t>(d, write, vector);
    case 24:
      return sign ? handlers<S, int16_t, int32_t>(d, write, vector) : handlers<S, uint16_t, uint32_t>(d, write, vector);
    case 28:
      return sign ? handlers<S, int16_t, int64_t>(d, write, vector) : handlers<S, uint16_t, uint64_t>(d, write, vector);
    case 44: return handlers<S, uint32_t, uint32_t>(d, write, vector);
    case 48:
      return sign ? handlers<S, int32_t, int64_t>(d, write, vector) : handlers<S, uint32_t, uint64_t>(d, write, vector);
    case 88: return handlers<S, uint64_t, uint64_t>(d, write, vector);
  }
  d.fail("a register is too small");
}

void access(Decoder &d, bool write) {
  uint32_t flags = write ? uint32_t(kWrite) : 0;
  bool ordered = take_order(d, flags, write);
  Space space = take_space(d);
  take_cache(d, write, ordered);
  int vector = d.take("v2") ? 2 : d.take("v4") ? 4 : 1;
  Type t = d.type();
  if (t.kind == 'p' || t.count != 1) d.unknown();
  d.expect(2);
  const Operand &value = d.operand(write ? 1 : 0);
  std::vector<Operand> parts = vector == 1 ? std::vector{value} : value.parts;
  if (vector > 1 && (value.kind != Operand::vector || parts.size() != static_cast<size_t>(vector)))
    d.fail("the vector has the wrong length");
  unsigned width = 0;
  for (auto &p : parts) {
    if (d.width(p)) {
      if (width && width != d.width(p)) d.fail("the registers of a vector have different sizes");
      width = d.width(p);
    }
  }
  if (!width) width = std::max(2u, t.bytes());
  if (width == 1) d.fail("predicates cannot be loaded or stored");
  std::vector<Slot> slots;
  for (auto &p : parts) {
    if (!write && p.kind == Operand::sink) slots.push_back(d.scratch(width));
    else slots.push_back(write ? d.in(p, width) : d.out(p, width));
  }
  slots.resize(4, slots[0]);
  Address a = take_address(d, d.operand(write ? 0 : 1), space);
  slots.push_back(a.base);
  if (a.narrow) flags |= kAddress32;
  Handlers h{};
  switch (a.space) {
    case Space::generic: h = choose<Space::generic>(d, t, width, write, vector); break;
    case Space::global: h = choose<Space::global>(d, t, width, write, vector); break;
    case Space::shared: h = choose<Space::shared>(d, t, width, write, vector); break;
    case Space::cluster: h = choose<Space::cluster>(d, t, width, write, vector); break;
    case Space::local: h = choose<Space::local>(d, t, width, write, vector); break;
    case Space::param:
      if (write) d.fail("parameters cannot be written");
      h = choose<Space::param>(d, t, width, write, vector);
      break;
  }
  Draft &draft = d.emit(h.full, h.masked, slots, a.offset);
  draft.inst.op[kFlags] = flags;
  draft.inst.aux = d.access();
}

// Generic addresses of global memory are the addresses themselves.
void cvta(Decoder &d) {
  bool to = d.take("to");
  uint64_t window = 0;
  if (d.take_any({"shared", "shared::cta", "shared::cluster"})) window = kSharedWindow;
  else if (d.take("local")) window = kLocalWindow;
  else if (!d.take_any({"global", "const"})) d.unknown();
  if (!d.take("u64")) d.unknown();
  d.expect(2);
  Slot a = d.in(1, 8), o = d.out(size_t(0), 8), add = d.number(to ? -window : window, 8);
  using Add = Lanes<[](uint64_t x, uint64_t y) { return x + y; }, uint64_t, uint64_t, uint64_t>;
  d.emit(Add::full, Add::masked, {o, a, add});
}

// mapa{.shared::cluster}.type d, a, rank: the address of a in another block of the cluster.
template <bool Generic, class T>
void map_rank(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    T *d = values<T>(w, i->op[0]);
    const T *a = values<const T>(w, i->op[1]);
    const uint32_t *rank = values<const uint32_t>(w, i->op[2]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      uint64_t at = a[l];
      if (Generic && at < kSharedWindow) fault(Fault::address, w, *i, l, "not an address of shared memory");
      if (rank[l] >= w.cta->unit->ctas.size())
        fault(Fault::address, w, *i, l, format("block %u of a cluster of %zu", rank[l], w.cta->unit->ctas.size()));
      uint64_t in = at & ((1ull << kRankShift) - 1);
      d[l] = static_cast<T>((Generic ? kSharedWindow : 0) | static_cast<uint64_t>(rank[l] + 1) << kRankShift | in);
    }
  }
}

void mapa(Decoder &d) {
  bool narrow = d.take("shared::cluster");
  Type t = d.type();
  if (!t.is("u") || t.bits < 32) d.unknown();
  d.expect(3);
  Slot a = d.in(1, t.bytes()), rank = d.in(2, 4), o = d.out(size_t(0), t.bytes());
  if (!narrow && t.bits == 32) d.unknown();
  Exec run = !narrow ? map_rank<true, uint64_t> : t.bits == 64 ? map_rank<false, uint64_t> : map_rank<false, uint32_t>;
  d.emit(run, run, {o, a, rank});
}

// getctarank{.shared::cluster}.type d, a: the rank of the block that an address belongs to.
template <bool Generic, class T>
void rank_of(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const T *a = values<const T>(w, i->op[1]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      uint64_t at = a[l];
      if (Generic && at < kSharedWindow) fault(Fault::address, w, *i, l, "not an address of shared memory");
      uint64_t rank = (Generic ? at - kSharedWindow : at) >> kRankShift;
      values<uint32_t>(w, i->op[0])[l] = rank ? rank - 1 : w.cta->rank;
    }
  }
}

void getctarank(Decoder &d) {
  bool narrow = d.take("shared::cluster");
  Type t = d.type();
  if (!t.is("u") || t.bits < 32 || (!narrow && t.bits == 32)) d.unknown();
  d.expect(2);
  Slot a = d.in(1, t.bytes()), o = d.out(size_t(0), 4);
  Exec run = !narrow ? rank_of<true, uint64_t> : t.bits == 64 ? rank_of<false, uint64_t> : rank_of<false, uint32_t>;
  d.emit(run, run, {o, a});
}

// isspacep.space p, a
template <Space S>
void is_space(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const uint64_t *a = values<const uint64_t>(w, i->op[1]);
    Mask r = 0;
    for (int l = 0; l < kLanes; l++) {
      bool shared = a[l] >= kSharedWindow, local = !shared && a[l] >= kLocalWindow, is;
      uint64_t rank = (a[l] - kSharedWindow) >> kRankShift;
      if (S == Space::cluster) is = shared;
      else if (S == Space::shared) is = shared && (rank == 0 || rank == w.cta->rank + 1u);
      else if (S == Space::local) is = local;
      else is = !shared && !local;
      r |= static_cast<Mask>(is) << l;
    }
    Mask &p = w.pred(i->op[0]);
    p = (p & ~m) | (r & m);
  }
}

void isspacep(Decoder &d) {
  Space s = take_space(d);
  d.expect(2);
  Slot a = d.in(1, 8), p = d.out(size_t(0), 1);
  Exec run = s == Space::shared    ? is_space<Space::shared>
             : s == Space::cluster ? is_space<Space::cluster>
             : s == Space::local   ? is_space<Space::local>
             : s == Space::global  ? is_space<Space::global>
                                   : nullptr;
  if (!run) d.unknown();
  d.emit(run, run, {p, a});
}

// prefetch changes nothing; its address need not be valid.
void prefetch(Decoder &d) {
  take_space(d);
  if (!d.take_any({"L1", "L2", "L2::evict_last", "L2::evict_normal"})) d.unknown();
  d.expect(1);
  take_address(d, d.operand(0), Space::global);
  Exec run = [](Warp &, const Inst *, uint32_t, Mask) {};
  d.emit(run, run, {});
}

const Opcode ops[] = {
    {{"mapa"}, mapa},
    {{"getctarank"}, getctarank},
    {{"isspacep"}, isspacep},
    {{"prefetch", "prefetchu"}, prefetch},
    {{"ld"}, [](Decoder &d) { access(d, false); }},
    {{"st"}, [](Decoder &d) { d.take("async") ? async_store(d) : access(d, true); }},
    {{"cvta"}, cvta},
};

}  // namespace
}  // namespace ptx

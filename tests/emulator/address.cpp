// Address checking. The lanes of a warp mostly stay in one allocation. Each access remembers it, so
// that the check is a vector comparison.
#include "address.h"

#include "watch.h"

namespace ptx {

const char *name_of(Space s) {
  static const char *const names[] = {"generic", "global", "shared", "shared::cluster", "local", "parameter"};
  return names[static_cast<int>(s)];
}

namespace {

size_t thread_of(const Warp &w, int lane) { return w.number * kLanes + lane; }

[[noreturn]] void outside(const Warp &w, const Inst &i, int lane, Space s, uint64_t a, unsigned size, uint64_t bytes) {
  fault(Fault::address, w, i, lane,
        format("%u bytes at %s address 0x%llx, outside of the %llu bytes there are", size, name_of(s),
               static_cast<unsigned long long>(a), static_cast<unsigned long long>(bytes)));
}

[[noreturn]] void misaligned(const Warp &w, const Inst &i, int lane, Space s, uint64_t a, unsigned size) {
  fault(Fault::misaligned, w, i, lane,
        format("%s address 0x%llx is not a multiple of %u", name_of(s), static_cast<unsigned long long>(a), size));
}

Cta &cta_of(Warp &w, const Inst &i, int lane, uint64_t a) {
  uint64_t rank = a >> kRankShift;
  if (!rank) return *w.cta;
  Unit &u = *w.cta->unit;
  if (rank > u.ctas.size())
    fault(Fault::address, w, i, lane,
          format("shared::cluster address 0x%llx is of no block of the cluster", static_cast<unsigned long long>(a)));
  Cta &c = u.ctas[rank - 1];
  if (!c.alive)
    fault(Fault::address, w, i, lane, format("shared memory of block %u of the cluster, which has exited", c.rank));
  return c;
}

// Returns the space of a generic address, and turns it into an address of that space.
Space narrow(uint64_t &a) {
  if (a >= kSharedWindow) return a -= kSharedWindow, Space::cluster;
  if (a >= kLocalWindow) return a -= kLocalWindow, Space::local;
  return Space::global;
}

// One lane, any space.
char *resolve(Warp &w, const Inst &i, int lane, Space s, uint64_t a, unsigned size) {
  if (s == Space::generic) s = narrow(a);
  Machine &m = *w.worker->machine;
  if (a % size) misaligned(w, i, lane, s, a, size);
  auto inside = [&](uint64_t address, uint64_t bytes) {
    if (bytes < size || address > bytes - size) outside(w, i, lane, s, a, size, bytes);
  };
  switch (s) {
    case Space::shared:
      inside(a, m.shared_bytes);
      return w.cta->shared.data() + a;
    case Space::cluster: {
      Cta &c = cta_of(w, i, lane, a);
      uint64_t in = a & ((1u << kRankShift) - 1);
      inside(in, m.shared_bytes);
      return c.shared.data() + in;
    }
    case Space::local:
      inside(a, m.local_bytes);
      return w.cta->local.data() + thread_of(w, lane) * m.local_bytes + a;
    case Space::param:
      inside(a, m.launch.kernel->param_bytes);
      return const_cast<char *>(m.launch.params) + a;
    default: {
      Range &r = w.worker->ranges[i.aux];
      if (r.hi - r.lo >= size && a >= r.lo && a <= r.hi - size) return r.host + (a - r.lo);
      uint64_t lo = 0, hi = 0;
      char *p = m.memory.find(a, size, &lo, &hi);
      if (!p)
        fault(Fault::address, w, i, lane,
              format("%u bytes at 0x%llx: ", size, static_cast<unsigned long long>(a)) + m.memory.explain(a, size));
      r = {lo, hi, p - (a - lo)};
      return p;
    }
  }
}

// Reports an access to the watcher, space by space.
void tell(Warp &w, const Inst &i, Mask m, unsigned size, Space s, const uint64_t *a) {
  for (Mask left = m; left;) {
    Watched access{};
    uint64_t first = a[std::countr_zero(left)];
    access.space = s == Space::generic ? narrow(first) : s;
    Mask same = 0;
    for (Mask rest = left; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      uint64_t at = a[l];
      if (s == Space::generic && narrow(at) != access.space) continue;
      same |= 1u << l;
      uint64_t rank = access.space == Space::cluster ? at >> kRankShift : 0;
      access.rank[l] = rank ? rank - 1 : w.cta->rank;
      access.address[l] = access.space == Space::cluster ? at & ((1u << kRankShift) - 1) : at;
    }
    left &= ~same;
    if (access.space == Space::cluster) access.space = Space::shared;
    if (access.space == Space::shared || access.space == Space::global) watch(w, i, same, size, access);
  }
}

// Whether all lanes lie within [lo, hi) and are aligned; offsets from lo.
bool within(const uint64_t *a, uint64_t lo, uint64_t hi, unsigned size, uint64_t *offset) {
  if (hi - lo < size) return false;
  uint64_t last = hi - lo - size, bad = 0;
  for (int l = 0; l < kLanes; l++) {
    offset[l] = a[l] - lo;
    bad |= (offset[l] > last ? 1 : 0) | (a[l] & (size - 1));
  }
  return !bad;
}

template <Space S>
char *check(Warp &w, const Inst &i, Mask m, unsigned size, const uint64_t *a, uint64_t *offset) {
  Machine &machine = *w.worker->machine;
  if constexpr (S == Space::shared) {
    if (within(a, 0, machine.shared_bytes, size, offset)) return w.cta->shared.data();
  }
  if constexpr (S == Space::global || S == Space::generic) {
    Range &r = w.worker->ranges[i.aux];
    if (within(a, r.lo, r.hi, size, offset)) return r.host;
    uint64_t first = a[0];
    if (S == Space::global || narrow(first) == Space::global) {
      resolve(w, i, std::countr_zero(m), Space::global, a[0], size);
      if (within(a, r.lo, r.hi, size, offset)) return r.host;
    }
  }
  char *base = nullptr;
  for (Mask rest = m; rest; rest &= rest - 1) {
    int l = std::countr_zero(rest);
    char *p = resolve(w, i, l, S, a[l], size);
    if (!base) {
      base = p;
      std::fill(offset, offset + kLanes, 0);
    }
    offset[l] = p - base;
  }
  return base;
}

}  // namespace

template <Space S>
char *locate(Warp &w, const Inst &i, Mask m, unsigned size, uint64_t *offset) {
  alignas(64) uint64_t a[kLanes];
  if (i.op[kFlags] & kAddress32) {
    const uint32_t *base = w.reg<uint32_t>(i.op[kAddress]);
    for (int l = 0; l < kLanes; l++) a[l] = static_cast<uint32_t>(base[l] + i.imm);
  } else {
    const uint64_t *base = w.reg<uint64_t>(i.op[kAddress]);
    for (int l = 0; l < kLanes; l++) a[l] = base[l] + i.imm;
  }
  if (m != kFull) {
    uint64_t first = a[std::countr_zero(m)];
    for (int l = 0; l < kLanes; l++) a[l] = m >> l & 1 ? a[l] : first;
  }
  char *p = check<S>(w, i, m, size, a, offset);
  if (w.worker->machine->watched && !(i.op[kFlags] & kUnwatched)) [[unlikely]] tell(w, i, m, size, S, a);
  return p;
}

char *locate_in(Space s, Warp &w, const Inst &i, Mask m, unsigned size, uint64_t *offset) {
  switch (s) {
    case Space::generic: return locate<Space::generic>(w, i, m, size, offset);
    case Space::global: return locate<Space::global>(w, i, m, size, offset);
    case Space::shared: return locate<Space::shared>(w, i, m, size, offset);
    case Space::cluster: return locate<Space::cluster>(w, i, m, size, offset);
    case Space::local: return locate<Space::local>(w, i, m, size, offset);
    case Space::param: return locate<Space::param>(w, i, m, size, offset);
  }
  return nullptr;
}

}  // namespace ptx

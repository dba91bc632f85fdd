#include "watch.h"

#include <algorithm>

namespace ptx {
namespace {

uint32_t index_of(const Warp &w) { return w.cta->rank * w.worker->machine->warps + w.number; }

void count(Warp &w, Mask m, unsigned size, const Watched &access) {
  Counts &c = w.worker->counts;
  bool global = access.space == Space::global;
  unsigned step = global ? 32 : 4;  // sectors; words of the banks
  uint64_t parts[kLanes * 4];
  size_t n = 0;
  for (Mask rest = m; rest; rest &= rest - 1) {
    int l = std::countr_zero(rest);
    uint64_t a = access.address[l];
    for (uint64_t p = a / step; p <= (a + size - 1) / step; p++) {
      uint64_t part = p | uint64_t(access.rank[l]) << 58;
      if (!n || parts[n - 1] != part) parts[n++] = part;
    }
  }
  if (!std::is_sorted(parts, parts + n)) std::sort(parts, parts + n);
  n = std::unique(parts, parts + n) - parts;
  if (global) {
    c.global_requests++;
    c.global_sectors += n;
    c.global_bytes += std::popcount(m) * size;
    return;
  }
  // Each of the 32 banks delivers one word per wavefront, to any number of lanes.
  unsigned bank[32] = {};
  for (size_t k = 0; k < n; k++) bank[parts[k] % 32]++;
  c.shared_requests++;
  c.shared_wavefronts += *std::max_element(bank, bank + 32);
}

// The thread of an access, as "block (0,0,0), thread (3,0,0)".
std::string who(const Warp &w, const Access &a) {
  const Machine &m = *w.worker->machine;
  const Launch &l = m.launch;
  const uint32_t blocks = m.cluster[0] * m.cluster[1] * m.cluster[2];
  bool async = a.warp >= m.warps * blocks;
  uint32_t rank = async ? a.warp - m.warps * blocks : a.warp / m.warps, thread = a.warp % m.warps * kLanes + a.lane;
  uint32_t across[2] = {l.grid[0] / m.cluster[0], l.grid[1] / m.cluster[1]};
  uint32_t unit[3] = {a.unit % across[0], a.unit / across[0] % across[1], a.unit / across[0] / across[1]};
  uint32_t in[3] = {rank % m.cluster[0], rank / m.cluster[0] % m.cluster[1], rank / m.cluster[0] / m.cluster[1]};
  std::string block = format("block (%u,%u,%u)", unit[0] * m.cluster[0] + in[0], unit[1] * m.cluster[1] + in[1],
                             unit[2] * m.cluster[2] + in[2]);
  if (async) return "an asynchronous operation of " + block;
  return block + format(", thread (%u,%u,%u)", thread % l.block[0], thread / l.block[0] % l.block[1],
                thread / l.block[0] / l.block[1]);
}

bool ordered(const Warp &w, const Access &before, const Access &now) {
  if (before.none()) return true;
  if (before.unit != now.unit) return false;
  const Machine &m = *w.worker->machine;
  bool async = now.warp >= m.warps * w.cta->unit->ctas.size();  // of a block: not in the order of the program
  if (before.warp == now.warp && !async) return before.lane == now.lane || before.clock < now.clock;
  return w.cta->unit->known[now.warp][before.warp] >= before.clock;
}

[[noreturn]] void race(Warp &w, const Inst &i, const Access &before, const Access &now, const char *order,
                       const Watched &access) {
  fault(Fault::race, w, i, now.lane,
        format("race in %s memory at 0x%llx: %s, with nothing that orders it after %s, %s", name_of(access.space),
               static_cast<unsigned long long>(access.address[now.lane]), order, who(w, before).c_str(),
               w.worker->machine->body.text(before.line).c_str()));
}

void read(Warp &w, const Inst &i, Cell &c, const Access &now, const Watched &access) {
  if (!ordered(w, c.write, now)) race(w, i, c.write, now, "it reads", access);
  if (c.read.none() || (ordered(w, c.read, now) && !c.reads)) {
    c.read = now;
    return;
  }
  // Reads that are not ordered among themselves: a later write must come after all. Two lanes stand
  // for all lanes of a warp, and two units for all units.
  if (!c.reads) c.reads = std::make_unique<std::vector<Access>>(1, c.read);
  auto &all = *c.reads;
  unsigned units = 0, lanes = 0;
  for (auto a = all.rbegin(); a != all.rend(); a++) {
    if (a->unit != now.unit) units++;
    else if (a->warp == now.warp && a->clock == now.clock && (a->lane == now.lane || ++lanes == 2)) return;
  }
  if (units) {
    bool own = std::any_of(all.begin(), all.end(), [&](auto &a) { return a.unit == now.unit; });
    if (own || units >= 2) return;
  }
  std::erase_if(all, [&](auto &a) { return a.unit == now.unit && ordered(w, a, now); });
  all.push_back(now);
}

void write(Warp &w, const Inst &i, Cell &c, const Access &now, const Watched &access) {
  if (!ordered(w, c.write, now)) race(w, i, c.write, now, "it writes", access);
  if (!ordered(w, c.read, now)) race(w, i, c.read, now, "it writes", access);
  if (c.reads)
    for (auto &a : *c.reads)
      if (!ordered(w, a, now)) race(w, i, a, now, "it writes", access);
  c.write = now;
  c.read = {};
  c.reads = nullptr;
}

Shadow::Page &page_of(Shadow &s, uint64_t number, bool bytes) {
  if (s.last != number) s.page = &s.pages[number], s.last = number;
  Shadow::Page &p = *s.page;
  if (p.cells.empty()) p.cells.resize(Shadow::kPage / p.step);
  if (bytes && p.step == 4) {
    std::vector<Cell> cells(Shadow::kPage);
    for (size_t k = 0; k < cells.size(); k++) {
      Cell &from = p.cells[k / 4];
      cells[k] = {from.write, from.read, from.reads ? std::make_unique<std::vector<Access>>(*from.reads) : nullptr};
    }
    p.cells = std::move(cells);
    p.step = 1;
  }
  return p;
}

// Notes the accesses of the lanes of m, with the index and clock of their thread.
void note(Warp &w, const Inst &i, Mask m, unsigned size, const Watched &access, uint32_t flags, uint32_t index,
          uint32_t clock) {
  const Machine &machine = *w.worker->machine;
  Unit &u = *w.cta->unit;
  Access now;
  now.unit = u.number;
  now.warp = index;
  now.clock = clock;
  now.line = i.line;
  for (Mask rest = m; rest; rest &= rest - 1) {
    int l = std::countr_zero(rest);
    now.lane = l;
    bool shared = access.space == Space::shared;
    Shadow &s = shared ? *u.ctas[access.rank[l]].shadow : *machine.global;
    uint64_t a = access.address[l], end = a + size;
    while (a < end) {
      Shadow::Page &p = page_of(s, a / Shadow::kPage, size < 4);
      uint64_t stop = std::min(end, (a / Shadow::kPage + 1) * Shadow::kPage);
      for (; a < stop; a += p.step) {
        Cell &c = p.cells[a % Shadow::kPage / p.step];
        if (shared && c.write.none() && (!(flags & kWrite) || flags & kAtomic))
          fault(Fault::race, w, i, l, format("reads shared memory at 0x%llx that was never written",
                                             static_cast<unsigned long long>(access.address[l])));
        if (!(flags & kStrong)) flags & kWrite ? write(w, i, c, now, access) : read(w, i, c, now, access);
        else if (flags & kWrite && c.write.none()) c.write = now;
      }
    }
  }
}

}  // namespace

void watch(Warp &w, const Inst &i, Mask m, unsigned size, const Watched &access) {
  const Machine &machine = *w.worker->machine;
  if (machine.options.counts) count(w, m, size, access);
  if (!machine.options.races) return;
  note(w, i, m, size, access, i.op[kFlags], index_of(w), w.clock);
}

uint32_t async_index(const Warp &w) {
  return w.worker->machine->warps * w.cta->unit->ctas.size() + w.cta->rank;
}

void watch_async(Warp &w, const Inst &i, int lane, const Clocks &known, uint32_t clock, uint32_t rank, uint64_t address,
                 unsigned size, bool write) {
  w.cta->unit->known[async_index(w)] = known;
  Watched access{};
  access.space = Space::shared;
  access.rank[lane] = rank;
  access.address[lane] = address;
  note(w, i, 1u << lane, size, access, write ? uint32_t(kWrite) : 0, async_index(w), clock);
}

void publish(Warp &w, Clocks &clocks) {
  Clocks &known = w.cta->unit->known[index_of(w)];
  known[index_of(w)] = w.clock++;
  add(clocks, known);
}

void add(Clocks &to, const Clocks &clocks) {
  to.resize(std::max(to.size(), clocks.size()));
  for (size_t k = 0; k < clocks.size(); k++) to[k] = std::max(to[k], clocks[k]);
}

void join(Warp &w, const Clocks &clocks) { add(w.cta->unit->known[index_of(w)], clocks); }

}  // namespace ptx

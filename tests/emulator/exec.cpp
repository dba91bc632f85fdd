// Warps: groups of lanes that diverge and meet again, basic blocks, barriers.
#include <algorithm>

#include "mbarrier.h"
#include "schedule.h"
#include "watch.h"

namespace ptx {
namespace {

constexpr uint32_t kQuota = 1 << 16;  // basic blocks that a warp runs before others get a turn

const Body &body(const Warp &w) { return w.worker->machine->body; }

// Says whether a group has all lanes for which the first instruction of its block waits.
bool met(const Warp &w, const Block &k, Mask mask) {
  switch (k.meet) {
    case Meet::none:
      return true;
    case Meet::all:
      return mask == w.alive;
    case Meet::members: {
      const uint32_t *members = w.reg<uint32_t>(k.members);
      for (Mask m = mask; m; m &= m - 1) {
        int l = std::countr_zero(m);
        if (!(members[l] >> l & 1))
          fault(Fault::illegal_instruction, w, body(w).insts[k.inst], l,
                format("the lane is not in its own member mask 0x%08x", members[l]));
        if (members[l] & w.alive & ~mask) return false;
      }
      return true;
    }
  }
  return true;
}

// Moves the ready group that is first in the program from w.groups to w.active, except groups that
// have spun in this turn.
bool choose(Warp &w, uint32_t &block) {
  auto &g = w.groups;
  for (size_t i = 0; i < g.size(); i++)
    for (size_t j = g.size(); g[i].state == Group::ready && --j > i;)
      if (g[j].state == Group::ready && g[j].block == g[i].block) {
        g[i].mask |= g[j].mask;
        g[i].spun = false;
        g.erase(g.begin() + j);
      }
  size_t best = g.size();
  for (size_t i = 0; i < g.size(); i++)
    if (g[i].state == Group::ready && !g[i].spun && (best == g.size() || g[i].block < g[best].block) &&
        met(w, body(w).blocks[g[i].block], g[i].mask))
      best = i;
  if (best == g.size()) return false;
  block = g[best].block;
  w.active = g[best].mask;
  g.erase(g.begin() + best);
  return true;
}

template <bool Counting>
void run_block(Warp &w, const Block &k) {
  const Body &b = body(w);
  const Mask active = w.active, alive = w.alive;
  const Segment *s = b.segments.data() + k.first_segment;
  for (const Segment *end = s + k.segments; s != end; s++) {
    Mask m = active;
    if (s->guarded) {
      m &= w.pred(s->guard) ^ s->flip;
      if (!m) continue;
    }
    if (Counting) {
      w.worker->counts.instructions += s->count;
      if (s->fma) w.worker->counts.fma += s->count * static_cast<uint64_t>(std::popcount(m));
    }
    (m == alive ? s->full : s->masked)(w, b.insts.data() + s->first, s->count, m);
  }
  if (Counting) w.worker->counts.instructions += k.end != End::fall;
}

void finish(Barrier &b, Cta &cta, uint32_t id) {
  for (Warp &w : cta.warps)
    for (Group &g : w.groups) {
      if (g.state != Group::barrier || g.id != id) continue;
      const Block &k = body(w).blocks[g.block];
      const Inst &i = body(w).insts[k.inst];
      int64_t kind = i.imm & kBarrierKind;
      if (kind == kBarrierPopc) {
        uint32_t *d = w.reg<uint32_t>(i.op[2]);
        for (int l = 0; l < kLanes; l++)
          if (g.mask >> l & 1) d[l] = b.reduced;
      } else if (kind == kBarrierAnd || kind == kBarrierOr) {
        bool value = kind == kBarrierAnd ? b.reduced == b.arrived : b.reduced != 0;
        Mask &d = w.pred(i.op[2]);
        d = value ? d | g.mask : d & ~g.mask;
      }
      if (!b.clocks.empty()) join(w, b.clocks);
      g.state = Group::ready;
      g.block = k.next;
    }
  b = {};
}

// A barrier is complete when its count of threads has arrived, or else all threads not yet exited.
void check(Cta &cta, uint32_t id) {
  Barrier &b = cta.barriers[id];
  if (b.arrived && b.arrived >= (b.expected ? b.expected : cta.alive)) {
    cta.warps[0].worker->progress++;
    if (cta.warps[0].worker->machine->options.counts) cta.warps[0].worker->counts.barriers++;
    finish(b, cta, id);
  }
}

// Adds the clocks that a warp learns at barrier.cluster.wait, unless it is .relaxed.
void cluster_passed(Warp &w, uint32_t block) {
  const Unit &u = *w.cta->unit;
  if (!u.released.empty() && body(w).insts[body(w).blocks[block].inst].imm) join(w, u.released);
}

void check_cluster(Unit &u) {
  if (!u.arrived || u.arrived < u.alive) return;
  u.arrived = 0;
  u.phase++;
  u.released = std::move(u.arriving);
  u.arriving.clear();
  for (Cta &c : u.ctas)
    for (Warp &w : c.warps) {
      w.worker->progress++;
      for (Group &g : w.groups)
        if (g.state == Group::cluster) {
          cluster_passed(w, g.block);
          g.state = Group::ready;
          g.block = body(w).blocks[g.block].next;
        }
    }
}

void exit(Warp &w, Mask m) {
  uint32_t n = std::popcount(m);
  Unit &u = *w.cta->unit;
  // Threads that exit between arrive and wait have arrived already.
  for (Mask a = m & w.cluster_arrived; a; a &= a - 1)
    if (w.cluster_phase[std::countr_zero(a)] == u.phase) u.arrived--;
  w.alive &= ~m;
  w.cta->alive -= n;
  u.alive -= n;
  w.worker->progress++;
  if (!w.cta->alive && u.deliveries) check_deliveries(*w.cta);
  for (uint32_t id = 0; id < 16; id++) check(*w.cta, id);
  check_cluster(u);
}

// Adds the lanes of w.active at a block to the groups that wait.
void leave(Warp &w, uint32_t block, Group::State state = Group::ready, uint8_t id = 0) {
  if (w.active) w.groups.push_back({block, w.active, state, id, false});
  w.active = 0;
}

// Executes the end of a block. Returns true if the warp goes on at block, false if its lanes were
// put among the groups.
bool end_block(Warp &w, uint32_t &block) {
  const Block &k = body(w).blocks[block];
  switch (k.end) {
    case End::fall:
      block = k.next;
      return true;
    case End::branch: {
      Mask taken = k.guarded ? w.active & (w.pred(k.guard) ^ k.flip) : w.active;
      if (!taken) {
        block = k.next;
        return true;
      }
      if (taken == w.active) {
        block = k.target;
        return true;
      }
      w.groups.push_back({k.target, taken, Group::ready, 0, false});
      w.active &= ~taken;
      block = k.next;
      return true;
    }
    case End::indexed: {
      const Inst &i = body(w).insts[k.inst];
      const uint32_t *index = w.reg<uint32_t>(i.op[0]);
      auto &table = body(w).tables[k.target];
      for (Mask m = w.active; m; m &= m - 1) {
        int l = std::countr_zero(m);
        if (index[l] >= table.size())
          fault(Fault::illegal_instruction, w, i, l, format("index %u of %zu targets", index[l], table.size()));
        w.groups.push_back({table[index[l]], 1u << l, Group::ready, 0, false});
      }
      w.active = 0;
      return false;
    }
    case End::exit: {
      Mask out = k.guarded ? w.active & (w.pred(k.guard) ^ k.flip) : w.active;
      w.active &= ~out;
      leave(w, k.next);
      if (out) exit(w, out);
      return false;
    }
    case End::barrier: {
      Mask m = w.active;
      const Inst &i = body(w).insts[k.inst];
      uint32_t id = w.reg<uint32_t>(i.op[0])[std::countr_zero(m)];
      leave(w, block, Group::barrier, id);
      arrive(w, i, m);
      return false;
    }
    case End::cluster_wait: {
      const Inst &i = body(w).insts[k.inst];
      const Unit &u = *w.cta->unit;
      Mask waits = 0;
      for (Mask m = w.active; m; m &= m - 1) {
        int l = std::countr_zero(m);
        if (!(w.cluster_arrived >> l & 1))
          fault(Fault::deadlock, w, i, l, "barrier.cluster.wait without barrier.cluster.arrive");
        if (w.cluster_phase[l] == u.phase) waits |= 1u << l;
      }
      w.cluster_arrived &= ~w.active;
      if (!waits) {
        cluster_passed(w, block);
        block = k.next;
        return true;
      }
      leave(w, block, Group::cluster);
      return false;
    }
  }
  return false;
}

// Says whether the warp has the same place and registers as at the end of an earlier turn, with
// nothing written since. Then it runs in circles until another warp writes.
bool circles(Warp &w, uint32_t block) {
  return block == w.probe_block && w.groups.empty() && w.worker->progress == w.probe_progress &&
         !std::memcmp(w.file, w.probe.data(), w.probe.size());
}

template <bool Counting>
Turn run(Warp &w) {
  uint32_t quota = w.worker->random ? 1 + next_random(*w.worker) % 64 : kQuota, block;
  for (Group &g : w.groups) g.spun = false;
  bool ran = false, spun = false;
  while (choose(w, block)) {
    do {
      const Block &k = body(w).blocks[block];
      if (k.meet != Meet::none && !met(w, k, w.active)) {
        leave(w, block);
        break;
      }
      run_block<Counting>(w, k);
      ran = true;
      bool on = end_block(w, block);
      if (on && w.probe_block == block && circles(w, block)) w.spins = true;
      if (w.spins) {
        w.spins = false;
        if (w.active) w.groups.push_back({block, w.active, Group::ready, 0, true}), w.active = 0;
        spun = true;
        break;
      }
      if (--quota == 0) {
        if (on && !w.worker->random) {
          w.probe_block = block;
          w.probe_progress = w.worker->progress;
          w.probe.assign(w.file, w.file + body(w).file_bytes);
        }
        leave(w, block);
        return w.alive ? Turn::ran : Turn::done;
      }
      if (!on) break;
      if (!w.groups.empty()) {
        leave(w, block);
        break;
      }
    } while (true);
  }
  if (!w.alive) return Turn::done;
  if (spun) return Turn::spins;
  return ran ? Turn::ran : Turn::waits;
}

}  // namespace

Turn run_warp(Warp &w) {
  return w.worker->machine->options.counts ? run<true>(w) : run<false>(w);
}

void arrive(Warp &w, const Inst &i, Mask m) {
  Cta &cta = *w.cta;
  int first = std::countr_zero(m);
  const uint32_t *ids = w.reg<uint32_t>(i.op[0]), *counts = w.reg<uint32_t>(i.op[1]);
  for (Mask rest = m; rest; rest &= rest - 1) {
    int l = std::countr_zero(rest);
    if (ids[l] >= 16) fault(Fault::illegal_instruction, w, i, l, format("there is no barrier %u", ids[l]));
    if (ids[l] != ids[first] || counts[l] != counts[first])
      fault(Fault::illegal_instruction, w, i, l, "lanes of a warp use different barriers");
  }
  Barrier &b = cta.barriers[ids[first]];
  uint32_t expected = i.imm & kBarrierCounted ? counts[first] : 0;
  if (i.imm & kBarrierCounted && (!expected || expected % kLanes))
    fault(Fault::illegal_instruction, w, i, first, format("a barrier of %u threads", expected));
  if (b.used && b.expected != expected)
    fault(Fault::deadlock, w, i, first,
          format("a barrier of %u threads, but %s expects %u", expected, body(w).text(b.line).c_str(), b.expected));
  b.used = true;
  b.line = i.line;
  b.expected = expected;
  if (w.worker->machine->options.races) publish(w, b.clocks);
  // With a count, whole warps arrive.
  b.arrived += expected && i.imm & kBarrierAligned ? kLanes : std::popcount(m);
  if ((i.imm & kBarrierKind) >= kBarrierPopc) {
    Mask source = w.pred(i.op[3]) ^ (i.imm & kBarrierNot ? kFull : 0);
    b.reduced += std::popcount(source & m);
  }
  check(cta, ids[first]);
}

void cluster_arrive(Warp &w, const Inst &i, Mask m) {
  Unit &u = *w.cta->unit;
  if (Mask twice = w.cluster_arrived & m)
    fault(Fault::deadlock, w, i, std::countr_zero(twice), "barrier.cluster.arrive twice without barrier.cluster.wait");
  for (int l = 0; l < kLanes; l++)
    if (m >> l & 1) w.cluster_phase[l] = u.phase;
  w.cluster_arrived |= m;
  if (w.worker->machine->options.races && i.imm) publish(w, u.arriving);
  u.arrived += std::popcount(m);
  check_cluster(u);
}

std::string position(const Warp &w, int lane) {
  const Launch &l = w.worker->machine->launch;
  uint32_t t = w.number * kLanes + lane;
  return format("block (%u,%u,%u), thread (%u,%u,%u)", w.cta->id[0], w.cta->id[1], w.cta->id[2], t % l.block[0],
                t / l.block[0] % l.block[1], t / l.block[0] / l.block[1]);
}

void fault(Fault::Kind kind, const Warp &w, const Inst &i, int lane, const std::string &message) {
  throw Fault(kind, w.worker->machine->launch.kernel->name + ", " + position(w, lane) + ", " + body(w).text(i.line) +
                        ": " + message);
}

std::string waiting(const Warp &w) {
  std::string s;
  for (auto &g : w.groups) {
    const Block &k = body(w).blocks[g.block];
    if (g.state == Group::ready && g.mask & w.awaited_lanes) {
      s += format("\n  %s and lanes 0x%08x of warp %u: ", position(w, std::countr_zero(g.mask)).c_str(), g.mask,
                  w.number) + awaits(w) + ", " + body(w).text(w.awaited->line);
      continue;
    }
    const char *why = g.state == Group::barrier   ? "waits at a barrier"
                      : g.state == Group::cluster ? "waits for its cluster"
                      : k.meet != Meet::none      ? "waits for the other lanes of its warp"
                                                  : "waits in a loop";
    uint32_t inst = k.inst;
    if (k.end == End::fall && k.meet == Meet::none && k.segments) inst = body(w).segments[k.first_segment].first;
    s += format("\n  %s and lanes 0x%08x of warp %u: %s, %s", position(w, std::countr_zero(g.mask)).c_str(), g.mask,
                w.number, why, body(w).text(body(w).insts[inst].line).c_str());
  }
  return s;
}

}  // namespace ptx

// Branches, exits, barriers and fences.
#include "lanes.h"
#include "mbarrier.h"

namespace ptx {
namespace {

void nothing(Warp &, const Inst *, uint32_t, Mask) {}

void branch(Decoder &d) {
  d.take("uni");
  d.expect(1);
  if (d.operand(0).kind != Operand::name) d.fail("a branch needs a label");
  std::string target = d.operand(0).text;
  Draft &b = d.emit(nothing, nothing, {});
  b.end = End::branch;
  b.target = target;
}

// brx.idx index, table
void indexed(Decoder &d) {
  if (!d.take("idx")) d.unknown();
  d.take("uni");
  d.expect(2);
  Slot index = d.in(size_t(0), 4);
  std::string table = d.operand(1).text;
  Draft &b = d.emit(nothing, nothing, {index});
  b.end = End::indexed;
  b.target = table;
}

void exit(Decoder &d) {
  d.take("uni");
  d.expect(0);
  d.emit(nothing, nothing, {}).end = End::exit;
}

void trap(Decoder &d) {
  d.expect(0);
  Exec run = [](Warp &w, const Inst *i, uint32_t, Mask m) { fault(Fault::trap, w, *i, std::countr_zero(m), "trap"); };
  d.emit(run, run, {});
}

void run_arrive(Warp &w, const Inst *i, uint32_t, Mask m) { arrive(w, *i, m); }

// bar and barrier: .sync a{, b} .arrive a, b .red.op d, a{, b}, {!}c. bar is barrier.aligned.
void block_barrier(Decoder &d, bool aligned) {
  int64_t bits = kBarrierSync;
  if (d.take("arrive")) bits = kBarrierArrive;
  else if (d.take("red")) {
    if (d.take("popc")) bits = kBarrierPopc;
    else if (d.take("and")) bits = kBarrierAnd;
    else if (d.take("or")) bits = kBarrierOr;
    else d.unknown();
  } else if (!d.take("sync")) d.unknown();
  bool red = bits >= kBarrierPopc;
  if (d.take("aligned")) aligned = true;
  if (red && !(bits == kBarrierPopc ? d.take("u32") : d.take("pred"))) d.unknown();
  size_t first = red ? 1 : 0, last = d.count() - (red ? 1 : 0);
  d.expect(first + 1 + (red ? 1 : 0) + (bits == kBarrierArrive ? 1 : 0), first + 2 + (red ? 1 : 0));
  Slot zero = d.number(0, 4), id = d.in(first, 4), count = zero, result = zero, source = zero;
  if (first + 1 < last) count = d.in(first + 1, 4), bits |= kBarrierCounted;
  if (red) {
    Operand o = d.operand(last);
    if (o.negated) bits |= kBarrierNot, o.negated = false;
    source = d.pred(o);
    result = (bits & kBarrierKind) == kBarrierPopc ? d.out(size_t(0), 4) : d.out(size_t(0), 1);
  }
  if (aligned) bits |= kBarrierAligned;
  bool waits = (bits & kBarrierKind) != kBarrierArrive;
  Draft &b = d.emit(waits ? nothing : run_arrive, waits ? nothing : run_arrive, {id, count, result, source}, bits);
  if (waits) {
    b.end = End::barrier;
    b.partial = true;  // other lanes may wait elsewhere
    if (!aligned) b.starts = true;
  }
  if (aligned) b.meet = Meet::all;
}

// bar.warp.sync mask
void warp_barrier(Decoder &d) {
  d.expect(1);
  Slot members = d.in(size_t(0), 4);
  Exec run = [](Warp &w, const Inst *, uint32_t, Mask) { w.clock++; };
  Draft &b = d.emit(run, run, {members});
  b.meet = Meet::members;
  b.members = members;
}

void cluster_barrier(Decoder &d) {
  bool wait = d.take("wait");
  if (!wait && !d.take("arrive")) d.unknown();
  bool orders = true;  // it orders the accesses before and after it
  if (wait) d.take("acquire");
  else if (!d.take("release")) orders = !d.take("relaxed");
  bool aligned = d.take("aligned");
  d.expect(0);
  Exec run = [](Warp &w, const Inst *i, uint32_t, Mask m) { cluster_arrive(w, *i, m); };
  Draft &b = wait ? d.emit(nothing, nothing, {}, orders) : d.emit(run, run, {}, orders);
  if (wait) b.end = End::cluster_wait, b.starts = true;
  if (aligned) b.meet = Meet::all;
}

void bar(Decoder &d) {
  if (d.take("warp")) {
    if (!d.take("sync")) d.unknown();
    return warp_barrier(d);
  }
  d.take("cta");
  block_barrier(d, true);
}

void barrier(Decoder &d) {
  if (d.take("cluster")) return cluster_barrier(d);
  d.take("cta");
  block_barrier(d, false);
}

// Units of one cluster share an OS thread; the host's fence orders accesses of others. Shared memory
// has a single proxy here.
void fence(Decoder &d) {
  if (d.take("proxy")) {
    if (!d.take("async")) d.unknown();
    d.take_any({"global", "shared::cta", "shared::cluster"});
  } else if (d.take("mbarrier_init")) {
    if (!d.take("release") || !d.take("cluster")) d.unknown();
    d.expect(0);
    Exec run = [](Warp &w, const Inst *, uint32_t, Mask) { make_known(w); };
    d.emit(run, run, {});
    return;
  } else if (!d.take_any({"cta", "cluster", "gl", "gpu", "sys"})) {
    if (!d.take_any({"sc", "acq_rel"})) d.unknown();
    if (!d.take_any({"cta", "cluster", "gpu", "sys"})) d.unknown();
  }
  d.expect(0);
  Exec run = [](Warp &, const Inst *, uint32_t, Mask) { std::atomic_thread_fence(std::memory_order_seq_cst); };
  d.emit(run, run, {});
}

void nanosleep(Decoder &d) {
  if (!d.take("u32")) d.unknown();
  d.expect(1);
  Slot t = d.in(size_t(0), 4);
  Exec run = [](Warp &w, const Inst *, uint32_t, Mask) { w.spins = true; };
  d.emit(run, run, {t});
}

const Opcode ops[] = {
    {{"bra"}, branch},     {{"brx"}, indexed}, {{"ret", "exit"}, exit},       {{"trap"}, trap},
    {{"bar"}, bar},        {{"barrier"}, barrier}, {{"membar", "fence"}, fence}, {{"nanosleep"}, nanosleep},
};

}  // namespace
}  // namespace ptx

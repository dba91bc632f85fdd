// Instructions among the lanes of a warp: shfl, vote, match, redux, activemask, elect.
// The scheduler runs those with .sync when all members have arrived (Meet::members).
#include <algorithm>

#include "lanes.h"

namespace ptx {
namespace {

Draft &emit_members(Decoder &d, Exec run, const std::vector<Slot> &slots, Slot members, int64_t imm = 0) {
  Draft &draft = d.emit(run, run, slots, imm);
  draft.meet = Meet::members;
  draft.members = members;
  draft.partial = true;  // lanes outside of the members keep their values
  return draft;
}

// The value for a lane that reads a lane outside the members. The ISA leaves it open: with race
// checking it is an error, otherwise a conspicuous value.
constexpr uint32_t kUndefined = 0xffffffffu;

enum class Shuffle { up, down, bfly, idx };

// op: d, p, a, b, c, members
template <Shuffle S>
void shuffle(Warp &w, const Inst *i, uint32_t, Mask m) {
  uint32_t *d = values<uint32_t>(w, i->op[0]);
  const uint32_t *a = values<const uint32_t>(w, i->op[2]), *b = values<const uint32_t>(w, i->op[3]),
                 *c = values<const uint32_t>(w, i->op[4]), *members = values<const uint32_t>(w, i->op[5]);
  uint32_t source[kLanes];
  std::copy(a, a + kLanes, source);
  Mask inside = 0;
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    int by = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    int last = (l & segment) | (clamp & ~segment), first = l & segment, j = 0;
    bool in = false;
    switch (S) {
      case Shuffle::up: j = l - by, in = j >= last; break;
      case Shuffle::down: j = l + by, in = j <= last; break;
      case Shuffle::bfly: j = l ^ by, in = j <= last; break;
      case Shuffle::idx: j = first | (by & ~segment), in = j <= last; break;
    }
    if (!in) j = l;
    if (m & members[l] & 1u << j) {
      d[l] = source[j];
    } else {
      if (w.worker->machine->options.races)
        fault(Fault::race, w, *i, l, format("reads lane %d, which takes no part", j));
      d[l] = kUndefined;
    }
    inside |= static_cast<Mask>(in) << l;
  }
  Mask &p = w.pred(i->op[1]);
  p = (p & ~m) | inside;
  w.clock++;
}

// shfl.sync.mode.b32 d{|p}, a, b, c, members
void op_shfl(Decoder &d) {
  if (!d.take("sync")) d.unknown();
  Exec run = d.take("up")     ? shuffle<Shuffle::up>
             : d.take("down") ? shuffle<Shuffle::down>
             : d.take("bfly") ? shuffle<Shuffle::bfly>
             : d.take("idx")  ? shuffle<Shuffle::idx>
                              : nullptr;
  if (!run || !d.take("b32")) d.unknown();
  d.expect(5);
  Slot a = d.in(1, 4), b = d.in(2, 4), c = d.in(3, 4), members = d.in(4, 4);
  const Operand &o = d.operand(0);
  Slot p = o.kind == Operand::pair ? d.out(o.parts[1], 1) : d.scratch(1);
  Slot r = d.out(o.kind == Operand::pair ? o.parts[0] : o, 4);
  emit_members(d, run, {r, p, a, b, c, members}, members);
}

enum class Vote { all, any, uni, ballot };

// op: d, source, members; imm: the source is negated
template <Vote V>
void vote(Warp &w, const Inst *i, uint32_t, Mask m) {
  Mask source = w.pred(i->op[1]) ^ (i->imm ? kFull : 0), result = 0;
  const uint32_t *members = values<const uint32_t>(w, i->op[2]);
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    Mask group = members[l] & m, yes = source & group;
    if (V == Vote::ballot) values<uint32_t>(w, i->op[0])[l] = yes;
    bool r = V == Vote::all ? yes == group : V == Vote::any ? yes != 0 : yes == group || yes == 0;
    result |= static_cast<Mask>(r) << l;
  }
  if (V != Vote::ballot) {
    Mask &p = w.pred(i->op[0]);
    p = (p & ~m) | result;
  }
  w.clock++;
}

void op_vote(Decoder &d) {
  if (!d.take("sync")) d.unknown();
  bool ballot = d.take("ballot");
  Exec run = ballot          ? vote<Vote::ballot>
             : d.take("all") ? vote<Vote::all>
             : d.take("any") ? vote<Vote::any>
             : d.take("uni") ? vote<Vote::uni>
                             : nullptr;
  if (!run || !d.take(ballot ? "b32" : "pred")) d.unknown();
  d.expect(3);
  Operand o = d.operand(1);
  bool negated = o.negated;
  o.negated = false;
  Slot source = d.pred(o), members = d.in(2, 4), r = d.out(size_t(0), ballot ? 4 : 1);
  emit_members(d, run, {r, source, members}, members, negated);
}

// op: d, p, a, members
template <class T, bool All>
void match(Warp &w, const Inst *i, uint32_t, Mask m) {
  const T *a = values<const T>(w, i->op[2]);
  const uint32_t *members = values<const uint32_t>(w, i->op[3]);
  Mask equal = 0;
  uint32_t result[kLanes];
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    Mask same = 0, group = members[l] & m;
    for (int k = 0; k < kLanes; k++)
      if (group >> k & 1 && a[k] == a[l]) same |= 1u << k;
    result[l] = !All || same == group ? same : 0;
    equal |= static_cast<Mask>(same == group) << l;
  }
  for (int l = 0; l < kLanes; l++)
    if (m >> l & 1) values<uint32_t>(w, i->op[0])[l] = result[l];
  Mask &p = w.pred(i->op[1]);
  p = (p & ~m) | equal;
  w.clock++;
}

// match.any.sync.type d, a, members; match.all.sync.type d{|p}, a, members
void op_match(Decoder &d) {
  bool all = d.take("all");
  if ((!all && !d.take("any")) || !d.take("sync")) d.unknown();
  bool wide = d.take("b64");
  if (!wide && !d.take("b32")) d.unknown();
  d.expect(3);
  Slot a = d.in(1, wide ? 8 : 4), members = d.in(2, 4), p = d.scratch(1);
  const Operand &o = d.operand(0);
  if (all && o.kind == Operand::pair) p = d.out(o.parts[1], 1);
  Slot r = d.out(o.kind == Operand::pair ? o.parts[0] : o, 4);
  Exec run = wide ? (all ? match<uint64_t, true> : match<uint64_t, false>)
                  : (all ? match<uint32_t, true> : match<uint32_t, false>);
  emit_members(d, run, {r, p, a, members}, members);
}

// op: d, a, members
template <auto F, class T>
void reduce(Warp &w, const Inst *i, uint32_t, Mask m) {
  T a[kLanes];
  std::copy_n(values<const T>(w, i->op[1]), kLanes, a);
  const uint32_t *members = values<const uint32_t>(w, i->op[2]);
  uint32_t result[kLanes];
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    Mask rest = members[l] & m;
    T r = a[std::countr_zero(rest)];
    for (rest &= rest - 1; rest; rest &= rest - 1) r = F(r, a[std::countr_zero(rest)]);
    result[l] = r;
  }
  for (int l = 0; l < kLanes; l++)
    if (m >> l & 1) values<uint32_t>(w, i->op[0])[l] = result[l];
  w.clock++;
}

void op_redux(Decoder &d) {
  if (!d.take("sync")) d.unknown();
  std::string_view op = d.next();
  Type t = d.type();
  if (t.bits != 32 || !t.is(op == "and" || op == "or" || op == "xor" ? "b" : "us")) d.unknown();
  using U = uint32_t;
  Exec run = nullptr;
  if (op == "add") run = reduce<[](U a, U b) { return a + b; }, U>;
  else if (op == "and") run = reduce<[](U a, U b) { return a & b; }, U>;
  else if (op == "or") run = reduce<[](U a, U b) { return a | b; }, U>;
  else if (op == "xor") run = reduce<[](U a, U b) { return a ^ b; }, U>;
  else if (op == "min" && t.is("u")) run = reduce<[](U a, U b) { return std::min(a, b); }, U>;
  else if (op == "max" && t.is("u")) run = reduce<[](U a, U b) { return std::max(a, b); }, U>;
  else if (op == "min") run = reduce<[](int32_t a, int32_t b) { return std::min(a, b); }, int32_t>;
  else if (op == "max") run = reduce<[](int32_t a, int32_t b) { return std::max(a, b); }, int32_t>;
  else d.unknown();
  d.expect(3);
  Slot a = d.in(1, 4), members = d.in(2, 4), r = d.out(size_t(0), 4);
  emit_members(d, run, {r, a, members}, members);
}

void op_activemask(Decoder &d) {
  if (!d.take("b32")) d.unknown();
  d.expect(1);
  Exec run = [](Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++)
      for (int l = 0; l < kLanes; l++)
        if (m >> l & 1) values<uint32_t>(w, i->op[0])[l] = m;
  };
  Slot r = d.out(size_t(0), 4);
  d.emit(run, run, {r});
}

// elect.sync d|p, members: the lowest member is elected.
void op_elect(Decoder &d) {
  if (!d.take("sync")) d.unknown();
  d.expect(2);
  const Operand &o = d.operand(0);
  if (o.kind != Operand::pair) d.fail("a pair of results is missing");
  Slot members = d.in(1, 4), p = d.out(o.parts[1], 1);
  Slot r = o.parts[0].kind == Operand::sink ? d.scratch(4) : d.out(o.parts[0], 4);
  Exec run = [](Warp &w, const Inst *i, uint32_t, Mask m) {
    Mask &p = w.pred(i->op[1]);
    for (int l = 0; l < kLanes; l++) {
      if (!(m >> l & 1)) continue;
      int first = std::countr_zero(values<const uint32_t>(w, i->op[2])[l] & m);
      values<uint32_t>(w, i->op[0])[l] = first;
      p = (p & ~(1u << l)) | static_cast<Mask>(first == l) << l;
    }
    w.clock++;
  };
  emit_members(d, run, {r, p, members}, members);
}

const Opcode ops[] = {
    {{"shfl"}, op_shfl},   {{"vote"}, op_vote},           {{"match"}, op_match},
    {{"redux"}, op_redux}, {{"activemask"}, op_activemask}, {{"elect"}, op_elect},
};

}  // namespace
}  // namespace ptx

// mbarrier.*, st.async and cp.async.bulk, after the sections of these names in the PTX ISA manual.
// What the manual leaves undefined is a fault.
#include "mbarrier.h"

#include <algorithm>

#include "lanes.h"
#include "operands.h"
#include "schedule.h"
#include "watch.h"

namespace ptx {
namespace {

constexpr int64_t kMost = (1 << 20) - 1;  // arrivals, or bytes, that an mbarrier can count

// The content of an mbarrier's memory, by which a write to it is noticed.
constexpr char kMark[9] = "mbarrier";

// Inst::imm of an instruction is the offset of its address; op[8] holds the bits of its variant:
enum Bits : uint32_t {
  kSpace = 7,         // of the address
  kCluster = 8,       // scope of arrivals and waits
  kOrders = 16,       // release or acquire
  kParity = 32,       // wait: a parity, not a state
  kExpects = 64,      // arrive: .expect_tx
};
constexpr int kBits = 8;  // in Inst::op

struct Place {
  Cta &cta;
  uint32_t address;
};

// The place in shared memory of size bytes at the address in op[kAddress] of a lane.
Place place(Warp &w, const Inst &i, int lane, unsigned size) {
  uint64_t offset[kLanes];
  const char *p = locate_in(static_cast<Space>(i.op[kBits] & kSpace), w, i, 1u << lane, size, offset) + offset[lane];
  for (Cta &c : w.cta->unit->ctas)
    if (p >= c.shared.data() && p < c.shared.data() + c.shared.size())
      return {c, static_cast<uint32_t>(p - c.shared.data())};
  fault(Fault::address, w, i, lane, "not an address of shared memory");
}

Mbarrier *find(Cta &c, uint32_t address) {
  if (!c.mbarriers) return nullptr;
  auto found = c.mbarriers->at.find(address);
  return found == c.mbarriers->at.end() ? nullptr : &found->second;
}

uint32_t index_of(const Warp &w) { return w.cta->rank * w.worker->machine->warps + w.number; }

// The mbarrier of block c that an instruction names.
Mbarrier &need(const Warp &w, const Inst &i, int lane, Cta &c, uint32_t address) {
  Mbarrier *b = find(c, address);
  if (!b) fault(Fault::illegal_instruction, w, i, lane, format("there is no mbarrier at shared address 0x%x", address));
  if (std::memcmp(c.shared.data() + address, kMark, 8))
    fault(Fault::illegal_instruction, w, i, lane,
          format("the mbarrier at shared address 0x%x, of %s, has been overwritten", address,
                 w.worker->machine->body.text(b->line).c_str()));
  const Unit &u = *w.cta->unit;
  if (w.worker->machine->options.races && b->warp != index_of(w) && u.known[index_of(w)][b->warp] < b->clock &&
      u.phase <= b->known_after)
    fault(Fault::race, w, i, lane,
          format("race in shared memory at 0x%x: an mbarrier is used, with nothing that orders it after %s", address,
                 w.worker->machine->body.text(b->line).c_str()));
  return *b;
}

Place own(Warp &w, const Inst &i, int lane) {
  Place p = place(w, i, lane, 8);
  if (&p.cta != w.cta) fault(Fault::address, w, i, lane, "an mbarrier of another block can only be arrived at");
  return p;
}

// A phase is over when neither arrivals nor bytes are lacking ("Phase completion of the mbarrier object").
void end_phase(Mbarrier &b) {
  if (b.pending || b.bytes) return;
  b.phase++;
  b.pending = b.count;
  for (int k = 0; k < 2; k++) {
    add(b.over[k], b.arriving[k]);
    b.arriving[k].clear();
  }
}

void expect(const Warp &w, const Inst &i, int lane, Mbarrier &b, int64_t bytes) {
  b.bytes += bytes;
  if (b.bytes > kMost || b.bytes < -kMost)
    fault(Fault::illegal_instruction, w, i, lane,
          format("an mbarrier cannot count %lld bytes", static_cast<long long>(b.bytes)));
}

void deliver(const Delivery &d) {
  Warp &w = *d.warp;
  const bool races = w.worker->machine->options.races;
  const char *from = d.data;
  if (d.from) {
    from = d.from->shared.data() + d.source;
    if (races) watch_async(w, *d.inst, d.lane, *d.known, d.clock, d.from->rank, d.source, d.bytes, false);
  }
  if (races) watch_async(w, *d.inst, d.lane, *d.known, d.clock, d.to->rank, d.address, d.bytes, true);
  std::memmove(d.to->shared.data() + d.address, from, d.bytes);
  note_write(w);
  Mbarrier &b = need(w, *d.inst, d.lane, *d.to, d.mbarrier);
  expect(w, *d.inst, d.lane, b, -static_cast<int64_t>(d.bytes));
  if (races) {  // complete-tx releases the operation, at the scope of the cluster
    Clocks clocks(d.known->size());
    clocks[async_index(w)] = d.clock;
    add(b.arriving[1], clocks);
  }
  end_phase(b);
}

// Pending operations on an mbarrier happen.
void deliver_to(Warp &w, const Inst &i, int lane, Cta &c, uint32_t address) {
  if (!w.cta->unit->deliveries) return;
  auto &all = w.cta->unit->deliveries->all;
  auto found = all.find({c.rank, address});
  if (found == all.end()) return;
  std::vector<Delivery> come = std::move(found->second);
  all.erase(found);
  // In a random order, all of them happen, or only as many as end the phase.
  bool some = false;
  if (w.worker->random) {
    some = next_random(*w.worker) % 2;
    for (size_t k = come.size(); k > 1; k--) std::swap(come[k - 1], come[next_random(*w.worker) % k]);
  }
  const Mbarrier &b = need(w, i, lane, c, address);
  const uint64_t phase = b.phase;
  size_t k = 0;
  while (k < come.size() && !(some && b.phase != phase)) deliver(come[k++]);
  if (k < come.size()) all[{c.rank, address}].assign(come.begin() + k, come.end());
}

void send(Warp &w, Delivery d) {
  Unit &u = *w.cta->unit;
  if (!u.deliveries) {
    u.deliveries = std::make_shared<Deliveries>();
    u.deliveries->clocks.resize(u.ctas.size());
  }
  d.clock = ++u.deliveries->clocks[w.cta->rank];
  if (w.worker->random && next_random(*w.worker) % 2) deliver(d);
  else u.deliveries->all[{d.to->rank, d.mbarrier}].push_back(d);
}

// The clocks that the operations of an instruction know.
std::shared_ptr<const Clocks> known_to(Warp &w) {
  if (!w.worker->machine->options.races) return nullptr;
  auto known = std::make_shared<Clocks>();
  publish(w, *known);
  return known;
}

// mbarrier.init [a], count
void init(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++)
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Place p = own(w, *i, l);
      uint32_t expected = values<const uint32_t>(w, i->op[0])[l];
      if (expected < 1 || expected > kMost)
        fault(Fault::illegal_instruction, w, *i, l, format("an mbarrier of %u arrivals", expected));
      if (find(p.cta, p.address))
        fault(Fault::illegal_instruction, w, *i, l,
              format("there is an mbarrier at shared address 0x%x already", p.address));
      if (!p.cta.mbarriers) p.cta.mbarriers = std::make_shared<Mbarriers>();
      Mbarrier &b = p.cta.mbarriers->at[p.address];
      b.count = b.pending = expected;
      b.line = i->line;
      b.warp = index_of(w);
      b.clock = w.clock;
      std::memcpy(p.cta.shared.data() + p.address, kMark, 8);
      note_write(w);
    }
}

// mbarrier.inval [a]
void inval(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++)
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Place p = own(w, *i, l);
      need(w, *i, l, p.cta, p.address);
      p.cta.mbarriers->at.erase(p.address);
      std::memset(p.cta.shared.data() + p.address, 0xff, 8);
      note_write(w);
    }
}

// mbarrier.arrive state, [a]{, count} and mbarrier.arrive.expect_tx state, [a], bytes
void arrive_at(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const uint32_t bits = i->op[kBits];
    Clocks published;
    if (w.worker->machine->options.races && bits & kOrders) publish(w, published);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Place p = place(w, *i, l, 8);
      Mbarrier &b = need(w, *i, l, p.cta, p.address);
      uint32_t operand = values<const uint32_t>(w, i->op[1])[l], arrivals = bits & kExpects ? 1 : operand;
      values<uint64_t>(w, i->op[0])[l] = b.phase;
      if (bits & kExpects) expect(w, *i, l, b, operand);
      if (arrivals < 1 || arrivals > b.pending)
        fault(Fault::illegal_instruction, w, *i, l,
              format("%u arrivals at an mbarrier whose phase %llu lacks %u of %u", arrivals,
                     static_cast<unsigned long long>(b.phase), b.pending, b.count));
      b.pending -= arrivals;
      if (&p.cta == w.cta) add(b.arriving[0], published);
      if (bits & kCluster) add(b.arriving[1], published);
      end_phase(b);
      note_write(w);
    }
  }
}

// mbarrier.expect_tx and .complete_tx [a], bytes
template <int Sign>
void count_bytes(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++)
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Place p = place(w, *i, l, 8);
      Mbarrier &b = need(w, *i, l, p.cta, p.address);
      expect(w, *i, l, b, Sign * static_cast<int64_t>(values<const uint32_t>(w, i->op[0])[l]));
      if (Sign < 0) end_phase(b);
      note_write(w);
    }
}

// Says whether the phase of a wait, the current one or the one before, is over.
bool is_over(const Warp &w, const Inst &i, int lane, const Mbarrier &b) {
  if (i.op[kBits] & kParity) {
    uint32_t parity = values<const uint32_t>(w, i.op[1])[lane];
    if (parity > 1) fault(Fault::illegal_instruction, w, i, lane, format("a parity of %u", parity));
    return (b.phase & 1) != parity;
  }
  uint64_t state = values<const uint64_t>(w, i.op[1])[lane];
  if (state > b.phase || b.phase - state > 1)
    fault(Fault::illegal_instruction, w, i, lane,
          format("a state that is neither of the current phase, %llu, nor of the one before",
                 static_cast<unsigned long long>(b.phase)));
  return b.phase != state;
}

// mbarrier.test_wait and try_wait p, [a], state or parity. If a lane's phase is not over, the warp
// gives others a turn.
void test(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    const uint32_t bits = i->op[kBits];
    Mask over = 0;
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Place p = own(w, *i, l);
      const Mbarrier &b = need(w, *i, l, p.cta, p.address);
      if (!is_over(w, *i, l, b)) deliver_to(w, *i, l, p.cta, p.address);
      if (is_over(w, *i, l, b)) {
        over |= 1u << l;
        if (w.worker->machine->options.races && bits & kOrders) {
          join(w, b.over[0]);
          if (bits & kCluster) join(w, b.over[1]);
        }
      } else {
        w.awaited = i;
        w.awaited_at = p.address;
      }
    }
    Mask &d = w.pred(i->op[0]);
    d = (d & ~m) | over;
    w.awaited_lanes = (w.awaited_lanes & ~m) | (m & ~over);
    if (over != m) w.spins = true;
  }
}

// {.release|.acquire|.relaxed}{.cta|.cluster}; the first, at the scope .cta, if there is none.
uint32_t take_semantics(Decoder &d, const char *orders) {
  uint32_t bits = d.take("relaxed") ? 0 : uint32_t(kOrders);
  if (bits) d.take(orders);
  if (!d.take("cta") && d.take("cluster")) bits |= kCluster;
  return bits;
}

Address take_mbarrier(Decoder &d, size_t k, bool remote, uint32_t &bits) {
  Space s = take_space(d);
  if (s != Space::generic && s != Space::shared && !(remote && s == Space::cluster)) d.unknown();
  if (!d.take("b64")) d.unknown();
  Address a = take_address(d, d.operand(k), s);
  bits |= static_cast<uint32_t>(a.space);
  return a;
}

void emit(Decoder &d, Exec run, Slot first, Slot second, const Address &a, uint32_t bits) {
  Draft &draft = d.emit(run, run, {first, second, second, second, a.base}, a.offset);
  draft.inst.op[kBits] = bits;
  draft.inst.op[kFlags] = kUnwatched | (a.narrow ? uint32_t(kAddress32) : 0);
  draft.inst.aux = d.access();
}

void mbarrier(Decoder &d) {
  uint32_t bits = 0;
  if (d.take("init") || d.take("inval")) {
    bool makes = d.count() == 2;
    d.expect(makes ? 2 : 1);
    Address a = take_mbarrier(d, 0, false, bits);
    Slot count = makes ? d.in(1, 4) : d.number(0, 4);
    return emit(d, makes ? init : inval, count, count, a, bits);
  }
  bool expects = d.take("expect_tx");
  if (expects || d.take("complete_tx")) {
    d.expect(2);
    d.take("relaxed");
    d.take_any({"cta", "cluster"});
    Address a = take_mbarrier(d, 0, true, bits);
    Slot bytes = d.in(1, 4);
    return emit(d, expects ? count_bytes<1> : count_bytes<-1>, bytes, bytes, a, bits);
  }
  if (d.take("arrive")) {
    if (d.take("expect_tx")) bits |= kExpects;
    bits |= take_semantics(d, "release");
    d.expect(bits & kExpects ? 3 : 2, 3);
    Address a = take_mbarrier(d, 1, true, bits);
    bool wanted = d.operand(0).kind != Operand::sink;
    if (wanted && a.space == Space::cluster) d.fail("the state of an mbarrier of another block is not known");
    Slot operand = d.count() == 3 ? d.in(2, 4) : d.number(1, 4);
    return emit(d, arrive_at, wanted ? d.out(size_t(0), 8) : d.scratch(8), operand, a, bits);
  }
  if (!d.take_any({"test_wait", "try_wait"})) d.unknown();
  if (d.take("parity")) bits |= kParity;
  bits |= take_semantics(d, "acquire");
  d.expect(3, 4);  // the last operand is a time limit, a hint
  Address a = take_mbarrier(d, 1, false, bits);
  Slot which = d.in(2, bits & kParity ? 4 : 8);
  if (d.count() == 4) d.in(3, 4);
  emit(d, test, d.out(size_t(0), 1), which, a, bits);
}

// Inst of an asynchronous operation: the destination's address in op[0] and imm, the mbarrier's
// address in op[kAddress] and op[kMbarrierOffset].
constexpr int kSourceOffset = 6, kMbarrierOffset = 7;

// The operation of a lane that sends size bytes to a destination with an address aligned to align.
Delivery delivery(Warp &w, const Inst &i, int lane, uint32_t size, unsigned align) {
  Inst at = i;
  at.op[kAddress] = i.op[0];
  Place to = place(w, at, lane, align);
  at.imm += size - align;
  place(w, at, lane, align);  // checks the last bytes too
  at = i;
  at.imm = static_cast<int32_t>(i.op[kMbarrierOffset]);
  Place mbarrier = place(w, at, lane, 8);
  need(w, i, lane, mbarrier.cta, mbarrier.address);
  if (&to.cta != &mbarrier.cta) fault(Fault::address, w, i, lane, "destination and mbarrier are in different blocks");
  return {&w, &i, lane, &to.cta, to.address, mbarrier.address, size, nullptr, 0, {}, nullptr, 0};
}

// st.async [a], b, [mbarrier]. op: address, values in 1, 2, 3 and 5.
template <class T, int V>
void store_later(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    auto known = known_to(w);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      Delivery d = delivery(w, *i, l, sizeof(T) * V, sizeof(T) * V);
      if (d.to == w.cta) fault(Fault::address, w, *i, l, "the destination of st.async is in the same block");
      for (int k = 0; k < V; k++)
        std::memcpy(d.data + sizeof(T) * k, values<const T>(w, i->op[k < 3 ? k + 1 : 5]) + l, sizeof(T));
      d.known = known;
      send(w, d);
    }
  }
}

// cp.async.bulk [a], [b], size, [mbarrier]. op: address, size, source.
void copy_later(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    auto known = known_to(w);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      uint32_t size = values<const uint32_t>(w, i->op[1])[l];
      if (!size || size % 16) fault(Fault::illegal_instruction, w, *i, l, format("a copy of %u bytes", size));
      Delivery d = delivery(w, *i, l, size, 16);
      Inst at = *i;
      at.op[kBits] = static_cast<uint32_t>(Space::shared);
      at.op[kAddress] = i->op[2];
      at.imm = static_cast<int32_t>(i->op[kSourceOffset]);
      Place from = place(w, at, l, 16);
      at.imm += size - 16;
      place(w, at, l, 16);
      d.from = &from.cta;
      d.source = from.address;
      d.known = known;
      send(w, d);
    }
  }
}

uint32_t offset_of(Decoder &d, const Address &a) {
  if (a.offset != static_cast<int32_t>(a.offset)) d.fail("the offset is too large");
  return static_cast<uint32_t>(a.offset);
}

// Emits an asynchronous operation; slots hold its operands except the addresses.
void emit_later(Decoder &d, Exec run, std::vector<Slot> slots, const Address &to, const Address &mbarrier,
                const Address *from) {
  if (to.narrow != mbarrier.narrow || (from && from->narrow != to.narrow))
    d.fail("addresses of different widths are not supported");
  slots.insert(slots.begin(), to.base);
  slots.insert(slots.begin() + kAddress, mbarrier.base);
  Draft &draft = d.emit(run, run, slots, to.offset);
  draft.inst.op[kMbarrierOffset] = offset_of(d, mbarrier);
  draft.inst.op[kSourceOffset] = from ? offset_of(d, *from) : 0;
  draft.inst.op[kBits] = static_cast<uint32_t>(to.space);
  draft.inst.op[kFlags] = kUnwatched | (to.narrow ? uint32_t(kAddress32) : 0);
  draft.inst.aux = d.access();
}

const Opcode ops[] = {{{"mbarrier"}, mbarrier}};

}  // namespace

void async_store(Decoder &d) {
  d.take("weak");
  Space space = take_space(d);
  if ((space != Space::generic && space != Space::cluster) || !d.take("mbarrier::complete_tx::bytes")) d.unknown();
  size_t vector = d.take("v2") ? 2 : d.take("v4") ? 4 : 1;
  Type t = d.type();
  if (!t.is("busf") || t.count != 1 || t.bits < 32 || vector * t.bytes() > 16) d.unknown();
  d.expect(3);
  const Operand &value = d.operand(1);
  std::vector<Operand> parts = vector == 1 ? std::vector{value} : value.parts;
  if (parts.size() != vector) d.fail("the vector has the wrong length");
  std::vector<Slot> slots;
  for (auto &p : parts) slots.push_back(d.in(p, t.bytes()));
  slots.resize(4, slots[0]);
  Address to = take_address(d, d.operand(0), space), mbarrier = take_address(d, d.operand(2), space);
  Exec run = t.bytes() == 8 ? (vector == 2 ? store_later<uint64_t, 2> : store_later<uint64_t, 1>)
             : vector == 4  ? store_later<uint32_t, 4>
             : vector == 2  ? store_later<uint32_t, 2>
                            : store_later<uint32_t, 1>;
  emit_later(d, run, slots, to, mbarrier, nullptr);
}

void bulk_copy(Decoder &d) {
  if (!d.take("shared::cluster") || !d.take("shared::cta") || !d.take("mbarrier::complete_tx::bytes")) d.unknown();
  d.expect(4);
  Address to = take_address(d, d.operand(0), Space::cluster), from = take_address(d, d.operand(1), Space::shared),
          mbarrier = take_address(d, d.operand(3), Space::cluster);
  emit_later(d, copy_later, {d.in(2, 4), from.base, from.base}, to, mbarrier, &from);
}

void check_deliveries(const Cta &c) {
  for (auto &[place, all] : c.unit->deliveries->all)
    for (const Delivery &d : all) {
      const char *what = d.to == &c ? "came to" : d.from == &c ? "was read from" : nullptr;
      if (what)
        fault(Fault::address, *d.warp, *d.inst, d.lane,
              format("block %u of the cluster has exited before this %s its shared memory", c.rank, what));
    }
}

void make_known(Warp &w) {
  if (!w.cta->mbarriers) return;
  for (auto &[address, b] : w.cta->mbarriers->at)
    if (b.warp == index_of(w)) b.known_after = w.cta->unit->phase;
}

std::string awaits(const Warp &w) {
  const Mbarrier *b = find(*w.cta, w.awaited_at);
  if (!b) return format("waits at shared address 0x%x, where no mbarrier is any more", w.awaited_at);
  return format("waits for phase %llu of the mbarrier at shared address 0x%x, "
                "which lacks %u of %u arrivals and %lld bytes",
                static_cast<unsigned long long>(b->phase), w.awaited_at, b->pending, b->count,
                static_cast<long long>(b->bytes));
}

}  // namespace ptx

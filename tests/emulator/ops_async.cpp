// cp.async: copies from global to shared memory. They become visible only after a wait: a thread that
// reads too early finds the old contents.
#include <algorithm>

#include "address.h"
#include "lanes.h"
#include "mbarrier.h"
#include "operands.h"

namespace ptx {
namespace {

// op: source address, source bytes, -, -, destination address; op[8]: offset of the source;
// imm: offset of the destination. The source counts as the next access.
template <int Bytes>
void copy(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    uint64_t to[kLanes], from[kLanes];
    char *shared = locate<Space::shared>(w, *i, m, Bytes, to);
    Inst source = *i;
    source.op[kAddress] = i->op[0];
    source.op[kFlags] = 0;
    source.aux = i->aux + 1;
    const uint32_t *bytes = values<const uint32_t>(w, i->op[1]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      int l = std::countr_zero(rest);
      if (bytes[l] > Bytes) fault(Fault::illegal_instruction, w, *i, l, format("%u of %d bytes", bytes[l], Bytes));
      source.imm = static_cast<int32_t>(i->op[8]);
      Copy c{static_cast<uint8_t>(l), w.copy_groups[l], Bytes, shared + to[l], {}};
      if (bytes[l] == Bytes) {
        std::memcpy(c.data, locate<Space::global>(w, source, 1u << l, Bytes, from) + from[l], Bytes);
      } else {  // the rest is zero, and need not exist at the source
        for (uint32_t k = 0; k < bytes[l]; k++, source.imm++)
          c.data[k] = locate<Space::global>(w, source, 1u << l, 1, from)[from[l]];
      }
      w.copies.push_back(c);
    }
  }
}

// Completes the copies of the lanes of m, except those of their last `pending` groups.
void complete(Warp &w, Mask m, uint32_t pending) {
  for (auto &c : w.copies) {
    if (!(m >> c.lane & 1) || c.group + pending >= w.copy_groups[c.lane]) continue;
    std::memcpy(c.to, c.data, c.bytes);
    c.bytes = 0;
    note_write(w);
  }
  std::erase_if(w.copies, [](auto &c) { return !c.bytes; });
}

void commit(Warp &w, const Inst *, uint32_t count, Mask m) {
  for (int l = 0; l < kLanes; l++)
    if (m >> l & 1) w.copy_groups[l] += count;
}

void wait_group(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) complete(w, m, i->imm);
}

void wait_all(Warp &w, const Inst *i, uint32_t, Mask m) {
  commit(w, i, 1, m);
  complete(w, m, 0);
}

// cp.async.ca|cg.shared.global{.L2::…} [to], [from], bytes{, source bytes}
void op_cp(Decoder &d) {
  if (!d.take("async")) d.unknown();
  if (d.take("bulk")) return bulk_copy(d);
  if (d.take("commit_group")) {
    d.expect(0);
    d.emit(commit, commit, {});
    return;
  }
  if (d.take("wait_all")) {
    d.expect(0);
    d.emit(wait_all, wait_all, {});
    return;
  }
  if (d.take("wait_group")) {
    d.expect(1);
    d.emit(wait_group, wait_group, {}, d.immediate(0));
    return;
  }
  bool cg = d.take("cg");
  if (!cg && !d.take("ca")) d.unknown();
  if (take_space(d) != Space::shared || !d.take("global")) d.unknown();
  d.take_any({"L2::64B", "L2::128B", "L2::256B"});
  d.expect(3, 4);
  Address to = take_address(d, d.operand(0), Space::shared), from = take_address(d, d.operand(1), Space::global);
  uint64_t bytes = d.immediate(2);
  if ((bytes != 4 && bytes != 8 && bytes != 16) || (cg && bytes != 16))
    d.fail("an invalid number of bytes");
  if (from.offset != static_cast<int32_t>(from.offset)) d.fail("the offset is too large");
  Slot size = d.count() == 4 ? d.in(3, 4) : d.number(bytes, 4);
  Exec run = bytes == 4 ? copy<4> : bytes == 8 ? copy<8> : copy<16>;
  Draft &draft = d.emit(run, run, {from.base, size, size, size, to.base}, to.offset);
  draft.inst.op[8] = static_cast<uint32_t>(from.offset);
  draft.inst.op[kFlags] = kWrite | (to.narrow ? uint32_t(kAddress32) : 0);
  draft.inst.aux = d.access();
  d.access();
}

const Opcode ops[] = {{{"cp"}, op_cp}};

}  // namespace
}  // namespace ptx

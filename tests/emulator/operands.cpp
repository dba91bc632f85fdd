#include "operands.h"

namespace ptx {

bool take_order(Decoder &d, uint32_t &flags, bool write) {
  if (d.take("weak")) return true;
  if (d.take("volatile")) return flags |= kStrong, true;
  if (d.take("relaxed") || d.take(write ? "release" : "acquire")) {
    flags |= kStrong;
    if (!d.take_any({"cta", "cluster", "gpu", "sys"})) d.fail("a scope is missing");
    return true;
  }
  return false;
}

Space take_space(Decoder &d) {
  if (d.take_any({"global", "const"})) return Space::global;
  if (d.take_any({"shared", "shared::cta"})) return Space::shared;
  if (d.take("shared::cluster")) return Space::cluster;
  if (d.take("local")) return Space::local;
  if (d.take_any({"param", "param::entry", "param::func"})) return Space::param;
  return Space::generic;
}

void take_cache(Decoder &d, bool write, bool ordered) {
  if (!ordered) {
    if (write) d.take_any({"wb", "cg", "cs", "wt"});
    else if (!d.take_any({"ca", "cg", "cs", "lu", "cv"})) d.take("nc");
    d.take("nc");
  }
  d.take_any({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"});
  d.take_any({"L2::64B", "L2::128B", "L2::256B"});
}

Address take_address(Decoder &d, const Operand &o, Space space) {
  if (o.kind != Operand::address) d.fail("an operand is not an address");
  if (o.parts.empty()) return {space, d.number(o.offset, 8), 0, false};
  const Operand &base = o.parts[0];
  if (base.kind == Operand::name) {
    auto *v = d.variable(base.text);
    Space own = Space::global;
    if (v)
      own = v->space == Variable::local ? Space::local : v->space == Variable::param ? Space::param : Space::shared;
    // .param variables of calls live in the local frame.
    if (space == Space::param && own == Space::local) space = Space::local;
    if (space != own && !(space == Space::cluster && own == Space::shared))
      d.fail(base.text + " is not in this space");
    return {space, d.in(base, 8), o.offset, false};
  }
  unsigned width = d.width(base);
  if (width != 8 && width != 4) d.fail("an address register has 32 or 64 bits");
  if (width == 4 && (space == Space::generic || space == Space::global)) d.fail("an address has 64 bits");
  return {space, d.in(base, width), o.offset, width == 4};
}

}  // namespace ptx

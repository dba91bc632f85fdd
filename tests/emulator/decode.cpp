// The decoder's view of one statement: modifiers, operands and the instruction it emits.
#include "decode.h"

#include <algorithm>

namespace ptx {

std::map<std::string, Decode, std::less<>> &decoders() {
  static std::map<std::string, Decode, std::less<>> all;
  return all;
}

namespace {

const std::map<std::string_view, Special> &specials() {
  static const std::map<std::string_view, Special> all = {
      {"%tid.x", kTidX}, {"%tid.y", kTidY}, {"%tid.z", kTidZ},
      {"%ntid.x", kNtidX}, {"%ntid.y", kNtidY}, {"%ntid.z", kNtidZ},
      {"%ctaid.x", kCtaidX}, {"%ctaid.y", kCtaidY}, {"%ctaid.z", kCtaidZ},
      {"%nctaid.x", kNctaidX}, {"%nctaid.y", kNctaidY}, {"%nctaid.z", kNctaidZ},
      {"%laneid", kLaneid}, {"%warpid", kWarpid}, {"%nwarpid", kNwarpid},
      {"%smid", kSmid}, {"%nsmid", kNsmid}, {"%gridid", kGridid},
      {"%lanemask_eq", kLanemaskEq}, {"%lanemask_le", kLanemaskLe}, {"%lanemask_lt", kLanemaskLt},
      {"%lanemask_ge", kLanemaskGe}, {"%lanemask_gt", kLanemaskGt},
      {"%cluster_ctaid.x", kClusterCtaidX}, {"%cluster_ctaid.y", kClusterCtaidY}, {"%cluster_ctaid.z", kClusterCtaidZ},
      {"%cluster_nctaid.x", kClusterNctaidX}, {"%cluster_nctaid.y", kClusterNctaidY},
      {"%cluster_nctaid.z", kClusterNctaidZ},
      {"%cluster_ctarank", kClusterCtarank}, {"%cluster_nctarank", kClusterNctarank},
      {"%clusterid.x", kClusteridX}, {"%clusterid.y", kClusteridY}, {"%clusterid.z", kClusteridZ},
      {"%nclusterid.x", kNclusteridX}, {"%nclusterid.y", kNclusteridY}, {"%nclusterid.z", kNclusteridZ},
      {"%is_explicit_cluster", kIsExplicitCluster},
      {"%dynamic_smem_size", kDynamicSmemSize}, {"%total_smem_size", kTotalSmemSize}};
  return all;
}

}  // namespace

std::vector<Draft> Decoder::decode(const Statement &s) {
  statement_ = &s;
  drafts_.clear();
  uses_.clear();
  defs_.clear();
  taken_ = 0;
  modifiers_.clear();
  std::string_view rest = s.opcode, name = rest.substr(0, rest.find('.'));
  for (size_t dot = rest.find('.'); dot != rest.npos;) {
    size_t end = rest.find('.', dot + 1);
    modifiers_.push_back(rest.substr(dot + 1, end == rest.npos ? end : end - dot - 1));
    dot = end;
  }
  auto found = decoders().find(name);
  if (found == decoders().end()) {
    Type last;
    for (auto m : modifiers_)
      if (Type t = type_of(m); t.kind) last = t;
    const char *domain = last.is("B") || (last.is("f") && last.bits == 16) ? "/h" : last.is("f") ? "/f" : "/i";
    found = decoders().find(std::string(name) + domain);
  }
  if (found == decoders().end()) unknown();
  found->second(*this);
  if (taken_ != modifiers_.size()) fail("unknown modifier ." + std::string(modifiers_[taken_]));
  for (auto &d : drafts_) {
    d.line = s.line;
    if (!s.guarded) continue;
    if (d.meet != Meet::none) fail("a guard on this instruction is not supported");
    if (register_bytes(s.guard) != 1) fail("the guard is not a predicate");
    d.guarded = true;
    d.guard = s.guard;
    d.flip = s.negated ? kFull : 0;
    d.uses.push_back(s.guard);
    d.partial = true;
  }
  return std::move(drafts_);
}

unsigned Decoder::register_bytes(uint32_t id) const { return function_.registers[id].bytes; }

void Decoder::fail(const std::string &why) const { parse_error(statement_->line, statement_->opcode + ": " + why); }

std::string_view Decoder::peek() const { return taken_ < modifiers_.size() ? modifiers_[taken_] : std::string_view(); }

std::string_view Decoder::next() {
  if (taken_ >= modifiers_.size()) fail("a modifier is missing");
  return modifiers_[taken_++];
}

bool Decoder::take(std::string_view modifier) {
  if (peek() != modifier || modifier.empty()) return false;
  taken_++;
  return true;
}

bool Decoder::take_any(std::initializer_list<std::string_view> modifiers) {
  return std::any_of(modifiers.begin(), modifiers.end(), [&](auto m) { return take(m); });
}

bool Decoder::ends_with(std::string_view modifier) const {
  return !modifiers_.empty() && modifiers_.back() == modifier;
}

Type Decoder::type() {
  Type t = type_of(peek());
  if (!t.kind) fail(peek().empty() ? "a type is missing" : "unknown modifier ." + std::string(peek()));
  taken_++;
  return t;
}

const Operand &Decoder::operand(size_t k) const {
  if (k >= statement_->operands.size()) fail("too few operands");
  return statement_->operands[k];
}

void Decoder::expect(size_t least, size_t most) const {
  if (count() < least || count() > most) fail("wrong number of operands");
}

Slot Decoder::constant(Constant c) {
  for (size_t i = 0; i < constants_.size(); i++)
    if (constants_[i].kind == c.kind && constants_[i].bytes == c.bytes && constants_[i].bits == c.bits &&
        constants_[i].index == c.index)
      return kConstant | i;
  constants_.push_back(c);
  return kConstant | (constants_.size() - 1);
}

Slot Decoder::number(uint64_t bits, unsigned bytes) {
  if (bytes < 8) bits &= (1ull << bytes * 8) - 1;
  return constant({Constant::value, 0, bytes, bits, 0});
}

Slot Decoder::scratch(unsigned bytes) { return constant({Constant::value, 0, bytes, 0, 1}); }

unsigned Decoder::width(const Operand &o) const { return o.kind == Operand::reg ? register_bytes(o.id) : 0; }

const Variable *Decoder::variable(const std::string &name) const {
  auto found = function_.variables.find(name);
  if (found != function_.variables.end()) return &found->second;
  found = names_.shared.find(name);
  return found == names_.shared.end() ? nullptr : &found->second;
}

// A value of this size: a register, a number, the address of a variable, a special register.
Slot Decoder::in(const Operand &o, unsigned bytes) {
  if (o.negated) fail("'!' is not possible here");
  switch (o.kind) {
    case Operand::reg:
      if (register_bytes(o.id) != bytes) fail("a register has the wrong size");
      uses_.push_back(o.id);
      return o.id;
    case Operand::integer:
      return number(o.bits, bytes);
    case Operand::real: {
      uint64_t bits = o.bits;
      if (o.single ? bytes != 4 : bytes != 8 && bytes != 4) fail("a number has the wrong size");
      if (!o.single && bytes == 4) bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
      return number(bits, bytes);
    }
    case Operand::name: {
      if (o.text == "WARP_SZ") return number(kLanes, bytes);
      if (auto special = specials().find(o.text); special != specials().end()) {
        if (bytes != 4 && !(bytes == 8 && special->second == kGridid)) fail("a special register has the wrong size");
        return constant({Constant::special, 0, bytes, special->second, 0});
      }
      if (bytes != 8 && bytes != 4) fail(o.text + ": an address has 4 or 8 bytes");
      if (auto *v = variable(o.text)) {
        if (v->space == Variable::dynamic_shared) return number(function_.kernel.static_shared + o.offset, bytes);
        return number(v->offset + o.offset, bytes);
      }
      for (auto *space : {&names_.globals, &names_.constants})
        if (auto g = space->find(o.text); g != space->end()) {
          if (bytes != 8) fail(o.text + ": an address has 8 bytes");
          return constant({Constant::global, 0, bytes, static_cast<uint64_t>(o.offset), g->second});
        }
      fail(o.text + ": unknown name");
    }
    default:
      fail("an operand is not a value");
  }
}

Slot Decoder::out(const Operand &o, unsigned bytes) {
  if (o.kind != Operand::reg || o.negated) fail("a result is not a register");
  if (register_bytes(o.id) != bytes) fail("a register has the wrong size");
  defs_.push_back(o.id);
  return o.id;
}

Slot Decoder::pred(const Operand &o) {
  if (o.kind == Operand::integer) return constant({Constant::value, 0, 1, o.bits ? kFull : 0, 0});
  if (o.kind != Operand::reg || register_bytes(o.id) != 1) fail("an operand is not a predicate");
  uses_.push_back(o.id);
  return o.id;
}

uint64_t Decoder::immediate(size_t k) const {
  if (operand(k).kind != Operand::integer) fail("an operand is not a number");
  return operand(k).bits;
}

Slot Decoder::carry(bool read, bool write) {
  if (read) uses_.push_back(0);
  if (write) defs_.push_back(0);
  return 0;
}

Draft &Decoder::emit(Exec full, Exec masked, const std::vector<Slot> &slots, int64_t imm) {
  Draft d;
  d.full = full;
  d.masked = masked;
  d.slots = slots;
  d.inst.imm = imm;
  d.uses = std::move(uses_);
  d.defs = std::move(defs_);
  uses_.clear();
  defs_.clear();
  drafts_.push_back(std::move(d));
  return drafts_.back();
}

Draft &Decoder::emit(Exec full, Exec masked, std::initializer_list<Slot> slots, int64_t imm) {
  return emit(full, masked, std::vector<Slot>(slots), imm);
}

}  // namespace ptx

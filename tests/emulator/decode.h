// From PTX statements to instructions: the interface between parse.cpp and the decoders of the
// opcodes in ops_*.cpp.
#pragma once
#include <initializer_list>
#include <string_view>

#include "machine.h"

namespace ptx {

// A type as written in an instruction: kind is one of u, s, f, b, p (predicate), B (bf16),
// T (tf32); packed types (f16x2, bf16x2) have count 2.
struct Type {
  char kind = 0;
  unsigned bits = 0;
  unsigned count = 1;
  unsigned bytes() const { return bits * count / 8; }
  bool is(const char *kinds) const { return kind && std::strchr(kinds, kind); }
};

// The type of this name; kind is 0 if there is none.
Type type_of(std::string_view name);

struct Operand {
  enum Kind { none, reg, integer, real, name, vector, pair, address, sink } kind = none;
  uint32_t id = 0;        // reg: number in the function
  bool negated = false;   // !%p
  uint64_t bits = 0;      // integer: its value; real: bits of the double, or of the float of 0f…
  bool single = false;    // real: written 0f…
  std::string text;       // name: as written, or made unique for a variable of the function
  std::vector<Operand> parts;  // vector: elements; pair: d|p; address: the base
  int64_t offset = 0;     // address
};

struct Statement {
  uint32_t line = 0;
  std::string label;   // a label alone, when not empty
  std::string opcode;  // "fma.rn.f32"
  std::vector<Operand> operands;
  bool guarded = false, negated = false;
  uint32_t guard = 0;
};

struct Register {
  uint8_t bytes;  // of one lane; 1 for a predicate
};

// A variable of a function in shared, local or parameter space.
struct Variable {
  enum Space { shared, local, param, dynamic_shared } space;
  uint64_t offset;
  uint64_t size;
};

struct Function {
  std::string name;
  bool entry = false;
  std::vector<Statement> statements;
  std::vector<Register> registers;
  std::map<std::string, Variable> variables;
  std::map<std::string, std::vector<std::string>> tables;  // .branchtargets
  std::vector<Operand> inputs, outputs;                    // formal parameters of a .func
  Kernel kernel;
  uint64_t local = 0;  // bytes
};

// The names of the module that are known while a function is decoded.
struct Names {
  std::map<std::string, uint32_t> globals;     // index in Module::globals
  std::map<std::string, uint32_t> constants;   // likewise, .const
  std::map<std::string, Variable> shared;      // module-level .shared
  std::map<std::string, std::shared_ptr<Function>> functions;
  uint64_t shared_bytes = 0;
};

[[noreturn]] void parse_error(uint32_t line, const std::string &message);

// An operand of an instruction that is being decoded: a virtual register or a constant.
using Slot = uint32_t;
constexpr Slot kConstant = 0x80000000u;

// An instruction whose registers have no places yet.
struct Draft {
  Inst inst{};
  Exec full = nullptr, masked = nullptr;
  std::vector<Slot> slots;      // of op, in order; those beyond the tenth go to more
  std::vector<Slot> uses, defs;
  bool partial = false;         // defs keep something of their old value (guarded)
  End end = End::fall;
  bool starts = false;          // it starts a block
  Meet meet = Meet::none;
  Slot members = 0;
  std::string target;           // branch: label; indexed: table
  bool guarded = false;
  Slot guard = 0;
  Mask flip = 0;
  bool fma = false;
  uint32_t line = 0;
  std::string label;
};

// Decodes one statement. Modifiers are taken one by one from the opcode. Any that are left when
// the decoder returns are an error, so nothing is ignored.
class Decoder {
 public:
  Decoder(const Function &function, const Names &names, std::vector<Constant> &constants, uint32_t &accesses)
      : function_(function), names_(names), constants_(constants), accesses_(accesses) {}
  std::vector<Draft> decode(const Statement &statement);

  // Modifiers.
  bool take(std::string_view modifier);  // the next one, if it is this
  bool take_any(std::initializer_list<std::string_view> modifiers);
  std::string_view peek() const;
  std::string_view next();
  bool ends_with(std::string_view modifier) const;  // the last one
  Type type();  // the next one must be a type
  [[noreturn]] void fail(const std::string &why) const;
  [[noreturn]] void unknown() const { fail("unknown instruction"); }

  // Operands.
  size_t count() const { return statement_->operands.size(); }
  const Operand &operand(size_t k) const;
  void expect(size_t least, size_t most) const;
  void expect(size_t n) const { expect(n, n); }
  Slot in(const Operand &o, unsigned bytes);            // a value: register of this size, or constant
  Slot in(size_t k, unsigned bytes) { return in(operand(k), bytes); }
  Slot out(const Operand &o, unsigned bytes);
  Slot out(size_t k, unsigned bytes) { return out(operand(k), bytes); }
  Slot pred(const Operand &o);                          // a predicate that is read, not negated
  Slot carry(bool read, bool write);                    // the carry flag
  Slot number(uint64_t bits, unsigned bytes);           // a constant
  Slot scratch(unsigned bytes);                         // a place for an unused result
  unsigned width(const Operand &o) const;               // bytes of a register, 0 if o is none
  uint64_t immediate(size_t k) const;                   // the operand must be an integer
  uint32_t access() { return accesses_++; }
  const Variable *variable(const std::string &name) const;
  const Function &function() const { return function_; }
  const Names &names() const { return names_; }

  // The instruction. Slots become op[0], op[1] …; uses and defs were noted by in and out.
  Draft &emit(Exec full, Exec masked, std::initializer_list<Slot> slots, int64_t imm = 0);
  Draft &emit(Exec full, Exec masked, const std::vector<Slot> &slots, int64_t imm = 0);
  Draft &last() { return drafts_.back(); }

 private:
  unsigned register_bytes(uint32_t id) const;  // of a register
  Slot constant(Constant c);
  const Function &function_;
  const Names &names_;
  std::vector<Constant> &constants_;
  uint32_t &accesses_;
  const Statement *statement_ = nullptr;
  std::vector<std::string_view> modifiers_;
  size_t taken_ = 0;
  std::vector<Slot> uses_, defs_;
  std::vector<Draft> drafts_;
};

// Decoders by the first part of the opcode and, where that is not enough, by the kind of the
// last type: "add/i" for integers and bits, "add/f" for f32 and f64, "add/h" for the 16-bit
// formats.
using Decode = void (*)(Decoder &);
std::map<std::string, Decode, std::less<>> &decoders();
struct Opcode {
  Opcode(std::initializer_list<std::string_view> names, Decode decode) {
    for (auto name : names) decoders()[std::string(name)] = decode;
  }
};

// build lays out the statements of a kernel as a Body (build.cpp).
void build(Function &function, const Names &names, std::shared_ptr<const Source> source);

}  // namespace ptx

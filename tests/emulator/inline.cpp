// Calls of device functions are replaced by the functions' statements: no stack at run time.
#include <algorithm>
#include <set>

#include "inline.h"

namespace ptx {
namespace {

struct Inliner {
  const Names &names;
  std::vector<std::string> stack;
  unsigned calls = 0;

  void expand(Function &f) {
    if (std::count(stack.begin(), stack.end(), f.name))
      parse_error(f.statements.empty() ? 0 : f.statements[0].line, f.name + ": recursive functions are not supported");
    stack.push_back(f.name);
    std::vector<Statement> all;
    for (auto &s : f.statements)
      if (s.opcode == "call" || s.opcode == "call.uni") call(f, s, all);
      else all.push_back(s);
    f.statements = std::move(all);
    stack.pop_back();
  }

  void call(Function &f, const Statement &s, std::vector<Statement> &all) {
    auto fail = [&](const std::string &why) { parse_error(s.line, s.opcode + ": " + why); };
    if (s.guarded) fail("a guard on a call is not supported");
    std::vector<Operand> results, arguments;
    size_t k = 0;
    if (k < s.operands.size() && s.operands[k].kind == Operand::vector) results = s.operands[k++].parts;
    if (k >= s.operands.size() || s.operands[k].kind != Operand::name) fail("calls by address are not supported");
    std::string name = s.operands[k++].text;
    if (k < s.operands.size() && s.operands[k].kind == Operand::vector) arguments = s.operands[k++].parts;
    if (k != s.operands.size()) fail("calls by address are not supported");
    auto found = names.functions.find(name);
    if (found == names.functions.end()) fail("function " + name + " is not defined");
    Function callee = *found->second;
    expand(callee);
    if (callee.inputs.size() != arguments.size() || callee.outputs.size() != results.size())
      fail(name + " takes a different number of parameters");

    std::string prefix = name + "#" + std::to_string(++calls) + ":";
    uint32_t base = f.registers.size();
    f.registers.insert(f.registers.end(), callee.registers.begin(), callee.registers.end());
    f.local = (f.local + 15) / 16 * 16;
    for (auto &[n, v] : callee.variables) {
      Variable moved = v;
      if (v.space == Variable::local) moved.offset += f.local;
      f.variables[prefix + n] = moved;
    }
    f.local += callee.local;
    for (auto &[n, targets] : callee.tables)
      for (auto &t : targets) f.tables[prefix + n].push_back(prefix + t);
    std::set<std::string> labels;
    for (auto &c : callee.statements)
      if (!c.label.empty()) labels.insert(c.label);
    auto rename = [&](Operand &o, auto &self) -> void {
      if (o.kind == Operand::reg) o.id += base;
      if (o.kind == Operand::name &&
          (callee.variables.contains(o.text) || labels.contains(o.text) || callee.tables.contains(o.text)))
        o.text = prefix + o.text;
      for (auto &p : o.parts) self(p, self);
    };
    // A parameter in .param space is the caller's variable itself; one in a register is copied.
    auto bind = [&](Operand formal, const Operand &actual, bool result) {
      rename(formal, rename);
      if (formal.kind == Operand::name) {
        auto v = f.variables.find(actual.text);
        if (actual.kind != Operand::name || v == f.variables.end() || v->second.space != Variable::local ||
            v->second.size != f.variables[formal.text].size)
          fail("a parameter of " + name + " is not a .param variable of its size");
        f.variables[formal.text] = v->second;
        return;
      }
      Statement move;
      move.line = s.line;
      unsigned bytes = f.registers[formal.id].bytes;
      move.opcode = bytes == 1 ? "mov.pred" : "mov.b" + std::to_string(bytes * 8);
      move.operands = result ? std::vector{actual, formal} : std::vector{formal, actual};
      all.push_back(move);
    };
    for (size_t i = 0; i < arguments.size(); i++) bind(callee.inputs[i], arguments[i], false);
    for (size_t i = 0; i < results.size(); i++)
      if (callee.outputs[i].kind == Operand::name) bind(callee.outputs[i], results[i], true);
    for (auto c : callee.statements) {
      if (!c.label.empty()) c.label = prefix + c.label;
      c.guard += base;
      for (auto &o : c.operands) rename(o, rename);
      if (c.opcode == "ret" || c.opcode == "ret.uni") {
        c.opcode = "bra";
        Operand end;
        end.kind = Operand::name;
        end.text = prefix;
        c.operands = {end};
      }
      all.push_back(c);
    }
    Statement end;
    end.line = s.line;
    end.label = prefix;
    all.push_back(end);
    for (size_t i = 0; i < results.size(); i++)
      if (callee.outputs[i].kind == Operand::reg) bind(callee.outputs[i], results[i], true);
  }
};

}  // namespace

void inline_calls(Function &function, const Names &names) { Inliner{names, {}}.expand(function); }

}  // namespace ptx

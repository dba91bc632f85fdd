// PTX text to statements: module-level directives, functions, scopes, operands.
// It does not know the meaning of the opcodes.
#include <algorithm>
#include <charconv>
#include <cstdarg>

#include "decode.h"

namespace ptx {

std::string format(const char *text, ...) {
  va_list a, b;
  va_start(a, text);
  va_copy(b, a);
  std::string s(std::vsnprintf(nullptr, 0, text, a), 0);
  std::vsnprintf(s.data(), s.size() + 1, text, b);
  va_end(a);
  va_end(b);
  return s;
}

void parse_error(uint32_t line, const std::string &message) {
  throw ParseError("line " + std::to_string(line) + ": " + message);
}

Type type_of(std::string_view name) {
  static const std::map<std::string_view, Type> types = {
      {"u8", {'u', 8}},      {"u16", {'u', 16}},       {"u32", {'u', 32}},   {"u64", {'u', 64}},
      {"s8", {'s', 8}},      {"s16", {'s', 16}},       {"s32", {'s', 32}},   {"s64", {'s', 64}},
      {"b8", {'b', 8}},      {"b16", {'b', 16}},       {"b32", {'b', 32}},   {"b64", {'b', 64}},
      {"f16", {'f', 16}},    {"f32", {'f', 32}},       {"f64", {'f', 64}},   {"pred", {'p', 8}},
      {"f16x2", {'f', 16, 2}}, {"bf16", {'B', 16}},    {"bf16x2", {'B', 16, 2}}, {"tf32", {'T', 32}}};
  auto found = types.find(name);
  return found == types.end() ? Type{} : found->second;
}

const Kernel *Module::find(const std::string &name) const {
  for (auto &k : kernels)
    if (k.name == name) return &k;
  return nullptr;
}

namespace {

struct Token {
  std::string_view text;
  uint32_t line;
};

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("_$%.", c); }

std::vector<Token> tokens(std::string_view text) {
  std::vector<Token> all;
  uint32_t line = 1;
  for (size_t i = 0; i < text.size();) {
    char c = text[i];
    size_t from = i;
    if (c == '\n') line++, i++;
    else if (std::isspace(static_cast<unsigned char>(c))) i++;
    else if (text.substr(i, 2) == "//") i = std::min(text.find('\n', i), text.size());
    else if (text.substr(i, 2) == "/*") {
      size_t end = text.find("*/", i + 2);
      if (end == text.npos) parse_error(line, "comment without an end");
      line += std::count(text.begin() + i, text.begin() + end, '\n');
      i = end + 2;
    } else if (c == '"') {
      size_t end = text.find('"', i + 1);
      if (end == text.npos) parse_error(line, "string without an end");
      all.push_back({text.substr(i, end + 1 - i), line});
      i = end + 1;
    } else if (word_char(c) && c != 0) {
      while (i < text.size() && text[i] && (word_char(text[i]) || text.substr(i, 2) == "::"))
        i += text[i] == ':' ? 2 : 1;
      all.push_back({text.substr(from, i - from), line});
    } else {
      all.push_back({text.substr(i++, 1), line});
    }
  }
  all.push_back({"", line});
  return all;
}

class Parser {
 public:
  explicit Parser(const std::string &text) : all_(tokens(text)) {
    for (size_t i = 0; i <= text.size();) {
      size_t end = std::min(text.find('\n', i), text.size());
      source_->lines.push_back(text.substr(i, end - i));
      i = end + 1;
    }
  }

  std::unique_ptr<Module> run() {
    while (!end()) directive();
    if (!module_->version) fail("no .version directive");
    if (!module_->target) fail("no .target directive");
    for (auto &f : order_)
      if (f->entry) {
        // Shared memory: the module's variables, the function's, then the dynamic part.
        uint64_t base = aligned(names_.shared_bytes, 128);
        for (auto &[name, v] : f->variables)
          if (v.space == Variable::shared) v.offset += base;
        f->kernel.static_shared += base;
        if (dynamic_align_) f->kernel.static_shared = aligned(f->kernel.static_shared, dynamic_align_);
        build(*f, names_, source_);
        module_->kernels.push_back(f->kernel);
      }
    return std::move(module_);
  }

 private:
  // Tokens.
  std::string_view look(size_t ahead = 0) const { return all_[std::min(at_ + ahead, all_.size() - 1)].text; }
  uint32_t line() const { return all_[at_].line; }
  bool end() const { return at_ + 1 >= all_.size(); }
  std::string_view get() {
    if (end()) fail("the text ends too early");
    return all_[at_++].text;
  }
  bool accept(std::string_view text) {
    if (look() != text) return false;
    at_++;
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail("expected '" + std::string(text) + "', found '" + std::string(look()) + "'");
  }
  [[noreturn]] void fail(const std::string &message) const { parse_error(line(), message); }

  uint64_t unsigned_number(std::string_view t) const {
    int base = 10;
    if (t.starts_with("0x") || t.starts_with("0X")) t.remove_prefix(2), base = 16;
    else if (t.starts_with("0b") || t.starts_with("0B")) t.remove_prefix(2), base = 2;
    else if (t.size() > 1 && t[0] == '0') t.remove_prefix(1), base = 8;
    if (t.ends_with("U")) t.remove_suffix(1);
    uint64_t v = 0;
    auto [p, e] = std::from_chars(t.data(), t.data() + t.size(), v, base);
    if (e != std::errc() || p != t.data() + t.size()) fail("'" + std::string(t) + "' is not a number");
    return v;
  }
  uint64_t number() {
    bool minus = accept("-");
    uint64_t v = unsigned_number(get());
    return minus ? -v : v;
  }

  // Immediate operands: 12, -3, 0x1F, 0f3F800000, 0d…
  Operand literal() {
    Operand o;
    bool minus = accept("-");
    std::string_view t = get();
    if (t.size() > 2 && t[0] == '0' && std::strchr("fFdD", t[1])) {
      o.kind = Operand::real;
      o.single = t[1] == 'f' || t[1] == 'F';
      std::string_view hex = t.substr(2);
      auto [p, e] = std::from_chars(hex.data(), hex.data() + hex.size(), o.bits, 16);
      if (e != std::errc() || p != hex.data() + hex.size() || hex.size() != (o.single ? 8 : 16))
        fail("'" + std::string(t) + "' is not a number");
      if (minus) o.bits ^= o.single ? 1ull << 31 : 1ull << 63;
    } else if (t.find('.') != t.npos) {
      o.kind = Operand::real;
      double v = 0;
      auto [p, e] = std::from_chars(t.data(), t.data() + t.size(), v);
      if (e != std::errc() || p != t.data() + t.size()) fail("'" + std::string(t) + "' is not a number");
      o.bits = std::bit_cast<uint64_t>(minus ? -v : v);
    } else {
      o.kind = Operand::integer;
      o.bits = unsigned_number(t);
      if (minus) o.bits = -o.bits;
    }
    return o;
  }

  // Module level.
  void directive() {
    std::string_view t = get();
    if (t == ".version") {
      std::string v(get());
      unsigned major = 0, minor = 0;
      if (std::sscanf(v.c_str(), "%u.%u", &major, &minor) != 2) fail("'" + v + "' is not a version");
      module_->version = major * 10 + minor;
    } else if (t == ".target") {
      std::string v(get());
      unsigned sm = 0;
      if (std::sscanf(v.c_str(), "sm_%u", &sm) != 1) fail("'" + v + "' is not a known target");
      module_->target = sm;
      while (accept(",")) {
        std::string_view option = get();
        if (option != "debug" && option != "texmode_independent")
          fail("unknown target option '" + std::string(option) + "'");
      }
    } else if (t == ".address_size") {
      if (get() != "64") fail("only .address_size 64 is known");
    } else if (t == ".file") {
      file();
    } else if (t == ".section") {
      section();
    } else if (t == ".visible" || t == ".extern" || t == ".weak" || t == ".common") {
      external_ = t == ".extern";
    } else if (t == ".entry" || t == ".func") {
      function(t == ".entry");
      external_ = false;
    } else if (t == ".global" || t == ".const") {
      global(t == ".const");
      external_ = false;
    } else if (t == ".shared") {
      auto [name, size, align] = declaration();
      expect(";");
      names_.shared[name] = shared(names_.shared_bytes, size, align);
      external_ = false;
    } else if (t != ";") {
      at_--;
      fail("unknown directive '" + std::string(t) + "'");
    }
  }

  struct Declaration {
    std::string name;
    uint64_t size, align;
  };
  unsigned element_ = 0;  // bytes of the last declaration's type

  // [.align n] .type name [dimension]… ; size 0 for name[].
  Declaration declaration() {
    Declaration d{};
    uint64_t vector = 1;
    for (;;) {
      std::string_view t = get();
      if (t == ".align") d.align = number();
      else if (t == ".v2") vector = 2;
      else if (t == ".v4") vector = 4;
      else if (t == ".ptr" || t == ".global" || t == ".const" || t == ".shared" || t == ".local") continue;
      else if (t[0] == '.') {
        Type type = type_of(t.substr(1));
        if (!type.kind || type.kind == 'p') fail("unknown type '" + std::string(t) + "'");
        element_ = type.bytes() * vector;
      } else {
        d.name = t;
        break;
      }
      if (look() == ",") fail("a declaration without a name");
    }
    if (!element_) fail("'" + d.name + "' has no type");
    if (!d.align) d.align = element_;
    d.size = element_;
    while (accept("[")) {
      uint64_t n = look() == "]" ? 0 : number();
      if (n > (1ull << 32) || d.size > (1ull << 32)) fail("'" + d.name + "' is too large");
      d.size *= n;
      expect("]");
    }
    return d;
  }

  uint64_t dynamic_align_ = 0;  // of the dynamic shared memory, 0 if there is none
  static uint64_t aligned(uint64_t n, uint64_t align) { return (n + align - 1) / align * align; }
  Variable shared(uint64_t &bytes, uint64_t size, uint64_t align) {
    if (!size) {
      dynamic_align_ = std::max({dynamic_align_, align, uint64_t(16)});
      return {Variable::dynamic_shared, 0, 0};
    }
    uint64_t offset = aligned(bytes, align);
    bytes = offset + size;
    return {Variable::shared, offset, size};
  }

  void global(bool constant) {
    auto [name, size, align] = declaration();
    if (external_) fail("external variable '" + name + "': linking is not supported");
    Global g{name, size, align, {}, 0};
    unsigned element = element_;
    if (accept("=")) {
      bool list = accept("{");
      size_t n = 0;
      do {
        if (list && look() == "}") break;
        Operand o = literal();
        char bytes[8];
        uint64_t bits = o.bits;
        if (o.kind == Operand::real && !o.single && element == 4)
          bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
        std::memcpy(bytes, &bits, 8);
        g.init.insert(g.init.end(), bytes, bytes + element);
        n++;
      } while (list && accept(","));
      if (list) expect("}");
      if (!size) g.size = n * element;
    }
    expect(";");
    if (g.init.size() > g.size) fail("'" + name + "' has more values than it holds");
    if (!g.size) fail("'" + name + "' has no size");
    g.init.resize(g.size);
    (constant ? names_.constants : names_.globals)[name] = module_->globals.size();
    module_->globals.push_back(g);
  }

  // Functions.
  struct Scope {
    std::map<std::string, uint32_t, std::less<>> registers;
    std::map<std::string, std::string, std::less<>> names;  // variables and labels, made unique
  };
  std::vector<Scope> scopes_;
  Function *f_ = nullptr;
  unsigned scope_count_ = 0;
  bool external_ = false;

  std::string unique(const std::string &name) {
    return scope_count_ == 1 ? name : name + "@" + std::to_string(scope_count_);
  }

  void file() {  // .file number "name"
    uint32_t here = line();
    uint32_t n = number();
    std::string_view name = get();
    source_->files[n] = name.substr(1, name.size() - 2);
    while (!end() && line() == here) at_++;
  }

  void loc() {  // .loc file line column{, function_name …}
    uint32_t here = line();
    at_++;
    uint32_t file = number();
    source_->places[here] = {file, number()};
    while (!end() && line() == here) at_++;
  }

  void section() {  // of debug information
    while (look() != "{") get();
    do get();
    while (look() != "}");
    at_++;
  }

  void function(bool entry) {
    source_->places[line()] = {0, 0};
    auto f = std::make_shared<Function>();
    f_ = f.get();
    f->entry = entry;
    f->registers.push_back({1});  // register 0: the carry flag
    scopes_.assign(1, {});
    scope_count_ = 1;
    if (!entry && look() == "(") parameters(f->outputs);
    f->name = get();
    if (look() == "(") {
      if (entry) kernel_parameters();
      else parameters(f->inputs);
    }
    f->kernel.name = f->name;
    for (;;) {
      std::string_view t = look();
      uint32_t three[3] = {1, 1, 1};
      auto values = [&] {
        three[0] = number();
        for (int k = 1; k < 3 && accept(","); k++) three[k] = number();
      };
      if (t == ";" || t == "{") break;
      at_++;
      if (t == ".maxntid" || t == ".reqntid") values(), f->kernel.max_threads = three[0] * three[1] * three[2];
      else if (t == ".minnctapersm" || t == ".maxnreg" || t == ".maxclusterrank") number();
      else if (t == ".noreturn" || t == ".explicitcluster") continue;
      else if (t == ".reqnctapercluster") values(), std::copy(three, three + 3, f->kernel.cluster);
      else if (t == ".pragma") get(), accept(";");
      else at_--, fail("unknown directive '" + std::string(t) + "'");
    }
    if (accept(";")) return;  // a declaration
    if (external_) fail("external function with a body");
    expect("{");
    body();
    order_.push_back(f);
    names_.functions[f->name] = f;
  }

  void kernel_parameters() {
    expect("(");
    size_t offset = 0;
    while (!accept(")")) {
      expect(".param");
      auto [name, size, align] = declaration();
      offset = aligned(offset, align);
      f_->kernel.params.push_back({name, offset, size});
      f_->variables[name] = {Variable::param, offset, size};
      scopes_.back().names[name] = name;
      offset += size;
      if (look() != ")") expect(",");
    }
    f_->kernel.param_bytes = offset;
  }

  // Formal parameters of a .func: .param variables, which live in the caller's frame, or registers.
  void parameters(std::vector<Operand> &list) {
    expect("(");
    while (!accept(")")) {
      Operand o;
      if (accept(".param")) {
        auto [name, size, align] = declaration();
        o.kind = Operand::name;
        o.text = name;
        f_->local = aligned(f_->local, align);
        f_->variables[name] = {Variable::local, f_->local, size};
        f_->local += size;
        scopes_.back().names[name] = name;
      } else {
        expect(".reg");
        std::string_view type = get();
        o.kind = Operand::reg;
        o.id = add_register(type, std::string(get()));
      }
      list.push_back(o);
      if (look() != ")") expect(",");
    }
  }

  uint32_t add_register(std::string_view type, const std::string &name) {
    Type t = type_of(type.substr(1));
    if (!t.kind) fail("unknown type '" + std::string(type) + "'");
    uint8_t bytes = t.kind == 'p' ? 1 : std::max(2u, t.bytes());
    f_->registers.push_back({bytes});
    return scopes_.back().registers[name] = f_->registers.size() - 1;
  }

  void registers() {
    std::string_view type = get();
    if (type == ".v2" || type == ".v4") fail("vector registers are not supported");
    do {
      std::string name(get());
      if (accept("<")) {
        uint64_t n = number();
        if (n > 1 << 20) fail("too many registers");
        for (uint64_t i = 0; i < n; i++) add_register(type, name + std::to_string(i));
        expect(">");
      } else {
        add_register(type, name);
      }
    } while (accept(","));
    expect(";");
  }

  void body() {
    size_t depth = scopes_.size();
    scopes_.push_back({});
    while (scopes_.size() > depth) {
      std::string_view t = look();
      if (end()) fail("the function '" + f_->name + "' does not end");
      if (accept("{")) scopes_.push_back({}), scope_count_++;
      else if (accept("}")) scopes_.pop_back();
      else if (accept(";")) continue;
      else if (t == ".reg") at_++, registers();
      else if (t == ".shared" || t == ".local" || t == ".param") at_++, variable(t);
      else if (t == ".loc") loc();
      else if (t == ".file") at_++, file();
      else if (t == ".pragma") at_++, get(), expect(";");
      else if (look(1) == ":") label();
      else if (t[0] == '.') fail("unknown directive '" + std::string(t) + "'");
      else instruction();
    }
  }

  void variable(std::string_view space) {
    auto [name, size, align] = declaration();
    expect(";");
    Variable v;
    if (space == ".shared") {
      v = shared(f_->entry ? f_->kernel.static_shared : names_.shared_bytes, size, align);
      if (!f_->entry && v.space == Variable::shared) {  // one for all calls
        names_.shared[name + "@" + f_->name] = v;
        scopes_.back().names[name] = name + "@" + f_->name;
        return;
      }
    } else {
      f_->local = aligned(f_->local, align);
      v = {Variable::local, f_->local, size};
      f_->local += size;
    }
    std::string full = unique(name);
    scopes_.back().names[name] = full;
    f_->variables[full] = v;
  }

  void label() {
    uint32_t here = line();
    std::string name(get());
    expect(":");
    if (accept(".branchtargets")) {
      auto &table = f_->tables[name];
      do table.push_back(std::string(get()));
      while (accept(","));
      expect(";");
      return;
    }
    Statement s;
    s.line = here;
    s.label = name;
    f_->statements.push_back(s);
  }

  void instruction() {
    Statement s;
    s.line = line();
    if (accept("@")) {
      s.guarded = true;
      s.negated = accept("!");
      Operand p = operand();
      if (p.kind != Operand::reg) fail("the guard is not a register");
      s.guard = p.id;
    }
    s.opcode = get();
    if (look() != ";") do s.operands.push_back(operand());
      while (accept(","));
    expect(";");
    f_->statements.push_back(s);
  }

  const std::string *variable_name(std::string_view name) const {
    for (auto s = scopes_.rbegin(); s != scopes_.rend(); s++)
      if (auto found = s->names.find(name); found != s->names.end()) return &found->second;
    return nullptr;
  }

  Operand operand() {
    Operand o = simple();
    if (accept("|")) {
      Operand pair;
      pair.kind = Operand::pair;
      pair.parts = {o, simple()};
      return pair;
    }
    return o;
  }

  Operand simple() {
    Operand o;
    std::string_view t = look();
    if (accept("!")) {
      o = simple();
      if (o.kind != Operand::reg) fail("'!' before something else than a predicate");
      o.negated = true;
    } else if (accept("{")) {
      o.kind = Operand::vector;
      do o.parts.push_back(simple());
      while (accept(","));
      expect("}");
    } else if (accept("(")) {
      o.kind = Operand::vector;
      while (!accept(")")) {
        o.parts.push_back(simple());
        if (look() != ")") expect(",");
      }
    } else if (accept("[")) {
      o.kind = Operand::address;
      o.parts.push_back(simple());
      if (o.parts[0].kind == Operand::integer) o.offset = o.parts[0].bits, o.parts.clear();
      while (look() == "+" || look() == "-") {
        accept("+");
        o.offset += number();
      }
      expect("]");
    } else if (t == "-" || std::isdigit(static_cast<unsigned char>(t[0]))) {
      o = literal();
    } else if (t == "_") {
      at_++;
      o.kind = Operand::sink;
    } else if (!t.empty() && word_char(t[0])) {
      at_++;
      for (auto s = scopes_.rbegin(); s != scopes_.rend(); s++)
        if (auto found = s->registers.find(t); found != s->registers.end()) {
          o.kind = Operand::reg;
          o.id = found->second;
          return o;
        }
      o.kind = Operand::name;
      auto *name = variable_name(t);
      o.text = name ? *name : std::string(t);
      // A variable may be followed by an offset: mov.u64 %rd1, table+8.
      if (look() == "+" && o.text[0] != '%') at_++, o.offset = number();
    } else {
      fail("unexpected '" + std::string(t) + "'");
    }
    return o;
  }

  std::vector<Token> all_;
  size_t at_ = 0;
  std::shared_ptr<Source> source_ = std::make_shared<Source>();
  std::unique_ptr<Module> module_ = std::make_unique<Module>();
  Names names_;
  std::vector<std::shared_ptr<Function>> order_;
};

}  // namespace

std::unique_ptr<Module> parse(const std::string &text) { return Parser(text).run(); }

}  // namespace ptx

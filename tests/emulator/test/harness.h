// Runs single PTX instructions and small kernels, and checks their results.
#pragma once
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ptx.h"

namespace test {

inline int failures = 0;
inline std::set<std::string> tested;  // opcodes with their modifiers

inline void fail(const std::string &message) {
  if (++failures <= 50) std::fprintf(stderr, "FAIL %s\n", message.c_str());
}

// Device memory for tests: allocations are far apart, and freed ones remembered.
struct Device : ptx::Memory {
  std::map<uint64_t, std::vector<char>> live;
  uint64_t next = 0x10000000;

  uint64_t alloc(size_t bytes) {
    uint64_t a = next;
    live[a].assign(bytes, 0);
    next += (bytes + 4095) / 4096 * 4096 + 4096;
    return a;
  }
  template <class T>
  uint64_t put(const std::vector<T> &v) {
    uint64_t a = alloc(v.size() * sizeof(T));
    std::memcpy(live[a].data(), v.data(), v.size() * sizeof(T));
    return a;
  }
  template <class T>
  std::vector<T> get(uint64_t a) {
    auto &bytes = live.at(a);
    std::vector<T> v(bytes.size() / sizeof(T));
    std::memcpy(v.data(), bytes.data(), v.size() * sizeof(T));
    return v;
  }
  char *find(uint64_t a, size_t size, uint64_t *lo, uint64_t *hi) override {
    auto at = live.upper_bound(a);
    if (at == live.begin()) return nullptr;
    --at;
    uint64_t end = at->first + at->second.size();
    if (size > at->second.size() || a > end - size) return nullptr;
    *lo = at->first;
    *hi = end;
    return at->second.data() + (a - at->first);
  }
  std::string explain(uint64_t, size_t) override { return "no live allocation"; }
};

struct Params {
  std::vector<char> bytes;
  template <class T>
  Params &add(T v) {
    bytes.resize((bytes.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T));
    bytes.insert(bytes.end(), reinterpret_cast<char *>(&v), reinterpret_cast<char *>(&v) + sizeof v);
    return *this;
  }
};

struct Grid {
  unsigned blocks = 1, threads = 32;
  size_t shared = 0;
};

inline void launch(const ptx::Module &m, Device &d, const Params &p, Grid g, const ptx::Options &o = {},
                   const char *name = "k") {
  const ptx::Kernel *k = m.find(name);
  if (!k) throw ptx::ParseError(std::string("no kernel ") + name);
  ptx::run({&m, k, {g.blocks, 1, 1}, {g.threads, 1, 1}, g.shared, p.bytes.data()}, d, o);
}

const std::string head = ".version 8.0\n.target sm_90\n.address_size 64\n";

// A kernel k(out, a, b) whose body finds %tid.x in %t, the parameters in %out, %a, %b, and may
// use %r0 … (32 bits), %d0 … (64 bits), %h0 … (16 bits), %f0 … and %g0 … (f32, f64), %p0 …
inline std::string kernel(const std::string &body, const std::string &directives = "", const std::string &shared = "") {
  return head + ".visible .entry k(.param .u64 po, .param .u64 pa, .param .u64 pb)\n" + directives + "{\n" + shared +
         ".reg .b32 %t, %r<16>;\n.reg .b64 %out, %a, %b, %d<16>;\n.reg .b16 %h<16>;\n.reg .f32 %f<16>;\n"
         ".reg .f64 %g<8>;\n.reg .pred %p<8>;\n"
         "ld.param.u64 %out, [po];\nld.param.u64 %a, [pa];\nld.param.u64 %b, [pb];\nmov.u32 %t, %tid.x;\n" +
         body + "\nret;\n}\n";
}

inline std::string replaced(std::string text, const std::vector<std::pair<std::string, std::string>> &with) {
  for (auto &[name, value] : with)
    for (size_t at; (at = text.find(name)) != text.npos;) text.replace(at, name.size(), value);
  return text;
}

// Sizes of the types in bytes; predicates are held as 32 bits.
inline unsigned bytes_of(const std::string &type) {
  if (type == "pred") return 4;
  if (type == "bf16x2" || type == "f16x2" || type == "tf32") return 4;
  if (type == "bf16") return 2;
  return std::max(2, std::atoi(type.c_str() + 1) / 8);
}

inline std::vector<uint64_t> edges(const std::string &type) {
  auto f = [](float x) { return static_cast<uint64_t>(std::bit_cast<uint32_t>(x)); };
  auto g = [](double x) { return std::bit_cast<uint64_t>(x); };
  if (type == "pred") return {0, 1};
  if (type == "f32")
    return {f(0), f(-0.f), f(1), f(-1), f(0.5f), f(1.5f), f(2.5f), f(-2.5f), f(3), f(INFINITY), f(-INFINITY),
            0x7fc00000, 0xffc00000, 0x7f800001, 0x7fffffff, 0xff801000, 1, 0x80000001, 0x007fffff, 0x00800000,
            0x80800000, 0x7f7fffff, 0xff7fffff, f(1 + 0x1p-23f), f(0x1p-24f), f(0x1p24f), f(2147483648.f),
            f(-2147483648.f), f(4294967296.f),
            f(1e20f), f(3.14159274f), f(-88.7f), f(127.5f), f(255.5f), f(256), f(65504), f(65520)};
  if (type == "f64")
    return {g(0), g(-0.), g(1), g(-1), g(0.5), g(1.5), g(2.5), g(-2.5), g(INFINITY), g(-INFINITY), g(NAN), 1,
            0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, g(1 + 0x1p-52),
            g(1 + 0x1p-24), g(1 + 0x3p-25), g(0x1p-149), g(0x1p-150), g(0x1.8p-150), g(3.5e38), g(-3.5e38),
            g(2147483648.),
            g(9.3e18), g(1.9e19), g(0x1p-1074), g(3.141592653589793)};
  if (type == "f16" || type == "bf16")
    return {0, 0x8000, 0x3c00, 0xbc00, 0x3f80, 0xbf80, 0x7c00, 0xfc00, 0x7e00, 0x7f80, 0xff80, 0x7fc0, 1, 0x8001,
            0x03ff,
            0x0400, 0x007f, 0x0080, 0x7bff, 0x7f7f, 0xfbff, 0x3555, 0x4248, 0x1234};
  unsigned bits = bytes_of(type) * 8;
  if (type == "u8" || type == "s8") bits = 8;
  uint64_t top = 1ull << (bits - 1), all = bits == 64 ? ~0ull : (1ull << bits) - 1;
  std::vector<uint64_t> v = {0, 1, 2, 3, 5, 7, all, all - 1, top, top - 1, top + 1, 0x55 & all, 0xaa & all};
  for (unsigned s : {8u, 15u, 16u, 31u, 32u, 33u, 63u})
    if (s < bits) v.insert(v.end(), {s, 1ull << s, (1ull << s) - 1});
  return v;
}

inline uint64_t random_value(const std::string &type, std::mt19937_64 &dice) {
  uint64_t v = dice();
  if (type == "pred") return v & 1;
  if (type == "f32" && dice() % 2)
    return std::bit_cast<uint32_t>(static_cast<float>(std::ldexp(int(v % 2000) - 1000, int(dice() % 40) - 20)));
  if (type == "f64" && dice() % 2)
    return std::bit_cast<uint64_t>(std::ldexp(int64_t(v % 200000) - 100000, int(dice() % 90) - 45));
  if (dice() % 4 == 0) v >>= dice() % 64;
  unsigned bits = bytes_of(type) * 8;
  return bits == 64 ? v : v & ((1ull << bits) - 1);
}

using Definition = std::function<uint64_t(uint64_t, uint64_t, uint64_t, uint64_t)>;

// How a result is compared: bits, or in f32 within this many units in the last place.
struct Tolerance {
  double ulp = 0;
  bool nan = false;  // f64: any NaN will do, the ISA does not say which
};

// Tests an instruction d, a{, b{, c{, e}}}, given the types of d and of the sources; literal is
// appended for further operands. Values are random ones, and all combinations of edge values if few.
inline void op(const std::string &opcode, const std::string &to, const std::vector<std::string> &from,
               Definition define, const std::string &literal = "", Tolerance tolerance = {},
               const std::string &pattern = "") {
  tested.insert(opcode);
  size_t n = from.size();
  std::vector<std::vector<uint64_t>> in(4);
  std::mt19937_64 dice(std::hash<std::string>()(opcode));
  std::vector<std::vector<uint64_t>> e;
  size_t combinations = 1;
  for (auto &t : from) e.push_back(edges(t)), combinations *= e.back().size();
  for (size_t k = 0; k < std::min<size_t>(combinations, 4096); k++) {
    size_t c = combinations > 4096 ? dice() % combinations : k;
    for (size_t j = 0; j < n; j++) in[j].push_back(e[j][c % e[j].size()]), c /= e[j].size();
  }
  for (int k = 0; k < 1500; k++)
    for (size_t j = 0; j < n; j++)
      in[j].push_back(dice() % 3 ? random_value(from[j], dice) : e[j][dice() % e[j].size()]);
  size_t count = (in[0].size() + 127) / 128 * 128;
  for (size_t j = 0; j < 4; j++) in[j].resize(count);

  auto reg = [](const std::string &type, const std::string &name) { return type == "pred" ? "%p" + name : "%" + name; };
  auto declare = [](const std::string &type, const std::string &name) {
    return ".reg .b" + std::to_string(bytes_of(type) * 8) + " %" + name + ";\n" +
           (type == "pred" ? ".reg .pred %p" + name + ";\n" : "");
  };
  const char *names[] = {"a", "b", "c", "e"};
  std::string text =
      head + ".visible .entry k(.param .u64 po, .param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 pe, "
             ".param .u64 pm)\n{\n.reg .b64 %m, %at, %x;\n.reg .b32 %t, %u, %g;\n.reg .pred %guard;\n";
  text += declare(to, "d");
  for (size_t j = 0; j < n; j++) text += declare(from[j], names[j]);
  text += "mov.u32 %t, %tid.x;\nmov.u32 %u, %ctaid.x;\nmad.lo.u32 %t, %u, 128, %t;\nmul.wide.u32 %x, %t, 8;\n";
  auto address = [&](const std::string &p) { return "ld.param.u64 %m, [" + p + "];\nadd.u64 %at, %m, %x;\n"; };
  for (size_t j = 0; j < n; j++) {
    std::string size = std::to_string(bytes_of(from[j]) * 8);
    text += address(std::string("p") + names[j]) + "ld.global.b" + size + " %" + names[j] + ", [%at];\n";
    if (from[j] == "pred") text += "setp.ne.u32 %p" + std::string(names[j]) + ", %" + names[j] + ", 0;\n";
  }
  std::string size = std::to_string(bytes_of(to) * 8), call = opcode + " ";
  if (pattern.empty()) {
    call += reg(to, "d");
    for (size_t j = 0; j < n; j++) call += ", " + reg(from[j], names[j]);
    if (!literal.empty()) call += ", " + literal;
  } else {
    call += pattern;
  }
  std::string before =
      address("po") + (to == "pred" ? "setp.eq.u32 %pd, %t, %t;\n" : "ld.global.b" + size + " %d, [%at];\n");
  std::string after = (to == "pred" ? "selp.u32 %d, 1, 0, %pd;\n" : "") + address("po") + "st.global.b" + size +
                      " [%at], %d;\nret;\n}\n";
  for (bool guarded : {false, true}) {
    std::string guard = address("pm") + "ld.global.b32 %g, [%at];\nsetp.ne.u32 %guard, %g, 0;\n";
    std::string source = text + before + (guarded ? guard + "@%guard " : "") + call + ";\n" + after;
    try {
      auto m = ptx::parse(source);
      Device d;
      uint64_t sentinel =
          to == "pred" ? 1 : 0xa5a5a5a5a5a5a5a5ull & (bytes_of(to) == 8 ? ~0ull : (1ull << bytes_of(to) * 8) - 1);
      std::vector<uint64_t> out(count, sentinel), mask(count);
      for (auto &v : mask) v = dice() & 1;
      uint64_t po = d.put(out);
      Params p;
      p.add(po);
      for (auto &v : in) p.add(d.put(v));
      p.add(d.put(mask));
      launch(*m, d, p, {unsigned(count / 128), 128});
      out = d.get<uint64_t>(po);
      uint64_t keep = bytes_of(to) == 8 ? ~0ull : (1ull << bytes_of(to) * 8) - 1;
      for (size_t k = 0; k < count; k++) {
        uint64_t want = guarded && !mask[k] ? sentinel : define(in[0][k], in[1][k], in[2][k], in[3][k]) & keep;
        uint64_t got = out[k] & keep;
        bool ok = got == want;
        if (!ok && tolerance.ulp && !(guarded && !mask[k])) {
          float x = std::bit_cast<float>(uint32_t(got)), y = std::bit_cast<float>(uint32_t(want));
          ok = std::abs(double(x) - y) <= tolerance.ulp * std::ldexp(1.0, std::max(-149, std::ilogb(y) - 23));
        }
        if (tolerance.nan && std::isnan(std::bit_cast<double>(got)) && std::isnan(std::bit_cast<double>(want)))
          ok = true;
        if (ok) continue;
        char message[300];
        std::snprintf(message, sizeof message, "%s%s: (0x%llx, 0x%llx, 0x%llx, 0x%llx) gives 0x%llx, not 0x%llx",
                      guarded ? "guarded " : "", (opcode + " " + literal).c_str(), (unsigned long long)in[0][k],
                      (unsigned long long)in[1][k], (unsigned long long)in[2][k], (unsigned long long)in[3][k],
                      (unsigned long long)got, (unsigned long long)want);
        fail(message);
        break;
      }
    } catch (const std::exception &error) {
      fail(opcode + ": " + error.what());
      return;
    }
  }
}

// Expects a fault of this kind with all of the words in its message; for kind none, no fault.
enum { none = -1 };
inline void expect_fault(const std::string &name, int kind, const std::vector<std::string> &words,
                         const std::function<void()> &run) {
  try {
    run();
    if (kind != none) fail(name + ": no fault");
  } catch (const ptx::Fault &f) {
    if (f.kind != kind) fail(name + ": a fault of kind " + std::to_string(f.kind) + ": " + f.what());
    for (auto &word : words)
      if (!std::strstr(f.what(), word.c_str())) fail(name + ": '" + word + "' is not in: " + f.what());
  } catch (const std::exception &e) {
    fail(name + ": " + e.what());
  }
}

}  // namespace test

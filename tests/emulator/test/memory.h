// Loads, stores, atomics and asynchronous copies, against the bytes in memory.
#pragma once
#include <algorithm>

#include "floats.h"
#include "integers.h"

namespace test {

// Addresses of 64 threads as numbers of elements: some coalesce, some do not.
inline std::vector<std::vector<uint32_t>> patterns(bool distinct) {
  std::vector<std::vector<uint32_t>> all(5, std::vector<uint32_t>(64));
  for (uint32_t t = 0; t < 64; t++) {
    all[0][t] = t;
    all[1][t] = 63 - t;
    all[2][t] = t * 13 % 64;
    all[3][t] = 5;
    all[4][t] = t / 7;
  }
  if (distinct) all.resize(3);
  return all;
}

// One access of every thread: `access` with TYPE… already in place, of `elements` values of
// `type` in registers of `width` bytes.
inline void one_access(const std::string &opcode, const std::string &space, const std::string &type, int elements,
                       unsigned width, bool write, bool guarded) {
  tested.insert(opcode);
  unsigned size = bits_of(type) / 8, all = size * elements;
  std::string w = std::to_string(width * 8), registers, list;
  for (int k = 0; k < elements; k++) {
    registers += ".reg .b" + w + " %v" + std::to_string(k) + ";\n";
    list += (k ? ", %v" : "%v") + std::to_string(k);
  }
  if (elements > 1) list = "{" + list + "}";
  // Bytes are moved between global memory and the space under test one by one.
  std::string move = [&] {
    std::string text;
    for (unsigned k = 0; k < all; k++)
      text += replaced(write ? "ld.FROM.u8 %h0, [%d3+K];\nst.global.u8 [%d4+K], %h0;\n"
                             : "ld.global.u8 %h0, [%d4+K];\nst.FROM.u8 [%d3+K], %h0;\n",
                       {{"FROM", space == "generic" || space == "const" ? "global" : space}, {"K", std::to_string(k)}});
    return text;
  }();
  std::string source, name = space == "shared" ? "s" : space == "local" ? "l" : "";
  source += ".reg .b32 %i;\n.reg .pred %q;\n" + registers;
  source += "mul.wide.u32 %d0, %t, 4;\nadd.u64 %d0, %d0, %b;\nld.global.u32 %i, [%d0];\n";  // the pattern
  source += "mul.wide.u32 %d1, %i, " + std::to_string(all) + ";\n";                       // of the access
  source += "mul.wide.u32 %d2, %t, " + std::to_string(all) + ";\n";                       // of moved bytes
  if (space == "local") source += "mov.u64 %d1, 0;\nmov.u64 %d5, l;\nadd.u64 %d3, %d5, 0;\n";
  else if (!name.empty()) source += "mov.u64 %d5, s;\nadd.u64 %d3, %d5, %d2;\n";
  else source += std::string("mov.u64 %d5, ") + (write ? "%out" : "%a") + ";\nadd.u64 %d3, %d5, %d2;\n";
  source += std::string("add.u64 %d4, ") + (write ? "%out" : "%a") + ", %d2;\nadd.u64 %d1, %d1, %d5;\n";
  source += "and.b32 %r0, %t, 3;\nsetp.ne.u32 %q, %r0, 1;\n";
  std::string guard = guarded ? "@%q " : "", values_at = std::to_string(8 * elements);
  source += "mul.wide.u32 %d6, %t, " + values_at + ";\n";
  if (!write) {
    if (!name.empty()) source += move + "bar.sync 0;\n";
    for (int k = 0; k < elements; k++) source += "mov.b" + w + " %v" + std::to_string(k) + ", 77;\n";
    source += guard + opcode + " " + list + ", [%d1];\nadd.u64 %d6, %d6, %out;\n";
    for (int k = 0; k < elements; k++)
      source += "st.global.b" + w + " [%d6+" + std::to_string(8 * k) + "], %v" + std::to_string(k) + ";\n";
  } else {
    source += "add.u64 %d6, %d6, %a;\n";
    for (int k = 0; k < elements; k++)
      source += "ld.global.b" + w + " %v" + std::to_string(k) + ", [%d6+" + std::to_string(8 * k) + "];\n";
    if (!name.empty())  // defined contents, as lanes that the guard holds back leave them
      for (unsigned k = 0; k < all; k++)
        source += "mov.u16 %h1, 0;\nst." + space + ".u8 [%d3+" + std::to_string(k) + "], %h1;\n";
    if (!name.empty()) source += "bar.sync 0;\n";
    source += guard + opcode + " [%d1], " + list + ";\n";
    if (!name.empty()) source += "bar.sync 0;\n" + move;
  }
  std::string bytes = std::to_string(64 * all);
  std::string variables = ".shared .align 16 .b8 s[" + bytes + "];\n"
      ".local .align 16 .b8 l[" + std::to_string(all) + "];\n";
  try {
    auto m = ptx::parse(kernel(source, "", variables));
    for (auto &pattern : patterns(write)) {
      auto p = pattern;
      if (space == "local")
        for (uint32_t t = 0; t < 64; t++) p[t] = t;  // each thread has its own
      Device d;
      std::mt19937_64 dice(1);
      std::vector<uint8_t> a(write ? 64 * 8 * elements : 64 * all);
      for (auto &v : a) v = dice();
      std::vector<uint8_t> o(write ? 64 * all : 64 * 8 * elements);
      uint64_t out = d.put(o);
      launch(*m, d, Params().add(out).add(d.put(a)).add(d.put(p)), {1, 64});
      o = d.get<uint8_t>(out);
      std::vector<uint8_t> want(o.size());
      for (uint32_t t = 0; t < 64; t++) {
        bool runs = !guarded || (t & 3) != 1;
        for (int k = 0; k < elements; k++) {
          if (write) {
            if (runs) std::memcpy(&want[p[t] * all + k * size], &a[(t * elements + k) * 8], size);
            continue;
          }
          U v = 0;
          std::memcpy(&v, &a[p[t] * all + k * size], size);
          v = U(number(v, type));  // widened by the sign of the type
          if (!runs) v = 77;
          std::memcpy(&want[(t * elements + k) * 8], &v, width);
        }
      }
      if (o != want) return fail(opcode + (guarded ? " guarded" : "") + ": wrong bytes");
    }
  } catch (const std::exception &e) {
    fail(opcode + ": " + e.what());
  }
}

inline void loads_and_stores() {
  for (std::string space : {"global", "shared", "local", "generic"})
    for (std::string type : {"u8", "s8", "b8", "u16", "s16", "b16", "u32", "s32", "b32", "f32", "u64", "s64", "b64",
                             "f64"})
      for (int n : {1, 2, 4})
        for (bool guarded : {false, true}) {
          unsigned size = bits_of(type) / 8, least = std::max(2u, size);
          if (size * n > 16) continue;
          std::string suffix =
              (space == "generic" ? "" : "." + space) + (n > 1 ? ".v" + std::to_string(n) : "") + "." + type;
          for (unsigned width = least; width <= 8; width *= 2) {
            if (type[0] == 'f' && width != size) continue;
            one_access("ld" + suffix, space, type, n, width, false, guarded);
            one_access("st" + suffix, space, type, n, width, true, guarded);
          }
        }
  for (std::string order : {"volatile", "relaxed.gpu", "acquire.cta", "weak"})
    one_access("ld." + order + ".global.u32", "global", "u32", 1, 4, false, false);
  for (std::string order : {"volatile", "relaxed.sys", "release.gpu", "weak"})
    one_access("st." + order + ".global.u32", "global", "u32", 1, 4, true, false);
  for (std::string cache : {"nc", "ca", "cg", "cs", "nc.L1::no_allocate"})
    one_access("ld.global." + cache + ".v4.f32", "global", "f32", 4, 4, false, false);
  one_access("st.global.cs.f32", "global", "f32", 1, 4, true, false);
}

// Parameters and constants.
inline void parameters() {
  Device d;
  std::string text =
      head +
      ".const .align 4 .b32 c[3] = {7, -1, 0f3F800000};\n.global .align 8 .u64 g = 5;\n"
      ".visible .entry k(.param .u64 o, .param .u32 a, .param .f32 b, .param .align 4 .b8 s[8], .param .s16 h, "
      ".param .f64 e)\n{\n"
      ".reg .b64 %o, %d, %e;\n.reg .b32 %r<8>;\n.reg .b16 %h;\nld.param.u64 %o, [o];\nld.param.u32 %r0, [a];\n"
      "st.global.u32 [%o], %r0;\n"
      "ld.param.f32 %r1, [b];\nst.global.f32 [%o+4], %r1;\nld.param.v2.u32 {%r2, %r3}, [s];\n"
      "st.global.v2.u32 [%o+8], {%r2, %r3};\n"
      "ld.param.s16 %r4, [h];\nst.global.u32 [%o+16], %r4;\nld.const.u32 %r5, [c+4];\nst.global.u32 [%o+20], %r5;\n"
      "ld.param.f64 %e, [e];\nst.global.f64 [%o+24], %e;\n"
      "mov.u64 %d, c;\nld.const.f32 %r6, [%d+8];\nst.global.f32 [%o+32], %r6;\nld.global.u64 %d, [g];\n"
      "st.global.u64 [%o+40], %d;\nret;\n}\n";
  for (auto *name : {"ld.param.u64", "ld.param.u32", "ld.param.f32", "ld.param.v2.u32", "ld.param.s16", "ld.param.f64",
                     "ld.const.u32", "ld.const.f32"})
    tested.insert(name);
  try {
    auto m = ptx::parse(text);
    for (auto &g : m->globals) g.address = d.put(g.init);
    uint64_t out = d.put(std::vector<uint32_t>(12));
    launch(*m, d, Params().add(out).add(123u).add(1.5f).add(4u).add(5u).add(int16_t(-3)).add(2.25), {1, 1});
    auto o = d.get<uint32_t>(out);
    std::vector<uint32_t> want = {123, 0x3fc00000, 4, 5, 0xfffffffd, 0xffffffff, 0, 0x40020000, 0x3f800000, 0, 5, 0};
    if (o != want) fail("parameters and constants: wrong values");
    auto &p = m->find("k")->params;
    if (p.size() != 6 || p[3].offset != 16 || p[3].size != 8 || p[4].offset != 24 || m->find("k")->param_bytes != 40)
      fail("parameters: wrong layout");
  } catch (const std::exception &e) {
    fail(std::string("parameters: ") + e.what());
  }
}

// Says whether some order of the remaining threads leads from v through the old values that they saw
// to last.
inline bool explains(std::vector<size_t> left, U v, const std::function<U(size_t)> &old,
                     const std::function<U(U, size_t)> &next, U &last) {
  // A thread that changes nothing can go at once.
  std::erase_if(left, [&](size_t t) { return old(t) == v && next(v, t) == v; });
  if (left.empty()) return last = v, true;
  for (size_t t : left) {
    if (old(t) != v) continue;
    auto rest = left;
    std::erase(rest, t);
    if (explains(rest, next(v, t), old, next, last)) return true;
  }
  return false;
}

// 64 threads on 4 places: some order of the threads must explain the old and the final values.
inline void atomics() {
  struct Case {
    std::string op, type;
    std::function<U(U, U)> f;
  };
  auto s = [](U v) { return int32_t(v); };
  auto w = [](U v) { return int64_t(v); };
  std::vector<Case> cases = {
      {"add", "u32", [](U a, U b) { return a + b; }}, {"add", "s32", [](U a, U b) { return a + b; }},
      {"add", "u64", [](U a, U b) { return a + b; }}, {"and", "b32", [](U a, U b) { return a & b; }},
      {"or", "b32", [](U a, U b) { return a | b; }}, {"xor", "b32", [](U a, U b) { return a ^ b; }},
      {"and", "b64", [](U a, U b) { return a & b; }}, {"or", "b64", [](U a, U b) { return a | b; }},
      {"xor", "b64", [](U a, U b) { return a ^ b; }},
      {"min", "u32", [](U a, U b) { return std::min(a, b); }}, {"max", "u32", [](U a, U b) { return std::max(a, b); }},
      {"min", "s32", [=](U a, U b) { return s(a) < s(b) ? a : b; }},
      {"max", "s32", [=](U a, U b) { return s(a) > s(b) ? a : b; }},
      {"min", "u64", [](U a, U b) { return std::min(a, b); }}, {"max", "u64", [](U a, U b) { return std::max(a, b); }},
      {"min", "s64", [=](U a, U b) { return w(a) < w(b) ? a : b; }},
      {"max", "s64", [=](U a, U b) { return w(a) > w(b) ? a : b; }},
      {"inc", "u32", [](U a, U b) { return a >= b ? 0 : a + 1; }},
      {"dec", "u32", [](U a, U b) { return a == 0 || a > b ? b : a - 1; }},
      {"exch", "b32", [](U, U b) { return b; }}, {"exch", "b64", [](U, U b) { return b; }},
      {"add", "f32", [](U a, U b) { return bits(f32(a) + f32(b)); }},
      {"add", "f64", [](U a, U b) { return bits(f64(a) + f64(b)); }}};
  for (auto &c : cases)
    for (std::string space : {"global", "shared"})
      for (bool red : {false, true}) {
        if (red && c.op == "exch") continue;
        std::string opcode = (red ? "red." : "atom.") + space + "." + c.op + "." + c.type;
        tested.insert(opcode);
        unsigned bytes = bits_of(c.type) / 8;
        std::string n = std::to_string(bytes * 8), r = bytes == 8 ? "%d" : "%r", size = std::to_string(bytes);
        std::string body = "mul.wide.u32 %d0, %t, " + size + ";\nadd.u64 %d1, %a, %d0;\n"
            "ld.global.b" + n + " " + r + "5, [%d1];\n";
        // Thread 0 of each place copies %b to shared memory.
        std::string at = space == "shared" ? "s" : "%b";
        body += "and.b32 %r1, %t, 3;\nmul.wide.u32 %d2, %r1, " + size + ";\nadd.u64 %d3, %b, %d2;\n";
        if (space == "shared")
          body += "mov.u64 %d4, s;\nadd.u64 %d4, %d4, %d2;\nsetp.lt.u32 %p0, %t, 4;\nld.global.b" + n + " " + r +
                  "6, [%d3];\n@%p0 st.shared.b" + n + " [%d4], " + r + "6;\nbar.sync 0;\n";
        else body += "mov.u64 %d4, %d3;\n";
        body += opcode + (red ? " [%d4], " + r + "5;\n" : " " + r + "7, [%d4], " + r + "5;\n");
        if (!red) body += "add.u64 %d1, %out, %d0;\nst.global.b" + n + " [%d1], " + r + "7;\n";
        if (space == "shared") body += "bar.sync 0;\nld.shared.b" + n + " " + r + "6, [%d4];\n"
            "@%p0 st.global.b" + n + " [%d3], " + r + "6;\n";
        try {
          auto m = ptx::parse(kernel(body, "", ".shared .align 8 .b8 s[32];\n"));
          Device d;
          std::mt19937_64 dice(3);
          std::vector<U> in(64), place(4);
          auto value = [&]() -> U {
            if (c.type == "f32") return bits(float(int(dice() % 64)));  // sums are exact, so in any order the same
            if (c.type == "f64") return bits(double(dice() % 64));
            return bytes == 8 ? dice() : dice() & (dice() % 2 ? 15 : 0xffffffff);
          };
          for (auto &v : in) v = value();
          for (auto &v : place) v = value();
          auto pack = [&](const std::vector<U> &v) {
            std::vector<char> b;
            for (U x : v) b.insert(b.end(), reinterpret_cast<char *>(&x), reinterpret_cast<char *>(&x) + bytes);
            return b;
          };
          auto unpack = [&](const std::vector<char> &b, size_t k) {
            U v = 0;
            std::memcpy(&v, &b[k * bytes], bytes);
            return v;
          };
          uint64_t out = d.put(pack(std::vector<U>(64))), b = d.put(pack(place));
          launch(*m, d, Params().add(out).add(d.put(pack(in))).add(b), {1, 64});
          auto old = d.get<char>(out), now = d.get<char>(b);
          U mask = bytes == 8 ? ~0ull : 0xffffffff;
          // Some order of the threads must explain all values: the old values chain it.
          for (size_t p = 0; p < 4; p++) {
            std::vector<size_t> left;
            for (size_t t = p; t < 64; t += 4) left.push_back(t);
            U v = place[p];
            if (red)
              for (size_t t : left) v = c.f(v, in[t]) & mask;
            else if (!explains(left, v, [&](size_t t) { return unpack(old, t); },
                               [&](U x, size_t t) { return c.f(x, in[t]) & mask; }, v))
              fail(opcode + ": no order of the threads gives these values");
            if (!(red && (c.op == "inc" || c.op == "dec")) && unpack(now, p) != v) fail(opcode + ": wrong final value");
          }
        } catch (const std::exception &e) {
          fail(opcode + ": " + e.what());
        }
      }
  // cas: a counter that all threads of two blocks increase in a loop.
  for (std::string t : {"b32", "b64"}) {
    std::string r = t == "b64" ? "%d" : "%r";
    tested.insert("atom.global.cas." + t);
    expect_fault("atom.global.cas." + t, none, {}, [&] {
      auto m = ptx::parse(kernel("LOOP:\nld.volatile.global." + t + " " + r + "1, [%out];\n"
                                 "add.u" + t.substr(1) + " " + r + "2, " +
                                 r + "1, 1;\natom.global.cas." + t + " " + r + "3, [%out], " + r + "1, " + r +
                                 "2;\nsetp.ne." + t + " %p0, " + r + "3, " + r + "1;\n@%p0 bra LOOP;\n"));
      Device d;
      uint64_t out = d.put(std::vector<U>(1));
      ptx::Options o;
      o.threads = 2;
      launch(*m, d, Params().add(out).add(out).add(out), {2, 64}, o);
      if (d.get<U>(out)[0] != 128) fail("atom.cas: increments are lost");
    });
  }
}

inline void asynchronous_copies() {
  for (std::string form : {"ca.shared.global [%d2], [%d1], 4", "ca.shared.global [%d2], [%d1], 8",
                           "ca.shared.global [%d2], [%d1], 16", "cg.shared.global [%d2], [%d1], 16",
                           "cg.shared.global [%d2], [%d1], 16, %r1"}) {
    size_t bytes = form.find("], 4") != form.npos ? 4 : form.find("], 8") != form.npos ? 8 : 16;
    bool partial = form.find("%r1") != form.npos;
    tested.insert("cp.async." + form.substr(0, form.find(' ')));
    expect_fault("cp.async." + form, none, {}, [&] {
      // Two groups; after wait_group 1 only the first has arrived.
      std::string body = "mul.wide.u32 %d0, %t, 16;\nadd.u64 %d1, %a, %d0;\nmov.u64 %d2, s;\nadd.u64 %d2, %d2, %d0;\n"
          "add.u64 %d3, %out, %d0;\nand.b32 %r1, %t, 15;\nmov.u32 %r2, 0;\n"
          "st.shared.v4.u32 [%d2], {%r2, %r2, %r2, %r2};\ncp.async." + form + ";\ncp.async.commit_group;\n"
          "cp.async.wait_group 1;\nld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%d2];\n"
          "st.global.v4.u32 [%d3], {%r4, %r5, %r6, %r7};\n"
          "cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%d2];\n"
          "st.global.v4.u32 [%d3+512], {%r4, %r5, %r6, %r7};\ncp.async.wait_all;\n";
      auto m = ptx::parse(kernel(body, "", ".shared .align 16 .b8 s[512];\n"));
      Device d;
      std::vector<uint8_t> a(512);
      std::mt19937_64 dice(5);
      for (auto &v : a) v = dice();
      uint64_t out = d.put(std::vector<uint8_t>(1024));
      launch(*m, d, Params().add(out).add(d.put(a)).add(out), {1, 32});
      auto o = d.get<uint8_t>(out);
      for (size_t k = 0; k < 512; k++) {
        if (o[k]) return fail("cp.async: seen before it was waited for");
        size_t n = partial ? k / 16 % 16 : bytes;
        if (o[512 + k] != (k % 16 < n ? a[k] : 0)) return fail("cp.async." + form + ": wrong bytes");
      }
    });
  }
  for (auto *name : {"cp.async.commit_group", "cp.async.wait_group", "cp.async.wait_all"}) tested.insert(name);
}

}  // namespace test

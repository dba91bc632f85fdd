// Kernels with one mistake each: they must give the fault, and no fault without the mistake.
#pragma once
#include "control.h"

namespace test {

inline void faults() {
  using F = ptx::Fault;
  // Runs a body with %a of 64 words, %b of 64 words; threads 64.
  auto run = [](const std::string &body, const std::string &variables = "", bool races = false,
                const std::string &directives = "", unsigned blocks = 1, unsigned host_threads = 1) {
    return [=] {
      auto m = ptx::parse(kernel(body, directives, variables));
      Device d;
      uint64_t out = d.put(std::vector<uint32_t>(64)), a = d.put(std::vector<uint32_t>(64, 5)), freed = d.alloc(256);
      d.live.erase(freed);
      ptx::Options o;
      o.races = races;
      o.threads = host_threads;
      launch(*m, d, Params().add(out).add(a).add(freed), {blocks, 64}, o);
    };
  };
  auto pair = [&](const std::string &name, int kind, const std::vector<std::string> &words, const std::string &bad,
                  const std::string &good, const std::string &variables = "", bool races = false,
                  const std::string &directives = "", unsigned blocks = 1) {
    expect_fault(name, kind, words, run(bad, variables, races, directives, blocks));
    expect_fault(name + ", mended", none, {}, run(good, variables, races, directives, blocks));
  };
  auto variants = [](const std::string &text, const std::string &bad, const std::string &good) {
    return std::pair(replaced(text, {{"HERE", bad}}), replaced(text, {{"HERE", good}}));
  };
  std::string s = ".shared .align 16 .b8 s[256];\n";
  std::string word = "mul.wide.u32 %d0, %t, 4;\nadd.u64 %d1, %a, %d0;\nadd.u64 %d2, %out, %d0;\nmov.u64 %d3, s;\n"
      "add.u64 %d4, %d3, %d0;\n";

  {
    auto [bad, good] = variants(word + "ld.global.u32 %r0, [%d1HERE];\nst.global.u32 [%d2], %r0;\n", "+4", "");
    pair("global load out of bounds", F::address,
         {"thread (63,0,0)", "ld.global.u32 %r0, [%d1+4]", "line ", "no live allocation"}, bad, good, s);
  }
  {
    auto [bad, good] = variants(word + "HERE st.global.u32 [%d2+4], %t;\n", "", "setp.lt.u32 %p0, %t, 63;\n@%p0");
    pair("global store out of bounds", F::address, {"thread (63,0,0)", "st.global.u32"}, bad, good, s);
  }
  {
    auto [bad, good] = variants(word + "st.shared.u32 [%d4HERE], %t;\n", "+4", "");
    pair("shared store out of bounds", F::address, {"thread (63,0,0)", "256 bytes"}, bad, good, s);
  }
  {
    auto [bad, good] = variants(word + "mov.u32 %r1, 0;\n"
                                "st.shared.v4.u32 [HERE], {%r1, %r1, %r1, %r1};\n", "%d4", "%d3");
    pair("misaligned vector in shared memory", F::misaligned, {"thread (1,0,0)", "multiple of 16"}, bad, good, s);
  }
  {
    auto [bad, good] = variants(word + "mov.u32 %r1, 0;\nsetp.eq.u32 %p0, %t, 3;\n"
                                "@%p0 st.shared.v4.u32 [%d3+HERE], {%r1, %r1, %r1, %r1};\n", "8", "16");
    pair("half a vector off", F::misaligned, {"thread (3,0,0)", "0x8 is not a multiple of 16"}, bad, good, s);
  }
  {
    auto [bad, good] = variants(".local .align 4 .b8 l[16];\nmov.u64 %d0, l;\nand.b32 %r0, %t, HERE;\n"
                                "mul.wide.u32 %d1, %r0, 4;\nadd.u64 %d1, %d1, %d0;\n"
                                "st.local.u32 [%d1], %t;\n", "7", "3");
    pair("local array out of bounds", F::address, {"thread (4,0,0)", "local"}, bad, good);
  }
  {
    auto [bad, good] = variants("ld.global.u32 %r0, [HERE];\n", "%b", "%a");
    pair("use after free", F::address, {"no live allocation"}, bad, good);
  }
  {
    auto [bad, good] = variants("mov.u64 %d0, 0;\nld.global.u32 %r0, [HERE];\n", "%d0", "%a");
    pair("null", F::address, {"0x0"}, bad, good);
  }
  {
    auto [bad, good] = variants("ld.global.u32 %r0, [%a+HERE];\n", "2", "4");
    pair("misaligned", F::misaligned, {"multiple of 4"}, bad, good);
  }
  {
    auto [bad, good] = variants("setp.eq.u32 %p0, %t, HERE;\n@%p0 trap;\n", "5", "100");
    tested.insert("trap");
    pair("trap", F::trap, {"thread (5,0,0)"}, bad, good);
  }
  // Races.
  {
    auto [bad, good] = variants(word + "st.shared.u32 [%d4], %t;\nHERE\nxor.b32 %r1, %t, 32;\n"
                                "mul.wide.u32 %d5, %r1, 4;\nadd.u64 %d5, %d5, %d3;\n"
                                "ld.shared.u32 %r2, [%d5];\nst.global.u32 [%d2], %r2;\n", "", "bar.sync 0;");
    expect_fault("missing barrier, races not asked for", none, {}, run(good, s));
    pair("missing barrier", F::race, {"ld.shared.u32 %r2, [%d5]", "st.shared.u32 [%d4]", "thread ("},
         replaced(bad, {{"32;", "1;"}}), good, s, true);
  }
  {
    auto [bad, good] = variants(word + "st.shared.u32 [%d4], %t;\nbar.sync 0;\nxor.b32 %r1, %t, 1;\n"
                                "mul.wide.u32 %d5, %r1, 4;\nadd.u64 %d5, %d5, %d3;\n"
                                "ld.shared.u32 %r2, [%d5];\nHERE\nst.shared.u32 [%d4], %r2;\n", "", "bar.sync 0;");
    pair("write after read without a barrier", F::race, {"it writes", "st.shared.u32 [%d4], %r2", "ld.shared.u32"}, bad,
         good, s, true);
  }
  {
    auto [bad, good] = variants(word + "st.shared.u32 [%d4], %t;\nHERE\nxor.b32 %r1, %t, 1;\n"
                                "mul.wide.u32 %d5, %r1, 4;\nadd.u64 %d5, %d5, %d3;\n"
                                "ld.shared.u32 %r2, [%d5];\n", "", "bar.warp.sync -1;");
    pair("within a warp without bar.warp.sync", F::race, {"it reads"}, bad, good, s, true);
  }
  {
    auto [bad, good] = variants(word + "HERE ld.shared.u32 %r0, [%d4];\n", "", "st.shared.u32 [%d4], %t;");
    pair("read of shared memory never written", F::race, {"never written"}, bad, good, s, true);
  }
  {
    auto [bad, good] = variants("mov.u64 %d0, s;\nsetp.lt.u32 %p0, %t, HERE;\n"
                                "@%p0 st.shared.u8 [%d0+1], %h0;\n", "2", "1");
    pair("two threads write the same byte", F::race, {"it writes"}, "mov.u16 %h0, 1;\n" + bad,
         "mov.u16 %h0, 1;\n" + good, s, true);
  }
  {
    expect_fault("neighbouring bytes", none, {}, run("cvt.u64.u32 %d5, %t;\nadd.u64 %d5, %d5, %out;\nmov.u16 %h0, 1;\n"
                                                     "st.global.u8 [%d5], %h0;\n", "", true));
    auto [wrong, right] = variants("mov.u32 %r0, %ctaid.x;\nmul.wide.u32 %d0, %r0, HERE;\nadd.u64 %d0, %d0, %out;\n"
                                   "setp.eq.u32 %p0, %t, 0;\n"
                                   "@%p0 st.global.u32 [%d0], %t;\n", "0", "4");
    pair("two blocks write the same word", F::race, {"block (1,0,0)", "block (0,0,0)"}, wrong, right, "", true, "", 2);
    expect_fault("two blocks add to the same word", none, {}, run("red.global.add.u32 [%out], %t;\n", "", true, "", 2));
  }
  {
    auto [bad, good] = variants("HERE\nmov.u32 %r0, %ctaid.x;\n"
                                "ld.global.u32 %r1, [%out];\n", "setp.eq.u32 %p0, %t, 70;\nmov.u32 %r5, %ctaid.x;\n"
                                "setp.eq.u32 %p0, %r5, 1;\nsetp.eq.and.u32 %p0, %t, 0, %p0;\n"
                                "@%p0 st.global.u32 [%out], %t;", "");
    pair("one block reads what another writes", F::race, {"block (1,0,0)"}, bad, good, "", true, "", 2);
  }
  std::string cluster = ".explicitcluster\n.reqnctapercluster 2, 1, 1\n";
  {
    std::string text = word + "mov.u32 %r3, %cluster_ctarank;\nxor.b32 %r3, %r3, 1;\nst.shared.u32 [%d4], %t;\n"
        "barrier.cluster.arriveHERE;\n"
                       "barrier.cluster.wait;\nmapa.shared::cluster.u64 %d5, %d4, %r3;\n"
                       "ld.shared::cluster.u32 %r4, [%d5];\n"
                       "barrier.cluster.arrive;\nbarrier.cluster.wait;\n";
    auto [bad, good] = variants(text, ".relaxed", "");
    pair("cluster barrier that does not order", F::race, {"it reads"}, bad, good, s, true, cluster, 2);
    std::string early = text.substr(0, text.rfind("barrier.cluster.arrive"));
    auto [gone, stays] = variants(replaced(early, {{"HERE", ""}}) + "HERE\n", "",  "barrier.cluster.arrive;\n"
                                  "barrier.cluster.wait;");
    // Block 0 would have to outlive the reads of block 1.
    gone = replaced(gone, {{"mapa", "setp.eq.u32 %p0, %r3, 1;\n@%p0 exit;\nLOOP:\nadd.u32 %r6, %r6, 1;\n"
                            "setp.lt.u32 %p1, %r6, 300000;\n@%p1 bra LOOP;\nMAPA"}});
    gone = "mov.u32 %r6, 0;\n" + replaced(gone, {{"MAPA", "mapa"}});
    pair("shared memory of a block that has exited", F::address, {"exited"}, gone, stays, s, false, cluster, 2);
  }
  // Waiting for ever.
  {
    auto [bad, good] = variants("setp.lt.u32 %p0, %t, HERE;\n@%p0 bra J;\nbar.sync 0;\nbra.uni E;\nJ:\n"
                                "mov.u32 %r0, 0;\nbar.sync 1;\nE:\n", "16", "0");
    pair("barriers in divergent code", F::deadlock, {"bar.sync 0", "bar.sync 1", "waits"}, bad, good);
  }
  {
    auto [bad, good] = variants("setp.lt.u32 %p0, %t, 32;\n@%p0 bra J;\nbar.sync 1, HERE;\nJ:\n", "64", "32");
    pair("a barrier that too few reach", F::deadlock, {"thread (32,0,0)", "bar.sync 1, 64"}, bad, good);
  }
  {
    auto [bad, good] = variants("setp.lt.u32 %p0, %t, 8;\n@%p0 bra J;\nshfl.sync.bfly.b32 %r0, %t, 1, 31, HERE;\nJ:\n"
                                "bar.sync 0;\n", "-1", "%r5");
    pair("shfl by some of its members", F::deadlock, {"shfl.sync"}, bad, "activemask.b32 %r5;\n"
         "setp.lt.u32 %p1, %t, 8;\n@!%p1 activemask.b32 %r5;\n" + good);
  }
  {
    auto [bad, good] = variants("L:\nld.volatile.global.u32 %r0, [%out];\nsetp.eq.u32 %p0, %r0, HERE;\n"
                                "@%p0 bra L;\n", "0", "1");
    pair("a flag that nobody sets", F::deadlock, {"waits for ever", "thread (0,0,0)"}, bad, good);
    expect_fault("a flag that nobody sets, four blocks, two host threads", F::deadlock, {"waits for ever"},
                 run(bad, "", false, "", 4, 2));
  }
  {
    auto [bad, good] = variants("mov.u32 %r0, 0;\nL:\nand.b32 %r0, %r0, 1;\nsetp.eq.u32 %p0, %r0, HERE;\n"
                                "@%p0 bra L;\n", "0", "1");
    pair("a loop without an end", F::deadlock, {"waits for ever"}, bad, good);
  }
  {
    auto [bad, good] = variants("mov.u32 %r3, %cluster_ctarank;\nsetp.eq.u32 %p0, %r3, HERE;\n@%p0 bra J;\n"
                                "barrier.cluster.arrive;\nJ:\nbarrier.cluster.wait;\n", "1", "2");
    pair("wait without arrive", F::deadlock, {"without barrier.cluster.arrive"}, bad, good, "", false, cluster, 2);
  }
  {
    auto [bad, good] = variants("mov.u32 %r0, HERE;\nbar.sync %r0;\n", "16", "15");
    pair("a barrier that does not exist", F::illegal_instruction, {"barrier 16"}, bad, good);
  }
  {
    auto [bad, good] = variants("mov.u32 %r0, HERE;\nT: .branchtargets A, B;\nbrx.idx %r0, T;\nA:\nB:\n", "2", "1");
    pair("index outside of a table", F::illegal_instruction, {"index 2"}, bad, good);
  }
  // Launches.
  expect_fault("too many threads", F::launch, {".maxntid allows 32"}, run("", "", false, ".maxntid 32, 1, 1\n"));
  expect_fault("a grid that clusters do not fill", F::launch, {"multiple of the cluster"},
               run("", "", false, cluster, 3));
}

// Texts that must be refused, with the line and the mistake.
inline void refusals() {
  auto refuse = [](const std::string &text, const std::vector<std::string> &words) {
    try {
      ptx::parse(text);
      fail("not refused: " + words[0]);
    } catch (const ptx::ParseError &e) {
      for (auto &w : words)
        if (!std::strstr(e.what(), w.c_str())) fail("'" + w + "' is not in: " + e.what());
    }
  };
  auto body = [&](const std::string &text, const std::vector<std::string> &words) { refuse(kernel(text), words); };
  body("frobnicate.u32 %r0, %r1;\n", {"line 16", "frobnicate.u32: unknown instruction"});
  body("add.u32.hyper %r0, %r1, %r2;\n", {"add.u32.hyper", "unknown"});
  body("add.rn.u32 %r0, %r1, %r2;\n", {"add.rn.u32"});
  body("fma.f32 %f0, %f1, %f2, %f3;\n", {"a rounding mode is missing"});
  body("add.u32 %r0, %r1;\n", {"wrong number of operands"});
  body("add.u32 %r0, %r1, %d0;\n", {"wrong size"});
  body("add.u32 %r0, %r1, %zz;\n", {"%zz"});
  body("bra NOWHERE;\n", {"NOWHERE"});
  body("ld.global.v3.f32 {%f0, %f1, %f2}, [%a];\n", {"ld.global.v3.f32"});
  body("cvt.u32.f32 %r0, %f0;\n", {"a rounding is missing"});
  body("tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, %a, %f4;\n", {"tex"});
  body("@%p0 bar.sync 0;\n", {"guard"});
  body("L:\nL:\n", {"twice"});
  body(".bogus 4;\n", {".bogus"});
  refuse(".target sm_75\n.address_size 64\n", {".version"});
  refuse(head + ".visible .entry k()\n{\nret;\n", {"does not end"});
  refuse(head + ".func f()\n{\ncall f;\nret;\n}\n.visible .entry k()\n{\ncall f;\nret;\n}\n", {"recursive"});
}

// Counts of a launch: 64 threads in 2 warps.
inline void counts() {
  auto count = [](const std::string &body) {
    auto m = ptx::parse(kernel(body, "", ".shared .align 16 .b8 s[8192];\n"));
    Device d;
    uint64_t out = d.alloc(8192);
    ptx::Counts c;
    ptx::Options o;
    o.counts = &c;
    launch(*m, d, Params().add(out).add(out).add(out), {1, 64}, o);
    return c;
  };
  auto equal = [](const char *name, uint64_t got, uint64_t want) {
    if (got != want)
      fail(std::string("counts: ") + name + ": " + std::to_string(got) + ", not " + std::to_string(want));
  };
  try {
    uint64_t base = count("").instructions;
    auto c = count("fma.rn.f32 %f0, %f1, %f2, %f3;\nsetp.lt.u32 %p0, %t, 8;\n@%p0 fma.rn.f32 %f0, %f1, %f2, %f3;\n"
                   "bar.sync 0;\n");
    equal("fma", c.fma, 64 + 8);
    equal("instructions", c.instructions - base, 2 * 4 - 1);  // the second warp skips one
    equal("barriers", c.barriers, 1);
    for (auto [stride, sectors, wavefronts] : {std::tuple{4, 4, 1}, {8, 8, 2}, {128, 32, 32}, {0, 1, 1}}) {
      c = count("mul.wide.u32 %d0, %t, " + std::to_string(stride) + ";\nadd.u64 %d1, %out, %d0;\nmov.u64 %d2, s;\n"
                "add.u64 %d2, %d2, %d0;\n"
                "ld.global.u32 %r0, [%d1];\nld.shared.u32 %r0, [%d2];\n");
      equal("global requests", c.global_requests, 2);
      equal("global sectors", c.global_sectors, 2 * sectors);
      equal("global bytes", c.global_bytes, 256);
      equal("shared requests", c.shared_requests, 2);
      equal("shared wavefronts", c.shared_wavefronts, 2 * wavefronts);
    }
  } catch (const std::exception &e) {
    fail(std::string("counts: ") + e.what());
  }
}

}  // namespace test

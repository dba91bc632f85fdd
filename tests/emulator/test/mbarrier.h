// mbarriers, st.async and cp.async.bulk, against the sections of these names in the PTX ISA manual.
#pragma once
#include "control.h"

namespace test {

// Two mbarriers, at %b0 and %b1; a place of 16 words, at %s. %r3: rank of the block in its cluster. Of
// the next block, %r4 is the rank, %c0 its first mbarrier, %z its place. All 32-bit addresses.
inline std::string with_mbarriers(const std::string &body) {
  return ".reg .b32 %b0, %b1, %s, %c0, %z;\nmov.u32 %b0, bars;\nadd.u32 %b1, %b0, 8;\nmov.u32 %s, place;\n"
         "mov.u32 %r3, %cluster_ctarank;\nmov.u32 %r5, %cluster_nctarank;\nadd.u32 %r4, %r3, 1;\n"
         "rem.u32 %r4, %r4, %r5;\nmapa.shared::cluster.u32 %c0, %b0, %r4;\n"
         "mapa.shared::cluster.u32 %z, %s, %r4;\n" + body;
}
const std::string mbarriers = ".shared .align 8 .b64 bars[2];\n.shared .align 16 .b8 place[64];\n";
const std::string two_blocks = ".explicitcluster\n.reqnctapercluster 2, 1, 1\n";
const std::string cluster_sync = "barrier.cluster.arrive;\nbarrier.cluster.wait;\n";

// One thread makes the mbarriers, for the whole cluster.
inline std::string make(unsigned first, unsigned second = 1) {
  return "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%b0], " + std::to_string(first) +
         ";\n@%p0 mbarrier.init.shared::cta.b64 [%b1], " + std::to_string(second) + ";\n" + cluster_sync;
}

// Waits for the phase of this parity.
inline std::string await(const std::string &label, const std::string &bar, unsigned parity,
                         const std::string &how = "try_wait.parity.acquire.cluster.shared::cta") {
  return label + ":\nmbarrier." + how + ".b64 %p1, [" + bar + "], " + std::to_string(parity) + ";\n@!%p1 bra " +
      label + ";\n";
}

inline void mbarrier_values() {
  for (auto *n : {"mbarrier.init.shared::cta.b64", "mbarrier.init.b64", "mbarrier.inval.shared::cta.b64",
                  "mbarrier.arrive.shared::cta.b64", "mbarrier.arrive.shared.b64", "mbarrier.arrive.b64",
                  "mbarrier.arrive.release.cluster.shared::cluster.b64",
                  "mbarrier.arrive.release.cta.shared::cluster.b64", "mbarrier.arrive.expect_tx.shared::cta.b64",
                  "mbarrier.expect_tx.relaxed.cta.shared::cta.b64",
                  "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64", "mbarrier.test_wait.shared::cta.b64",
                  "mbarrier.test_wait.parity.shared::cta.b64", "mbarrier.try_wait.shared::cta.b64",
                  "mbarrier.try_wait.parity.shared::cta.b64", "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64",
                  "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", "fence.mbarrier_init.release.cluster",
                  "fence.proxy.async", "fence.proxy.async.shared::cta",
                  "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32",
                  "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32",
                  "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b64",
                  "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"})
    tested.insert(n);
  // test_wait with a state and with a parity, for the current phase and the one before: a bit per result.
  auto bit = [](int k) { return "selp.u32 %r6, " + std::to_string(1 << k) + ", 0, %p1;\nor.b32 %r2, %r2, %r6;\n"; };
  auto state = [&](int k, const char *s) {
    return "mbarrier.test_wait.shared::cta.b64 %p1, [%b0], " + std::string(s) + ";\n" + bit(k);
  };
  auto parity = [&](int k, int p) {
    return "mbarrier.test_wait.parity.shared::cta.b64 %p1, [%b0], " + std::to_string(p) + ";\n" + bit(k);
  };
  control("states and parities", with_mbarriers(
      "mov.u32 %r2, 0;\nmbarrier.init.shared::cta.b64 [%b0], 3;\nmbarrier.arrive.shared::cta.b64 %d1, [%b0];\n" +
      state(0, "%d1") + parity(1, 0) +
      parity(2, 1) + "mbarrier.arrive.shared::cta.b64 %d2, [%b0], 2;\n" + state(3, "%d1") + state(4, "%d2") +
      parity(5, 0) + parity(6, 1) +
      "mbarrier.arrive.shared.b64 _, [%b0], 3;\n" + parity(7, 0) + parity(8, 1) +
      // Invalidated and made anew, it is in its first phase again; by a generic address.
      "mbarrier.inval.shared::cta.b64 [%b0];\ncvt.u64.u32 %d3, %b0;\ncvta.shared.u64 %d3, %d3;\n"
      "mbarrier.init.b64 [%d3], 1;\n" + parity(9, 1) +
      "mbarrier.arrive.b64 %d4, [%d3];\n" + parity(10, 0)),
      1, 1, [](uint32_t, uint32_t) { return 4u + 8 + 16 + 32 + 256 + 512 + 1024; }, mbarriers);
  // Missing bytes hold a phase back, in any order of bytes and arrivals.
  control("transactions", with_mbarriers(
      "mov.u32 %r2, 0;\nmbarrier.init.shared::cta.b64 [%b0], 1;\n"
      "mbarrier.arrive.expect_tx.shared::cta.b64 %d1, [%b0], 24;\n" + state(0, "%d1") +
      "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%b0], 20;\n" + state(1, "%d1") +
      "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%b0], 4;\n" + state(2, "%d1") +
      "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%b0], 8;\n" + parity(3, 1) +
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%b0], 16;\nmbarrier.arrive.shared::cta.b64 %d2, [%b0];\n" +
      state(4, "%d2") +
      "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%b0], 8;\n" + state(5, "%d2")),
      1, 1, [](uint32_t, uint32_t) { return 4u + 32; }, mbarriers);
  // Threads of a block meet, over and over.
  control("phases", with_mbarriers(
      make(64) + "mov.u32 %r5, 0;\nmov.u32 %r2, 0;\nmad.lo.u32 %r9, %t, 4, %s;\nR:\n@%p0 st.shared.u32 [%s], %r5;\n"
      "mbarrier.arrive.shared::cta.b64 %d1, [%b0];\nA:\nmbarrier.try_wait.shared::cta.b64 %p1, [%b0], %d1;\n"
      "@!%p1 bra A;\n"
      "ld.shared.u32 %r6, [%s];\nmad.lo.u32 %r2, %r2, 3, %r6;\nmbarrier.arrive.shared::cta.b64 %d1, [%b0];\n"
      "B:\nmbarrier.try_wait.parity.shared::cta.b64 %p1, [%b0], 1;\n@!%p1 bra B;\nadd.u32 %r5, %r5, 1;\n"
      "setp.lt.u32 %p2, %r5, 4;\n@%p2 bra R;\n"),
      1, 64, [](uint32_t, uint32_t) { return ((0u * 3 + 1) * 3 + 2) * 3 + 3; }, mbarriers);
}

// Blocks of a cluster hand their values to each other: block b has the values 100 b + t.
inline void mbarrier_clusters() {
  auto other = [](uint32_t b, uint32_t t) { return (b ^ 1) * 100 + t % 16; };
  std::string value = "and.b32 %r11, %t, 15;\nmul.lo.u32 %r10, %r15, 100;\nadd.u32 %r10, %r10, %r11;\n"
                      "shl.b32 %r11, %r11, 2;\nadd.u32 %r12, %z, %r11;\nsetp.lt.u32 %p3, %t, 16;\n";
  std::string take = "add.u32 %r11, %s, %r11;\nld.shared.u32 %r2, [%r11];\n" + cluster_sync;
  control("arrivals at another block", with_mbarriers(
      make(1) + value + "@%p3 st.shared::cluster.u32 [%r12], %r10;\nbar.sync 0;\n"
      "@%p0 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%c0];\n" + await("W", "%b0", 0) + take),
      4, 64, other, mbarriers, two_blocks);
  std::string expects = "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 64;\n";
  control("st.async", with_mbarriers(
      make(1) + value + expects +
      "@%p3 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r12], %r10, [%c0];\n" +
      await("W", "%b0", 0) + take), 4, 64, other, mbarriers, two_blocks);
  // Four threads store four words each; two, two of 64 bits.
  std::string four = "mov.u32 %r5, %r10;\nadd.u32 %r6, %r5, 1;\nadd.u32 %r7, %r5, 2;\nadd.u32 %r8, %r5, 3;\n"
      "and.b32 %r9, %t, 3;\nsetp.eq.u32 %p4, %r9, 0;\nand.pred %p3, %p3, %p4;\n";
  control("st.async of a vector", with_mbarriers(
      make(1) + value + expects + four + "mov.b32 %f1, %r5;\nmov.b32 %f2, %r6;\nmov.b32 %f3, %r7;\nmov.b32 %f4, %r8;\n"
      "@%p3 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%r12], {%f1, %f2, %f3, %f4}, [%c0];\n" +
      await("W", "%b0", 0) + take), 4, 64, other, mbarriers, two_blocks);
  control("st.async of 64 bits", with_mbarriers(
      make(1) + value + expects + four + "mov.b64 %d1, {%r5, %r6};\nmov.b64 %d2, {%r7, %r8};\n"
      "@%p3 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b64 [%r12], {%d1, %d2}, [%c0];\n" +
      await("W", "%b0", 0) + take), 4, 64, other, mbarriers, two_blocks);
  // The source and the destination of a copy are the two halves of the place.
  control("cp.async.bulk", with_mbarriers(
      make(1) + value + "and.b32 %r9, %t, 7;\nshl.b32 %r9, %r9, 2;\nadd.u32 %r9, %s, %r9;\nsetp.lt.u32 %p3, %t, 8;\n"
      "@%p3 st.shared.u32 [%r9], %r10;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n"
      "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 32;\n"
      "@%p0 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%z+32], [%s], 32, [%c0];\n" +
      await("W", "%b0", 0) +
      "ld.shared.u32 %r2, [%r9+32];\n" + cluster_sync),
      4, 64, [](uint32_t b, uint32_t t) { return (b ^ 1) * 100 + t % 8; }, mbarriers, two_blocks);
}

// Mistakes: each must give its fault or wrong value, and nothing wrong without the mistake.
inline void mbarrier_faults() {
  using F = ptx::Fault;
  // Runs two blocks of 32 threads and returns what thread 0 of block 1 leaves in %r2.
  auto value = [](const std::string &body, bool races, unsigned order) {
    auto m = ptx::parse(kernel(with_mbarriers(body) + "mov.u32 %r15, %ctaid.x;\nmul.wide.u32 %d15, %r15, 4;\n"
                               "add.u64 %d15, %d15, %out;\n"
                               "setp.eq.u32 %p7, %t, 0;\n@%p7 st.global.u32 [%d15], %r2;\n", two_blocks, mbarriers));
    Device d;
    uint64_t out = d.put(std::vector<uint32_t>(2));
    ptx::Options o;
    o.races = races;
    o.order = order;
    launch(*m, d, Params().add(out).add(out).add(out), {2, 32}, o);
    return d.get<uint32_t>(out)[1];
  };
  auto pair = [&](const std::string &name, int kind, const std::vector<std::string> &words, const std::string &text,
                  const std::string &bad, const std::string &good, bool races = false) {
    auto run = [=](const std::string &part) { return [=] { value(replaced(text, {{"HERE", part}}), races, 0); }; };
    expect_fault(name, kind, words, run(bad));
    expect_fault(name + ", mended", none, {}, run(good));
  };
  // Block 0 sends vectors of one word, 1, 2 and 3, to block 1: a slot, a barrier full, a credit.
  auto sends = [](const std::string &how) {
    return make(1) + "mov.u32 %r2, 0;\nmov.u32 %r5, 0;\nadd.u32 %r11, %c0, 8;\nsetp.eq.u32 %p2, %r3, 1;\n"
           "@%p2 bra RECEIVE;\n@!%p0 bra DONE;\nS:\nsetp.eq.u32 %p4, %r5, 0;\n@%p4 bra FIRST;\nsub.u32 %r8, %r5, 1;\n"
           "and.b32 %r8, %r8, 1;\nCREDIT\nFIRST:\n"
           "add.u32 %r5, %r5, 1;\n" + how + "setp.lt.u32 %p3, %r5, 3;\n@%p3 bra S;\nbra.uni DONE;\nRECEIVE:\n"
           "@!%p0 bra DONE;\n"
           "R:\nand.b32 %r7, %r5, 1;\nEXPECT\nWAIT\nld.shared.u32 %r6, [%s];\nmad.lo.u32 %r2, %r2, 10, %r6;\n"
           "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r11];\nadd.u32 %r5, %r5, 1;\n"
           "setp.lt.u32 %p3, %r5, 3;\n@%p3 bra R;\nDONE:\n" +
           cluster_sync;
  };
  auto wait = [](const std::string &label, const std::string &bar, const std::string &parity,
                 const std::string &scope = "cluster") {
    return label + ":\nmbarrier.try_wait.parity.acquire." + scope + ".shared::cta.b64 %p1, [" + bar + "], " +
        parity + ";\n@!%p1 bra " + label + ";";
  };
  const std::string credit = wait("C", "%b1", "%r8"), full = wait("W", "%b0", "%r7");
  const std::string stores = "st.shared::cluster.u32 [%z], %r5;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%c0];\n";
  const std::string async = "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%z], %r5, [%c0];\n";
  struct Way { std::string name, how, expect; };
  for (const Way &w : {Way{"stores", stores, ""},
                       Way{"st.async", async, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 4;"}}) {
    auto text = [&](const std::string &wait_for, const std::string &wait_for_credit) {
      return replaced(sends(w.how), {{"EXPECT", w.expect}, {"WAIT", wait_for}, {"CREDIT", wait_for_credit}});
    };
    auto wrong = [&](const std::string &body) {  // in some order
      for (unsigned order = 0; order < 40; order++) try {
          if (value(body, false, order) != 123) return true;
        } catch (const ptx::Fault &) {
          return true;
        }
      return false;
    };
    if (wrong(text(full, credit))) fail(w.name + ": not 123");
    if (!wrong(text("", credit))) fail(w.name + " without a wait: 123 in every order");
    if (!wrong(text(full, ""))) fail(w.name + " without a credit: 123 in every order");
    auto race = [&](const std::string &name, const std::vector<std::string> &words, const std::string &body) {
      expect_fault(w.name + " " + name, F::race, words, [=] { value(body, true, 0); });
    };
    expect_fault(w.name + ", races", none, {}, [&] { value(text(full, credit), true, 0); });
    race("with a wait of the scope .cta", {"ld.shared.u32", "it reads"}, text(wait("W", "%b0", "%r7", "cta"), credit));
    race("with a credit of the scope .cta", {"it writes"}, text(full, wait("C", "%b1", "%r8", "cta")));
    race("with a relaxed wait", {"ld.shared.u32", "it reads"}, text(replaced(full, {{"acquire", "relaxed"}}), credit));
  }
  // A copy reads its source when it happens.
  pair("cp.async.bulk whose source is overwritten", F::race, {"cp.async.bulk", "it reads", "st.shared.u32 [%s], %r5"},
       make(1) + "setp.eq.u32 %p2, %r3, 0;\nand.pred %p2, %p2, %p0;\nmov.u32 %r5, 1;\n"
       "@%p2 st.shared.v4.u32 [%s], {%r5, %r5, %r5, %r5};\n"
       "@%p2 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%z+16], [%s], 16, [%c0];\nHERE\n"
       "setp.eq.u32 %p3, %r3, 1;\nand.pred %p3, %p3, %p0;\n@!%p3 bra J;\n"
       "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 16;\n" +
       await("W", "%b0", 0) + "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%c0];\nJ:\n@!%p2 bra K;\n" +
       await("V", "%b0", 0) +
       "st.shared.u32 [%s], %r5;\nK:\n" + cluster_sync, "@%p2 st.shared.u32 [%s], %r5;", "", true);
  // Lost arrivals and bytes. The message names the waiting line, and what its mbarrier lacks.
  std::string all = "mbarrier.arrive.shared::cta.b64 _, [%b0];\n" + await("W", "%b0", 0);
  pair("a lost arrival", F::deadlock,
       {"block (0,0,0), thread (0,0,0)", "lacks 1 of 32 arrivals and 0 bytes", "mbarrier.try_wait.parity"},
       make(32) + "setp.ge.u32 %p2, %t, HERE;\n@%p2 " + all, "1", "0");
  pair("lost bytes", F::deadlock, {"lacks 0 of 1 arrivals and 4 bytes"},
       make(1) + "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 20;\n"
       "@%p0 mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%b0], HERE;\n" + await("W", "%b0", 0),
       "16", "20");
  // Misuse.
  std::string one = "mbarrier.arrive.shared::cta.b64 _, [%b0];\n";
  pair("more arrivals than expected", F::illegal_instruction, {"lacks 2 of 2"},
       make(2) + "@%p0 mbarrier.arrive.shared::cta.b64 _, [%b0], HERE;\n", "3", "2");
  pair("no mbarrier", F::illegal_instruction, {"no mbarrier at shared address 0x0"},
       "setp.eq.u32 %p0, %t, 0;\nHERE\n@%p0 " + one, "", "@%p0 mbarrier.init.shared::cta.b64 [%b0], 1;");
  pair("an mbarrier that was overwritten", F::illegal_instruction, {"overwritten", "mbarrier.init"},
       make(1) + "@%p0 st.shared.u32 [HERE], %t;\nbar.sync 0;\n@%p0 " + one, "%b0+4", "%s");
  pair("made twice", F::illegal_instruction, {"already"},
       make(1) + "@%p0 mbarrier.init.shared::cta.b64 [HERE], 1;\n", "%b0", "%s");
  pair("no arrivals", F::illegal_instruction, {"0 arrivals"},
       "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%b0], HERE;\n", "0", "1048575");
  pair("too many bytes", F::illegal_instruction, {"cannot count 1048576 bytes"},
       make(1) + "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], HERE;\n", "1048576", "1048575");
  pair("misaligned", F::misaligned, {"multiple of 8"},
       "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%b0+HERE], 1;\n", "4", "8");
  pair("a wait at another block", F::address, {"of another block"},
       make(1) + "cvt.u64.u32 %d0, %b0;\ncvta.shared.u64 %d0, %d0;\nmapa.u64 %d1, %d0, HERE;\n"
       "mbarrier.test_wait.parity.b64 %p1, [%d1], 1;\n" + cluster_sync,
       "%r4", "%r3");
  pair("an old state", F::illegal_instruction, {"current phase"},
       make(32) + "mbarrier.arrive.shared::cta.b64 %d1, [%b0];\nbar.sync 0;\n"
       "mbarrier.arrive.shared::cta.b64 %d2, [%b0];\nbar.sync 0;\n"
       "mbarrier.test_wait.shared::cta.b64 %p1, [%b0], HERE;\n", "%d1", "%d2");
  pair("st.async within a block", F::address, {"same block"},
       make(1) + "@%p0 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [HERE];\n"
       "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 4;\n" + await("W", "%b0", 0) +
       cluster_sync, "%s], %t, [%b0", "%z], %t, [%c0");
  pair("cp.async.bulk of half a vector", F::illegal_instruction, {"24 bytes"},
       make(1) +
       "@%p0 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%z], [%s], HERE, [%c0];\n"
       "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 16;\n" + await("W", "%b0", 0) +
       cluster_sync, "24", "16");
  pair("a block that exits before it gets its bytes", F::address, {"st.async", "has exited before this came"},
       make(1) + "@%p0 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%z], %t, [%c0];\n"
       "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b0], 4;\nHERE\n" + cluster_sync, "", await("W", "%b0", 0));
  pair("an mbarrier that is not known yet", F::race, {"an mbarrier is used", "mbarrier.init"},
       "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%b0], 1;\nHERE\nbarrier.cluster.arrive.relaxed;\n"
       "barrier.cluster.wait;\n"
       "@%p0 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%c0];\n" +
       cluster_sync, "", "fence.mbarrier_init.release.cluster;", true);
}

}  // namespace test

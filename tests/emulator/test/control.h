// Branches, calls, barriers, clusters, and several threads of the host.
#pragma once
#include "memory.h"

namespace test {

// Runs a body of kernel(), whose threads leave a number in %r2, and compares these numbers.
inline void control(const std::string &name, const std::string &body, unsigned blocks, unsigned threads,
                    const std::function<uint32_t(uint32_t, uint32_t)> &want, const std::string &variables = "",
                    const std::string &directives = "", const std::string &functions = "") {
  std::string text = kernel("mov.u32 %r15, %ctaid.x;\nmov.u32 %r14, %ntid.x;\nmad.lo.u32 %r13, %r15, %r14, %t;\n"
                            "mul.wide.u32 %d15, %r13, 4;\nadd.u64 %d15, %d15, %out;\n" + body + "\n"
                            "st.global.u32 [%d15], %r2;\n",
                            directives, variables);
  if (!functions.empty()) text.insert(head.size(), functions);
  for (unsigned order : {0u, 1u, 2u, 3u})
    expect_fault(name, none, {}, [&] {
      auto m = ptx::parse(text);
      Device d;
      uint64_t out = d.put(std::vector<uint32_t>(blocks * threads, 0xdead));
      ptx::Options o;
      o.order = order;
      o.threads = order == 3 ? 2 : 1;
      o.races = order == 2;
      launch(*m, d, Params().add(out).add(out).add(out), {blocks, threads, 64}, o);
      auto got = d.get<uint32_t>(out);
      for (uint32_t b = 0; b < blocks; b++)
        for (uint32_t t = 0; t < threads; t++)
          if (got[b * threads + t] != want(b, t))
            return fail(name + ": block " + std::to_string(b) + ", thread " + std::to_string(t) + ": " +
                        std::to_string(got[b * threads + t]) + ", not " + std::to_string(want(b, t)));
    });
}

inline void branches() {
  for (auto *n : {"bra", "bra.uni", "ret", "exit", "brx.idx", "call.uni", "st.param.b32", "ld.param.b32"})
    tested.insert(n);
  // Collatz steps: every thread loops for a different time, with a branch inside.
  control("loops", "add.u32 %r0, %t, 1;\nmov.u32 %r2, 0;\nL:\nsetp.eq.u32 %p0, %r0, 1;\n@%p0 bra D;\n"
          "add.u32 %r2, %r2, 1;\n"
          "and.b32 %r1, %r0, 1;\nsetp.eq.u32 %p1, %r1, 0;\n@!%p1 bra ODD;\nshr.u32 %r0, %r0, 1;\nbra.uni L;\n"
          "ODD:\nmad.lo.u32 %r0, %r0, 3, 1;\nbra L;\nD:\n", 2, 70, [](uint32_t, uint32_t t) {
            uint32_t n = t + 1, s = 0;
            for (; n != 1; s++) n = n % 2 ? 3 * n + 1 : n / 2;
            return s;
          });
  // Lanes meet again after a branch: the warp instruction sees all of them.
  control("reconvergence", "and.b32 %r0, %t, 3;\nsetp.eq.u32 %p0, %r0, 0;\nmov.u32 %r1, 1;\n@%p0 bra J;\n"
          "mov.u32 %r1, 2;\n"
          "setp.eq.u32 %p1, %r0, 1;\n@%p1 bra J;\nmov.u32 %r1, 3;\nJ:\n"
          "shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;\n", 1, 64,
          [](uint32_t, uint32_t t) { return std::vector<uint32_t>{1, 2, 3, 3}[(t ^ 1) & 3]; });
  control("exit in the middle", "mov.u32 %r2, 7;\nsetp.lt.u32 %p0, %t, 40;\nst.global.u32 [%d15], %t;\n@%p0 exit;\n"
          "bar.sync 0;\n", 1, 96,
          [](uint32_t, uint32_t t) { return t < 40 ? t : 7; });
  control("indexed branch", "and.b32 %r0, %t, 3;\nT: .branchtargets A, B, C, B;\nbrx.idx %r0, T;\nA:\n"
          "mov.u32 %r2, 10;\nbra J;\n"
          "B:\nadd.u32 %r2, %t, 20;\nbra J;\nC:\nmov.u32 %r2, 30;\nJ:\n", 1, 64, [](uint32_t, uint32_t t) {
            return t % 4 == 0 ? 10 : t % 4 == 2 ? 30 : t + 20;
          });
  // Functions with parameters in .param space and in registers, called twice, one from the other.
  control("calls", "{\n.param .b32 p0;\n.param .b32 p1;\n.param .b32 r;\nst.param.b32 [p0+0], %t;\n"
          "st.param.b32 [p1+0], %r15;\n"
          "call.uni (r), twice_sum, (p0, p1);\nld.param.b32 %r2, [r+0];\n}\n{\n.param .b32 p0;\n.param .b32 p1;\n"
          ".param .b32 r;\n"
          "st.param.b32 [p0+0], %r2;\nst.param.b32 [p1+0], 100;\ncall.uni (r), twice_sum, (p0, p1);\n"
          "ld.param.b32 %r2, [r+0];\n}\n",
          2, 40, [](uint32_t b, uint32_t t) { return 2 * (2 * (t + b) + 100); }, "", "",
          ".func (.reg .b32 %o) double(.reg .b32 %i)\n{\nadd.u32 %o, %i, %i;\nret;\n}\n"
          ".func (.param .b32 r) twice_sum(.param .b32 a, .param .b32 b)\n{\n.reg .b32 %x, %y;\n.reg .pred %p;\n"
          "ld.param.b32 %x, [a];\n"
          "ld.param.b32 %y, [b];\nadd.u32 %x, %x, %y;\nsetp.eq.u32 %p, %x, 0;\n@%p bra Z;\n"
          "call.uni (%x), double, (%x);\n"
          "st.param.b32 [r+0], %x;\nret;\nZ:\nst.param.b32 [r+0], 0;\nret;\n}\n");
  // If only some lanes replace a value, its register must not be given to another.
  control("guarded definitions", "mov.u32 %r0, 5;\nbra B;\nB:\nadd.u32 %r1, %t, 1;\nmul.lo.u32 %r3, %r1, %r1;\n"
          "bra A;\nA:\n"
          "setp.lt.u32 %p0, %t, 16;\n@%p0 mov.u32 %r0, 7;\nadd.u32 %r2, %r0, %r3;\n", 1, 32,
          [](uint32_t, uint32_t t) { return (t + 1) * (t + 1) + (t < 16 ? 7 : 5); });
  control("local arrays of two functions", ".local .align 4 .b8 l[4];\nmov.u64 %d0, l;\nst.local.u32 [%d0], %t;\n"
          "call.uni (%r2), keep, (%t);\nld.local.u32 %r3, [%d0];\nmad.lo.u32 %r2, %r3, 1000, %r2;\n", 1, 64,
          [](uint32_t, uint32_t t) { return t * 1000 + t + 1; }, "", "",
          ".func (.reg .b32 %o) keep(.reg .b32 %i)\n{\n.local .align 4 .b8 l[4];\n.reg .b64 %x;\nmov.u64 %x, l;\n"
          "add.u32 %o, %i, 1;\n"
          "st.local.u32 [%x], %o;\nld.local.u32 %o, [%x];\nret;\n}\n");
  // Arrays of each thread, indexed at run time, also through generic addresses.
  control("local arrays", ".local .align 8 .b8 l[64];\nmov.u64 %d0, l;\nmov.u32 %r0, 0;\nF:\n"
          "mul.wide.u32 %d1, %r0, 4;\nadd.u64 %d1, %d1, %d0;\n"
          "mad.lo.u32 %r1, %r0, %t, 5;\nst.local.u32 [%d1], %r1;\nadd.u32 %r0, %r0, 1;\nsetp.lt.u32 %p0, %r0, 16;\n"
          "@%p0 bra F;\n"
          "and.b32 %r3, %t, 15;\nmul.wide.u32 %d2, %r3, 4;\ncvta.local.u64 %d3, %d0;\nadd.u64 %d3, %d3, %d2;\n"
          "ld.u32 %r2, [%d3];\n",
          1, 64, [](uint32_t, uint32_t t) { return (t & 15) * t + 5; });
  tested.insert("cvta.local.u64");
}

inline void barriers() {
  for (auto *n : {"bar.sync", "bar.arrive", "bar.red.popc.u32", "bar.red.and.pred", "bar.red.or.pred", "barrier.sync",
                  "membar.gl", "membar.cta", "fence.acq_rel.gpu", "fence.sc.sys"})
    tested.insert(n);
  std::string put = "mov.u64 %d0, s;\nmul.wide.u32 %d1, %t, 4;\nadd.u64 %d1, %d1, %d0;\nmad.lo.u32 %r0, %t, 3, %r15;\n"
      "st.shared.u32 [%d1], %r0;\n";
  // The value of thread 95 - t.
  std::string take = "sub.u32 %r1, 95, %t;\nmul.wide.u32 %d2, %r1, 4;\nadd.u64 %d2, %d2, %d0;\n"
      "ld.shared.u32 %r2, [%d2];\n";
  std::string s = ".shared .align 4 .b8 s[384];\n";
  auto other = [](uint32_t b, uint32_t t) { return (95 - t) * 3 + b; };
  control("bar.sync", put + "bar.sync 0;\n" + take, 3, 96, other, s);
  control("barrier.sync", put + "barrier.sync 3;\n" + take, 3, 96, other, s);
  control("bar.sync with a count", put + "bar.sync 1, 96;\n" + take, 3, 96, other, s);
  control("dynamic shared memory", replaced(put + "bar.sync 0;\n" + take, {{"95", "15"}}), 2, 16,
          [](uint32_t b, uint32_t t) { return (15 - t) * 3 + b; }, "", "", ".extern .shared .align 16 .b8 s[];\n");
  // Warps 0 and 1 write and arrive; warp 2 waits for them and reads.
  control("bar.arrive", "mov.u64 %d0, s;\nmov.u32 %r2, 0;\nsetp.ge.u32 %p0, %t, 64;\n@%p0 bra W;\n"
          "mul.wide.u32 %d1, %t, 4;\nadd.u64 %d1, %d1, %d0;\n"
          "st.shared.u32 [%d1], %t;\nbar.arrive 2, 96;\nbra J;\nW:\nbar.sync 2, 96;\nsub.u32 %r1, %t, 64;\n"
          "mul.wide.u32 %d1, %r1, 4;\n"
          "add.u64 %d1, %d1, %d0;\nld.shared.u32 %r2, [%d1+128];\nJ:\n", 2, 96,
          [](uint32_t, uint32_t t) { return t < 64 ? 0 : t - 32; }, s);
  std::string odd = "and.b32 %r0, %t, 1;\nsetp.ne.u32 %p0, %r0, 0;\n";
  control("bar.red.popc", odd + "bar.red.popc.u32 %r2, 0, %p0;\n", 1, 70, [](uint32_t, uint32_t) { return 35; });
  control("bar.red.popc", odd + "bar.red.popc.u32 %r2, 0, 96, !%p0;\n", 1, 96, [](uint32_t, uint32_t) { return 48; });
  control("bar.red.and", odd + "bar.red.and.pred %p1, 0, %p0;\n"
          "selp.u32 %r2, 1, 0, %p1;\n", 1, 70, [](uint32_t, uint32_t) { return 0; });
  control("bar.red.or", odd + "bar.red.or.pred %p1, 0, %p0;\n"
          "selp.u32 %r2, 1, 0, %p1;\n", 1, 70, [](uint32_t, uint32_t) { return 1; });
  control("fences", "membar.gl;\nmembar.cta;\nfence.acq_rel.gpu;\nfence.sc.sys;\n"
          "mov.u32 %r2, 4;\n", 1, 32, [](uint32_t, uint32_t) { return 4; });
  // A flag in global memory: thread 0 of the last block releases all others, whatever runs first.
  for (auto *n : {"ld.acquire.gpu.global.u32", "st.release.gpu.global.u32"}) tested.insert(n);
  const std::string flag = "mov.u32 %r2, 9;\nsetp.eq.u32 %p0, %r13, 255;\n@%p0 bra S;\nL:\n"
      "ld.volatile.global.u32 %r0, [%out+1020];\n"
          "setp.eq.u32 %p1, %r0, 57005;\n@%p1 bra L;\nbra J;\nS:\nst.volatile.global.u32 [%out+1020], 1;\nJ:\n"
          "setp.eq.u32 %p2, %r13, 255;\n@%p2 exit;\n";
  const std::string ordered = replaced(
      flag, {{"ld.volatile.global", "ld.acquire.gpu.global"}, {"st.volatile.global", "st.release.gpu.global"}});
  for (auto &text : {flag, ordered})
    control("a flag between blocks", text, 8, 32, [](uint32_t b, uint32_t t) { return b == 7 && t == 31 ? 1 : 9; });
}

inline void clusters() {
  for (auto *n : {"barrier.cluster.arrive", "barrier.cluster.wait", "barrier.cluster.arrive.release",
                  "barrier.cluster.wait.acquire", "barrier.cluster.arrive.relaxed", "barrier.cluster.arrive.aligned",
                  "barrier.cluster.wait.aligned", "mapa.u64", "mapa.shared::cluster.u32", "mapa.shared::cluster.u64",
                  "getctarank.u64", "getctarank.shared::cluster.u32", "cvta.shared.u64", "cvta.to.shared.u64",
                  "cvta.to.global.u64", "cvta.global.u64", "isspacep.shared", "isspacep.global", "isspacep.local",
                  "isspacep.shared::cluster", "ld.shared::cluster.u32", "st.shared::cluster.u32",
                  "atom.shared::cluster.add.u32"})
    tested.insert(n);
  std::string directives = ".explicitcluster\n.reqnctapercluster 4, 1, 1\n", s = ".shared .align 4 .b8 s[128];\n";
  std::string base = "mov.u64 %d0, s;\nmul.wide.u32 %d1, %t, 4;\nadd.u64 %d1, %d1, %d0;\n"
      "mov.u32 %r3, %cluster_ctarank;\n"
      "add.u32 %r4, %r3, 1;\nand.b32 %r4, %r4, 3;\nmad.lo.u32 %r5, %r15, 100, %t;\n";
  std::string sync = "barrier.cluster.arrive;\nbarrier.cluster.wait;\n", done = "barrier.cluster.arrive.relaxed;\n"
      "barrier.cluster.wait;\n";
  auto next = [](uint32_t b, uint32_t t) { return (b / 4 * 4 + (b + 1) % 4) * 100 + t; };
  auto before = [](uint32_t b, uint32_t t) { return (b / 4 * 4 + (b + 3) % 4) * 100 + t; };
  // Each block reads the shared memory of the next one, by each kind of address.
  control("generic addresses of a cluster", base + "st.shared.u32 [%d1], %r5;\n" + sync + "cvta.shared.u64 %d2, %d1;\n"
          "mapa.u64 %d3, %d2, %r4;\n"
          "ld.u32 %r2, [%d3];\ngetctarank.u64 %r6, %d3;\nsetp.eq.u32 %p0, %r6, %r4;\n"
          "selp.u32 %r2, %r2, 0, %p0;\n" + done, 8, 32, next, s, directives);
  control("shared::cluster", base + "st.shared.u32 [%d1], %r5;\nbarrier.cluster.arrive.release;\n"
          "barrier.cluster.wait.acquire;\n"
          "cvt.u32.u64 %r7, %d1;\nmapa.shared::cluster.u32 %r8, %r7, %r4;\nld.shared::cluster.u32 %r2, [%r8];\n"
          "getctarank.shared::cluster.u32 %r6, %r8;\nsetp.eq.u32 %p0, %r6, %r4;\n"
          "selp.u32 %r2, %r2, 0, %p0;\n" + done, 8, 32, next, s, directives);
  control("writes to another block", base + "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
          "mapa.shared::cluster.u64 %d2, %d1, %r4;\n"
          "st.shared::cluster.u32 [%d2], %r5;\n" + sync + "ld.shared.u32 %r2, [%d1];\n", 8, 32, before, s, directives);
  control("atomics on another block",
          base + "st.shared.u32 [%d1], 1;\n" + sync +
              "mapa.shared::cluster.u64 %d2, %d1, %r4;\n"
              "atom.shared::cluster.add.u32 %r6, [%d2], %r5;\n" +
              sync +
              "ld.shared.u32 %r2, [%d1];\n"
              "sub.u32 %r2, %r2, %r6;\n",
          8, 32, before, s, directives);
  control("special registers", "mov.u32 %r0, %cluster_nctarank;\nmov.u32 %r1, %clusterid.x;\n"
          "mov.u32 %r3, %nclusterid.x;\nmov.u32 %r4, %cluster_ctaid.x;\n"
          "mad.lo.u32 %r2, %r0, 10, %r1;\nmad.lo.u32 %r2, %r2, 10, %r3;\nmad.lo.u32 %r2, %r2, 10, %r4;\n", 8, 32,
          [](uint32_t b, uint32_t) { return 4000 + b / 4 * 100 + 20 + b % 4; }, "", directives);
  control("spaces of generic addresses", ".local .align 4 .b8 l[4];\nmov.u64 %d0, s;\ncvta.shared.u64 %d1, %d0;\n"
          "mov.u64 %d2, l;\ncvta.local.u64 %d3, %d2;\n"
          "cvta.global.u64 %d4, %out;\ncvta.to.shared.u64 %d5, %d1;\nisspacep.shared %p0, %d1;\n"
          "isspacep.local %p1, %d3;\nisspacep.global %p2, %d4;\n"
          "isspacep.shared::cluster %p3, %d1;\nisspacep.global %p4, %d1;\nsetp.eq.u64 %p5, %d5, %d0;\n"
          "and.pred %p0, %p0, %p1;\nand.pred %p0, %p0, %p2;\n"
          "and.pred %p0, %p0, %p3;\nand.pred %p0, %p0, %p5;\nxor.pred %p0, %p0, %p4;\n"
          "selp.u32 %r2, 1, 0, %p0;\n", 1, 32,
          [](uint32_t, uint32_t) { return 1; }, s);
}

}  // namespace test

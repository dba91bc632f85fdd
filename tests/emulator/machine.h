// Decoded kernels and the state of their execution: shared by the parser, the instructions
// (ops_*.cpp) and the scheduler (exec.cpp). Not for the driver, which uses only ptx.h.
#pragma once
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>

#include "ptx.h"

namespace ptx {

constexpr int kLanes = 32;
using Mask = uint32_t;  // one bit per lane
constexpr Mask kFull = 0xffffffffu;

struct Warp;

// A decoded instruction. op holds byte offsets into the warp's register file. All operands lie
// there, even immediates (broadcast once): 32 values side by side, of 2, 4 or 8 bytes; a predicate
// is one Mask.
struct Inst {
  uint32_t op[10];
  int64_t imm;         // offset of an address, or another number for the instruction
  uint32_t line;       // of the PTX text, from 1
  uint32_t aux;        // memory accesses: number of the access within the kernel
  const uint32_t *more;  // operands beyond those in op
};
static_assert(sizeof(Inst) == 64);

// Execution of count consecutive instructions of one kind by the lanes of m. The full version
// may write any lane of a register, the masked one only those of m.
using Exec = void (*)(Warp &w, const Inst *i, uint32_t count, Mask m);

struct Segment {
  Exec full, masked;
  uint32_t first, count;  // instructions
  uint32_t guard;         // offset of the guard's predicate; a guarded segment has one instruction
  Mask flip;              // kFull for @!p
  bool guarded;
  bool fma;  // counts as multiply-add
};

// A basic block ends in one of these; all but fall are instructions of their own.
enum class End : uint8_t { fall, branch, indexed, exit, barrier, cluster_wait };

// Lanes that must arrive at a block together before its first instruction may run.
enum class Meet : uint8_t { none, all, members };

struct Block {
  uint32_t first_segment, segments;
  uint32_t instructions;  // with the end
  End end;
  Meet meet;
  uint32_t members;  // Meet::members: offset of the mask operand
  uint32_t inst;     // of the end; for Meet::members, of the first instruction
  uint32_t next, target;
  uint32_t guard;
  Mask flip;
  bool guarded;
};

// The value of a slot of the register file that no instruction writes.
struct Constant {
  enum Kind { value, global, special } kind;
  uint32_t offset;   // in the register file
  uint32_t bytes;    // of one lane: 2, 4, 8; 1 for a predicate
  uint64_t bits;     // value; for global: added to its address; for special: which
  uint32_t index;    // global: in Module::globals
};

enum Special : uint32_t {
  kTidX, kTidY, kTidZ, kNtidX, kNtidY, kNtidZ, kCtaidX, kCtaidY, kCtaidZ, kNctaidX, kNctaidY, kNctaidZ,
  kLaneid, kWarpid, kNwarpid, kSmid, kNsmid, kGridid,
  kLanemaskEq, kLanemaskLe, kLanemaskLt, kLanemaskGe, kLanemaskGt,
  kClusterCtaidX, kClusterCtaidY, kClusterCtaidZ, kClusterNctaidX, kClusterNctaidY, kClusterNctaidZ,
  kClusterCtarank, kClusterNctarank, kClusteridX, kClusteridY, kClusteridZ,
  kNclusteridX, kNclusteridY, kNclusteridZ, kIsExplicitCluster,
  kDynamicSmemSize, kTotalSmemSize
};

// The PTX text, and its places in the sources by .loc.
struct Source {
  std::vector<std::string> lines;
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> places;  // by first line: file and line; 0: unknown
  std::map<uint32_t, std::string> files;
};

struct Body {
  std::vector<Inst> insts;
  std::vector<Segment> segments;
  std::vector<Block> blocks;
  std::vector<Constant> constants;
  std::vector<std::vector<uint32_t>> tables;  // targets of indexed branches
  std::vector<std::unique_ptr<uint32_t[]>> more;
  size_t file_bytes = 0;  // of a warp's register file
  uint32_t accesses = 0;  // memory instructions
  std::shared_ptr<const Source> source;

  std::string text(uint32_t line) const;  // "line 12: add.s32 %r1, %r2, %r3 (adam.cu:7)"
};

// A part of device memory that was found live, and its address on this machine.
struct Range {
  uint64_t lo = 0, hi = 0;
  char *host = nullptr;  // of lo
};

// Generic addresses of shared and local memory lie in these windows. Within the first, and
// in addresses of shared::cluster, bits 24 and up hold 1 + the rank of the block in its
// cluster, or 0 for the block itself.
constexpr uint64_t kSharedWindow = 0xffff'0000'0000'0000ull;
constexpr uint64_t kLocalWindow = 0xfffe'0000'0000'0000ull;
constexpr unsigned kRankShift = 24;

struct Cta;
struct Unit;
struct Machine;
struct Worker;
struct Shadow;
struct Mbarriers;   // of a block (mbarrier.h)
struct Deliveries;  // of a unit: pending asynchronous operations

// Lanes of a warp at one place of the program.
struct Group {
  uint32_t block;
  Mask mask;
  enum State : uint8_t { ready, barrier, cluster } state = ready;
  uint8_t id = 0;     // State::barrier: which
  bool spun = false;  // it waited in vain in this turn of the warp: others go first
};

// A copy that cp.async has started.
struct Copy {
  uint8_t lane;
  uint32_t group;  // of the lane, counted by cp.async.commit_group
  uint32_t bytes;
  char *to;
  alignas(16) char data[16];
};

struct Warp {
  char *file;       // registers
  Cta *cta;
  Worker *worker;   // that runs it now
  Mask alive;       // lanes that exist and have not exited
  Mask exists;
  Mask active = 0;  // lanes that run now
  uint32_t number;  // in its block
  std::vector<Group> groups;  // those that do not run now
  bool spins = false;         // it waits for memory to change: stop at the end of the block
  uint32_t probe_block = UINT32_MAX;  // an earlier state: the same state again means a loop that
  uint64_t probe_progress = 0;        // nothing in this warp can end
  std::vector<char> probe;
  const Inst *strong = nullptr;  // the last strong load, and a digest of the values it read:
  uint64_t strong_digest = 0;    // the same again means that the warp is waiting
  Mask cluster_arrived = 0;      // lanes between barrier.cluster.arrive and .wait
  uint32_t cluster_phase[kLanes] = {};
  const Inst *awaited = nullptr; // the last mbarrier.try_wait or test_wait that failed
  Mask awaited_lanes = 0;        // the lanes for which it failed
  uint32_t awaited_at = 0;       // shared address of the mbarrier
  std::vector<Copy> copies;      // cp.async, not completed
  uint32_t copy_groups[kLanes] = {};
  uint32_t clock = 1;            // counts the operations that order its accesses, for races (watch.h)

  template <class T> T *reg(uint32_t offset) const { return reinterpret_cast<T *>(file + offset); }
  Mask &pred(uint32_t offset) const { return *reinterpret_cast<Mask *>(file + offset); }
};

// For each warp of a unit, its last clock that is known to have passed (watch.h).
using Clocks = std::vector<uint32_t>;

struct Barrier {
  uint32_t arrived = 0;   // threads
  uint32_t expected = 0;  // 0: all live threads
  uint32_t reduced = 0;   // count, and or or of bar.red
  bool used = false;
  uint32_t line = 0;
  Clocks clocks;          // of the warps that have arrived
};

// A thread block.
struct Cta {
  Unit *unit;
  uint32_t id[3];
  uint32_t rank;  // in its cluster
  std::vector<char> shared;
  std::vector<char> local;  // of all threads, one after the other
  std::vector<Warp> warps;
  Barrier barriers[16];
  uint32_t alive = 0;       // threads
  std::shared_ptr<Mbarriers> mbarriers;
  std::shared_ptr<Shadow> shadow;  // of shared memory, when races are checked
};

// The blocks of a cluster, or a single block: the unit that one OS thread runs at a time.
struct Unit {
  std::vector<Cta> ctas;
  std::unique_ptr<char[]> memory;  // the register files
  uint32_t alive = 0;              // threads
  uint32_t arrived = 0;            // at the cluster barrier
  uint32_t phase = 0;              // of the cluster barrier
  uint32_t cluster_id[3];
  uint64_t number;
  std::shared_ptr<Deliveries> deliveries;
  std::vector<Clocks> known;       // by warp, then by block for its asynchronous operations, for races
  Clocks arriving, released;       // of the cluster barrier
};

constexpr uint64_t kBusy = UINT64_MAX, kDone = UINT64_MAX - 1;

// State of one OS thread.
struct Worker {
  Machine *machine = nullptr;
  uint64_t random = 0;
  std::vector<Range> ranges;   // by access
  uint64_t progress = 0;       // writes, barriers and exits: a launch without new ones is stuck
  std::atomic<uint64_t> idle{kBusy};  // the progress at which it can only wait
  Counts counts;
};

// One launch.
struct Machine {
  const Launch &launch;
  const Body &body;
  Memory &memory;
  const Options &options;
  uint32_t cluster[3];        // blocks in a cluster
  uint32_t threads, warps;    // of a block
  size_t shared_bytes, local_bytes;
  uint64_t units;
  bool watched = false;        // races are checked, or accesses counted
  Shadow *global = nullptr;    // of global memory, when races are checked
  std::vector<uint64_t> order; // of units, when it is random
  std::atomic<uint64_t> next{0};      // unit to start
  std::atomic<uint64_t> progress{0};  // of all workers
  std::vector<Worker> workers;
  std::atomic<bool> stop{false};
};

// The lanes of m arrive at a block barrier; with bar.arrive they go on.
void arrive(Warp &w, const Inst &i, Mask m);
// The lanes of m arrive at the cluster barrier.
void cluster_arrive(Warp &w, const Inst &i, Mask m);

// Inst::imm of a barrier. op: barrier, number of threads (0: all), result, source.
enum BarrierBits : int64_t {
  kBarrierKind = 7, kBarrierSync = 0, kBarrierArrive = 1, kBarrierPopc = 2, kBarrierAnd = 3, kBarrierOr = 4,
  kBarrierAligned = 8, kBarrierCounted = 16, kBarrierNot = 32
};

// Throws the fault of a lane. message names the mistake; fault adds the place.
[[noreturn]] void fault(Fault::Kind kind, const Warp &w, const Inst &i, int lane, const std::string &message);
std::string position(const Warp &w, int lane);  // "block (0,0,0), thread (3,0,0)"
[[gnu::format(printf, 1, 2)]] std::string format(const char *text, ...);

}  // namespace ptx

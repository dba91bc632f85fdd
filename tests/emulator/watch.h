// Observation of memory accesses: counts like a profiler's, and races.
//
// Two accesses to a place by different threads, one of them a write, must be ordered. Warps
// keep vector clocks: at a barrier a warp publishes its clocks, its own included, and learns the
// clocks that the others have published. Within a warp, only bar.warp.sync and the other .sync
// instructions order accesses. Blocks of a launch that are not in one cluster are never ordered. An
// asynchronous operation counts as a thread, with the clocks that its warp had when it began; its
// own clock passes with the phase of an mbarrier. Atomic, volatile, relaxed, acquire and release
// accesses are exempt and order nothing, so data handed from block to block by a flag is reported.
#pragma once
#include <unordered_map>

#include "address.h"

namespace ptx {

struct Watched {
  Space space;            // global or shared
  uint64_t address[kLanes];
  uint32_t rank[kLanes];  // shared: of the block
};
void watch(Warp &w, const Inst &i, Mask m, unsigned size, const Watched &access);

// The same for shared memory of block rank that an asynchronous operation reads or writes. A lane of
// w began it; known is what w published then, clock the operation's own time.
void watch_async(Warp &w, const Inst &i, int lane, const Clocks &known, uint32_t clock, uint32_t rank, uint64_t address,
                 unsigned size, bool write);
// The index in Clocks of the asynchronous operations of w's block.
uint32_t async_index(const Warp &w);

// At a barrier: the warp's clocks are added to clocks, and its later accesses get a new time.
void publish(Warp &w, Clocks &clocks);
void join(Warp &w, const Clocks &clocks);
void add(Clocks &to, const Clocks &clocks);

struct Access {
  uint32_t unit = UINT32_MAX, warp = 0, clock = 0;
  uint32_t lane : 5 = 0, line : 27 = 0;
  bool none() const { return unit == UINT32_MAX; }
};

// The last accesses to four bytes, or to one.
struct Cell {
  Access write, read;
  std::unique_ptr<std::vector<Access>> reads;  // further reads, not ordered by a barrier
};

// Memory by pages; a page has a cell for each word until a smaller access comes.
struct Shadow {
  static constexpr uint64_t kPage = 256;
  struct Page {
    std::vector<Cell> cells;
    unsigned step = 4;  // bytes per cell
  };
  std::unordered_map<uint64_t, Page> pages;
  uint64_t last = UINT64_MAX;  // the page looked up last
  Page *page = nullptr;
};

}  // namespace ptx

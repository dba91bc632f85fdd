// mbarriers, and the asynchronous operations that they count: ops_mbarrier.cpp.
#pragma once
#include "decode.h"

namespace ptx {

// An mbarrier object ("Contents of the mbarrier object" in the PTX ISA manual).
struct Mbarrier {
  uint32_t count = 0;    // arrivals that each phase expects
  uint32_t pending = 0;  // arrivals that the current phase lacks
  int64_t bytes = 0;     // tx-count: bytes that the current phase lacks; below 0 if they came first
  uint64_t phase = 0;
  uint32_t line = 0;     // of its mbarrier.init
  // For races: warp and clock that made it, and the phase of the cluster barrier before which
  // fence.mbarrier_init made it known.
  uint32_t warp = 0, clock = 0, known_after = UINT32_MAX;
  // The clocks that its arrivals have published, for its own block and for the scope .cluster; then the
  // same for phases that are over.
  Clocks arriving[2], over[2];
};
struct Mbarriers {
  std::map<uint32_t, Mbarrier> at;  // by shared address
};

// An asynchronous operation: bytes are written to the shared memory of a block, and counted there.
// It happens only when a thread asks about its mbarrier. So code that reads the destination, or
// overwrites the source, too early gets wrong values. In a random order it may happen at once.
struct Delivery {
  Warp *warp;  // that began it
  const Inst *inst;
  int lane;
  Cta *to;
  uint32_t address, mbarrier, bytes;
  Cta *from = nullptr;  // of cp.async.bulk, which reads its source when it happens
  uint32_t source = 0;
  char data[16] = {};   // of st.async
  std::shared_ptr<const Clocks> known;  // for races
  uint32_t clock = 0;
};
struct Deliveries {
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Delivery>> all;  // by block and address of the mbarrier
  std::vector<uint32_t> clocks;  // by block, counts its operations
};

// Called when all threads of a block have exited: no operation may write or read its memory then.
void check_deliveries(const Cta &c);

// Describes what the lanes of Warp::awaited_lanes wait for.
std::string awaits(const Warp &w);

// fence.mbarrier_init of a warp.
void make_known(Warp &w);

void bulk_copy(Decoder &d);    // cp.async.bulk
void async_store(Decoder &d);  // st.async

}  // namespace ptx

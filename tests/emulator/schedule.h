// The interface between the execution of a warp (exec.cpp) and of a launch (run.cpp).
#pragma once
#include "machine.h"

namespace ptx {

// How a turn of a warp ended: exited; at a barrier without having run; waiting for memory to
// change; or having run.
enum class Turn { done, waits, spins, ran };
Turn run_warp(Warp &w);

// Where the lanes of a warp wait, a line per group of lanes.
std::string waiting(const Warp &w);

inline uint64_t next_random(Worker &w) {  // xorshift64
  w.random ^= w.random << 13;
  w.random ^= w.random >> 7;
  w.random ^= w.random << 17;
  return w.random;
}

}  // namespace ptx

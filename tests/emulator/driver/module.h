// Loaded modules and their functions.
#pragma once
#include "driver.h"

namespace emulator {

struct Module : Object {
  std::unique_ptr<ptx::Module> code;
  std::map<std::string, CUfunction> functions;
};

struct Function : Object {
  std::shared_ptr<Module> module;
  const ptx::Kernel *kernel;
  int max_dynamic_shared;
  int preferred_carveout = -1;
  bool large_clusters = false;  // more blocks than 8, which not every card can hold

  // Registers per thread. Only a real assembler knows how many the PTX uses at once; the launch bounds
  // limit them.
  int registers() const;
  int max_threads() const;
};

// Blocks of a function that fit on one multiprocessor.
int resident_blocks(const Function &function, unsigned threads, size_t dynamic_shared);

}  // namespace emulator

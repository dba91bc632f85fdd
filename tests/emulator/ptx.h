// PTX modules and their execution on the CPU. The driver (driver/) owns memory, streams and
// graphs and calls run() for every launch of a kernel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptx {

// A mistake in a PTX text, or an instruction, operand or directive that the emulator does not
// know: "line 123: mul.hi.s16: unknown instruction".
struct ParseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A mistake of a kernel for which a card would fault, hang or compute wrong values. kind chooses
// the driver's error code; the message names kernel, block, thread, PTX line and address.
struct Fault : std::runtime_error {
  enum Kind { address, misaligned, illegal_instruction, trap, race, deadlock, launch };
  Kind kind;
  Fault(Kind kind, const std::string &what) : std::runtime_error(what), kind(kind) {}
};

// Device memory as the kernels see it. find returns the host address of the size bytes at a
// device address, or nullptr if they do not lie in one live allocation. It also returns the
// allocation's device addresses [*lo, *hi), for the caller to remember. explain describes a bad
// address: "12 bytes behind the 4096 bytes allocated at 0x7f…", "freed memory", "null".
struct Memory {
  virtual char *find(uint64_t address, size_t size, uint64_t *lo, uint64_t *hi) = 0;
  virtual std::string explain(uint64_t address, size_t size) = 0;
  virtual ~Memory() = default;
};

struct Param {
  std::string name;
  size_t offset, size;  // in the buffer of parameters, in bytes
};

struct Body;  // the decoded instructions

struct Kernel {
  std::string name;
  std::vector<Param> params;
  size_t param_bytes = 0;
  size_t static_shared = 0;          // bytes
  size_t local = 0;                  // bytes per thread
  unsigned max_threads = 0;          // .maxntid, 0: none
  unsigned cluster[3] = {0, 0, 0};   // .reqnctapercluster, 0: none
  unsigned registers = 0;            // 32-bit registers that the PTX declares and uses, an upper bound
  std::shared_ptr<const Body> body;
};

struct Global {
  std::string name;
  size_t size, align;
  std::vector<char> init;  // size bytes
  uint64_t address = 0;    // given by the driver before the first launch
};

struct Module {
  std::vector<Kernel> kernels;
  std::vector<Global> globals;
  unsigned target = 0;   // 75 for .target sm_75
  unsigned version = 0;  // 80 for .version 8.0
  const Kernel *find(const std::string &name) const;
};

// parse decodes a PTX text; it throws ParseError.
std::unique_ptr<Module> parse(const std::string &text);

struct Launch {
  const Module *module;
  const Kernel *kernel;
  unsigned grid[3], block[3];
  size_t dynamic_shared;
  const char *params;  // kernel->param_bytes
};

// The counts of a profiler, summed over a launch.
struct Counts {
  uint64_t instructions = 0;      // warp instructions
  uint64_t fma = 0;               // lane operations: fp32 multiply-adds (mma counted by its products)
  // Warp accesses, 32-byte sectors, bytes asked for.
  uint64_t global_requests = 0, global_sectors = 0, global_bytes = 0;
  // More wavefronts than the requests need are bank conflicts.
  uint64_t shared_requests = 0, shared_wavefronts = 0;
  uint64_t barriers = 0;
};

// The choice among the results that the manual allows for approximate instructions and mma. up and
// down are the two ends, where errors add up. times multiplies the errors, which tests must notice.
struct Errors {
  enum Kind : uint8_t { none, up, down, random } kind = none;
  uint64_t seed = 0;
  unsigned times = 1;
};

struct Options {
  unsigned threads = 1;   // OS threads
  bool races = false;     // find accesses that no barrier orders, and reads of shared memory never written
  unsigned order = 0;     // other than 0: seed of a random order of blocks and warps
  Counts *counts = nullptr;
  Errors errors;
};

// run executes a kernel to its end; it throws Fault.
void run(const Launch &launch, Memory &memory, const Options &options);

}  // namespace ptx

// The settings of the emulated card and driver, from the environment; README.md describes each variable.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "card.h"
#include "ptx.h"

namespace emulator {

// CRNN_EMULATOR_FAULT: the nth call of an entry point fails.
struct InjectedFault {
  std::string entry;          // without a version's suffix; empty: none
  std::string code;           // a number, or the name of a CUresult
  unsigned long nth = 1;
  bool asynchronous = false;  // the call succeeds, and the work that it submitted fails
};

struct Settings {
  std::vector<const Card *> cards;  // of each device
  int driver = 12040;             // CUDA 12.4
  size_t memory = size_t(4) << 30;  // bytes of each card
  std::vector<unsigned> visible;  // the devices that CUDA_VISIBLE_DEVICES leaves
  unsigned threads = 1;  // host threads that run the blocks of a kernel
  bool races = false;
  unsigned order = 0;
  std::string count_file;  // empty: nothing is counted
  std::string calls_file;  // empty: calls are not noted
  std::string contexts_file;  // empty: contexts are not noted
  ptx::Errors errors;
  InjectedFault fault;
  std::optional<unsigned long> lost_after;  // kernels
};

// The settings, read once. An invalid one ends the process with one line: a test with other settings
// than it asked for proves nothing.
const Settings &settings();

// The identity of a device, by which a program finds it in both libraries.
std::array<unsigned char, 16> device_uuid(unsigned device);

// The name of an entry point without a version's suffix: cuMemAlloc for cuMemAlloc_v2.
std::string without_version(const std::string &entry);

// Prints one line to stderr.
void say(const std::string &line);

// Prints one line to stderr and ends the process.
[[noreturn]] void refuse(const std::string &line);

}  // namespace emulator

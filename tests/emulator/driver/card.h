// The cards that can be emulated.
#pragma once
#include <string>
#include <vector>

namespace emulator {

// A card of a compute capability. Properties that the capability decides are from the table of
// technical specifications in NVIDIA's CUDA C++ Programming Guide. The others, which differ between
// cards of one capability, are those of a common card.
struct Card {
  int capability;  // 90 for 9.0
  int driver;      // the oldest CUDA driver that supports it
  int threads_per_multiprocessor, blocks_per_multiprocessor;
  int shared_per_multiprocessor, shared_per_block_optin, shared_reserved;  // bytes
  int multiprocessors;
  int processor_clusters;  // GPCs: a thread block cluster lives in one; 0: the capability has no clusters
  int l2_bytes, clock_khz, memory_clock_khz, memory_bus_bits;

  static constexpr int warp = 32, threads_per_block = 1024, registers = 65536, shared_per_block = 48 << 10;

  std::string name() const;

  // Multiprocessors of each GPC. They come in pairs, shared out as evenly as possible.
  std::vector<int> multiprocessors_by_cluster() const;
};

// The card of a compute capability, nullptr if there is none.
const Card *find_card(int capability);

// "75, 80, …": the capabilities that find_card knows.
const char *known_cards();

}  // namespace emulator

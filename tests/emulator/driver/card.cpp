#include "card.h"

namespace emulator {

static const Card cards[] = {
    // capability, driver, threads, blocks, shared: per multiprocessor, opt-in, reserved, SMs, GPCs, L2, clocks, bus
    {75, 10000, 1024, 16, 64 << 10, 64 << 10, 0, 40, 0, 4 << 20, 1590000, 5001000, 256},
    {80, 11000, 2048, 32, 164 << 10, 163 << 10, 1024, 108, 0, 40 << 20, 1410000, 1215000, 5120},
    {86, 11010, 1536, 16, 100 << 10, 99 << 10, 1024, 82, 0, 6 << 20, 1695000, 9751000, 384},
    {89, 11080, 1536, 24, 100 << 10, 99 << 10, 1024, 58, 0, 48 << 20, 2040000, 6251000, 192},
    {90, 11080, 2048, 32, 228 << 10, 227 << 10, 1024, 132, 8, 50 << 20, 1980000, 2619000, 5120},
    {100, 12080, 2048, 32, 228 << 10, 227 << 10, 1024, 148, 8, 126 << 20, 1965000, 3996000, 8192},
    {120, 12080, 1536, 24, 100 << 10, 99 << 10, 1024, 170, 11, 96 << 20, 2407000, 14001000, 512},
};

const Card *find_card(int capability) {
  for (const Card &card : cards)
    if (card.capability == capability) return &card;
  return nullptr;
}

const char *known_cards() { return "75, 80, 86, 89, 90, 100, 120"; }

std::string Card::name() const { return "emulated sm_" + std::to_string(capability) + " GPU"; }

std::vector<int> Card::multiprocessors_by_cluster() const {
  std::vector<int> sizes;
  for (int i = 0; i < processor_clusters; i++) {
    int pairs = multiprocessors / 2;
    sizes.push_back(2 * (pairs / processor_clusters + (i < pairs % processor_clusters)));
  }
  return sizes;
}

}  // namespace emulator

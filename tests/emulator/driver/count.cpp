// Counts like a profiler's, per kernel, in the file CRNN_EMULATOR_COUNT.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace emulator {

struct Row {
  uint64_t launches = 0;
  ptx::Counts counts;
};

static std::mutex rows_mutex;
static bool written = true;

static std::map<std::string, Row> &rows() {
  static auto &all = *new std::map<std::string, Row>;
  return all;
}

bool counting() { return !settings().count_file.empty(); }

void count_launch(const std::string &kernel, const ptx::Counts &c) {
  std::lock_guard lock(rows_mutex);
  Row &row = rows()[kernel];
  row.launches++;
  row.counts.instructions += c.instructions;
  row.counts.fma += c.fma;
  row.counts.global_requests += c.global_requests;
  row.counts.global_sectors += c.global_sectors;
  row.counts.global_bytes += c.global_bytes;
  row.counts.shared_requests += c.shared_requests;
  row.counts.shared_wavefronts += c.shared_wavefronts;
  row.counts.barriers += c.barriers;
  written = false;
}

// Called after every wait of the host for a stream: a Go program calls no function of a C library
// when it ends, so nothing could be written then.
void write_counts() {
  std::lock_guard lock(rows_mutex);
  if (written) return;
  const std::string &path = settings().count_file;
  FILE *file = fopen(path.c_str(), "w");
  if (!file) refuse("CRNN_EMULATOR_COUNT=" + path + ": " + strerror(errno));
  fprintf(file, "kernel\tlaunches\tinstructions\tfma\tglobal_requests\tglobal_sectors\tglobal_bytes\tshared_requests\t"
                "shared_wavefronts\tbarriers\n");
  for (auto &[kernel, row] : rows()) {
    fprintf(file, "%s", kernel.c_str());
    const ptx::Counts &c = row.counts;
    for (uint64_t value : {row.launches, c.instructions, c.fma, c.global_requests, c.global_sectors, c.global_bytes,
                           c.shared_requests, c.shared_wavefronts, c.barriers})
      fprintf(file, "\t%lu", value);
    fprintf(file, "\n");
  }
  if (fclose(file) != 0) refuse("CRNN_EMULATOR_COUNT=" + path + ": " + strerror(errno));
  written = true;
}

}  // namespace emulator

// From the addresses of a warp's memory access to addresses on this machine, with all checks.
#pragma once
#include "machine.h"

namespace ptx {

enum class Space : uint8_t { generic, global, shared, cluster, local, param };
const char *name_of(Space s);

// Inst::op[9] of a memory access.
enum AccessBits : uint32_t {
  kAddress32 = 1,  // the address register has 32 bits
  kStrong = 2,     // volatile, relaxed, acquire, release: others may access the same place
  kAtomic = 4,
  kWrite = 8,
  kUnwatched = 16,  // not the access itself: neither counted nor checked for races
};
constexpr int kAddress = 4, kFlags = 9;  // in Inst::op

// locate checks the access by the lanes of m, of size bytes per lane, to the address in op[4] +
// imm. It returns a pointer to which offset[lane] is added. Lanes outside of m get the offset of a
// lane inside.
template <Space S>
char *locate(Warp &w, const Inst &i, Mask m, unsigned size, uint64_t *offset);

// The same for a space that is known at run time.
char *locate_in(Space s, Warp &w, const Inst &i, Mask m, unsigned size, uint64_t *offset);

// A warp whose strong load reads the same twice in a row is waiting.
inline void note_strong(Warp &w, const Inst &i, uint64_t digest) {
  if (w.strong == &i && w.strong_digest == digest) w.spins = true;
  w.strong = &i;
  w.strong_digest = digest;
}
inline void note_write(Warp &w) {
  w.worker->progress++;
  w.strong = nullptr;
}

}  // namespace ptx

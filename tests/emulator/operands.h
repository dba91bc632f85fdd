// Parts of memory instructions: space, ordering, cache operators, address.
#pragma once
#include "decode.h"
#include "address.h"

namespace ptx {

// .weak .volatile .relaxed.scope .acquire.scope .release.scope; true if one was there.
bool take_order(Decoder &d, uint32_t &flags, bool write);

// .global .shared::cluster …; generic if there is none.
Space take_space(Decoder &d);

// Cache operators and hints, which change no value: .ca .nc .L1::no_allocate .L2::128B …
void take_cache(Decoder &d, bool write, bool ordered);

struct Address {
  Space space;  // of the variable, if .param stands for the local frame
  Slot base;
  int64_t offset;
  bool narrow;  // 32 bits
};
Address take_address(Decoder &d, const Operand &o, Space space);

}  // namespace ptx

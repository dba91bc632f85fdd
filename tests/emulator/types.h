// From the type named in an instruction to a C++ type: f.operator()<T>() is called for it.
#pragma once
#include "decode.h"

namespace ptx {

// Integers of 16, 32 and 64 bits; b types count as unsigned.
template <class F>
void by_integer(Decoder &d, Type t, F f) {
  bool sign = t.kind == 's';
  if (!t.is("usb") || t.count != 1) d.unknown();
  switch (t.bits) {
    case 16: return sign ? f.template operator()<int16_t>() : f.template operator()<uint16_t>();
    case 32: return sign ? f.template operator()<int32_t>() : f.template operator()<uint32_t>();
    case 64: return sign ? f.template operator()<int64_t>() : f.template operator()<uint64_t>();
  }
  d.unknown();
}

template <class F>
void by_32(Decoder &d, Type t, F f) {
  if (!t.is("us") || t.bits != 32) d.unknown();
  t.kind == 's' ? f.template operator()<int32_t>() : f.template operator()<uint32_t>();
}

// Unsigned integers of the type's size.
template <class F>
void by_bits(Decoder &d, Type t, F f) {
  switch (t.bytes()) {
    case 2: return f.template operator()<uint16_t>();
    case 4: return f.template operator()<uint32_t>();
    case 8: return f.template operator()<uint64_t>();
  }
  d.unknown();
}

}  // namespace ptx

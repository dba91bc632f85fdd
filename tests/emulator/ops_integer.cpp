// Integer arithmetic and bit operations.
#include <algorithm>
#include <type_traits>

#include "lanes.h"
#include "types.h"

namespace ptx {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
struct Double;  // the type of twice the width
template <> struct Double<uint16_t> { using type = uint32_t; };
template <> struct Double<int16_t> { using type = int32_t; };
template <> struct Double<uint32_t> { using type = uint64_t; };
template <> struct Double<int32_t> { using type = int64_t; };
template <> struct Double<uint64_t> { using type = unsigned __int128; };
template <> struct Double<int64_t> { using type = __int128; };
template <class T>
using Wide = typename Double<T>::type;

// Wrapping arithmetic, on unsigned values so that it is defined.
template <class T> T add(T a, T b) { return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b)); }
template <class T> T sub(T a, T b) { return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b)); }
template <class T> T mul(T a, T b) {
  using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}
template <class T> Wide<T> mul_wide(T a, T b) { return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b); }
template <class T> T mul_hi(T a, T b) { return static_cast<T>(mul_wide(a, b) >> sizeof(T) * 8); }
inline int32_t saturate(int64_t v) {
  return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : static_cast<int32_t>(v);
}

// Division by zero gives all ones on the hardware, for quotient and remainder (the ISA leaves it open).
template <class T> T div(T a, T b) {
  if (!b) return static_cast<T>(~T());
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return sub<T>(0, a);
  return static_cast<T>(a / b);
}
template <class T> T rem(T a, T b) {
  if (!b) return static_cast<T>(~T());
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}

// With .cc the carry goes to register 0, and addc and subc take it from there.
template <class T, bool Subtract, bool In, bool Out>
struct Carry {
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      T *d = values<T>(w, i->op[0]);
      const T *a = values<const T>(w, i->op[1]), *b = values<const T>(w, i->op[2]);
      Mask carry = w.pred(i->op[3]), out = 0;
      for (int l = 0; l < kLanes; l++) {
        if (!(m >> l & 1)) continue;
        // a - b is a + ~b + 1: the carry is the absence of a borrow.
        T c = In ? carry >> l & 1 : Subtract;
        T x = a[l], y = Subtract ? static_cast<T>(~b[l]) : b[l];
        T s = static_cast<T>(x + y + c);
        out |= static_cast<Mask>(s < x || (c && s == x)) << l;
        d[l] = s;
      }
      if (Out) w.pred(i->op[3]) = (carry & ~m) | out;
    }
  }
};

template <bool Subtract>
void with_carry(Decoder &d, bool in) {
  bool out = d.take("cc");
  Type t = d.type();
  if (t.bits < 32 || t.is("b")) d.unknown();
  d.expect(3);
  Slot a = d.in(1, t.bytes()), b = d.in(2, t.bytes()), o = d.out(size_t(0), t.bytes());
  Slot carry = d.carry(in || out, out);
  auto run = [&]<class T>() {
    Exec e = in ? (out ? Carry<T, Subtract, true, true>::masked : Carry<T, Subtract, true, false>::masked)
                : Carry<T, Subtract, false, true>::masked;
    d.emit(e, e, {o, a, b, carry}).partial = true;
  };
  if (t.bits == 32) run.template operator()<uint32_t>();
  else run.template operator()<uint64_t>();
}

// mad.part.cc and madc: the low or high half of a product, and c, with the carry of that sum.
template <class T, bool High, bool In, bool Out>
void mad_carry(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    T *d = values<T>(w, i->op[0]);
    const T *a = values<const T>(w, i->op[1]), *b = values<const T>(w, i->op[2]), *c = values<const T>(w, i->op[4]);
    Mask carry = w.pred(i->op[3]), out = 0;
    for (int l = 0; l < kLanes; l++) {
      if (!(m >> l & 1)) continue;
      T p = High ? mul_hi(a[l], b[l]) : mul(a[l], b[l]);
      Wide<T> s = Wide<T>(p) + c[l] + (In ? carry >> l & 1 : 0);
      out |= static_cast<Mask>(s >> sizeof(T) * 8) << l;
      d[l] = static_cast<T>(s);
    }
    if (Out) w.pred(i->op[3]) = (carry & ~m) | out;
  }
}

void mad_with_carry(Decoder &d, bool high, bool in) {
  bool out = d.take("cc");
  Type t = d.type();
  if (!t.is("u") || t.bits < 32) d.unknown();  // the high half depends on the sign
  d.expect(4);
  Slot a = d.in(1, t.bytes()), b = d.in(2, t.bytes()), c = d.in(3, t.bytes()), o = d.out(size_t(0), t.bytes());
  Slot carry = d.carry(in || out, out);
  auto run = [&]<class T, bool High>() {
    Exec e =
        in ? (out ? mad_carry<T, High, true, true> : mad_carry<T, High, true, false>) : mad_carry<T, High, false, true>;
    d.emit(e, e, {o, a, b, carry, c}).partial = true;
  };
  if (t.bits == 32) high ? run.template operator()<uint32_t, true>() : run.template operator()<uint32_t, false>();
  else high ? run.template operator()<uint64_t, true>() : run.template operator()<uint64_t, false>();
}

void op_madc(Decoder &d) {
  bool high = d.take("hi");
  if (!high && !d.take("lo")) d.unknown();
  mad_with_carry(d, high, true);
}

void op_add(Decoder &d) {
  if (d.peek() == "cc") return with_carry<false>(d, false);
  bool sat = d.take("sat");
  Type t = d.type();
  if (sat) {
    if (!t.is("s") || t.bits != 32) d.unknown();
    return emit_lanes<[](int32_t a, int32_t b) { return saturate(int64_t(a) + b); }, int32_t, int32_t, int32_t>(d);
  }
  by_integer(d, t, [&]<class T>() { emit_lanes<add<T>, T, T, T>(d); });
}

void op_sub(Decoder &d) {
  if (d.peek() == "cc") return with_carry<true>(d, false);
  bool sat = d.take("sat");
  Type t = d.type();
  if (sat) {
    if (!t.is("s") || t.bits != 32) d.unknown();
    return emit_lanes<[](int32_t a, int32_t b) { return saturate(int64_t(a) - b); }, int32_t, int32_t, int32_t>(d);
  }
  by_integer(d, t, [&]<class T>() { emit_lanes<sub<T>, T, T, T>(d); });
}

void op_mul(Decoder &d) {
  std::string_view part = d.next();
  Type t = d.type();
  by_integer(d, t, [&]<class T>() {
    if (part == "lo") return emit_lanes<mul<T>, T, T, T>(d);
    if (part == "hi") return emit_lanes<mul_hi<T>, T, T, T>(d);
    if constexpr (sizeof(T) < 8)
      if (part == "wide") return emit_lanes<mul_wide<T>, Wide<T>, T, T>(d);
    d.unknown();
  });
}

void op_mad(Decoder &d) {
  std::string_view part = d.next();
  if (d.peek() == "cc" && part != "wide") return mad_with_carry(d, part == "hi", false);
  bool sat = d.take("sat");
  Type t = d.type();
  if (sat) {
    if (part != "hi" || !t.is("s") || t.bits != 32) d.unknown();
    return emit_lanes<[](int32_t a, int32_t b, int32_t c) { return saturate(int64_t(mul_hi(a, b)) + c); }, int32_t,
                      int32_t, int32_t, int32_t>(d);
  }
  by_integer(d, t, [&]<class T>() {
    if (part == "lo") return emit_lanes<[](T a, T b, T c) { return add(mul(a, b), c); }, T, T, T, T>(d);
    if (part == "hi") return emit_lanes<[](T a, T b, T c) { return add(mul_hi(a, b), c); }, T, T, T, T>(d);
    if constexpr (sizeof(T) < 8)
      if (part == "wide")
        return emit_lanes<[](T a, T b, Wide<T> c) { return add<Wide<T>>(mul_wide(a, b), c); },
                          Wide<T>, T, T, Wide<T>>(d);
    d.unknown();
  });
}

// The low 24 bits of each factor, extended.
template <class T> int64_t mul24(T a, T b) {
  int64_t x = std::is_signed_v<T> ? static_cast<int32_t>(static_cast<uint32_t>(a) << 8) >> 8 : a & 0xffffff;
  int64_t y = std::is_signed_v<T> ? static_cast<int32_t>(static_cast<uint32_t>(b) << 8) >> 8 : b & 0xffffff;
  return x * y;
}
template <class T> T mul24_lo(T a, T b) { return static_cast<T>(mul24(a, b)); }
template <class T> T mul24_hi(T a, T b) { return static_cast<T>(mul24(a, b) >> 16); }

void op_mul24(Decoder &d) {
  std::string_view part = d.next();
  Type t = d.type();
  by_32(d, t, [&]<class T>() {
    if (part == "lo") return emit_lanes<mul24_lo<T>, T, T, T>(d);
    if (part == "hi") return emit_lanes<mul24_hi<T>, T, T, T>(d);
    d.unknown();
  });
}

void op_mad24(Decoder &d) {
  std::string_view part = d.next();
  Type t = d.type();
  by_32(d, t, [&]<class T>() {
    if (part == "lo") return emit_lanes<[](T a, T b, T c) { return add(mul24_lo(a, b), c); }, T, T, T, T>(d);
    if (part == "hi") return emit_lanes<[](T a, T b, T c) { return add(mul24_hi(a, b), c); }, T, T, T, T>(d);
    d.unknown();
  });
}

template <auto F>
void two(Decoder &d) {
  Type t = d.type();
  by_integer(d, t, [&]<class T>() { emit_lanes<[](T a, T b) -> T { return F(a, b); }, T, T, T>(d); });
}

void op_abs(Decoder &d) {
  Type t = d.type();
  if (!t.is("s")) d.unknown();
  by_integer(d, t, [&]<class T>() { emit_lanes<[](T a) -> T { return a < 0 ? sub<T>(0, a) : a; }, T, T>(d); });
}

void op_neg(Decoder &d) {
  Type t = d.type();
  if (!t.is("s")) d.unknown();
  by_integer(d, t, [&]<class T>() { emit_lanes<[](T a) -> T { return sub<T>(0, a); }, T, T>(d); });
}

template <auto F>
void extreme(Decoder &d) {
  if (d.peek() == "relu") d.unknown();
  two<F>(d);
}

// Sum of absolute differences: |a - b| + c.
void op_sad(Decoder &d) {
  Type t = d.type();
  by_integer(d, t, [&]<class T>() {
    emit_lanes<[](T a, T b, T c) -> T { return add(c, a < b ? sub(b, a) : sub(a, b)); }, T, T, T, T>(d);
  });
}

// Dot product of four bytes and c; the types of the two vectors may differ.
template <class A, class B> uint32_t dot4(uint32_t a, uint32_t b, uint32_t c) {
  for (int k = 0; k < 32; k += 8)
    c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a >> k)) *
                               static_cast<int32_t>(static_cast<B>(b >> k)));
  return c;
}

void op_dp4a(Decoder &d) {
  Type a = d.type(), b = d.type();
  if (a.bits != 32 || b.bits != 32 || !a.is("us") || !b.is("us")) d.unknown();
  using U = uint32_t;
  if (a.kind == 's' && b.kind == 's') emit_lanes<dot4<int8_t, int8_t>, U, U, U, U>(d);
  else if (a.kind == 's') emit_lanes<dot4<int8_t, uint8_t>, U, U, U, U>(d);
  else if (b.kind == 's') emit_lanes<dot4<uint8_t, int8_t>, U, U, U, U>(d);
  else emit_lanes<dot4<uint8_t, uint8_t>, U, U, U, U>(d);
}

// Bits.
void op_popc(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() {
    if constexpr (sizeof(T) >= 4) emit_lanes<[](T a) -> uint32_t { return std::popcount(a); }, uint32_t, T>(d);
    else d.unknown();
  });
}
void op_clz(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() {
    if constexpr (sizeof(T) >= 4) emit_lanes<[](T a) -> uint32_t { return std::countl_zero(a); }, uint32_t, T>(d);
    else d.unknown();
  });
}

template <class T> T reverse(T a) {
  T r = 0;
  for (unsigned k = 0; k < sizeof(T) * 8; k++) r |= (a >> k & 1) << (sizeof(T) * 8 - 1 - k);
  return r;
}
void op_brev(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() {
    if constexpr (sizeof(T) >= 4) emit_lanes<reverse<T>, T, T>(d);
    else d.unknown();
  });
}

// Position of the highest bit that differs from the sign; all ones if there is none.
template <class T, bool Shift> uint32_t find(T a) {
  Unsigned<T> v = a < 0 ? ~a : a;
  if (!v) return ~0u;
  uint32_t left = std::countl_zero(v);
  return Shift ? left : sizeof(T) * 8 - 1 - left;
}
void op_bfind(Decoder &d) {
  bool shift = d.take("shiftamt");
  Type t = d.type();
  by_integer(d, t, [&]<class T>() {
    if constexpr (sizeof(T) == 2) d.unknown();
    else if (shift) emit_lanes<find<T, true>, uint32_t, T>(d);
    else emit_lanes<find<T, false>, uint32_t, T>(d);
  });
}

// c bits from bit b on, extended by the sign for a signed type; b and c are taken modulo 256.
template <class T> T extract(T a, uint32_t b, uint32_t c) {
  constexpr unsigned bits = sizeof(T) * 8;
  unsigned pos = b & 255, len = c & 255;
  if (!len) return 0;
  unsigned top = std::min(pos + len - 1, bits - 1);  // the sign
  Unsigned<T> fill = std::is_signed_v<T> && (a >> top & 1) ? ~Unsigned<T>() : 0;
  if (pos >= bits) return static_cast<T>(fill);
  unsigned n = top - pos + 1;
  Unsigned<T> v = static_cast<Unsigned<T>>(a) >> pos, keep = n >= bits ? ~Unsigned<T>() : (Unsigned<T>(1) << n) - 1;
  return static_cast<T>((v & keep) | (fill & ~keep));
}
void op_bfe(Decoder &d) {
  Type t = d.type();
  by_integer(d, t, [&]<class T>() {
    if constexpr (sizeof(T) == 2) d.unknown();
    else emit_lanes<extract<T>, T, T, uint32_t, uint32_t>(d);
  });
}

// b with the low bits of a in its place: len bits from bit pos on.
template <class T> T insert(T a, T b, uint32_t p, uint32_t l) {
  constexpr unsigned bits = sizeof(T) * 8;
  unsigned pos = p & 255, len = l & 255;
  if (!len || pos >= bits) return b;
  T keep = len >= bits ? ~T() : (T(1) << len) - 1;
  return (b & ~(keep << pos)) | ((a & keep) << pos);
}
void op_bfi(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() {
    if constexpr (sizeof(T) == 2) d.unknown();
    else emit_lanes<insert<T>, T, T, T, uint32_t, uint32_t>(d);
  });
}

// Amounts at or above the width shift everything out.
void op_shl(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() {
    emit_lanes<[](T a, uint32_t n) -> T { return n >= sizeof(T) * 8 ? 0 : a << n; }, T, T, uint32_t>(d);
  });
}
void op_shr(Decoder &d) {
  Type t = d.type();
  by_integer(d, t, [&]<class T>() {
    emit_lanes<[](T a, uint32_t n) -> T {
      if (n >= sizeof(T) * 8) return a < 0 ? -1 : 0;
      return (a >> n);
    }, T, T, uint32_t>(d);
  });
}

// Funnel shift of the pair b:a.
template <bool Left, bool Wrap> uint32_t funnel(uint32_t a, uint32_t b, uint32_t c) {
  unsigned n = Wrap ? c & 31 : std::min(c, 32u);
  uint64_t v = static_cast<uint64_t>(b) << 32 | a;
  return Left ? v << n >> 32 : v >> n;
}
void op_shf(Decoder &d) {
  bool left = d.take("l");
  if (!left && !d.take("r")) d.unknown();
  bool wrap = d.take("wrap");
  if (!wrap && !d.take("clamp")) d.unknown();
  if (!d.take("b32")) d.unknown();
  using U = uint32_t;
  if (left && wrap) emit_lanes<funnel<true, true>, U, U, U, U>(d);
  else if (left) emit_lanes<funnel<true, false>, U, U, U, U>(d);
  else if (wrap) emit_lanes<funnel<false, true>, U, U, U, U>(d);
  else emit_lanes<funnel<false, false>, U, U, U, U>(d);
}

// A predicate is a mask of all lanes, so bit operations work on all of them at once.
template <auto F>
struct Masks {
  static void masked(Warp &w, const Inst *i, uint32_t count, Mask m) {
    for (; count; count--, i++) {
      Mask &d = w.pred(i->op[0]);
      d = (d & ~m) | (F(w.pred(i->op[1]), w.pred(i->op[2])) & m);
    }
  }
};

template <auto F>
void logic(Decoder &d) {
  Type t = d.type();
  if (t.kind == 'p') {
    d.expect(3);
    Slot a = d.pred(d.operand(1)), b = d.pred(d.operand(2)), o = d.out(size_t(0), 1);
    Exec run = Masks<[](Mask x, Mask y) { return F(x, y); }>::masked;
    d.emit(run, run, {o, a, b});
    return;
  }
  if (!t.is("b")) d.unknown();
  by_bits(d, t, [&]<class T>() { emit_lanes<[](T a, T b) -> T { return F(a, b); }, T, T, T>(d); });
}

void op_not(Decoder &d) {
  Type t = d.type();
  if (t.kind == 'p') {
    d.expect(2);
    Slot a = d.pred(d.operand(1)), o = d.out(size_t(0), 1);
    Exec run = Masks<[](Mask x, Mask) { return ~x; }>::masked;
    d.emit(run, run, {o, a, a});
    return;
  }
  by_bits(d, t, [&]<class T>() { emit_lanes<[](T a) -> T { return ~a; }, T, T>(d); });
}

void op_cnot(Decoder &d) {
  by_bits(d, d.type(), [&]<class T>() { emit_lanes<[](T a) -> T { return a == 0; }, T, T>(d); });
}

// Any function of three bits, given by its table.
uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t r = 0;
  if (table & 0x01) r |= ~a & ~b & ~c;
  if (table & 0x02) r |= ~a & ~b & c;
  if (table & 0x04) r |= ~a & b & ~c;
  if (table & 0x08) r |= ~a & b & c;
  if (table & 0x10) r |= a & ~b & ~c;
  if (table & 0x20) r |= a & ~b & c;
  if (table & 0x40) r |= a & b & ~c;
  if (table & 0x80) r |= a & b & c;
  return r;
}
void op_lop3(Decoder &d) {
  if (!d.take("b32")) d.unknown();
  if (d.immediate(4) > 255) d.fail("the table has 8 bits");
  using U = uint32_t;
  emit_lanes<lop3, U, U, U, U, U>(d);
}

// Four of the eight bytes of b:a, each chosen by a nibble; the nibble's top bit replicates the sign.
uint32_t permute(uint32_t a, uint32_t b, uint32_t c) {
  uint64_t v = static_cast<uint64_t>(b) << 32 | a;
  uint32_t r = 0;
  for (int k = 0; k < 4; k++) {
    uint32_t s = c >> 4 * k & 15;
    uint32_t byte = v >> 8 * (s & 7) & 255;
    if (s & 8) byte = byte & 128 ? 255 : 0;
    r |= byte << 8 * k;
  }
  return r;
}
template <const auto &Table> uint32_t permute_mode(uint32_t a, uint32_t b, uint32_t c) {
  return permute(a, b, Table[c & 3]);
}
constexpr uint32_t f4e[] = {0x3210, 0x4321, 0x5432, 0x6543}, b4e[] = {0x5670, 0x6701, 0x7012, 0x0123},
                   rc8[] = {0x0000, 0x1111, 0x2222, 0x3333}, ecl[] = {0x3210, 0x3211, 0x3222, 0x3333},
                   ecr[] = {0x0000, 0x1110, 0x2210, 0x3210}, rc16[] = {0x1010, 0x3232, 0x1010, 0x3232};
void op_prmt(Decoder &d) {
  if (!d.take("b32")) d.unknown();
  using U = uint32_t;
  if (d.take("f4e")) emit_lanes<permute_mode<f4e>, U, U, U, U>(d);
  else if (d.take("b4e")) emit_lanes<permute_mode<b4e>, U, U, U, U>(d);
  else if (d.take("rc8")) emit_lanes<permute_mode<rc8>, U, U, U, U>(d);
  else if (d.take("ecl")) emit_lanes<permute_mode<ecl>, U, U, U, U>(d);
  else if (d.take("ecr")) emit_lanes<permute_mode<ecr>, U, U, U, U>(d);
  else if (d.take("rc16")) emit_lanes<permute_mode<rc16>, U, U, U, U>(d);
  else emit_lanes<permute, U, U, U, U>(d);
}

const Opcode ops[] = {
    {{"add/i"}, op_add},
    {{"addc/i"}, [](Decoder &d) { with_carry<false>(d, true); }},
    {{"sub/i"}, op_sub},
    {{"subc/i"}, [](Decoder &d) { with_carry<true>(d, true); }},
    {{"mul/i"}, op_mul},
    {{"mad/i"}, op_mad},
    {{"madc/i"}, op_madc},
    {{"mul24"}, op_mul24},
    {{"mad24"}, op_mad24},
    {{"div/i"}, two<[](auto a, auto b) { return div(a, b); }>},
    {{"rem"}, two<[](auto a, auto b) { return rem(a, b); }>},
    {{"abs/i"}, op_abs},
    {{"neg/i"}, op_neg},
    {{"min/i"}, extreme<[](auto a, auto b) { return a < b ? a : b; }>},
    {{"max/i"}, extreme<[](auto a, auto b) { return b < a ? a : b; }>},
    {{"sad"}, op_sad},
    {{"dp4a"}, op_dp4a},
    {{"popc"}, op_popc},
    {{"clz"}, op_clz},
    {{"brev"}, op_brev},
    {{"bfind"}, op_bfind},
    {{"bfe"}, op_bfe},
    {{"bfi"}, op_bfi},
    {{"shl"}, op_shl},
    {{"shr"}, op_shr},
    {{"shf"}, op_shf},
    {{"and"}, logic<[](auto a, auto b) { return a & b; }>},
    {{"or"}, logic<[](auto a, auto b) { return a | b; }>},
    {{"xor"}, logic<[](auto a, auto b) { return a ^ b; }>},
    {{"not"}, op_not},
    {{"cnot"}, op_cnot},
    {{"lop3"}, op_lop3},
    {{"prmt"}, op_prmt},
};

}  // namespace
}  // namespace ptx

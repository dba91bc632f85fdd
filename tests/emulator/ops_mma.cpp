// Matrix instructions: mma.sync and ldmatrix.
#include <algorithm>

#include "address.h"
#include "error.h"
#include "half.h"
#include "lanes.h"
#include "operands.h"

namespace ptx {
namespace {

// Numbers of the A and B matrices as f32, which holds them exactly.
float tf32(uint32_t bits, int) { return std::bit_cast<float>(bits & 0xffffe000u); }  // the low bits are ignored
float bf16(uint32_t bits, int half) { return std::bit_cast<float>(half ? bits & 0xffff0000u : bits << 16); }
float f16(uint32_t bits, int half) { return static_cast<float>(from_f16(half ? bits >> 16 : bits & 0xffff)); }

inline void multiply_add(float *c, const float *a, float b) {
#pragma GCC ivdep
  for (int row = 0; row < 16; row++) c[row] = __builtin_fmaf(a[row], b, c[row]);
}

// The sum of c and four products with 24 bits, like the tensor cores with the coarsest rounding (M. Fasi,
// N. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021). All five are
// aligned to the largest, truncated below its last bit and added exactly; the sum is truncated to 24
// bits. The manual demands exact products and at least single precision, and leaves order and rounding
// open (section "Multiply-and-Accumulate Instruction: mma").
inline void add_four(float *c, const float (*a)[16], const float *b, double quanta) {
#pragma GCC ivdep
  for (int row = 0; row < 16; row++) {
    double t[5] = {c[row]}, sum = c[row], most = std::abs(t[0]), cut = 0;
    for (int k = 0; k < 4; k++) {
      t[k + 1] = static_cast<double>(a[k][row]) * b[k];
      sum += t[k + 1];
      most = std::abs(t[k + 1]) > most ? std::abs(t[k + 1]) : most;
    }
    // The power of two at or below the largest, 2^-23 of it, and no finer than f32 is.
    double unit = std::bit_cast<double>(std::bit_cast<uint64_t>(most) & 0x7ffull << 52) * quanta;
    unit = unit > 0x1p-149 ? unit : 0x1p-149;
    double scale = 1 / unit;
    for (double x : t) cut += std::trunc(x * scale);
    uint64_t bits = std::bit_cast<uint64_t>(cut * unit) & ~((1ull << 29) - 1);
    bool finite = (std::bit_cast<uint64_t>(sum) & 0x7ffull << 52) != 0x7ffull << 52;
    c[row] = static_cast<float>(finite ? std::bit_cast<double>(bits) : sum);
  }
}

// The same for all products of a column, four at a time, from k = 0 up or down to it.
template <int K>
void truncated(float *c, const float (*a)[16], const float *b, const Errors &errors) {
  double quanta = 0x1p-23 * std::bit_floor(errors.times);
  auto sum = [&](float *to, bool ascends) {
    for (int k = 0; k < K; k += 4) {
      int first = ascends ? k : K - 4 - k;
      add_four(to, a + first, b + first, quanta);
    }
  };
  if (errors.kind != Errors::random) return sum(c, errors.kind == Errors::up);
  bool ascends[16];
  for (int row = 0; row < 16; row++) ascends[row] = upward(errors, c[row], a[0][row], b[0]);
  float down[16];
  std::copy_n(c, 16, down);
  sum(c, true);
  sum(down, false);
  for (int row = 0; row < 16; row++) c[row] = ascends[row] ? c[row] : down[row];
}

// d = a b + c with a of 16 x K, b of K x 8, c and d of 16 x 8 in f32. Element (row, column) of
// lane l, with g = l / 4 and t = l % 4, as the ISA lays them out; N numbers share a register.
// Products are exact, and added to c one by one for k from 0 on, each sum rounded to nearest. A card
// adds several at once, in an unpublished order and with an unpublished rounding; Options::errors
// gives an example of that.
template <int K, int N, auto Value>
void mma(Warp &w, const Inst *i, uint32_t count, Mask m) {
  constexpr int kA = 16 * K / kLanes / N, kB = K * 8 / kLanes / N;  // registers
  for (; count; count--, i++) {
    if (m != kFull) fault(Fault::illegal_instruction, w, *i, std::countr_zero(m), "mma by less than a whole warp");
    auto op = [&](int k) { return k < 10 ? i->op[k] : i->more[k - 10]; };
    alignas(64) float a[K][16], b[8][K], c[8][16];  // the rows of a and c side by side, for vectors
    for (int r = 0; r < kA; r++) {
      const uint32_t *v = values<const uint32_t>(w, op(4 + r));
      for (int l = 0; l < kLanes; l++)
        for (int h = 0; h < N; h++) a[r / 2 * 4 * N + l % 4 * N + h][l / 4 + (r & 1) * 8] = Value(v[l], h);
    }
    for (int r = 0; r < kB; r++) {
      const uint32_t *v = values<const uint32_t>(w, op(4 + kA + r));
      for (int l = 0; l < kLanes; l++)
        for (int h = 0; h < N; h++) b[l / 4][r * 4 * N + l % 4 * N + h] = Value(v[l], h);
    }
    for (int r = 0; r < 4; r++) {
      const float *v = values<const float>(w, op(4 + kA + kB + r));
      for (int l = 0; l < kLanes; l++) c[l % 4 * 2 + (r & 1)][l / 4 + r / 2 * 8] = v[l];
    }
    const Options &options = w.worker->machine->options;
    for (int column = 0; column < 8; column++)
      if (options.errors.kind != Errors::none) truncated<K>(c[column], a, b[column], options.errors);
      else for (int k = 0; k < K; k++) multiply_add(c[column], a[k], b[column][k]);
    for (int r = 0; r < 4; r++) {
      float *v = values<float>(w, op(r));
      for (int l = 0; l < kLanes; l++) {
        uint32_t x = std::bit_cast<uint32_t>(c[l % 4 * 2 + (r & 1)][l / 4 + r / 2 * 8]);
        v[l] = std::bit_cast<float>((x & 0x7fffffff) > 0x7f800000 ? 0x7fffffff : x);
      }
    }
    if (options.counts) w.worker->counts.fma += 16 * 8 * K;
  }
}

void op_mma(Decoder &d) {
  if (!d.take("sync") || !d.take("aligned")) d.unknown();
  std::string_view shape = d.next();
  if (!d.take("row") || !d.take("col") || !d.take("f32")) d.unknown();
  std::string_view type = d.next();
  if (!d.take(type) || !d.take("f32")) d.unknown();
  std::string which = std::string(shape) + "." + std::string(type);
  struct Form {
    Exec run;
    unsigned a, b;
  };
  static const std::map<std::string, Form> forms = {
      {"m16n8k4.tf32", {mma<4, 1, tf32>, 2, 1}},   {"m16n8k8.tf32", {mma<8, 1, tf32>, 4, 2}},
      {"m16n8k8.bf16", {mma<8, 2, bf16>, 2, 1}},   {"m16n8k16.bf16", {mma<16, 2, bf16>, 4, 2}},
      {"m16n8k8.f16", {mma<8, 2, f16>, 2, 1}},     {"m16n8k16.f16", {mma<16, 2, f16>, 4, 2}}};
  auto form = forms.find(which);
  if (form == forms.end()) d.unknown();
  d.expect(4);
  std::vector<Slot> in;
  auto take = [&](size_t k, unsigned n) {
    // A matrix of one register may be written without braces.
    const Operand &o = d.operand(k);
    std::vector<Operand> parts = o.kind == Operand::vector ? o.parts : std::vector{o};
    if (parts.size() != n) d.fail("a matrix has the wrong number of registers");
    for (auto &p : parts) in.push_back(k ? d.in(p, 4) : d.out(p, 4));
  };
  take(0, 4);
  take(1, form->second.a);
  take(2, form->second.b);
  take(3, 4);
  d.emit(form->second.run, form->second.run, in).meet = Meet::all;
}

// ldmatrix: n matrices of 8 x 8 numbers of 16 bits. Lanes 8 k to 8 k + 7 have the addresses of
// the rows of matrix k; lane l gets numbers 2 (l % 4) and the next of row l / 4, transposed of
// the column.
template <int N, bool Transposed>
void load_matrix(Warp &w, const Inst *i, uint32_t count, Mask m) {
  for (; count; count--, i++) {
    if (m != kFull) fault(Fault::illegal_instruction, w, *i, std::countr_zero(m), "ldmatrix by less than a whole warp");
    uint64_t offset[kLanes];
    const char *p = locate<Space::shared>(w, *i, N == 4 ? kFull : (1u << 8 * N) - 1, 16, offset);
    for (int k = 0; k < N; k++) {
      uint16_t row[8][8];
      for (int r = 0; r < 8; r++) std::memcpy(row[r], p + offset[8 * k + r], 16);
      uint32_t *d = values<uint32_t>(w, i->op[k]);
      for (int l = 0; l < kLanes; l++) {
        int r = l / 4, c = l % 4 * 2;
        d[l] = Transposed ? row[c][r] | static_cast<uint32_t>(row[c + 1][r]) << 16
                          : row[r][c] | static_cast<uint32_t>(row[r][c + 1]) << 16;
      }
    }
  }
}

void op_ldmatrix(Decoder &d) {
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8")) d.unknown();
  unsigned n = d.take("x1") ? 1 : d.take("x2") ? 2 : d.take("x4") ? 4 : 0;
  bool transposed = d.take("trans");
  if (!n || take_space(d) != Space::shared || !d.take("b16")) d.unknown();
  d.expect(2);
  const Operand &o = d.operand(0);
  if (o.kind != Operand::vector || o.parts.size() != n) d.fail("the vector has the wrong length");
  std::vector<Slot> slots;
  for (auto &p : o.parts) slots.push_back(d.out(p, 4));
  slots.resize(4, slots[0]);
  Address a = take_address(d, d.operand(1), Space::shared);
  slots.push_back(a.base);
  Exec run = n == 1   ? (transposed ? load_matrix<1, true> : load_matrix<1, false>)
             : n == 2 ? (transposed ? load_matrix<2, true> : load_matrix<2, false>)
                      : (transposed ? load_matrix<4, true> : load_matrix<4, false>);
  Draft &draft = d.emit(run, run, slots, a.offset);
  draft.inst.op[kFlags] = a.narrow ? uint32_t(kAddress32) : 0;
  draft.inst.aux = d.access();
  draft.meet = Meet::all;
}

const Opcode ops[] = {{{"mma"}, op_mma}, {{"ldmatrix"}, op_ldmatrix}};

}  // namespace
}  // namespace ptx

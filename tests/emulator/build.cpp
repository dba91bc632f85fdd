// From decoded instructions to a Body: basic blocks, liveness, places in the register file.
// PTX has a register per value. Registers that are never live at the same time share a place, which
// keeps a warp's file in the first-level cache.
#include <algorithm>

#include "inline.h"

namespace ptx {
namespace {

using Bits = std::vector<uint64_t>;
bool has(const Bits &b, uint32_t i) { return b[i / 64] >> (i % 64) & 1; }
void set(Bits &b, uint32_t i) { b[i / 64] |= 1ull << (i % 64); }
void clear(Bits &b, uint32_t i) { b[i / 64] &= ~(1ull << (i % 64)); }

struct Builder {
  Function &f;
  const Names &names;
  Body &body;
  std::vector<Draft> drafts;
  std::map<std::string, uint32_t> labels;      // draft that follows
  std::map<std::string, uint32_t> table_ids;
  std::vector<uint32_t> starts;                // first draft of each block, and the end
  std::vector<uint32_t> block_of;              // of each draft that starts one
  std::vector<uint32_t> places;                // of registers in the file

  void run() {
    inline_calls(f, names);
    decode();
    blocks();
    allocate();
    layout();
  }

  void decode() {
    Decoder decoder(f, names, body.constants, body.accesses);
    std::vector<std::pair<std::string, uint32_t>> pending;
    uint32_t last = 0;
    for (auto &s : f.statements) {
      last = s.line;
      if (!s.label.empty()) {
        if (!labels.emplace(s.label, drafts.size()).second) parse_error(s.line, s.label + ": defined twice");
        continue;
      }
      for (auto &d : decoder.decode(s)) drafts.push_back(std::move(d));
    }
    // A function returns at its end.
    Statement ret;
    ret.line = last;
    ret.opcode = "ret";
    for (auto &d : decoder.decode(ret)) drafts.push_back(std::move(d));
  }

  uint32_t find_label(const std::string &name, uint32_t line) const {
    auto found = labels.find(name);
    if (found == labels.end()) parse_error(line, name + ": no such label");
    return found->second;
  }

  void blocks() {
    std::vector<bool> leader(drafts.size() + 1);
    leader[0] = true;
    for (auto &[name, at] : labels) leader[at] = true;
    for (size_t i = 0; i < drafts.size(); i++) {
      if (drafts[i].meet != Meet::none || drafts[i].starts) leader[i] = true;
      if (drafts[i].end != End::fall) leader[i + 1] = true;
    }
    block_of.assign(drafts.size() + 1, 0);
    for (size_t i = 0; i < drafts.size(); i++) {
      if (leader[i]) starts.push_back(i);
      block_of[i] = starts.size() - 1;
    }
    starts.push_back(drafts.size());
    for (auto &[name, targets] : f.tables) {
      table_ids[name] = body.tables.size();
      body.tables.push_back({});
      for (auto &t : targets) body.tables.back().push_back(block_of[find_label(t, drafts[0].line)]);
    }
  }

  std::vector<uint32_t> successors(uint32_t b) const {
    const Draft &d = drafts[starts[b + 1] - 1];
    std::vector<uint32_t> s;
    bool falls = d.end != End::exit && d.end != End::branch && d.end != End::indexed;
    if ((falls || d.guarded) && b + 2 < starts.size()) s.push_back(b + 1);
    if (d.end == End::branch) s.push_back(block_of[find_label(d.target, d.line)]);
    if (d.end == End::indexed) {
      auto &table = body.tables[find_table(d)];
      s.insert(s.end(), table.begin(), table.end());
    }
    return s;
  }
  uint32_t find_table(const Draft &d) const {
    auto found = table_ids.find(d.target);
    if (found == table_ids.end()) parse_error(d.line, d.target + ": no such table of labels");
    return found->second;
  }

  static bool is_register(Slot s) { return !(s & kConstant); }

  // Graph colouring: registers that are live together get different places.
  void allocate() {
    uint32_t n = f.registers.size(), count = starts.size() - 1;
    size_t words = n / 64 + 1;
    std::vector<Bits> in(count, Bits(words)), use(count, Bits(words)), def(count, Bits(words));
    for (uint32_t b = 0; b < count; b++)
      for (uint32_t i = starts[b]; i < starts[b + 1]; i++) {
        for (Slot s : drafts[i].uses)
          if (!has(def[b], s)) set(use[b], s);
        for (Slot s : drafts[i].defs) {
          if (!drafts[i].partial) set(def[b], s);
        }
      }
    auto live_out = [&](uint32_t b) {
      Bits out(words);
      for (uint32_t s : successors(b))
        for (size_t k = 0; k < words; k++) out[k] |= in[s][k];
      return out;
    };
    for (bool changed = true; changed;) {
      changed = false;
      for (uint32_t b = count; b-- > 0;) {
        Bits live = live_out(b);
        for (size_t k = 0; k < words; k++) live[k] = use[b][k] | (live[k] & ~def[b][k]);
        if (live != in[b]) in[b] = std::move(live), changed = true;
      }
    }
    std::vector<std::vector<uint32_t>> edges(n);
    auto edge = [&](uint32_t a, uint32_t b) {
      if (a != b && f.registers[a].bytes == f.registers[b].bytes) edges[a].push_back(b), edges[b].push_back(a);
    };
    for (uint32_t b = 0; b < count; b++) {
      Bits live = live_out(b);
      for (uint32_t i = starts[b + 1]; i-- > starts[b];) {
        const Draft &d = drafts[i];
        // A result may take the place of an operand that is last used here: instructions read the
        // operands of a lane before they write it.
        for (Slot s : d.defs) set(live, s);
        for (Slot s : d.defs)
          for (size_t k = 0; k < words; k++)
            for (uint64_t w = live[k]; w; w &= w - 1) edge(s, k * 64 + std::countr_zero(w));
        if (!d.partial)
          for (Slot s : d.defs) clear(live, s);
        for (Slot s : d.uses) set(live, s);
      }
    }
    // In the order of first use, which is best for straight code.
    std::vector<uint32_t> order, colour(n, UINT32_MAX);
    std::vector<bool> seen(n);
    auto mention = [&](Slot s) {
      if (!seen[s]) seen[s] = true, order.push_back(s);
    };
    for (auto &d : drafts) {
      for (Slot s : d.uses) mention(s);
      for (Slot s : d.defs) mention(s);
    }
    uint32_t colours[9] = {};
    std::vector<uint32_t> taken;  // by the register of this number + 1
    for (uint32_t r : order) {
      taken.resize(std::max(taken.size(), edges[r].size() + 2));
      for (uint32_t e : edges[r])
        if (colour[e] < taken.size()) taken[colour[e]] = r + 1;
      uint32_t c = 0;
      while (c < taken.size() && taken[c] == r + 1) c++;
      colour[r] = c;
      colours[f.registers[r].bytes] = std::max(colours[f.registers[r].bytes], c + 1);
    }

    // The file: predicates, constants, registers.
    size_t at = colours[1] * 4;
    for (auto &c : body.constants)
      if (c.bytes == 1) c.offset = at, at += 4;
    at = (at + 63) / 64 * 64;
    for (auto &c : body.constants)
      if (c.bytes != 1) c.offset = at, at += std::max(4u, c.bytes) * kLanes;
    size_t base[9] = {};
    for (unsigned bytes : {8, 4, 2}) base[bytes] = at, at += colours[bytes] * std::max(64u, bytes * kLanes);
    places.assign(n, 0);
    for (uint32_t r : order) {
      unsigned bytes = f.registers[r].bytes;
      places[r] = bytes == 1 ? colour[r] * 4 : base[bytes] + colour[r] * bytes * kLanes;
    }
    body.file_bytes = at;
    f.kernel.registers = colours[8] * 2 + colours[4] + colours[2];
  }

  uint32_t place(Slot s) const {
    return s & kConstant ? body.constants[s & ~kConstant].offset : places[s];
  }

  void layout() {
    for (uint32_t b = 0; b + 1 < starts.size(); b++) {
      Block block{};
      block.first_segment = body.segments.size();
      block.instructions = starts[b + 1] - starts[b];
      block.next = b + 1;
      const Draft &first = drafts[starts[b]];
      block.meet = first.meet;
      block.inst = body.insts.size();
      if (first.meet == Meet::members) block.members = place(first.members);
      for (uint32_t i = starts[b]; i < starts[b + 1]; i++) {
        Draft &d = drafts[i];
        uint32_t number = body.insts.size();
        for (size_t k = 0; k < d.slots.size() && k < 10; k++) d.inst.op[k] = place(d.slots[k]);
        if (d.slots.size() > 10) {
          body.more.emplace_back(new uint32_t[d.slots.size() - 10]);
          for (size_t k = 10; k < d.slots.size(); k++) body.more.back()[k - 10] = place(d.slots[k]);
          d.inst.more = body.more.back().get();
        }
        d.inst.line = d.line;
        body.insts.push_back(d.inst);
        if (d.end != End::fall) {
          block.end = d.end;
          block.inst = number;
          if (d.end == End::branch) block.target = block_of[find_label(d.target, d.line)];
          if (d.end == End::indexed) block.target = find_table(d);
          block.guarded = d.guarded;
          if (d.guarded) block.guard = place(d.guard), block.flip = d.flip;
          continue;
        }
        auto &segments = body.segments;
        if (!d.guarded && segments.size() > block.first_segment && !segments.back().guarded &&
            segments.back().full == d.full && segments.back().masked == d.masked) {
          segments.back().count++;
          continue;
        }
        Segment s{d.full, d.masked, number, 1, 0, d.flip, d.guarded, d.fma};
        if (d.guarded) s.guard = place(d.guard);
        segments.push_back(s);
      }
      block.segments = body.segments.size() - block.first_segment;
      body.blocks.push_back(block);
    }
  }
};

}  // namespace

void build(Function &function, const Names &names, std::shared_ptr<const Source> source) {
  auto body = std::make_shared<Body>();
  body->source = source;
  Builder{function, names, *body, {}, {}, {}, {}, {}, {}}.run();
  function.kernel.local = (function.local + 15) / 16 * 16;
  function.kernel.body = body;
}

std::string Body::text(uint32_t line) const {
  std::string s = line && line <= source->lines.size() ? source->lines[line - 1] : "";
  size_t from = s.find_first_not_of(" \t"), to = s.find_last_not_of(" \t\r;");
  s = from == s.npos || to == s.npos ? "" : s.substr(from, to + 1 - from);
  std::replace(s.begin(), s.end(), '\t', ' ');
  s = "line " + std::to_string(line) + ": " + s;
  auto place = source->places.upper_bound(line);
  if (place != source->places.begin() && (--place)->second.first)
    if (auto file = source->files.find(place->second.first); file != source->files.end())
      s += " (" + file->second + ":" + std::to_string(place->second.second) + ")";
  return s;
}

}  // namespace ptx

// A launch: blocks and clusters on OS threads, their memory, and waits that never end.
#include <algorithm>
#include <deque>
#include <numeric>
#include <thread>

#include "schedule.h"
#include "watch.h"

namespace ptx {
namespace {

constexpr unsigned kFruitlessRounds = 64;  // of all units, nothing written: they wait for ever

uint64_t special(const Machine &m, const Cta &c, const Warp &w, int lane, uint32_t which) {
  const Launch &l = m.launch;
  uint32_t t = w.number * kLanes + lane;
  auto in_cluster = [&](int k) { return c.id[k] % m.cluster[k]; };
  switch (which) {
    case kTidX: return t % l.block[0];
    case kTidY: return t / l.block[0] % l.block[1];
    case kTidZ: return t / l.block[0] / l.block[1];
    case kNtidX: case kNtidY: case kNtidZ: return l.block[which - kNtidX];
    case kCtaidX: case kCtaidY: case kCtaidZ: return c.id[which - kCtaidX];
    case kNctaidX: case kNctaidY: case kNctaidZ: return l.grid[which - kNctaidX];
    case kLaneid: return lane;
    case kWarpid: return w.number;
    case kNwarpid: return m.warps;
    case kSmid: return 0;
    case kNsmid: return 1;
    case kGridid: return 1;
    case kLanemaskEq: return 1u << lane;
    case kLanemaskLe: return 2u * (1u << lane) - 1;
    case kLanemaskLt: return (1u << lane) - 1;
    case kLanemaskGe: return ~((1u << lane) - 1);
    case kLanemaskGt: return ~(2u * (1u << lane) - 1);
    case kClusterCtaidX: case kClusterCtaidY: case kClusterCtaidZ: return in_cluster(which - kClusterCtaidX);
    case kClusterNctaidX: case kClusterNctaidY: case kClusterNctaidZ: return m.cluster[which - kClusterNctaidX];
    case kClusterCtarank: return c.rank;
    case kClusterNctarank: return m.cluster[0] * m.cluster[1] * m.cluster[2];
    case kClusteridX: case kClusteridY: case kClusteridZ: return c.unit->cluster_id[which - kClusteridX];
    case kNclusteridX: case kNclusteridY: case kNclusteridZ:
      return l.grid[which - kNclusteridX] / m.cluster[which - kNclusteridX];
    case kIsExplicitCluster: return l.kernel->cluster[0] != 0 ? kFull : 0;
    case kDynamicSmemSize: return l.dynamic_shared;
    case kTotalSmemSize: return m.shared_bytes;
  }
  return 0;
}

template <class T>
void fill(char *p, T value) {
  std::fill(reinterpret_cast<T *>(p), reinterpret_cast<T *>(p) + kLanes, value);
}

bool differs_by_block(uint64_t special) {
  return (special >= kCtaidX && special <= kCtaidZ) || (special >= kClusterCtaidX && special <= kClusterCtaidZ) ||
         special == kClusterCtarank || (special >= kClusteridX && special <= kClusteridZ);
}

// Fills the slots that no instruction writes. With again, the slots of an earlier block are reused.
void set_constants(const Machine &m, Cta &c, Warp &w, bool again) {
  for (auto &k : m.body.constants) {
    if (again && !(k.kind == Constant::special && differs_by_block(k.bits))) continue;
    char *p = w.file + k.offset;
    if (k.kind == Constant::special) {
      for (int lane = 0; lane < kLanes; lane++) {
        uint64_t v = special(m, c, w, lane, k.bits);
        if (k.bytes == 8) reinterpret_cast<uint64_t *>(p)[lane] = v;
        else if (k.bytes == 1) *reinterpret_cast<Mask *>(p) = v;
        else reinterpret_cast<uint32_t *>(p)[lane] = v;
      }
      continue;
    }
    uint64_t v = k.bits;
    if (k.kind == Constant::global) v += m.launch.module->globals[k.index].address;
    switch (k.bytes) {
      case 1: *reinterpret_cast<Mask *>(p) = v; break;
      case 2: fill<uint16_t>(p, v); break;
      case 4: fill<uint32_t>(p, v); break;
      case 8: fill<uint64_t>(p, v); break;
    }
  }
}

// Prepares a new unit, with the memory of an earlier one if there is one.
void start(Worker &worker, uint64_t number, Unit &u) {
  Machine &m = *worker.machine;
  const Launch &l = m.launch;
  uint32_t ranks = m.cluster[0] * m.cluster[1] * m.cluster[2];
  size_t file = (m.body.file_bytes + 63) / 64 * 64;
  bool again = !u.ctas.empty();
  if (!again) {
    u.memory.reset(new char[file * m.warps * ranks + 64]());
    u.ctas.resize(ranks);
  }
  char *at = u.memory.get() + (-reinterpret_cast<uintptr_t>(u.memory.get()) & 63);
  u.number = number;
  u.arrived = u.phase = 0;
  u.deliveries = nullptr;
  size_t clocks = (m.warps + 1) * ranks;
  if (m.options.races) u.known.assign(clocks, Clocks(clocks));
  u.alive = m.threads * ranks;
  uint32_t across[2] = {l.grid[0] / m.cluster[0], l.grid[1] / m.cluster[1]};
  u.cluster_id[0] = number % across[0];
  u.cluster_id[1] = number / across[0] % across[1];
  u.cluster_id[2] = number / across[0] / across[1];
  for (uint32_t rank = 0; rank < ranks; rank++) {
    Cta &c = u.ctas[rank];
    c.unit = &u;
    c.rank = rank;
    c.id[0] = u.cluster_id[0] * m.cluster[0] + rank % m.cluster[0];
    c.id[1] = u.cluster_id[1] * m.cluster[1] + rank / m.cluster[0] % m.cluster[1];
    c.id[2] = u.cluster_id[2] * m.cluster[2] + rank / m.cluster[0] / m.cluster[1];
    c.shared.assign(m.shared_bytes, '\xff');  // NaN in every format
    c.local.assign(m.local_bytes * m.threads, '\xff');
    std::fill(c.barriers, c.barriers + 16, Barrier());
    c.alive = m.threads;
    c.mbarriers = nullptr;
    c.shadow = m.options.races ? std::make_shared<Shadow>() : nullptr;
    c.warps.resize(m.warps);
    for (uint32_t n = 0; n < m.warps; n++) {
      Warp &w = c.warps[n];
      w = Warp();
      w.file = at;
      at += file;
      w.cta = &c;
      w.worker = &worker;
      w.number = n;
      uint32_t left = m.threads - n * kLanes;
      w.exists = w.alive = left >= kLanes ? kFull : (1u << left) - 1;
      w.groups.push_back({0, w.alive, Group::ready, 0, false});
      set_constants(m, c, w, again);
    }
  }
}

enum class State { done, spins };

// Runs a unit until it has finished, or until all of its warps wait for memory to change.
State run_unit(Worker &worker, Unit &u) {
  std::vector<Warp *> warps;
  for (Cta &c : u.ctas)
    for (Warp &w : c.warps)
      if (w.alive) warps.push_back(&w);
  for (;;) {
    if (worker.random)
      for (size_t i = warps.size(); i > 1; i--) std::swap(warps[i - 1], warps[next_random(worker) % i]);
    uint64_t before = worker.progress;
    bool ran = false, spins = false;
    for (Warp *w : warps) {
      Turn t = run_warp(*w);
      ran |= t == Turn::ran || t == Turn::done;
      spins |= t == Turn::spins;
    }
    std::erase_if(warps, [](Warp *w) { return !w->alive; });
    if (warps.empty()) return State::done;
    if (worker.machine->stop) return State::spins;
    if (ran || worker.progress != before) continue;
    if (spins) return State::spins;
    std::string who;
    for (Warp *w : warps) who += waiting(*w);
    throw Fault(Fault::deadlock, worker.machine->launch.kernel->name + ": all threads wait for ever:" + who);
  }
}

// Says whether every worker has seen all writes and still waits: a worker that is idle at this
// progress goes on only after another write.
bool all_idle(const Machine &m, uint64_t progress) {
  return std::all_of(m.workers.begin(), m.workers.end(),
                     [&](const Worker &w) { return w.idle == progress || w.idle == kDone; }) &&
         m.progress == progress;
}

void work(Worker &worker) {
  Machine &m = *worker.machine;
  std::deque<std::unique_ptr<Unit>> waiting_units;
  std::vector<std::unique_ptr<Unit>> spare;
  size_t fruitless = 0;  // units in a row that only waited
  uint64_t seen = 0, rounds = 0;
  while (!m.stop) {
    std::unique_ptr<Unit> u;
    if (fruitless >= waiting_units.size()) {
      uint64_t n = m.next.fetch_add(1);
      if (n < m.units) {
        if (spare.empty()) {
          u = std::make_unique<Unit>();
        } else {
          u = std::move(spare.back());
          spare.pop_back();
        }
        start(worker, m.order.empty() ? n : m.order[n], *u);
      } else if (waiting_units.empty()) {
        break;
      } else {
        // All units wait: only another worker may still write.
        fruitless = 0;
        uint64_t now = m.progress;
        rounds = now == seen ? rounds + 1 : 0;
        seen = now;
        if (rounds > kFruitlessRounds) {
          rounds = 0;
          worker.idle = seen;
          while (m.progress == seen && !m.stop) {
            if (all_idle(m, seen)) {
              std::string who;
              for (auto &w : waiting_units)
                for (Cta &c : w->ctas)
                  for (Warp &warp : c.warps) who += waiting(warp);
              throw Fault(Fault::deadlock,
                          m.launch.kernel->name + ": waits for ever, nothing is written any more:" + who);
            }
            std::this_thread::yield();
          }
          worker.idle = kBusy;
        }
      }
    }
    if (!u) {
      u = std::move(waiting_units.front());
      waiting_units.pop_front();
    }
    uint64_t before = worker.progress;
    State s = run_unit(worker, *u);
    if (worker.progress != before) m.progress += worker.progress - before, fruitless = 0;
    if (s == State::done) {
      spare.push_back(std::move(u));
    } else {
      fruitless++;
      waiting_units.push_back(std::move(u));
    }
  }
  worker.idle = kDone;
}

}  // namespace

void run(const Launch &launch, Memory &memory, const Options &options) {
  const Kernel &k = *launch.kernel;
  auto refuse = [&](const std::string &why) { throw Fault(Fault::launch, k.name + ": " + why); };
  Machine m{launch, *k.body, memory, options, {}, 0, 0, 0, 0, 0, false, nullptr, {}, {}, {}, {}, {}};
  Shadow global;
  m.watched = options.races || options.counts;
  if (options.races) m.global = &global;
  m.threads = launch.block[0] * launch.block[1] * launch.block[2];
  m.units = 1;
  for (int i = 0; i < 3; i++) {
    m.cluster[i] = std::max(1u, k.cluster[i]);
    if (!launch.grid[i] || !launch.block[i]) refuse("a grid or block without threads");
    if (launch.grid[i] % m.cluster[i]) refuse("the grid is not a multiple of the cluster");
    m.units *= launch.grid[i] / m.cluster[i];
  }
  if (launch.block[0] > 1024 || launch.block[1] > 1024 || launch.block[2] > 64 || m.threads > 1024)
    refuse("more than 1024 threads in a block");
  if (k.max_threads && m.threads > k.max_threads)
    refuse(format("%u threads in a block, .maxntid allows %u", m.threads, k.max_threads));
  m.warps = (m.threads + kLanes - 1) / kLanes;
  m.shared_bytes = k.static_shared + launch.dynamic_shared;
  m.local_bytes = k.local;
  unsigned count = std::max<uint64_t>(1, std::min<uint64_t>(options.threads, m.units));
  if (options.races) count = 1;  // the shadow memory is not locked
  if (options.order) {
    m.order.resize(m.units);
    std::iota(m.order.begin(), m.order.end(), 0);
    Worker dice;
    dice.random = options.order * 0x9e3779b97f4a7c15ull | 1;
    for (size_t i = m.units; i > 1; i--) std::swap(m.order[i - 1], m.order[next_random(dice) % i]);
  }
  auto &workers = m.workers = std::vector<Worker>(count);
  std::exception_ptr error;
  std::mutex guard;
  auto task = [&](unsigned n) {
    try {
      work(workers[n]);
    } catch (...) {
      std::lock_guard lock(guard);
      if (!error) error = std::current_exception();
      m.stop = true;
    }
  };
  for (unsigned n = 0; n < count; n++) {
    workers[n].machine = &m;
    workers[n].ranges.resize(k.body->accesses);
    if (options.order) workers[n].random = (options.order + 1 + n) * 0x9e3779b97f4a7c15ull | 1;
  }
  std::vector<std::thread> threads;
  for (unsigned n = 1; n < count; n++) threads.emplace_back(task, n);
  task(0);
  for (auto &t : threads) t.join();
  if (options.counts)
    for (auto &w : workers) {
      Counts &c = *options.counts;
      c.instructions += w.counts.instructions;
      c.fma += w.counts.fma;
      c.global_requests += w.counts.global_requests;
      c.global_sectors += w.counts.global_sectors;
      c.global_bytes += w.counts.global_bytes;
      c.shared_requests += w.counts.shared_requests;
      c.shared_wavefronts += w.counts.shared_wavefronts;
      c.barriers += w.counts.barriers;
    }
  if (error) std::rethrow_exception(error);
}

}  // namespace ptx

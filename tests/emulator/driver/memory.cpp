// Device memory and page-locked host memory, and copies between them.
//
// Device addresses lie in a separate range that the host cannot read or write. They are never given
// out twice, each allocation is followed by a gap, and it has exactly the size asked for. So every
// wrong access is noticed.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <shared_mutex>

#include "driver.h"

namespace emulator {

struct Allocation {
  enum Kind { device, page_locked, registered } kind;
  uint64_t address;  // for the program and its kernels; host memory keeps its own
  size_t size;
  char *host;        // where the bytes are
  Context *context;
};

static char *map_memory(size_t size, int protection) {
  void *at = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<char *>(at);
}

static std::string hex(uint64_t value) {
  char text[20];
  snprintf(text, sizeof text, "%#lx", value);
  return text;
}

static std::string describe(uint64_t address, size_t size) {
  return std::to_string(size) + " bytes allocated at " + hex(address);
}

// Memory of all cards and page-locked memory: one space of addresses, as with a real driver.
class Space : public ptx::Memory {
 public:
  char *find(uint64_t address, size_t size, uint64_t *low, uint64_t *high) override {
    std::shared_lock lock(mutex_);
    const Allocation *a = containing(address);
    if (!a || size > a->address + a->size - address) return nullptr;
    *low = a->address;
    *high = a->address + a->size;
    return a->host + (address - a->address);
  }

  std::string explain(uint64_t address, size_t size) override;

  // A copy, since the allocation may end as soon as the lock is released.
  std::optional<Allocation> allocation(uint64_t address) {
    std::shared_lock lock(mutex_);
    const Allocation *a = containing(address);
    return a ? std::optional(*a) : std::nullopt;
  }

  std::optional<Allocation> first_of(const Context &context) {
    std::shared_lock lock(mutex_);
    for (auto &[address, a] : live_)
      if (a.context == &context) return a;
    return std::nullopt;
  }

  // Whether any byte of the range belongs to an allocation.
  bool touches(uint64_t address, size_t size) {
    std::shared_lock lock(mutex_);
    auto next = live_.upper_bound(address);
    return containing(address) || (next != live_.end() && next->first - address < size);
  }

  void add(const Allocation &a) {
    std::unique_lock lock(mutex_);
    live_[a.address] = a;
  }

  void remove(const Allocation &a) {
    std::unique_lock lock(mutex_);
    live_.erase(a.address);
    if (a.kind != Allocation::registered) freed_[a.address] = a.size;
  }

  // An address for size bytes of device memory; 0 when there are none left.
  uint64_t new_address(size_t size) {
    std::unique_lock lock(mutex_);
    if (next_ == 0) reserve();
    if (size > end_ - next_ || end_ - next_ - size < gap) return 0;
    uint64_t address = next_;
    next_ = (address + size + gap + 511) / 512 * 512 + alignment;
    return address;
  }

 private:
  // No more than the driver promises: that would hide a kernel that needs more.
  static constexpr uint64_t alignment = 256;
  static constexpr uint64_t gap = 1 << 20;

  void reserve() {
    for (size_t size = size_t(16) << 40; size >= size_t(1) << 30; size /= 2)
      if (char *range = map_memory(size, PROT_NONE)) {
        next_ = reinterpret_cast<uint64_t>(range) + alignment;
        end_ = reinterpret_cast<uint64_t>(range) + size;
        return;
      }
  }

  const Allocation *containing(uint64_t address) const {
    auto at = live_.upper_bound(address);
    if (at == live_.begin()) return nullptr;
    const Allocation &a = std::prev(at)->second;
    return address - a.address < a.size ? &a : nullptr;
  }

  std::shared_mutex mutex_;
  std::map<uint64_t, Allocation> live_;
  std::map<uint64_t, size_t> freed_;
  uint64_t next_ = 0, end_ = 0;
};

std::string Space::explain(uint64_t address, size_t size) {
  std::shared_lock lock(mutex_);
  if (address < 4096) return "null";
  if (const Allocation *a = containing(address)) {
    uint64_t behind = address + size - (a->address + a->size);
    return "reaches " + std::to_string(behind) + " bytes behind the " + describe(a->address, a->size);
  }
  if (auto at = freed_.upper_bound(address); at != freed_.begin()) {
    auto &[start, length] = *std::prev(at);
    if (address - start < length) return "in freed memory, " + describe(start, length);
  }
  auto next = live_.upper_bound(address);
  if (next != live_.begin()) {
    const Allocation &a = std::prev(next)->second;
    uint64_t behind = address - (a.address + a.size);
    if (behind < gap) return std::to_string(behind) + " bytes behind the " + describe(a.address, a.size);
  }
  if (next != live_.end() && next->first - address <= gap)
    return std::to_string(next->first - address) + " bytes before the " +
           describe(next->second.address, next->second.size);
  return "not device memory";
}

static Space &space() {
  static auto &only = *new Space;
  return only;
}

ptx::Memory &memory() { return space(); }

char *host_address(uint64_t address, size_t size) {
  uint64_t low, high;
  if (char *found = space().find(address, size, &low, &high)) return found;
  throw Error{CUDA_ERROR_ILLEGAL_ADDRESS,
              std::to_string(size) + " bytes at " + hex(address) + ": " + space().explain(address, size)};
}

// The used memory of each card, in multiples of 512 bytes.
static size_t &used(int device) {
  static auto &all = *new std::map<int, size_t>;
  return all[device];
}

static size_t rounded(size_t size) { return (size + 511) / 512 * 512; }

uint64_t allocate(Context &context, size_t size) {
  require(size > 0, CUDA_ERROR_INVALID_VALUE, "0 bytes asked for");
  size_t &in_use = used(context.device);
  require(size <= settings().memory && rounded(size) <= settings().memory - in_use, CUDA_ERROR_OUT_OF_MEMORY);
  uint64_t address = space().new_address(size);
  require(address, CUDA_ERROR_OUT_OF_MEMORY, "the emulator has no addresses left");
  char *host = map_memory(size, PROT_READ | PROT_WRITE);
  require(host, CUDA_ERROR_OUT_OF_MEMORY, "this machine has no memory for it");
  memset(host, 0xff, size);
  space().add({Allocation::device, address, size, host, &context});
  in_use += rounded(size);
  return address;
}

static void release(const Allocation &a) {
  space().remove(a);
  if (a.kind == Allocation::device) used(a.context->device) -= rounded(a.size);
  if (a.kind != Allocation::registered) munmap(a.host, a.size);
}

void release(uint64_t address) { release(*space().allocation(address)); }

void release_all(Context &context) {
  while (auto a = space().first_of(context)) release(*a);
}

static uint64_t address_of(const void *host) { return reinterpret_cast<uint64_t>(host); }

// Allocates page-locked memory. Like new memory of a card it holds no zeros.
static void *allocate_host(Context &context, size_t size) {
  require(size > 0, CUDA_ERROR_INVALID_VALUE, "0 bytes asked for");
  char *host = map_memory(size, PROT_READ | PROT_WRITE);
  require(host, CUDA_ERROR_OUT_OF_MEMORY, "this machine has no memory for it");
  memset(host, 0xff, size);
  space().add({Allocation::page_locked, address_of(host), size, host, &context});
  return host;
}

// Checks that an allocation of that kind starts at an address, before it is freed.
static void require_start(uint64_t address, Allocation::Kind kind, CUresult code) {
  auto a = space().allocation(address);
  require(a && a->address == address && a->kind == kind, code,
          "no such allocation starts at " + hex(address) + ": " +
              (a ? "in the " + describe(a->address, a->size) : space().explain(address, 1)));
}

// ---- copies

static void require_memory(uint64_t address, size_t size, const char *what) {
  uint64_t low, high;
  require(space().find(address, size, &low, &high), CUDA_ERROR_INVALID_VALUE,
          std::string(what) + " of " + std::to_string(size) + " bytes at " + hex(address) + ": " +
              space().explain(address, size));
}

// Says whether host memory is page-locked. All of it must be, or none.
static bool is_page_locked(const void *host, size_t size) {
  require(host, CUDA_ERROR_INVALID_VALUE, "a host address of null");
  auto a = space().allocation(address_of(host));
  require(!a || a->kind != Allocation::device, CUDA_ERROR_INVALID_VALUE,
          "a device address where a host address belongs");
  uint64_t low, high;
  if (space().find(address_of(host), size, &low, &high)) return true;
  require(!space().touches(address_of(host), size), CUDA_ERROR_INVALID_VALUE,
          "host memory that is only partly page-locked: " + space().explain(address_of(host), size));
  return false;
}

static Action copy_action(uint64_t destination, uint64_t source, size_t size) {
  return {CU_GRAPH_NODE_TYPE_MEMCPY, nullptr, [=] {
            memmove(host_address(destination, size), host_address(source, size), size);
          }};
}

static void refuse_pageable_in_capture(Stream &stream) {
  if (stream.capture)
    break_capture(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                  "a copy from or to host memory that is not page-locked");
}

static void copy_to_device(Stream &stream, uint64_t destination, const void *source, size_t size, bool wait) {
  if (size == 0) return;
  require_memory(destination, size, "a destination");
  if (is_page_locked(source, size)) {
    submit(stream, copy_action(destination, address_of(source), size));
    if (wait) finish(stream);
    return;
  }
  // Copied to a buffer of the driver now; the call does not wait until it has reached the device.
  refuse_pageable_in_capture(stream);
  if (wait) finish(stream);
  auto bytes = static_cast<const char *>(source);
  auto staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
  submit(stream, {CU_GRAPH_NODE_TYPE_MEMCPY, nullptr, [=] {
                    memcpy(host_address(destination, size), staged->data(), size);
                  }});
}

static void copy_to_host(Stream &stream, void *destination, uint64_t source, size_t size, bool wait) {
  if (size == 0) return;
  require_memory(source, size, "a source");
  if (is_page_locked(destination, size)) {
    submit(stream, copy_action(address_of(destination), source, size));
    if (wait) finish(stream);
    return;
  }
  refuse_pageable_in_capture(stream);
  submit(stream, {CU_GRAPH_NODE_TYPE_MEMCPY, nullptr, [=] { memcpy(destination, host_address(source, size), size); }});
  finish(stream);
}

static void copy_on_device(Stream &stream, uint64_t destination, uint64_t source, size_t size) {
  if (size == 0) return;
  require_memory(destination, size, "a destination");
  require_memory(source, size, "a source");
  submit(stream, copy_action(destination, source, size));
}

// A copy; its direction follows from the addresses.
static void copy(Stream &stream, uint64_t destination, uint64_t source, size_t size, bool wait) {
  auto on_device = [](uint64_t address) {
    auto a = space().allocation(address);
    return a && a->kind == Allocation::device;
  };
  if (on_device(destination) && on_device(source)) return copy_on_device(stream, destination, source, size);
  if (on_device(destination)) return copy_to_device(stream, destination, reinterpret_cast<void *>(source), size, wait);
  if (on_device(source)) return copy_to_host(stream, reinterpret_cast<void *>(destination), source, size, wait);
  throw Error{CUDA_ERROR_INVALID_VALUE, "neither address is device memory: " + space().explain(destination, size)};
}

template <class T>
static void set(Stream &stream, uint64_t destination, T value, size_t count) {
  require(destination % sizeof(T) == 0, CUDA_ERROR_INVALID_VALUE, hex(destination) + " is not aligned");
  require(count <= SIZE_MAX / sizeof(T), CUDA_ERROR_INVALID_VALUE, "too many elements");
  if (count == 0) return;
  require_memory(destination, count * sizeof(T), "a destination");
  submit(stream, {CU_GRAPH_NODE_TYPE_MEMSET, nullptr, [=] {
                    T *at = reinterpret_cast<T *>(host_address(destination, count * sizeof(T)));
                    std::fill(at, at + count, value);
                  }});
}

// The stream for calls without a stream argument; none of these calls may be captured.
static Stream &null_stream(Context &context) {
  refuse_null_stream_in_capture(context);
  refuse_in_capture(false);
  return *context.null_stream;
}

}  // namespace emulator

using namespace emulator;

CUresult cuMemGetInfo(size_t *free, size_t *total) {
  return entry(__func__, initialised, [&](Context &context) {
    require(free && total, CUDA_ERROR_INVALID_VALUE);
    *total = settings().memory;
    *free = *total - used(context.device);
  });
}

CUresult cuMemAlloc(CUdeviceptr *address, size_t size) {
  return entry(__func__, unsafe, [&](Context &context) {
    require(address, CUDA_ERROR_INVALID_VALUE);
    *address = allocate(context, size);
  });
}

CUresult cuMemFree(CUdeviceptr address) {
  return entry(__func__, unsafe, [&](Context &context) {
    if (!address) return;
    require_start(address, Allocation::device, CUDA_ERROR_INVALID_VALUE);
    finish(context);
    release(address);
  });
}

CUresult cuMemHostAlloc(void **host, size_t size, unsigned flags) {
  return entry(__func__, unsafe, [&](Context &context) {
    unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    require(host && !(flags & ~known), CUDA_ERROR_INVALID_VALUE, "no place for the address, or unknown flags");
    *host = allocate_host(context, size);
  });
}

CUresult cuMemAllocHost(void **host, size_t size) {
  return entry(__func__, unsafe, [&](Context &context) {
    require(host, CUDA_ERROR_INVALID_VALUE);
    *host = allocate_host(context, size);
  });
}

CUresult cuMemFreeHost(void *host) {
  return entry(__func__, unsafe, [&](Context &context) {
    require_start(address_of(host), Allocation::page_locked, CUDA_ERROR_INVALID_VALUE);
    finish(context);
    release(address_of(host));
  });
}

CUresult cuMemHostRegister(void *host, size_t size, unsigned flags) {
  return entry(__func__, unsafe, [&](Context &context) {
    unsigned known = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
    require(host && size > 0 && !(flags & ~known), CUDA_ERROR_INVALID_VALUE, "no memory, or unknown flags");
    require(!space().touches(address_of(host), size), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    space().add({Allocation::registered, address_of(host), size, static_cast<char *>(host), &context});
  });
}

CUresult cuMemHostUnregister(void *host) {
  return entry(__func__, unsafe, [&](Context &context) {
    require_start(address_of(host), Allocation::registered, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    finish(context);
    release(address_of(host));
  });
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr *address, void *host, unsigned flags) {
  return entry(__func__, initialised, [&](Context &) {
    require(address && flags == 0, CUDA_ERROR_INVALID_VALUE);
    auto a = space().allocation(address_of(host));
    require(a && a->kind != Allocation::device, CUDA_ERROR_INVALID_VALUE, "host memory that is not page-locked");
    *address = address_of(host);
  });
}

CUresult cuMemcpy(CUdeviceptr destination, CUdeviceptr source, size_t size) {
  return entry(__func__, initialised,
               [&](Context &context) { copy(null_stream(context), destination, source, size, true); });
}

CUresult cuMemcpyAsync(CUdeviceptr destination, CUdeviceptr source, size_t size, CUstream stream) {
  return entry(__func__, initialised,
               [&](Context &context) { copy(*get_stream(context, stream), destination, source, size, false); });
}

CUresult cuMemcpyHtoD(CUdeviceptr destination, const void *source, size_t size) {
  return entry(__func__, initialised,
               [&](Context &context) { copy_to_device(null_stream(context), destination, source, size, true); });
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr destination, const void *source, size_t size, CUstream stream) {
  return entry(__func__, initialised, [&](Context &context) {
    copy_to_device(*get_stream(context, stream), destination, source, size, false);
  });
}

CUresult cuMemcpyDtoH(void *destination, CUdeviceptr source, size_t size) {
  return entry(__func__, initialised,
               [&](Context &context) { copy_to_host(null_stream(context), destination, source, size, true); });
}

CUresult cuMemcpyDtoHAsync(void *destination, CUdeviceptr source, size_t size, CUstream stream) {
  return entry(__func__, initialised, [&](Context &context) {
    copy_to_host(*get_stream(context, stream), destination, source, size, false);
  });
}

CUresult cuMemcpyDtoD(CUdeviceptr destination, CUdeviceptr source, size_t size) {
  return entry(__func__, initialised,
               [&](Context &context) { copy_on_device(null_stream(context), destination, source, size); });
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr destination, CUdeviceptr source, size_t size, CUstream stream) {
  return entry(__func__, initialised,
               [&](Context &context) { copy_on_device(*get_stream(context, stream), destination, source, size); });
}

CUresult cuMemsetD8(CUdeviceptr destination, unsigned char value, size_t count) {
  return entry(__func__, initialised, [&](Context &context) { set(null_stream(context), destination, value, count); });
}

CUresult cuMemsetD8Async(CUdeviceptr destination, unsigned char value, size_t count, CUstream stream) {
  return entry(__func__, initialised,
               [&](Context &context) { set(*get_stream(context, stream), destination, value, count); });
}

CUresult cuMemsetD32(CUdeviceptr destination, unsigned value, size_t count) {
  return entry(__func__, initialised, [&](Context &context) { set(null_stream(context), destination, value, count); });
}

CUresult cuMemsetD32Async(CUdeviceptr destination, unsigned value, size_t count, CUstream stream) {
  return entry(__func__, initialised,
               [&](Context &context) { set(*get_stream(context, stream), destination, value, count); });
}

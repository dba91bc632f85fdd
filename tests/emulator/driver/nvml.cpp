// libnvidia-ml.so.1: the functions of the NVIDIA Management Library that `crnn doctor` calls. They
// are declared here, since no package that the build needs has the library's header.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "settings.h"

using namespace emulator;

namespace {

enum Result {
  success = 0,
  uninitialized = 1,
  invalid_argument = 2,
  not_supported = 3,
  insufficient_size = 7,
  driver_not_loaded = 9,
  gpu_is_lost = 15,
  version_mismatch = 25,
  unknown = 999,
};

struct Device;  // a handle is the device's number plus one

struct Memory {
  unsigned long long total, free, used;
};

struct MemoryV2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};

struct Process {
  unsigned pid;
  unsigned long long used_memory;
  unsigned gpu_instance, compute_instance;
};

unsigned users = 0;  // calls of nvmlInit without their nvmlShutdown

// The result, a number here, with which CRNN_EMULATOR_FAULT makes this call fail.
Result inject_fault(const char *name) {
  static unsigned long calls = 0;
  const InjectedFault &fault = settings().fault;
  if (without_version(name) != fault.entry || ++calls != fault.nth) return success;
  return static_cast<Result>(std::stoi(fault.code));
}

template <class Body>
Result entry(const char *name, bool needs_init, Body body) {
  if (Result code = inject_fault(name)) return code;
  return needs_init && users == 0 ? uninitialized : body();
}

size_t number(Device *device) { return reinterpret_cast<size_t>(device) - 1; }

// An entry point about one device.
template <class Body>
Result about(const char *name, Device *device, Body body) {
  return entry(name, true, [&] { return number(device) < settings().cards.size() ? body() : invalid_argument; });
}

Result copy_text(const std::string &text, char *to, unsigned length) {
  if (!to) return invalid_argument;
  if (text.size() >= length) return insufficient_size;
  strcpy(to, text.c_str());
  return success;
}

// The display driver that contains a CUDA driver.
std::string display_driver() {
  static const std::pair<int, const char *> releases[] = {
      {13000, "580.65"}, {12090, "575.51"}, {12080, "570.86"}, {12060, "560.28"}, {12050, "555.42"}, {12040, "550.54"},
      {12030, "545.23"}, {12020, "535.54"}, {12010, "530.30"}, {12000, "525.60"}, {11080, "520.61"}};
  for (auto [cuda, display] : releases)
    if (settings().driver >= cuda) return display;
  return "450.36";
}

}  // namespace

extern "C" {

Result nvmlInit_v2() {
  return entry(__func__, false, [] {
    if (settings().cards.size() == 0) return driver_not_loaded;
    users++;
    return success;
  });
}

Result nvmlShutdown() {
  return entry(__func__, true, [] {
    users--;
    return success;
  });
}

const char *nvmlErrorString(Result code) {
  switch (code) {
    case success: return "success";
    case uninitialized: return "not initialized";
    case invalid_argument: return "invalid argument";
    case not_supported: return "not supported";
    case insufficient_size: return "insufficient size";
    case driver_not_loaded: return "the driver is not loaded";
    case gpu_is_lost: return "the GPU is lost";
    case version_mismatch: return "an argument's version does not match";
    default: return "unknown error";
  }
}

Result nvmlSystemGetDriverVersion(char *version, unsigned length) {
  return entry(__func__, true, [&] { return copy_text(display_driver(), version, length); });
}

Result nvmlSystemGetCudaDriverVersion_v2(int *version) {
  return entry(__func__, true, [&] {
    if (!version) return invalid_argument;
    *version = settings().driver;
    return success;
  });
}

Result nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

Result nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length) {
  return entry(__func__, true, [&] {
    char path[64] = "", link[4096];
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    ssize_t size = readlink(path, link, sizeof link);
    return size < 0 ? invalid_argument : copy_text(std::string(link, size), name, length);
  });
}

Result nvmlDeviceGetCount_v2(unsigned *count) {
  return entry(__func__, true, [&] {
    if (!count) return invalid_argument;
    *count = settings().cards.size();
    return success;
  });
}

Result nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
  return entry(__func__, true, [&] {
    if (!device || index >= settings().cards.size()) return invalid_argument;
    *device = reinterpret_cast<Device *>(size_t(index) + 1);
    return success;
  });
}

Result nvmlDeviceGetName(Device *device, char *name, unsigned length) {
  return about(__func__, device, [&] { return copy_text(settings().cards[number(device)]->name(), name, length); });
}

Result nvmlDeviceGetUUID(Device *device, char *uuid, unsigned length) {
  return about(__func__, device, [&] {
    std::string text = "GPU-";
    for (unsigned char byte : device_uuid(number(device))) {
      if (text.size() == 12 || text.size() == 17 || text.size() == 22 || text.size() == 27) text += '-';
      for (int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
    }
    return copy_text(text, uuid, length);
  });
}

Result nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
  return about(__func__, device, [&] {
    if (!major || !minor) return invalid_argument;
    *major = settings().cards[number(device)]->capability / 10;
    *minor = settings().cards[number(device)]->capability % 10;
    return success;
  });
}

Result nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
  return about(__func__, device, [&] {
    if (!memory) return invalid_argument;
    *memory = {settings().memory, settings().memory, 0};
    return success;
  });
}

Result nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *memory) {
  return about(__func__, device, [&] {
    if (!memory) return invalid_argument;
    if (memory->version != (sizeof *memory | 2 << 24)) return version_mismatch;
    *memory = {memory->version, settings().memory, 0, settings().memory, 0};
    return success;
  });
}

Result nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius) {
  return about(__func__, device, [&] {
    if (!celsius || sensor != 0) return invalid_argument;
    *celsius = 42;
    return success;
  });
}

// The clock of each kind, in MHz: the emulated card is never idle.
Result nvmlDeviceGetClockInfo(Device *device, int kind, unsigned *megahertz) {
  return about(__func__, device, [&] {
    if (!megahertz || kind < 0 || kind > 3) return invalid_argument;
    constexpr int memory = 2;
    *megahertz = (kind == memory ? settings().cards[number(device)]->memory_clock_khz
                                 : settings().cards[number(device)]->clock_khz) /
                 1000;
    return success;
  });
}

Result nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
  return about(__func__, device, [&] {
    if (!milliwatts) return invalid_argument;
    *milliwatts = 75000;
    return success;
  });
}

Result nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
  return about(__func__, device, [&] {
    if (!milliwatts) return invalid_argument;
    *milliwatts = 350000;
    return success;
  });
}

}  // extern "C"

// An emulated card has one user: the process that asks.
static Result running_processes(const char *entry_point, Device *device, unsigned *count, Process *processes) {
  return about(entry_point, device, [&] {
    if (!count) return invalid_argument;
    unsigned room = *count;
    *count = 1;
    if (room < 1 || !processes) return insufficient_size;
    processes[0] = {unsigned(getpid()), 0, 0xffffffff, 0xffffffff};
    return success;
  });
}

extern "C" Result nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, Process *processes) {
  return running_processes(__func__, device, count, processes);
}

extern "C" Result nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
  return running_processes(__func__, device, count, processes);
}

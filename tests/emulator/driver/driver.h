// Common to the files of the emulated driver. Every exported function goes through entry(), which
// holds `mutex`; only a wait for a stream releases it.
#pragma once
#include <cuda.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "ptx.h"
#include "settings.h"

namespace emulator {

// Why an entry point, or the work of a stream, fails. `why` explains a mistake of the calling
// program and is printed. It is empty if the program must explain the code itself.
struct Error {
  CUresult code;
  std::string why = "";
};

inline void require(bool ok, CUresult code, const std::string &why = "") {
  if (!ok) throw Error{code, why};
}

// The card of a device, and the card of the current context's device.
const Card &card(CUdevice device);
const Card &card();

struct Context;

// An object behind a handle. Handles are numbers that are never reused, so the driver notices one
// whose object was destroyed or is of another kind.
struct Object {
  Context *context = nullptr;
  virtual ~Object() = default;
};

std::map<uintptr_t, std::shared_ptr<Object>> &objects();

uintptr_t new_handle(std::shared_ptr<Object> object);

template <class Handle>
Handle publish(std::shared_ptr<Object> object) {
  return reinterpret_cast<Handle>(new_handle(std::move(object)));
}

template <class T, class Handle>
std::shared_ptr<T> find_object(Handle handle) {
  auto at = objects().find(reinterpret_cast<uintptr_t>(handle));
  return at == objects().end() ? nullptr : std::dynamic_pointer_cast<T>(at->second);
}

// The object of a handle, which must belong to this context (nullptr: to any).
template <class T, class Handle>
std::shared_ptr<T> get(Context *context, Handle handle) {
  std::shared_ptr<T> object = find_object<T>(handle);
  require(object != nullptr, CUDA_ERROR_INVALID_HANDLE, "a handle that is not live, or not of the kind expected");
  require(!context || object->context == context, CUDA_ERROR_INVALID_CONTEXT,
          "a handle of a context that is not current");
  return object;
}

template <class Handle>
void forget(Handle handle) {
  objects().erase(reinterpret_cast<uintptr_t>(handle));
}

struct Stream;

struct Context : Object {
  int device = 0;
  CUresult error = CUDA_SUCCESS;  // of the work; only the context's end clears it
  std::shared_ptr<Stream> null_stream;
  std::vector<std::shared_ptr<Stream>> streams;  // the null stream too
  std::map<CUlimit, size_t> limits;
};

// ---- errors.cpp

std::string error_name(CUresult code);
std::optional<CUresult> error_code(const std::string &number_or_name);

// ---- entry.cpp

extern std::mutex mutex;
extern std::condition_variable_any &changed;  // work was submitted, waited for or done

// The conditions of an entry point.
enum Kind {
  anytime,      // may be called before cuInit
  initialised,  // after cuInit
  unsafe,       // may not be called while a stream is captured, since it could synchronise
};

CUresult enter(const char *name, Kind kind, bool needs_context, const std::function<void(Context *)> &body);

// Runs the body of an entry point. A body that takes a Context gets the current one, which must be
// free of errors.
template <class Body>
CUresult entry(const char *name, Kind kind, Body body) {
  if constexpr (std::is_invocable_v<Body, Context &>)
    return enter(name, kind, true, [&](Context *context) { body(*context); });
  else
    return enter(name, kind, false, [&](Context *) { body(); });
}

// The error that the current call must plant in the work that it submits.
std::optional<CUresult> take_planted_error();

// ---- device.cpp

bool is_initialised();
// The current context of this thread; nullptr where there is none, throws if it was destroyed.
std::shared_ptr<Context> current_context();

// Counts a kernel that is about to run, and throws once the card is lost.
void count_towards_loss(int device);

// ---- memory.cpp

ptx::Memory &memory();
uint64_t allocate(Context &context, size_t size);  // filled with 0xFF bytes
void release(uint64_t address);
void release_all(Context &context);
char *host_address(uint64_t address, size_t size);  // throws CUDA_ERROR_ILLEGAL_ADDRESS

// ---- stream.cpp

using Clock = std::chrono::steady_clock;

// Work for a stream, or a node of a graph. It may run many times.
struct Action {
  CUgraphNodeType type;
  const void *function;  // of a kernel
  std::function<void()> run;
};

// An action in a stream's queue. It runs after all earlier work of its stream and after `after`. As on
// a busy card, it starts late: when a thread waits for it or asks about it, otherwise at `due`. So a
// program that forgets to wait sees the old values.
struct Work {
  std::function<void()> run;  // empty: only a place to wait for
  std::vector<std::shared_ptr<Work>> after;
  Stream *stream;   // lives until the work is done
  uint64_t number;  // in its stream
  Clock::time_point due;
  bool done = false;
};

struct Capture;
struct Node;

struct Stream : Object {
  unsigned flags = 0;
  int priority = 0;
  std::deque<std::shared_ptr<Work>> queue;
  std::shared_ptr<Work> last;
  uint64_t given = 0, wanted = 0;  // numbers of the last work submitted, and waited for
  bool destroyed = false;
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> tail;  // dependencies of the next captured node
  std::vector<CUgraphNode> tail_handles;    // the array that cuStreamGetCaptureInfo returned
};

std::shared_ptr<Stream> new_stream(Context &context, unsigned flags, int priority);
std::shared_ptr<Stream> get_stream(Context &context, CUstream handle);
void submit(Stream &stream, Action action);  // enqueues or captures
void finish(Stream &stream);                 // waits, and throws the context's error
void finish(Context &context);
void close_streams(Context &context);        // waits, and ends their threads

// ---- graph.cpp

void record(Stream &stream, Action action);
void require_unbroken(const Capture &capture);

// For a call that could synchronise: if that breaks captures, ends them and throws.
void refuse_in_capture(bool any_mode);
// The same for work on the null stream, for which all blocking streams wait.
void refuse_null_stream_in_capture(Context &context);
// Ends a capture whose stream was used in a way that cannot be captured; throws code.
[[noreturn]] void break_capture(Stream &stream, CUresult code, const std::string &why);
// A stream waits for an event of a capture.
void join_capture(Stream &stream, const std::shared_ptr<Capture> &capture,
                  const std::vector<std::shared_ptr<Node>> &nodes);
void drop_captures(Context &context);

// ---- count.cpp

bool counting();
void count_launch(const std::string &kernel, const ptx::Counts &counts);
void write_counts();

}  // namespace emulator

// Streams, each with a thread that runs its work in order, and events.
#include "driver.h"

namespace emulator {

// How long work waits to be asked for: longer than a program needs to reach its mistake, even on a busy
// machine.
static constexpr auto patience = std::chrono::seconds(1);

// Lets the work start, with all earlier work of its stream.
static void want(const Work &work) {
  if (work.done) return;
  work.stream->wanted = std::max(work.stream->wanted, work.number);
  changed.notify_all();
}

static void wait_for(const std::shared_ptr<Work> &work) {
  if (!work) return;
  want(*work);
  changed.wait(mutex, [&] { return work->done; });
}

// The error code that a card would report for a fault of a kernel.
static CUresult fault_code(ptx::Fault::Kind kind) {
  switch (kind) {
    case ptx::Fault::address: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case ptx::Fault::misaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    case ptx::Fault::illegal_instruction: return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case ptx::Fault::deadlock: return CUDA_ERROR_LAUNCH_TIMEOUT;
    case ptx::Fault::trap:
    case ptx::Fault::race:
    case ptx::Fault::launch: return CUDA_ERROR_LAUNCH_FAILED;
  }
  return CUDA_ERROR_UNKNOWN;
}

static CUresult run(const std::function<void()> &action) {
  try {
    action();
    return CUDA_SUCCESS;
  } catch (const ptx::Fault &fault) {
    say(fault.what());
    return fault_code(fault.kind);
  } catch (const Error &error) {
    if (!error.why.empty()) say("a copy or fill: " + error.why);
    return error.code;
  } catch (const std::exception &error) {  // memory or threads of this machine
    say(error.what());
    return CUDA_ERROR_OPERATING_SYSTEM;
  }
}

// The thread of a stream.
static void serve(std::shared_ptr<Stream> stream) {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] { return !stream->queue.empty() || stream->destroyed; });
    if (stream->queue.empty()) {
      if (stream->context) std::erase(stream->context->streams, stream);
      return;
    }
    std::shared_ptr<Work> work = stream->queue.front();
    changed.wait_until(lock, work->due, [&] { return stream->wanted >= work->number; });
    for (auto &before : work->after) {
      want(*before);
      changed.wait(lock, [&] { return before->done; });
    }
    work->after.clear();
    Context &context = *stream->context;
    if (work->run && context.error == CUDA_SUCCESS) {
      lock.unlock();
      CUresult code = run(work->run);
      lock.lock();
      if (context.error == CUDA_SUCCESS) context.error = code;
    }
    work->run = nullptr;
    work->done = true;
    stream->queue.pop_front();
    changed.notify_all();
  }
}

std::shared_ptr<Stream> new_stream(Context &context, unsigned flags, int priority) {
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->flags = flags;
  stream->priority = priority;
  context.streams.push_back(stream);
  std::thread(serve, stream).detach();
  return stream;
}

std::shared_ptr<Stream> get_stream(Context &context, CUstream handle) {
  if (!handle || handle == CU_STREAM_LEGACY) return context.null_stream;
  require(handle != CU_STREAM_PER_THREAD, CUDA_ERROR_NOT_SUPPORTED, "the emulator has no stream per thread");
  return get<Stream>(&context, handle);
}

static bool blocks(const Stream &stream) { return !(stream.flags & CU_STREAM_NON_BLOCKING); }

// Submits work to a stream. The null stream and blocking streams wait for each other.
static std::shared_ptr<Work> enqueue(Stream &stream, std::function<void()> action,
                                     std::shared_ptr<Work> after = nullptr) {
  auto work = std::make_shared<Work>();
  work->run = std::move(action);
  work->stream = &stream;
  work->number = ++stream.given;
  work->due = Clock::now() + patience;
  if (after && !after->done) work->after.push_back(after);
  Stream &null = *stream.context->null_stream;
  for (auto &other : stream.context->streams) {
    bool related = &stream == &null ? other.get() != &null && blocks(*other) : other.get() == &null && blocks(stream);
    if (related && other->last && !other->last->done) work->after.push_back(other->last);
  }
  stream.queue.push_back(work);
  stream.last = work;
  changed.notify_all();
  return work;
}

void submit(Stream &stream, Action action) {
  if (auto code = take_planted_error()) action.run = [code] { throw Error{*code}; };
  if (stream.capture) return record(stream, std::move(action));
  if (&stream == stream.context->null_stream.get()) refuse_null_stream_in_capture(*stream.context);
  enqueue(stream, std::move(action.run));
}

static void wait_all(Context &context) {
  auto streams = context.streams;
  for (auto &stream : streams)
    if (stream->last) want(*stream->last);
  for (auto &stream : streams) wait_for(stream->last);
  if (counting()) write_counts();
}

void finish(Stream &stream) {
  Context &context = *stream.context;
  wait_for(stream.last);
  if (counting()) write_counts();
  require(context.error == CUDA_SUCCESS, context.error);
}

void finish(Context &context) {
  wait_all(context);
  require(context.error == CUDA_SUCCESS, context.error);
}

void close_streams(Context &context) {
  wait_all(context);
  for (auto &stream : context.streams) {
    stream->destroyed = true;
    stream->context = nullptr;
  }
  context.streams.clear();
  changed.notify_all();
}

struct Event : Object {
  unsigned flags;
  // Recorded in a stream: done when the stream reached it, at *time.
  std::shared_ptr<Work> work;
  std::shared_ptr<Clock::time_point> time;
  // Recorded in a capture: after these nodes.
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> nodes;
};

static void refuse_captured(const Event &event) {
  require(!event.capture, CUDA_ERROR_CAPTURED_EVENT, "the event was last recorded in a capture");
}

static void refuse_capturing(Stream &stream, const char *what) {
  if (stream.capture) break_capture(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, what);
  if (&stream == stream.context->null_stream.get()) refuse_null_stream_in_capture(*stream.context);
}

}  // namespace emulator

using namespace emulator;

static CUresult create_stream(const char *entry_point, CUstream *handle, unsigned flags, int priority) {
  return entry(entry_point, initialised, [&](Context &context) {
    require(handle && flags <= CU_STREAM_NON_BLOCKING, CUDA_ERROR_INVALID_VALUE,
            "no place for the handle, or unknown flags");
    *handle = publish<CUstream>(new_stream(context, flags, priority));
  });
}

CUresult cuStreamCreate(CUstream *handle, unsigned flags) { return create_stream(__func__, handle, flags, 0); }

CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
  return create_stream(__func__, handle, flags, priority);
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
  return entry(__func__, initialised, [&](Context &context) {
    require(priority, CUDA_ERROR_INVALID_VALUE);
    *priority = get_stream(context, handle)->priority;
  });
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
  return entry(__func__, initialised, [&](Context &context) {
    require(flags, CUDA_ERROR_INVALID_VALUE);
    *flags = get_stream(context, handle)->flags;
  });
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return entry(__func__, initialised, [&](Context &) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
  });
}

// Returns at once: the stream ends when its work is done.
CUresult cuStreamDestroy(CUstream handle) {
  return entry(__func__, initialised, [&](Context &context) {
    auto stream = get<Stream>(&context, handle);
    stream->destroyed = true;
    forget(handle);
    changed.notify_all();
    if (stream->capture) break_capture(*stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a stream that is captured");
  });
}

CUresult cuStreamSynchronize(CUstream handle) {
  return entry(__func__, initialised, [&](Context &context) {
    auto stream = get_stream(context, handle);
    refuse_capturing(*stream, "a stream that is captured has nothing to wait for");
    refuse_in_capture(false);
    finish(*stream);
  });
}

CUresult cuStreamQuery(CUstream handle) {
  return entry(__func__, initialised, [&](Context &context) {
    auto stream = get_stream(context, handle);
    refuse_capturing(*stream, "a stream that is captured has nothing to ask about");
    refuse_in_capture(false);
    if (!stream->last) return;
    want(*stream->last);
    require(stream->last->done, CUDA_ERROR_NOT_READY);
  });
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned flags) {
  return entry(__func__, initialised, [&](Context &context) {
    require(flags == 0, CUDA_ERROR_NOT_SUPPORTED, "the emulator knows no flags of cuStreamWaitEvent");
    auto stream = get_stream(context, handle);
    auto event = get<Event>(nullptr, event_handle);
    if (event->capture) return join_capture(*stream, event->capture, event->nodes);
    if (stream->capture)
      break_capture(*stream, CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "the event was not recorded in the capture");
    if (event->work) enqueue(*stream, nullptr, event->work);
  });
}

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  return entry(__func__, initialised, [&](Context &context) {
    require(handle && flags <= (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING), CUDA_ERROR_INVALID_VALUE,
            "no place for the handle, or unknown flags");
    auto event = std::make_shared<Event>();
    event->context = &context;
    event->flags = flags;
    *handle = publish<CUevent>(event);
  });
}

CUresult cuEventDestroy(CUevent handle) {
  return entry(__func__, initialised, [&](Context &context) {
    get<Event>(&context, handle);
    forget(handle);
  });
}

CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
  return entry(__func__, initialised, [&](Context &context) {
    auto event = get<Event>(&context, handle);
    auto stream = get_stream(context, stream_handle);
    if (stream->capture) require_unbroken(*stream->capture);
    event->capture = stream->capture;
    event->nodes = stream->tail;
    event->work = nullptr;
    if (stream->capture) return;
    if (stream == context.null_stream) refuse_null_stream_in_capture(context);
    event->time = std::make_shared<Clock::time_point>();
    event->work = enqueue(*stream, [time = event->time] { *time = Clock::now(); });
  });
}

CUresult cuEventQuery(CUevent handle) {
  return entry(__func__, unsafe, [&](Context &context) {
    auto event = get<Event>(&context, handle);
    refuse_captured(*event);
    if (!event->work) return;
    want(*event->work);
    require(event->work->done, CUDA_ERROR_NOT_READY);
  });
}

CUresult cuEventSynchronize(CUevent handle) {
  return entry(__func__, unsafe, [&](Context &context) {
    auto event = get<Event>(&context, handle);
    refuse_captured(*event);
    wait_for(event->work);
    if (counting()) write_counts();
    require(context.error == CUDA_SUCCESS, context.error);
  });
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start_handle, CUevent end_handle) {
  return entry(__func__, initialised, [&](Context &context) {
    require(milliseconds, CUDA_ERROR_INVALID_VALUE);
    auto start = get<Event>(&context, start_handle), end = get<Event>(&context, end_handle);
    for (auto &event : {start, end}) {
      refuse_captured(*event);
      require(!(event->flags & CU_EVENT_DISABLE_TIMING), CUDA_ERROR_INVALID_HANDLE, "an event without timing");
      require(event->work != nullptr, CUDA_ERROR_INVALID_HANDLE, "an event that was never recorded");
    }
    for (auto &event : {start, end}) {
      want(*event->work);
      require(event->work->done, CUDA_ERROR_NOT_READY);
    }
    *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  });
}

// Capture of streams into graphs, and their replay.
#include <algorithm>
#include <random>

#include "driver.h"

namespace emulator {

struct Graph;

// A node holds all data of its action: kernel parameters were copied at the capture.
struct Node : Object {
  Action action;
  std::vector<std::shared_ptr<Node>> after;
  CUgraphNode handle;
};

struct Graph : Object {
  std::vector<std::shared_ptr<Node>> nodes;  // each behind those that it depends on
};

struct Capture {
  cuuint64_t id;
  CUstreamCaptureMode mode;
  std::thread::id thread;
  Context *context;
  std::shared_ptr<Stream> origin;
  std::vector<std::shared_ptr<Stream>> streams;
  std::shared_ptr<Graph> graph;
  CUgraph handle;
  bool broken = false;
};

static std::vector<std::shared_ptr<Capture>> &captures() {
  static auto &ongoing = *new std::vector<std::shared_ptr<Capture>>;
  return ongoing;
}

static bool is_ongoing(const Capture &capture) {
  return std::any_of(captures().begin(), captures().end(), [&](auto &c) { return c.get() == &capture; });
}

void require_unbroken(const Capture &capture) { require(!capture.broken, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED); }

void record(Stream &stream, Action action) {
  require_unbroken(*stream.capture);
  auto node = std::make_shared<Node>();
  node->context = stream.context;
  node->action = std::move(action);
  node->after = stream.tail;
  node->handle = publish<CUgraphNode>(node);
  stream.capture->graph->nodes.push_back(node);
  stream.tail = {node};
}

void break_capture(Stream &stream, CUresult code, const std::string &why) {
  stream.capture->broken = true;
  throw Error{code, why};
}

void refuse_in_capture(bool any_mode) {
  bool refused = false;
  for (auto &capture : captures()) {
    bool forbids =
        any_mode || capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
        (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread == std::this_thread::get_id());
    if (forbids) capture->broken = refused = true;
  }
  require(!refused, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a call that may synchronise, while a stream is captured");
}

void refuse_null_stream_in_capture(Context &context) {
  bool refused = false;
  for (auto &capture : captures())
    for (auto &stream : capture->streams)
      if (capture->context == &context && !(stream->flags & CU_STREAM_NON_BLOCKING)) capture->broken = refused = true;
  require(!refused, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
          "the null stream would have to wait for a stream that is captured and was created without "
          "CU_STREAM_NON_BLOCKING");
}

void join_capture(Stream &stream, const std::shared_ptr<Capture> &capture,
                  const std::vector<std::shared_ptr<Node>> &nodes) {
  require(is_ongoing(*capture), CUDA_ERROR_CAPTURED_EVENT, "the capture in which the event was recorded has ended");
  require_unbroken(*capture);
  if (stream.capture && stream.capture != capture) {
    stream.capture->broken = capture->broken = true;
    throw Error{CUDA_ERROR_STREAM_CAPTURE_MERGE, "the event was recorded in another capture"};
  }
  if (&stream == stream.context->null_stream.get()) {
    capture->broken = true;
    throw Error{CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "the null stream cannot be captured"};
  }
  if (!stream.capture) {
    stream.capture = capture;
    for (auto &other : stream.context->streams)
      if (other.get() == &stream) capture->streams.push_back(other);
  }
  for (auto &node : nodes)
    if (std::find(stream.tail.begin(), stream.tail.end(), node) == stream.tail.end()) stream.tail.push_back(node);
}

static void end(const std::shared_ptr<Capture> &capture) {
  for (auto &stream : capture->streams) {
    stream->capture = nullptr;
    stream->tail.clear();
  }
  std::erase(captures(), capture);
}

static void drop(const Graph &graph, CUgraph handle) {
  for (auto &node : graph.nodes) forget(node->handle);
  forget(handle);
}

void drop_captures(Context &context) {
  auto ongoing = captures();
  for (auto &capture : ongoing)
    if (capture->context == &context) end(capture);
}

// Says whether the origin's next work would wait for all work of the other streams.
static bool is_joined(const Capture &capture) {
  std::vector<std::shared_ptr<Node>> reached = capture.origin->tail;
  for (size_t i = 0; i < reached.size(); i++)
    for (auto &before : reached[i]->after)
      if (std::find(reached.begin(), reached.end(), before) == reached.end()) reached.push_back(before);
  return reached.size() == capture.graph->nodes.size();
}

// A graph as it was instantiated; dependencies are indices.
struct Step {
  Action action;
  std::vector<size_t> after;
};

struct Exec : Object {
  std::shared_ptr<const std::vector<Step>> steps;
  unsigned launches = 0;
};

static std::shared_ptr<const std::vector<Step>> steps_of(const Graph &graph) {
  std::map<const Node *, size_t> index;
  auto steps = std::make_shared<std::vector<Step>>();
  for (auto &node : graph.nodes) {
    Step step{node->action, {}};
    for (auto &before : node->after) step.after.push_back(index.at(before.get()));
    std::sort(step.after.begin(), step.after.end());
    index[node.get()] = steps->size();
    steps->push_back(step);
  }
  return steps;
}

// Runs all steps; with a seed, in a random order that the dependencies allow.
static void run_steps(const std::vector<Step> &steps, std::optional<unsigned> seed) {
  std::mt19937 random(seed.value_or(0));
  std::vector<bool> done(steps.size());
  for (size_t count = 0; count < steps.size(); count++) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < steps.size(); i++)
      if (!done[i] && std::all_of(steps[i].after.begin(), steps[i].after.end(), [&](size_t j) { return done[j]; }))
        ready.push_back(i);
    size_t next = ready[seed ? random() % ready.size() : 0];
    steps[next].action.run();
    done[next] = true;
  }
}

static Action replay(Exec &exec) {
  std::optional<unsigned> seed;
  if (settings().order) seed = settings().order + exec.launches++;
  return {CU_GRAPH_NODE_TYPE_GRAPH, nullptr, [steps = exec.steps, seed] { run_steps(*steps, seed); }};
}

static CUresult instantiate(const char *entry_point, CUgraphExec *handle, CUgraph graph_handle,
                            unsigned long long flags) {
  return entry(entry_point, initialised, [&](Context &context) {
    require(handle && flags == 0, CUDA_ERROR_INVALID_VALUE,
            "no place for the handle, or flags; the emulator supports none");
    auto graph = get<Graph>(&context, graph_handle);
    for (auto &capture : captures())
      require(capture->graph != graph, CUDA_ERROR_INVALID_VALUE, "the graph is still being captured");
    auto exec = std::make_shared<Exec>();
    exec->context = &context;
    exec->steps = steps_of(*graph);
    *handle = publish<CUgraphExec>(exec);
  });
}

static CUresult begin_capture(const char *entry_point, CUstream handle, CUstreamCaptureMode mode) {
  return entry(entry_point, initialised, [&](Context &context) {
    require(mode <= CU_STREAM_CAPTURE_MODE_RELAXED, CUDA_ERROR_INVALID_VALUE, "unknown mode");
    auto stream = get_stream(context, handle);
    require(stream != context.null_stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the null stream cannot be captured");
    require(!stream->capture, CUDA_ERROR_ILLEGAL_STATE, "the stream is being captured already");
    static cuuint64_t last_id = 0;
    auto capture = std::make_shared<Capture>();
    capture->id = ++last_id;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->context = &context;
    capture->origin = stream;
    capture->streams = {stream};
    capture->graph = std::make_shared<Graph>();
    capture->graph->context = &context;
    capture->handle = publish<CUgraph>(capture->graph);
    captures().push_back(capture);
    stream->capture = capture;
  });
}

// The status of a stream's capture, for a call that is allowed during it.
static CUstreamCaptureStatus status(Context &context, Stream &stream) {
  if (&stream == context.null_stream.get()) refuse_null_stream_in_capture(context);
  if (!stream.capture) return CU_STREAM_CAPTURE_STATUS_NONE;
  return stream.capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

// Compares a graph with the instantiated one; returns the difference.
static CUgraphExecUpdateResultInfo compare(const std::vector<Step> &old, const Graph &graph) {
  auto steps = steps_of(graph);
  if (old.size() != steps->size()) return {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, nullptr, nullptr};
  for (size_t i = 0; i < old.size(); i++) {
    const Step &a = old[i], &b = (*steps)[i];
    CUgraphNode node = graph.nodes[i]->handle;
    if (a.after != b.after) return {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, node, nullptr};
    if (a.action.type != b.action.type) return {CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, node, nullptr};
  }
  return {CU_GRAPH_EXEC_UPDATE_SUCCESS, nullptr, nullptr};
}

}  // namespace emulator

using namespace emulator;

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  return begin_capture(__func__, handle, mode);
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  return entry(__func__, initialised, [&](Context &context) {
    require(graph, CUDA_ERROR_INVALID_VALUE);
    *graph = nullptr;
    auto stream = get_stream(context, handle);
    auto capture = stream->capture;
    require(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE, "the stream is not being captured");
    if (capture->origin != stream)
      break_capture(*stream, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture began in another stream");
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id())
      break_capture(*stream, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "the capture began in another thread");
    bool joined = is_joined(*capture);
    end(capture);
    if (capture->broken || !joined) drop(*capture->graph, capture->handle);
    require_unbroken(*capture);
    require(joined, CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
            "the stream does not wait for all work of the streams that joined");
    *graph = capture->handle;
  });
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *answer) {
  return entry(__func__, initialised, [&](Context &context) {
    require(answer, CUDA_ERROR_INVALID_VALUE);
    *answer = status(context, *get_stream(context, handle));
  });
}

CUresult cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus *answer, cuuint64_t *id, CUgraph *graph,
                                const CUgraphNode **tail, size_t *count) {
  return entry(__func__, initialised, [&](Context &context) {
    require(answer, CUDA_ERROR_INVALID_VALUE);
    auto stream = get_stream(context, handle);
    *answer = status(context, *stream);
    if (*answer != CU_STREAM_CAPTURE_STATUS_ACTIVE) return;
    stream->tail_handles.clear();
    for (auto &node : stream->tail) stream->tail_handles.push_back(node->handle);
    if (id) *id = stream->capture->id;
    if (graph) *graph = stream->capture->handle;
    if (tail) *tail = stream->tail_handles.data();
    if (count) *count = stream->tail_handles.size();
  });
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
  return entry(__func__, initialised, [&](Context &context) {
    require(count, CUDA_ERROR_INVALID_VALUE);
    auto graph = get<Graph>(&context, handle);
    if (nodes)
      for (size_t i = 0; i < *count; i++) nodes[i] = i < graph->nodes.size() ? graph->nodes[i]->handle : nullptr;
    *count = nodes ? std::min(*count, graph->nodes.size()) : graph->nodes.size();
  });
}

CUresult cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType *type) {
  return entry(__func__, initialised, [&](Context &context) {
    require(type, CUDA_ERROR_INVALID_VALUE);
    *type = get<Node>(&context, handle)->action.type;
  });
}

CUresult cuGraphDestroy(CUgraph handle) {
  return entry(__func__, initialised, [&](Context &context) {
    auto graph = get<Graph>(&context, handle);
    for (auto &capture : captures())
      require(capture->graph != graph, CUDA_ERROR_INVALID_VALUE, "the graph is still being captured");
    drop(*graph, handle);
  });
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream) {
  return entry(__func__, initialised, [&](Context &context) {
    auto exec = get<Exec>(&context, handle);
    submit(*get_stream(context, stream), replay(*exec));
  });
}

CUresult cuGraphExecUpdate(CUgraphExec handle, CUgraph graph_handle, CUgraphExecUpdateResultInfo *result) {
  return entry(__func__, initialised, [&](Context &context) {
    require(result, CUDA_ERROR_INVALID_VALUE);
    auto exec = get<Exec>(&context, handle);
    auto graph = get<Graph>(&context, graph_handle);
    *result = compare(*exec->steps, *graph);
    require(result->result == CU_GRAPH_EXEC_UPDATE_SUCCESS, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    exec->steps = steps_of(*graph);
  });
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  return entry(__func__, initialised, [&](Context &context) {
    get<Exec>(&context, handle);
    forget(handle);
  });
}

// cuda.h gives the newest version the plain name; older programs ask for the other names.
#undef cuGraphInstantiate

CUresult cuGraphInstantiateWithFlags(CUgraphExec *handle, CUgraph graph, unsigned long long flags) {
  return instantiate(__func__, handle, graph, flags);
}

static void no_log(char *log, size_t size) {
  if (log && size > 0) *log = 0;
}

extern "C" CUresult cuGraphInstantiate(CUgraphExec *handle, CUgraph graph, CUgraphNode *, char *log, size_t size) {
  no_log(log, size);
  return instantiate(__func__, handle, graph, 0);
}

extern "C" CUresult cuGraphInstantiate_v2(CUgraphExec *handle, CUgraph graph, CUgraphNode *, char *log, size_t size) {
  no_log(log, size);
  return instantiate(__func__, handle, graph, 0);
}

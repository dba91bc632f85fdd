"""onnxruntime or OpenVINO as a peer: the network of onnx_model.py, in float32, with their own
optimisations."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import safetensors.numpy

import idx
import onnx_model
from serve import CHECKED, arguments, fastest, serve


def with_onnxruntime(model: bytes, threads: int, streams: int):
    """A function from images to the model's outputs for every stream, which share the threads, and the
    version."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads // streams, 1

    def stream():
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images})[0]

    return [stream() for _ in range(streams)], {"onnxruntime": onnxruntime.__version__}


def with_openvino(model: bytes, threads: int, streams: int):
    """The same with OpenVINO, which by default computes in bfloat16 if the processor can."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"})

    def stream():
        request = compiled.create_infer_request()
        return lambda images: request.infer([images], share_inputs=True, share_outputs=True)[0]

    return [stream() for _ in range(streams)], {"OpenVINO": openvino.__version__}


RUNTIMES = {"onnxruntime": with_onnxruntime, "openvino": with_openvino}


class Inference:
    """Test images in their order, a batch for each stream in a step: their loss and hits in eval, their
    probabilities in predict."""

    def __init__(self, args, batch_size: int, streams: int):
        self._batch_size, self.images = batch_size, batch_size * streams
        self.form = f"batch {batch_size}" + (f", {streams} at once" if streams > 1 else "")
        self._bytes, self._labels = idx.arrays(args.data, "test")
        self._predict = args.mode == "predict"
        weights = safetensors.numpy.load_file(args.weights)
        model = onnx_model.build(weights, batch_size, probabilities=self._predict)
        self._streams, self.versions = RUNTIMES[args.runtime](model, args.threads, streams)
        self._map = map if streams == 1 else ThreadPoolExecutor(streams).map
        self._first, self._loss, self._hits = 0, 0.0, 0

    def check(self) -> dict:
        batches = (self._bytes[first : first + self._batch_size] for first in range(0, CHECKED, self._batch_size))
        outputs = [run(batch).copy() for batch, run in zip(batches, itertools.cycle(self._streams))]
        return {"outputs": np.concatenate(outputs)[:CHECKED].tolist()}

    def milliseconds(self, steps: int) -> list[float]:
        times = []
        for _ in range(steps):
            firsts = [self._first + i * self._batch_size for i in range(len(self._streams))]
            self._first = (self._first + self.images) % (len(self._bytes) - self.images + 1)
            start = time.perf_counter()
            for _ in self._map(self._step, self._streams, firsts):
                pass
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def _step(self, run, first: int) -> None:
        batch = slice(first, first + self._batch_size)
        outputs = run(self._bytes[batch])
        if not self._predict:  # totals, as an evaluation has them
            labels = self._labels[batch]
            losses = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(len(labels)), labels]
            self._loss += float(losses.sum())
            self._hits += int((outputs.argmax(1) == labels).sum())


def make():
    args = arguments(runtime="onnxruntime")
    streams = [1, args.threads] if args.mode == "eval" and args.threads > 1 else [1]
    return fastest([Inference(args, size, count) for size in args.batch_sizes for count in streams])


serve(make)

"""The network as an ONNX model, from weights under PyTorch's names."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def build(weights: dict[str, np.ndarray], batch: int, probabilities: bool) -> bytes:
    """A model from bytes [batch,28,28] to logits, or probabilities, [batch,10]."""
    graph = Graph(weights)
    x = graph.add("Cast", "images", to=TensorProto.FLOAT)
    x = graph.add("Div", x, graph.constant(np.float32(255)))
    x = graph.reshape(x, batch, 1, 28, 28)
    for layer in ("layer1", "layer2"):
        x = graph.add("Conv", x, f"{layer}.0.weight", f"{layer}.0.bias", pads=[2, 2, 2, 2])
        norm = (f"{layer}.1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))
        x = graph.add("BatchNormalization", x, *norm, epsilon=1e-5)
        x = graph.add("MaxPool", graph.add("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    steps, width = 56, weights["rnn.weight_ih_l0"].shape[1]
    x = graph.add("Transpose", graph.reshape(x, batch, steps, width), perm=[1, 0, 2])
    for layer in range(sum(name.startswith("rnn.weight_ih_l") for name in weights)):
        inputs, hidden = (weights[f"rnn.weight_{part}_l{layer}"] for part in ("ih", "hh"))
        biases = [weights[f"rnn.bias_{part}_l{layer}"] for part in ("ih", "hh")]
        size = len(hidden)
        # ONNX's RNN has a dimension for directions; here there is one.
        parts = (graph.constant(part[None]) for part in (inputs, hidden, np.concatenate(biases)))
        outputs, last = graph.add("RNN", x, *parts, outputs=2, hidden_size=size, activations=["Tanh"])
        x = graph.reshape(outputs, steps, batch, size)
    x = graph.add("Gemm", graph.reshape(last, batch, size), "fc.weight", "fc.bias", transB=1)
    return graph.model(graph.add("Softmax", x, axis=1) if probabilities else x, batch)


class Graph:
    """The nodes and constants so far; a value is known by its name."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self._nodes, self._values = [], 0
        self._constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes):
        """The name of the node's output, or the names if it has several."""
        names = [self._name() for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array) -> str:
        name = self._name()
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def model(self, output: str, batch: int) -> bytes:
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, 28, 28])
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 10])
        used = {name for node in self._nodes for name in node.input}
        constants = [tensor for tensor in self._constants if tensor.name in used]
        graph = helper.make_graph(self._nodes, "crnn", [images], [result], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()

    def _name(self) -> str:
        self._values += 1
        return f"value{self._values}"

"""JAX as a peer: a training step of the recipe, compiled by XLA as one program. It has the fastest form
among those tried on the CPU: channels last, maximum pooling by comparison (the gradient of
reduce_window is slow), and the RNN as a scan over the time steps per layer."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import lax

import idx
from serve import CHECKED, arguments, serve

LEARNING_RATE, BETA1, BETA2, EPSILON = 0.0005, 0.9, 0.999, 1e-8
DROPOUT = 0.4


def parameters(weights: dict[str, np.ndarray]) -> tuple[dict, list]:
    """The parameters in JAX's layout here, and the running statistics of BatchNorm."""
    params, statistics = {}, []
    for layer in ("layer1", "layer2"):
        params[layer] = {
            "kernel": weights[f"{layer}.0.weight"].transpose(2, 3, 1, 0),
            "bias": weights[f"{layer}.0.bias"],
            "gamma": weights[f"{layer}.1.weight"],
            "beta": weights[f"{layer}.1.bias"],
        }
        statistics.append((weights[f"{layer}.1.running_mean"], weights[f"{layer}.1.running_var"]))
    params["rnn"] = [
        {
            "input": weights[f"rnn.weight_ih_l{layer}"].T,
            "hidden": weights[f"rnn.weight_hh_l{layer}"].T,
            "input_bias": weights[f"rnn.bias_ih_l{layer}"],
            "hidden_bias": weights[f"rnn.bias_hh_l{layer}"],
        }
        for layer in range(sum(name.startswith("rnn.weight_ih_l") for name in weights))
    ]
    params["fc"] = {"weight": weights["fc.weight"].T, "bias": weights["fc.bias"]}
    return jax.tree.map(jnp.array, (params, statistics))


def convolution_block(p: dict, x, running, train: bool):
    """[n,H,W,C] to [n,H/2,W/2,D], and the new running statistics."""
    x = lax.conv_general_dilated(x, p["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x += p["bias"]
    mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else running
    if train:
        count = x.size // x.shape[-1]
        now = mean, variance * (count / (count - 1))
        running = [0.9 * old + 0.1 * new for old, new in zip(running, now)]
    x = jax.nn.relu((x - mean) * (p["gamma"] * lax.rsqrt(variance + 1e-5)) + p["beta"])
    return pool(x), tuple(running)


def pool(x):
    """The maximum of 2x2; among equal values the first gets the gradient, as in PyTorch."""
    greater = lambda a, b: jnp.where(a >= b, a, b)
    above = greater(x[:, ::2, ::2], x[:, ::2, 1::2])
    below = greater(x[:, 1::2, ::2], x[:, 1::2, 1::2])
    return greater(above, below)


def recurrent_layer(p: dict, x):
    """[n,T,I] to [n,T,H]."""
    projected = x.swapaxes(0, 1) @ p["input"] + (p["input_bias"] + p["hidden_bias"])

    def cell(h, now):
        h = jnp.tanh(now + h @ p["hidden"])
        return h, h

    _, outputs = lax.scan(cell, jnp.zeros(projected.shape[1:]), projected)
    return outputs.swapaxes(0, 1)


def forward(params: dict, statistics: list, images, train: bool, keep, key):
    """Logits of images as bytes [n,28,28], and the new running statistics. The kept share of
    dropout is an argument of the compiled program, so that the timed program can be compared without it."""
    x = images[..., None].astype(jnp.float32) / 255
    running = []
    for layer, old in zip(("layer1", "layer2"), statistics):
        x, new = convolution_block(params[layer], x, old, train)
        running.append(new)
    x = x.transpose(0, 3, 1, 2).reshape(len(images), 56, -1)
    for number, layer in enumerate(params["rnn"]):
        if train and number:
            mask = jax.random.bernoulli(jax.random.fold_in(key, number), keep, x.shape)
            x = jnp.where(mask, x / keep, 0)
        x = recurrent_layer(layer, x)
    return x[:, -1] @ params["fc"]["weight"] + params["fc"]["bias"], running


def train_step(state: dict, images, labels, keep):
    """The state after a step, and the mean loss of the batch before it."""

    def loss_of(params):
        logits, running = forward(params, state["statistics"], images, True, keep, key)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
        return loss, (running, (logits.argmax(1) == labels).sum())

    key, next_key = jax.random.split(state["key"])
    (loss, (running, hits)), grads = jax.value_and_grad(loss_of, has_aux=True)(state["params"])
    step = state["step"] + 1
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state["first"], grads)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state["second"], grads)
    rate, scale = LEARNING_RATE / (1 - BETA1**step), 1 / jnp.sqrt(1 - BETA2**step)
    update = lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPSILON)
    return {
        "params": jax.tree.map(update, state["params"], first, second),
        "first": first,
        "second": second,
        "statistics": running,
        "step": step,
        "key": next_key,
        "loss": state["loss"] + loss * len(images),  # totals, as an epoch has them
        "hits": state["hits"] + hits,
    }, loss


class Training:
    versions = {"JAX": jax.__version__}

    def __init__(self, args):
        (self.images,) = args.batch_sizes
        self.form = f"batch {self.images}"
        self._images, self._labels = idx.arrays(args.data, "train")
        self._test_images, _ = idx.arrays(args.data, "test")
        self._random = np.random.default_rng(1)
        params, statistics = parameters(safetensors.numpy.load_file(args.weights))
        self._state = {
            "params": params,
            "first": jax.tree.map(jnp.zeros_like, params),
            "second": jax.tree.map(jnp.zeros_like, params),
            "statistics": statistics,
            "step": jnp.zeros(()),
            "key": jax.random.key(1),
            "loss": jnp.zeros(()),
            "hits": jnp.zeros((), jnp.int32),
        }
        self._train = jax.jit(train_step, donate_argnums=0)

    def check(self) -> dict:
        logits = jax.jit(forward, static_argnums=3)
        images = self._test_images[:CHECKED]
        outputs, _ = logits(self._state["params"], self._state["statistics"], images, False, 1.0, None)
        losses = [float(self._step(np.arange(self.images), keep=1.0)) for _ in range(2)]
        return {"outputs": outputs.tolist(), "losses": losses}

    def milliseconds(self, steps: int) -> list[float]:
        times = []
        for _ in range(steps):
            batch = self._random.integers(len(self._images), size=self.images)
            start = time.perf_counter()
            self._step(batch, keep=1 - DROPOUT)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def _step(self, batch: np.ndarray, keep: float):
        self._state, loss = self._train(self._state, self._images[batch], self._labels[batch], keep)
        jax.block_until_ready((self._state, loss))
        return loss


serve(lambda: Training(arguments()))

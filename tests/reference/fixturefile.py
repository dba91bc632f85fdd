"""The content of a fixture, and how it is written and compared."""

import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

# Between two processors, float64 results differ by some 1e-13 before they are rounded to
# float32, whose step is 1.2e-7: a result may land on the neighbouring float32.
RELATIVE_TOLERANCE = 1e-6

# Parts that differ when a fixture is made on another machine: versions, and PyTorch's own float32
# results, which are kept to justify tolerances.
VOLATILE_META = ("torch", "float32_error.")
VOLATILE_ARRAYS = "_float32"


class Fixture:
    """Named arrays and strings. given adds inputs, expect adds results."""

    def __init__(self, **sizes):
        self.arrays: dict[str, np.ndarray] = {}
        self.meta = {"torch": torch.__version__.split("+")[0]}
        self.meta |= {key: str(value) for key, value in sizes.items()}

    def given(self, **arrays) -> None:
        for name, array in arrays.items():
            self._put(name, array)

    def expect(self, double: dict, single: dict, dtype=np.float32, zero=()) -> None:
        """Stores results computed in float64, rounded to dtype. Their metadata
        float32_error.NAME is how far PyTorch's own float32 results are from them: the
        largest difference, divided by the largest magnitude of the array (undivided where
        the array is zero). The arrays named in zero, and only they, are all zero, of which
        tests should know; the metadata zero lists them."""
        if zero:
            self.meta["zero"] = " ".join(zero)
        for name, value in double.items():
            value, other = (to_numpy(v).astype(np.float64) for v in (value, single[name]))
            error = np.abs(other - value).max(initial=0)
            scale = np.abs(value).max(initial=0)
            if (scale == 0) != (name in zero):
                raise ValueError(f"{name} is {'all' if scale == 0 else 'not'} zero")
            self.meta[f"float32_error.{name}"] = f"{error / scale if scale else error:.2e}"
            self._put(name, value.astype(dtype))

    def _put(self, name: str, array) -> None:
        array = to_numpy(array)
        if array.dtype not in (np.float32, np.float64, np.int64, np.uint8):
            raise TypeError(f"{name} is {array.dtype}")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        self.arrays[name] = array

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.encode())

    def encode(self) -> bytes:
        """The bytes of a safetensors file with its metadata in order, so that making it
        again gives the same bytes (the library writes metadata in any order)."""
        data = safetensors.numpy.save(self.arrays, metadata=self.meta)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + data[8 + length:]

    def differences(self, path: Path) -> list[str]:
        """The differences between the file at path and this fixture, one per line."""
        try:
            with safetensors.safe_open(path, "np") as file:
                meta = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, safetensors.SafetensorError) as error:
            return [f"cannot be read: {error}"]
        found = [f"{name}: only in {where}" for name, where in only(arrays, self.arrays)]
        for name in sorted(arrays.keys() & self.arrays.keys()):
            if name.endswith(VOLATILE_ARRAYS):
                continue
            if line := difference(arrays[name], self.arrays[name]):
                found.append(f"{name}: {line}")
        steady = [{k: v for k, v in m.items() if not k.startswith(VOLATILE_META)} for m in (meta, self.meta)]
        found += [f"metadata {key}: only in {where}" for key, where in only(*steady)]
        found += [f"metadata {key}: {steady[0][key]} in the file, {steady[1][key]} now"
                  for key in sorted(steady[0].keys() & steady[1].keys()) if steady[0][key] != steady[1][key]]
        return found


def to_numpy(value) -> np.ndarray:
    """A tensor, array or number as a contiguous array of the same shape."""
    array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray turns [] into [1]


def only(old: dict, new: dict) -> list[tuple[str, str]]:
    """Keys that only one of the two has, and which one."""
    return [(key, "the file") for key in sorted(old.keys() - new.keys())] + \
        [(key, "what PyTorch gives now") for key in sorted(new.keys() - old.keys())]


def difference(old: np.ndarray, new: np.ndarray) -> str:
    """How two arrays differ by more than rounding, or ''."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{old.dtype}{list(old.shape)} in the file, {new.dtype}{list(new.shape)} now"
    if not np.issubdtype(old.dtype, np.floating):
        wrong = int((old != new).sum())
        return f"{wrong} of {old.size} values differ" if wrong else ""
    scale = np.abs(new).max(initial=0)
    error = np.abs(old.astype(np.float64) - new).max(initial=0)
    if not error <= RELATIVE_TOLERANCE * scale:  # also when it is NaN
        return f"differs by {error:.2g}, largest magnitude {scale:.2g}"
    return ""


class Weights(Fixture):
    """Writes a state_dict to a file as PyTorch's users do. image, the height, width and channels of
    the images, is given if they are not 28x28: the tensors do not show it."""

    def __init__(self, state: dict[str, torch.Tensor], image: tuple[int, int, int] | None = None):
        super().__init__()
        self.meta = {"format": "pt"}
        if image:
            self.meta["crnn.image"] = "x".join(map(str, image))
        self.state = {name: value.clone() for name, value in state.items()}
        self.given(**self.state)

    def encode(self) -> bytes:
        return safetensors.torch.save(self.state, metadata=self.meta)

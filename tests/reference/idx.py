"""Reading the IDX files of a data set, plain or .gz."""

import gzip
import os
import sys
import zlib
from pathlib import Path

import numpy as np

PREFIX = {"train": "train", "test": "t10k"}


def find(directory: str | None) -> Path:
    """The directory of the data set: the given one, else CRNN_DATA, the cache or the system's."""
    if directory or os.environ.get("CRNN_DATA"):
        return Path(directory or os.environ["CRNN_DATA"])
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or usual)
    places = [cache / "crnn" / "fashion-mnist", Path("/usr/share/datasets/fashion-mnist")]
    for place in places:
        if list(place.glob("train-images-idx3-ubyte*")):
            return place
    sys.exit("no data set in " + " or ".join(map(str, places)) + ": run `make data`, or name a directory with --data")


def load(directory: Path, split: str):
    """The result of arrays, as PyTorch tensors."""
    import torch  # here, since some peers in tests/peers work without it

    images, labels = arrays(directory, split)
    return torch.from_numpy(images), torch.from_numpy(labels)


def arrays(directory: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [count,height,width], or [count,channels,height,width] in colours, and labels [count] of
    a split, "train" or "test", as bytes."""
    if list(directory.glob(f"{PREFIX[split]}-images-idx4-ubyte*")):  # channels last
        images = read(directory / f"{PREFIX[split]}-images-idx4-ubyte", 4).transpose(0, 3, 1, 2).copy()
    else:
        images = read(directory / f"{PREFIX[split]}-images-idx3-ubyte", 3)
    labels = read(directory / f"{PREFIX[split]}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        sys.exit(f"{directory}: {len(images)} {split} images, {len(labels)} labels")
    return images, labels


def read(path: Path, dimensions: int) -> np.ndarray:
    """The bytes of a file, as an array of its shape."""
    zipped = path.with_name(path.name + ".gz")
    try:
        data = path.read_bytes() if path.exists() else gzip.decompress(zipped.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        sys.exit(f"{path}: {getattr(error, 'strerror', None) or error}")
    shape = np.frombuffer(data[4:4 + 4 * dimensions], ">u4")
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) != 4 + 4 * dimensions + int(np.prod(shape)):
        sys.exit(f"{path}: not an IDX file of {dimensions} dimensions, or cut")
    return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * dimensions).reshape(shape)

"""A smaller data set: the first images of another."""

from pathlib import Path


def cut(source: Path, folder: Path, training: int, test: int) -> None:
    """Writes IDX files with the first images and labels of the files in source."""
    folder.mkdir()
    for part, count in (("train", training), ("t10k", test)):
        for kind, dimensions in (("images-idx3", 3), ("labels-idx1", 1)):
            with open(source / f"{part}-{kind}-ubyte", "rb") as file:
                head = file.read(4 + 4 * dimensions)
                data = file.read(count * (28 * 28 if dimensions == 3 else 1))
            (folder / f"{part}-{kind}-ubyte").write_bytes(head[:4] + count.to_bytes(4, "big") + head[8:] + data)

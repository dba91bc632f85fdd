"""The files that the check needs on the machine with the GPU, in .tools/gpu-check: crnn, the tests of
package gpu as a program, the data set, and the Docker image's crnn, if scripts/image has built it."""

import gzip
import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

FOLDER = Path(".tools", "gpu-check")
IMAGE = Path(".tools", "image", "crnn")
# Limit of the tree with the packed files, in bytes: the usual limit for sending files to a machine.
MOST = 64 << 20
MANIFEST = "manifest.json"
PROGRAMS = "programs.tar.xz"
# The sources of the programs, and the files that the tests read.
SOURCES = (
    "cmd",
    "cpu",
    "data",
    "gpu",
    "internal",
    "kernels",
    "model",
    "report",
    "rng",
    "testdata",
    "tests/backendtest",
    "tests/fixture",
    "tests/probe",
    "train",
    "go.mod",
    "go.sum",
)
SUFFIXES = {".go", ".c", ".h", ".S", ".a", ".ptx", ".mod", ".sum", ".safetensors"}


@dataclass
class Tools:
    """The packed files, ready for use."""

    crnn: Path
    tests: Path
    data: Path
    image: Path  # crnn of the Docker image, None if it was not packed
    manifest: dict
    changed: bool  # the sources have changed since the programs were built


def pack(root: Path) -> None:
    folder = root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    build = folder / "build"
    run(root, "scripts/build", str(build))
    features = output(root, str(build / "crnn"), "version")
    if not has_cuda(features):
        sys.exit("gpu-check: crnn was built without CUDA support; what is missing for it stands above")
    where = output(root, str(build / "crnn"), "data", "where").strip()
    run(root, "strip", str(build / "crnn"))
    run(
        root,
        "scripts/with-cuda",
        "go",
        "test",
        "-c",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "-o",
        str(build / "gpu.test"),
        "./gpu",
    )
    if (root / IMAGE).exists() and has_cuda(output(root, str(root / IMAGE), "version")):
        run(root, "strip", "-o", str(build / "image-crnn"), str(root / IMAGE))
    programs = sorted(build.iterdir())
    libc = max((needed_libc(root, program) for program in programs), key=lambda v: [int(n) for n in v.split(".")])
    with tarfile.open(folder / PROGRAMS, "w:xz", preset=9) as archive:
        for program in programs:
            archive.add(program, program.name)
    shutil.rmtree(build)
    pack_data(Path(where), folder / "data")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "packed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": features.strip().splitlines(),
        "sources": sources(root),
        "glibc": libc,
        "bytes": {str(path.relative_to(folder)): path.stat().st_size for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    total = sum(manifest["bytes"].values())
    for name, size in manifest["bytes"].items():
        print(f"{size / 1e6:7.1f} MB  {name}")
    print(f"{total / 1e6:7.1f} MB  in {FOLDER}; the programs need Linux on x86-64 with glibc {libc} or newer")
    tree = tree_bytes(root)
    print(f"{(total + tree) / 1e6:7.1f} MB  with the tree of sources around it, of {MOST / 1e6:.0f} at most")
    if total + tree > MOST:
        sys.exit("gpu-check: that is too much to send to a machine")


def tree_bytes(root: Path) -> int:
    """The size of the files that git tracks or would track."""
    names = output(root, "git", "ls-files", "-coz", "--exclude-standard").split("\0")
    return sum((root / name).stat().st_size for name in names if name and (root / name).is_file())


def has_cuda(version: str) -> bool:
    """Whether a program has CUDA support, by what its command version prints."""
    return bool(re.search(r"^build features:.*(?<!no) CUDA", version, re.M))


def run(root: Path, *command: str) -> None:
    if code := subprocess.run(command, cwd=root).returncode:
        sys.exit(f"gpu-check: `{' '.join(command)}` failed with exit code {code}")


def output(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"gpu-check: `{' '.join(command)}` failed with exit code {done.returncode}")
    return done.stdout


def needed_libc(root: Path, program: Path) -> str:
    """The oldest glibc that a program starts with."""
    versions = re.findall(r"GLIBC_([\d.]+)", output(root, "objdump", "-T", str(program)))
    return max(versions, key=lambda v: [int(n) for n in v.split(".")], default="0")


def pack_data(source: Path, folder: Path) -> None:
    """Copies the data set, and compresses files that are not compressed."""
    for name in (f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")):
        zipped, plain_file = source / f"{name}.gz", source / name
        if zipped.exists():
            shutil.copy(zipped, folder)
        elif not plain_file.exists():
            sys.exit(f"gpu-check: {source} does not hold {name}: `crnn data fetch` gets it")
        else:
            with open(plain_file, "rb") as plain, gzip.open(folder / zipped.name, "wb") as file:
                shutil.copyfileobj(plain, file)


def sources(root: Path) -> str:
    """A hash of the sources."""
    digest = hashlib.sha256()
    for name in SOURCES:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in SUFFIXES and file.is_file():
                digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def unpack(root: Path, to: Path) -> Tools:
    folder = root / FOLDER
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        with tarfile.open(folder / PROGRAMS) as archive:
            archive.extractall(to)
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError) as error:
        sys.exit(
            f"gpu-check: {folder} is not there or not whole ({error}): `scripts/gpu-check --pack`, where crnn is "
            "built, makes it; carry it along"
        )
    # Decompressed once here, instead of by each program.
    data = to / "data"
    data.mkdir()
    for zipped in (folder / "data").glob("*.gz"):
        with gzip.open(zipped) as file, open(data / zipped.stem, "wb") as plain:
            shutil.copyfileobj(file, plain)
    image = to / "image-crnn"
    return Tools(
        to / "crnn",
        to / "gpu.test",
        data,
        image if image.exists() else None,
        manifest,
        manifest["sources"] != sources(root),
    )

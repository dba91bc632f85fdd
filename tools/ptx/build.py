"""The command scripts/ptx."""

import argparse
import glob
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import nvrtc
import ptxas
import signatures
import table
import wrappers

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
KERNELS = os.path.join(ROOT, "kernels")
# Every folder with sources is a Go package. The document lists only the product's kernels, in KERNELS.
FOLDERS = [KERNELS, os.path.join(ROOT, "tests", "probe")]
DOCUMENT = os.path.join(ROOT, "docs", "kernels.md")

WRAPPER = "_gen.go"  # ending of the wrappers' names

MISTAKES = (nvrtc.CompileError, ptxas.AssembleError, signatures.SourceError)


@dataclass
class Built:
    """The products of <folder>/<name>.cu."""

    folder: str
    name: str
    ptx: dict = field(default_factory=dict)  # architecture -> text
    entries: list = field(default_factory=list)  # of the newest PTX, in the order of the source
    wrapper: str = ""
    uses: dict = field(default_factory=dict)  # target -> name of kernel -> ptxas.Use
    complaints: list = field(default_factory=list)  # reasons not to ship it, though it can be tried

    def files(self):
        """Path -> text."""
        named = {
            os.path.join("ptx", ptx_file(self.name, architecture)): text for architecture, text in self.ptx.items()
        }
        named[f"{self.name}{WRAPPER}"] = self.wrapper
        return {os.path.join(self.folder, file): text for file, text in named.items()}

    def table(self):
        return table.section(self.name, self.ptx, self.entries, self.uses)


def ptx_file(name, architecture):
    return f"{name}.sm_{architecture}.ptx"


def sources():
    """Name -> folder, of every source."""
    return {
        file.removesuffix(".cu"): folder
        for folder in FOLDERS
        for file in sorted(os.listdir(folder))
        if file.endswith(".cu")
    }


def compile_source(folder, name):
    """Compiles a source for its architectures and writes its wrappers."""
    file = f"{name}.cu"
    path = os.path.join(folder, file)
    with open(path, encoding="utf-8") as opened:
        source = opened.read()
    built = Built(folder, name)
    isa = signatures.isa(source)
    for architecture in signatures.architectures(file, source):
        built.ptx[architecture], warnings = nvrtc.compile_ptx(path, architecture, isa)
        if warnings:
            print(warnings, file=sys.stderr)
    kernels = signatures.kernels(file, source)
    for architecture, text in built.ptx.items():
        entries = signatures.entries(text)
        compare(file, architecture, kernels, entries)
        geometry = [(entries[kernel.name].threads, entries[kernel.name].cluster) for kernel in kernels]
        if built.entries and geometry != [(entry.threads, entry.cluster) for entry in built.entries]:
            raise signatures.SourceError(f"{file}: blocks or clusters differ by architecture; a wrapper has one size")
        built.entries = [entries[kernel.name] for kernel in kernels]
    code = {text.replace(f".target sm_{architecture}\n", "") for architecture, text in built.ptx.items()}
    if len(code) < len(built.ptx):
        print(f"{file}:1: note: two architectures have the same PTX; name the older one only", file=sys.stderr)
    built.wrapper = wrappers.go_file(os.path.basename(folder), name, kernels, built.entries)
    return built


def compare(file, architecture, kernels, entries):
    """Fails unless source and PTX agree on the kernels and on the sizes of their parameters."""
    ptx = f"the PTX for sm_{architecture}"
    for kernel in kernels:
        where = f"{file}:{kernel.line}: {kernel.name}"
        if kernel.name not in entries:
            raise signatures.SourceError(f"{where} is not in {ptx}; all architectures have all kernels of a source")
        entry = entries[kernel.name]
        sizes = [parameter.size for parameter in kernel.parameters]
        if entry.sizes != sizes:
            raise signatures.SourceError(
                f"{where}: its parameters have {sizes} bytes as read here, and {entry.sizes} in {ptx}"
            )
        if not entry.threads:
            raise signatures.SourceError(
                f"{where} has no __launch_bounds__, so that ptxas cannot know how many registers it may use"
            )
    unknown = sorted(set(entries) - {kernel.name for kernel in kernels})
    if unknown:
        raise signatures.SourceError(f"{file}: {ptx} has kernels that the source does not show: {', '.join(unknown)}")


def assemble(built, pool):
    """Assembles every PTX for every target that takes it. Per target it keeps the use of the PTX that a card
    loads."""
    pairs = [(architecture, target) for architecture in built.ptx for target in ptxas.TARGETS if target >= architecture]
    results = pool.map(lambda pair: ptxas.assemble(ptx_file(built.name, pair[0]), built.ptx[pair[0]], pair[1]), pairs)
    # The architectures ascend, so the newest, which a card loads, comes last.
    for (_, target), (uses, complaints) in zip(pairs, results):
        built.uses[target] = uses
        built.complaints += complaints


def build(folders, quick):
    """Builds the sources, name -> folder, and prints their mistakes. The result leaves out those that
    cannot be built. A quick build does not assemble."""
    done = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in [pool.submit(compile_source, folder, name) for name, folder in folders.items()]:
            try:
                built = future.result()
                if not quick:
                    assemble(built, pool)
            except MISTAKES as mistake:
                print(mistake, file=sys.stderr)
            except OSError as error:
                print(f"{error.filename}: {error.strerror}", file=sys.stderr)
            else:
                for complaint in built.complaints:
                    print(complaint, file=sys.stderr)
                done.append(built)
    return done


def leftovers(names, paths):
    """Built files that are not among paths, of these sources and of sources that no longer exist."""
    gone = []
    for folder in FOLDERS:
        built = glob.glob(os.path.join(folder, "ptx", "*.sm_*.ptx")) + glob.glob(os.path.join(folder, "*" + WRAPPER))
        for path in sorted(built):
            name = os.path.basename(path).removesuffix(WRAPPER).partition(".")[0]
            stale = name in names or not os.path.exists(os.path.join(folder, f"{name}.cu"))
            if stale and path not in paths:
                gone.append(path)
    return gone


def same(path, text):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read() == text
    except FileNotFoundError:
        return False


def write(path, text):
    """Writes a file whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=os.path.dirname(path), prefix=".", delete=False) as file:
        file.write(text.encode())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/ptx",
        description="Compiles kernels/*.cu and tests/probe/*.cu to PTX, writes their Go wrappers, assembles the "
        "PTX for every architecture, and writes what the kernels of kernels/ take of it into docs/kernels.md.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail with the names of the files that would change"
    )
    parser.add_argument(
        "--quick", action="store_true", help="do not assemble, and leave docs/kernels.md as it is: to try a change"
    )
    parser.add_argument(
        "source", nargs="*", metavar="SOURCE", help="only these, as in conv or kernels/conv.cu; prints their tables"
    )
    arguments = parser.parse_args()

    there = sources()
    names = [os.path.basename(name).removesuffix(".cu") for name in arguments.source] or list(there)
    done = build({name: there.get(name, KERNELS) for name in names}, arguments.quick)
    texts = {}
    for built in done:
        texts.update(built.files())
    failed = len(done) < len(names) or any(built.complaints for built in done)
    if arguments.quick:
        pass
    elif arguments.source:
        print("\n".join(built.table() for built in done), end="")
    elif not failed:
        texts[DOCUMENT] = table.document(built.table() for built in done if built.folder == KERNELS)

    changed = [path for path, text in texts.items() if not same(path, text)]
    gone = leftovers([built.name for built in done], texts)
    if arguments.check:
        for path in [*changed, *gone]:
            print(f"{os.path.relpath(path, ROOT)} is not what scripts/ptx makes of the sources", file=sys.stderr)
        sys.exit(failed or bool(changed or gone))
    for path in changed:
        write(path, texts[path])
    for path in gone:
        os.remove(path)
    sys.exit(failed)


if __name__ == "__main__":
    main()

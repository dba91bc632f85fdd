"""The kernels of a .cu file: names, parameters and comments, read from source and from PTX."""

import re
from dataclasses import dataclass

import nvrtc

# CUDA C++ type of a scalar parameter -> Go type, size in bytes.
SCALARS = {
    "int": ("int32", 4),
    "unsigned": ("uint32", 4),
    "unsigned int": ("uint32", 4),
    "float": ("float32", 4),
    "double": ("float64", 8),
    "long long": ("int64", 8),
    "unsigned long long": ("uint64", 8),
}

# CUDA C++ type behind a pointer -> Go type of the address. For any other type it is Ptr.
POINTERS = {
    "float": "F32",
    "double": "F64",
    "int": "I32",
    "unsigned": "U32",
    "unsigned int": "U32",
    "unsigned char": "U8",
    "unsigned short": "U16",
    "__nv_bfloat16": "U16",
    "long long": "I64",
    "unsigned long long": "U64",
}


class SourceError(Exception):
    """A source that breaks a rule of kernels/, with file and line."""


@dataclass
class Parameter:
    name: str  # as in the source
    go_type: str
    size: int  # bytes


@dataclass
class Kernel:
    name: str
    parameters: list
    comment: list  # lines, without the marks of the comment
    line: int


def blank_comments(source):
    """source with every comment (except in strings) replaced by as many blanks."""
    pattern = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/'

    def blank(match):
        text = match[0]
        return text if text[0] in "\"'" else re.sub(r"[^\n]", " ", text)

    return re.sub(pattern, blank, source, flags=re.DOTALL)


def architectures(name, source):
    """The architectures of the first line, `// architectures: 75 80`, as numbers."""
    first = source.split("\n", 1)[0]
    match = re.fullmatch(r"// architectures:((?: \d+)+)", first.rstrip())
    if not match:
        raise SourceError(f"{name}:1: this line must name the architectures, as in: // architectures: 75 80")
    numbers = [int(number) for number in match[1].split()]
    if numbers != sorted(set(numbers)):
        raise SourceError(f"{name}:1: the architectures must ascend")
    return numbers


def isa(source):
    """The PTX ISA of a second line `// isa: 8.1`, or the compiler's."""
    match = re.match(r".*\n// isa: (\d+\.\d+)\n", source)
    return match[1] if match else nvrtc.ISA


def _closing(text, start):
    """The index of the parenthesis that closes the one at start."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError("unclosed parenthesis")


def _comment_above(lines, line):
    """The // comment right above a line, counted from 1. Line 1 of the file is never part of it."""
    first = line - 1
    while first > 1 and lines[first - 1].startswith("//"):
        first -= 1
    return [re.sub(r"^// ?", "", text).rstrip() for text in lines[first : line - 1]]


def _parameter(where, text):
    words = re.findall(r"\w+|\*|[^\s\w]", text)
    words = [word for word in words if word not in ("const", "__restrict__", "volatile")]
    if len(words) < 2 or not all(re.fullmatch(r"\w+|\*", word) for word in words):
        raise SourceError(f"{where}: parameter {text.strip()!r} is not TYPE NAME or TYPE *NAME")
    *kind, name = words
    if "*" in kind:
        return Parameter(name, POINTERS.get(" ".join(kind[:-1]), "Ptr"), 8)
    kind = " ".join(kind)
    if kind not in SCALARS:
        raise SourceError(f"{where}: parameter {name} is a {kind}; types by value are: {', '.join(SCALARS)}")
    return Parameter(name, *SCALARS[kind])


def kernels(name, source):
    """The kernels that the CUDA C++ in source defines, in order."""
    code = blank_comments(source)
    lines = source.split("\n")
    found = []
    for match in re.finditer(r"__global__", code):
        line = code.count("\n", 0, match.start()) + 1
        where = f"{name}:{line}"
        if not re.search(r'extern\s+"C"\s*$', code[: match.start()]):
            raise SourceError(f'{where}: a kernel must begin with extern "C" __global__')
        start = re.compile(r"\(").search(code, match.end()).start()
        # A parenthesis after an attribute, as in __launch_bounds__(256), does not begin the parameters.
        while re.search(r"__\w+__\s*$", code[match.end() : start]):
            start = code.index("(", _closing(code, start) + 1)
        head = re.search(r"(\w+)\s*$", code[match.end() : start])
        if not head or not re.search(r"\bvoid\b", code[match.end() : start]):
            raise SourceError(f"{where}: no name of a kernel after __global__ void")
        end = _closing(code, start)
        if not code[end + 1 :].lstrip().startswith("{"):
            continue  # a declaration
        begin = code.rfind("extern", 0, match.start())
        line = code.count("\n", 0, begin) + 1
        comment = _comment_above(lines, line)
        if not comment:
            raise SourceError(f"{where}: no comment above {head[1]}: it says formula, shapes and launch geometry")
        texts = [text for text in code[start + 1 : end].split(",") if text.strip()]
        found.append(Kernel(head[1], [_parameter(where, text) for text in texts], comment, line))
    if not found:
        raise SourceError(f'{name}: no kernel: nothing begins with extern "C" __global__')
    return found


@dataclass
class Entry:
    """A kernel as its PTX shows it."""

    name: str
    sizes: list  # of the parameters, in bytes
    threads: int  # per block, from __launch_bounds__; 0 if it has none
    cluster: int  # blocks per cluster
    dynamic: bool  # it uses shared memory whose size is chosen at launch


def entries(ptx):
    """The kernels of PTX text: name -> Entry."""
    pattern = r"^\.visible \.entry (\w+)\(([^)]*)\)(.*?)^\{$(.*?)^\}$"
    matches = re.findall(pattern, ptx, re.DOTALL | re.MULTILINE)
    dynamic = re.findall(r"^\.extern \.shared .*?(\w+)\[\];", ptx, re.MULTILINE)
    functions = "".join(re.findall(r"^\.func .*?^\}$", ptx, re.DOTALL | re.MULTILINE))
    found = {}
    for name, parameters, directives, body in matches:
        sizes = []
        for parameter in re.findall(r"\.param ([^,]*)", parameters):
            scalar = re.match(r"\.[a-z](\d+) ", parameter)
            structure = re.search(r"\[(\d+)\]", parameter)
            sizes.append(int(scalar[1]) // 8 if scalar else int(structure[1]))
        # A function that is not inlined may use dynamic memory for any kernel.
        uses = any(re.search(rf"\b{symbol}\b", body + functions) for symbol in dynamic)
        threads, cluster = _product(".maxntid", directives), _product(".reqnctapercluster", directives)
        found[name] = Entry(name, sizes, threads, cluster or 1, uses)
    return found


def _product(directive, text):
    match = re.search(re.escape(directive) + r" (\d+), (\d+), (\d+)", text)
    return int(match[1]) * int(match[2]) * int(match[3]) if match else 0

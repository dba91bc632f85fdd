"""The contexts that programs make on the emulated card. A context costs a real card some 0.3 s, so a
process must make only one, for any number of tests or networks."""

from pathlib import Path


class Contexts:
    """Reads the emulated driver's notes: a line per context, with the process, its name and the number of its
    contexts, separated by tabs."""

    def __init__(self, file: Path):
        self.file = file
        self._read = 0  # lines

    def too_many(self) -> list:
        """The programs that made a second context since the last call."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        new, self._read = lines[self._read :], len(lines)
        return sorted({name for _, name, made in (line.split("\t") for line in new) if int(made) > 1})

"""The report: its figures as JSON, and the page made of them. Both are written again after every result,
so that a check that is cut off leaves its results."""

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path


class Report:
    def __init__(self, folder: Path, card: str, check):
        name = "REPORT-" + re.sub(r"[^A-Za-z0-9]+", "-", card).strip("-")
        self.page, self.figures = folder / f"{name}.md", folder / f"{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._check = check
        self._sections = []
        self.card = card
        self.results = {}  # by section
        self.about = {
            "card": card,
            "emulated": check.workload.emulated,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "packed": check.tools.manifest,
            "sources_changed": check.tools.changed,
        }

    def begin(self, section) -> dict:
        """The dict for a section's results, which are in the report from the next save on.

        Of its keys these are common: verdict ("passed" and "FAILED" of a section that decides,
        "measured", "not there", "cut off", "broke off"), finding (a line), note (a line)."""
        self._sections.append(section)
        self.results[section.__name__] = out = {"verdict": "under way", "seconds": 0.0}
        self.save()
        return out

    def save(self) -> None:
        self.about["seconds"] = round(self._check.clock.seconds(), 1)
        self._write(self.page, "\n".join(self._page()))
        self._write(self.figures, json.dumps(self.about | {"sections": self.results}, indent=1))

    def _write(self, path: Path, text: str) -> None:
        """Writes a file whole or not at all, without this machine's folders, which mean nothing elsewhere."""
        for folder in (self._check.root, self._check.scratch):
            text = text.replace(f"{folder}/", "")
        part = path.with_name("." + path.name)
        part.write_text(text + "\n")
        os.replace(part, path)

    def say(self, line: str) -> None:
        """A line of progress."""
        print(f"[{self._check.clock.seconds():5.0f} s] {line}", flush=True)

    def _page(self) -> list:
        about = self.about
        if about["emulated"]:
            lines = [
                "# crnn on the emulated driver: no time in it means anything",
                "",
                "This is a trial of the check itself on a processor: a few steps, small batches, PyTorch on the CPU.",
            ]
        else:
            lines = [f"# crnn on one {about['card']}", ""]
        lines += [
            f"Written by `scripts/gpu-check`, {about['date']}, in {about['seconds']:.0f} seconds. All figures, and "
            f"what this page leaves out, are in [{self.figures.name}]({self.figures.name})."
        ]
        if about["sources_changed"]:
            lines += ["", "**The programs were packed from other sources than those of this tree.**"]
        lines += ["", "| section | result | found | s |", "|---|---|---|---|"]
        for section in self._sections:
            out = self.results[section.__name__]
            lines.append(line([section.TITLE, out["verdict"], out.get("finding", ""), f"{out['seconds']:.0f}"]))
        for section in self._sections:
            out = self.results[section.__name__]
            lines += ["", f"## {section.TITLE}", ""]
            lines += self._lines(section, out)
            if "note" in out:
                lines += ["", f"{out['verdict'].capitalize()}: {out['note']}."]
            if "trace" in out:
                lines += ["", *block(out["trace"])]
        return lines

    def _lines(self, section, out: dict) -> list:
        """A section's part of the page. Its errors must not spoil the rest."""
        try:
            return section.lines(out) or [out.get("finding", "")]
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            return [f"This could not be written, the figures are in {self.figures.name}: {why}"]

    def summary(self) -> str:
        """A line per section, for a terminal."""
        lines = []
        for name, out in self.results.items():
            found = out.get("finding") or out.get("note", "")
            lines.append(f"{name:12} {out['verdict']:10} {out['seconds']:4.0f} s  {found}")
        return "\n".join([*lines, f"report: {self.page}"])


def table(head: list, rows: list) -> list:
    """A table of Markdown; the first column is text, the others are figures."""
    return [line(head), "|---" + "|--:" * (len(head) - 1) + "|", *map(line, rows)]


def line(cells) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def block(lines: list) -> list:
    """Lines as they are."""
    return ["```", *lines, "```"]


def milliseconds(ms: float) -> str:
    """A time, with at least three digits."""
    return f"{ms:.0f}" if ms >= 100 else f"{ms:#.3g}"

"""The time of each kernel in a step, by events, beside what was predicted for it."""

import json

from report import table
from speed import bench

TITLE = "Time of each kernel"
LIMIT = 45
PREDICTED = "tests/gpu-check/predicted.json"


def run(check, out: dict) -> None:
    out["predicted"] = json.loads((check.root / PREDICTED).read_text())
    out["profiles"] = profiles = []
    for mode in ("train", "eval"):
        for precision in check.workload.precisions:
            profiles.append(bench(check, mode, check.workload.batches[0], precision, "--profile"))
            good = [p for p in profiles if p.get("kernels")]
            out["verdict"] = "measured" if good else "FAILED"
            out["finding"] = "; ".join(
                f"{p['mode']} {p['precision']}: {sum(k['microseconds'] for k in p['kernels']):.0f} µs in "
                f"{sum(k['launches'] for k in p['kernels'])} launches"
                for p in good[:3]
            ) or profiles[0].get("why", "no kernel's time was told")
            check.save()
    known = out["predicted"]["microseconds"]
    if missing := {k["name"] for p in good for k in p["kernels"] if k["name"] not in known}:
        out["note"] = f"no time is predicted for {', '.join(sorted(missing))}"


def lines(out: dict) -> list:
    predicted = out.get("predicted", {})
    text = [f"Of a step with batch {p['batch_size']}" for p in out.get("profiles", [])[:1]]
    if text:
        text = [
            text[0] + ": microseconds of all launches of a kernel together, each launch by itself; predicted "
            f"({PREDICTED}) for an {predicted['card']} and batch {predicted['batch_size']}."
        ]
    for p in out.get("profiles", []):
        text += ["", f"**{p['mode']}, {p['precision']}**", ""]
        if "kernels" not in p:
            text.append(p.get("why", "no kernel's time was told"))
            continue
        expected = predicted["microseconds"]
        rows = []
        for k in p["kernels"]:
            guess = expected.get(k["name"])
            rows.append(
                [
                    f"`{k['name']}`",
                    k["launches"],
                    f"{k['microseconds']:.1f}",
                    "-" if guess is None else f"{guess:.1f}",
                    "-" if guess is None else f"{k['microseconds'] / guess:.2f}",
                ]
            )
        rows.append(
            [
                "together",
                sum(k["launches"] for k in p["kernels"]),
                f"{sum(k['microseconds'] for k in p['kernels']):.1f}",
                "",
                "",
            ]
        )
        step = ["the step as it is replayed", "", f"{1000 * p['step_ms']:.1f}", "", ""]
        rows += [step, ["clock of the multiprocessors, MHz", "", p.get("clock_mhz", "-"), "", ""]]
        text += table(["kernel", "launches", "µs", "predicted", "measured / predicted"], rows)
    return text

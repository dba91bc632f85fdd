"""`crnn bench`: the time of a step of training and evaluation."""

import json
from threading import Thread

import machine
from limits import flags
from report import milliseconds, table

TITLE = "Time of a step"
LIMIT = 110


def run(check, out: dict) -> None:
    work = check.workload
    out["benches"] = benches = []
    for batch in work.batches:
        for mode in ("train", "eval"):
            for precision in work.precisions:
                benches.append(bench(check, mode, batch, precision))
                good = [b for b in benches if "step_ms" in b]
                out["verdict"] = "measured" if good else "FAILED"
                failed = f"; {len(benches) - len(good)} failed" if len(good) < len(benches) else ""
                out["finding"] = (headline(good) or benches[0]["why"]) + failed
                check.save()
    if not work.emulated:
        out["under_load"] = under_load(check)


def bench(check, mode: str, batch: int, precision: str, *more: str, steps: int = 0) -> dict:
    """The result of `crnn bench`, or {"why": …} with its setting."""
    setting = {"mode": mode, "batch_size": batch, "precision": precision}
    steps = steps or check.steps(batch)
    settings = flags(device=check.workload.device, **setting, steps=steps)
    done = check.call([*check.crnn, "bench", "--json", *settings, *more], 30)
    if not done:
        return setting | {"why": done.why()}
    result = json.loads(done.stdout)
    check.learn(result)
    return result | {"steps": steps}


def under_load(check) -> dict:
    """nvidia-smi's values while the card computes."""
    batch = check.workload.batches[-1]
    load = Thread(target=bench, args=(check, "train", batch, "fp32"), kwargs={"steps": 3 * check.steps(batch)})
    load.start()
    load.join(1.5)  # by then it computes
    answers = machine.ask(check, machine.CHANGING)
    load.join()
    return answers


def headline(benches: list) -> str:
    """The training steps of the first batch size."""
    training = [b for b in benches if b["mode"] == "train"]
    first = [b for b in training if b["batch_size"] == training[0]["batch_size"]]
    times = ", ".join(f"{b['precision']} {milliseconds(b['step_ms'])} ms" for b in first)
    return f"training, batch {first[0]['batch_size']}: {times}" if first else ""


def lines(out: dict) -> list:
    benches = out.get("benches", [])
    rows = []
    for b in benches:
        row = [b["mode"], b["batch_size"], b["precision"]]
        if "why" in b:
            row += [b["why"], "", "", "", "", ""]
        else:
            row += map(milliseconds, (b["step_ms"], b["step_ms_min"], b["step_ms_p95"]))
            row += [f"{b['images_per_second']:,.0f}", f"{b['peak_bytes'] / 1e6:,.0f}", b.get("clock_mhz", "-")]
        rows.append(row)
    text = [
        "Times of a step by events of the card, in ms, after 200 ms of other steps; the clock of its multiprocessors "
        "right after.",
        "",
    ]
    text += table(
        ["mode", "batch", "precision", "median", "fastest", "95 %", "images/s", "MB on the card", "MHz"], rows
    )
    if out.get("under_load"):
        answers = ", ".join(f"{field} {answer}" for field, answer in out["under_load"].items())
        text += ["", f"While it computes: {answers}."]
    return text

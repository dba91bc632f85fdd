"""Full runs of the recipe: accuracy and wall time. The weights of each are also tested on the CPU."""

import json

from limits import flags
from report import block, table

TITLE = "The recipe, trained"
LIMIT = 120


def run(check, out: dict) -> None:
    out["runs"] = runs = []
    for precision in check.workload.precisions:
        # Another run starts only if there is as much time as the last one took.
        if runs and check.clock.left() < 1.2 * runs[-1]["seconds"]:
            out["note"] = f"no time was left for {precision}"
            return
        runs.append(train(check, precision))
        good = [r for r in runs if "test" in r]
        out["verdict"] = "measured" if good else "FAILED"
        out["finding"] = (
            "; ".join(f"{r['precision']}: {r['test']:.2f} % in {r['seconds']:.1f} s" for r in good)
            or runs[0]["why"]
        )
        check.save()


def train(check, precision: str) -> dict:
    folder = check.scratch / f"trained-{precision}"
    settings = [
        *flags(device=check.workload.device, precision=precision, seed=1, out=folder),
        *check.workload.training,
    ]
    done = check.call([*check.crnn, "train", *settings], 110, environment=check.short_data())
    result = {"precision": precision, "seconds": round(done.seconds, 2), "lines": done.stdout.splitlines()}
    if not done:
        return result | {"why": done.why()}
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result["epochs"] = [event for event in events if event["event"] == "epoch"]
    result["test"] = next(event["accuracy"] for event in events if event["event"] == "test")
    # The same weights on both devices: one reads the other's, and must get the same results.
    for device in ("cuda", "cpu"):
        settings = flags(device=device, weights=folder / "best.safetensors")
        again = check.call([*check.crnn, "eval", "--json", *settings], 60, environment=check.short_data())
        result[f"eval_{device}"] = json.loads(again.stdout) if again else again.why()
    return result


def lines(out: dict) -> list:
    runs = out.get("runs", [])
    rows = []
    for r in runs:
        epochs = r.get("epochs", [])
        best = max((e.get("val_accuracy", 0) for e in epochs), default=0)
        row = [r["precision"], f"{r['seconds']:.1f}", f"{sum(e['seconds'] for e in epochs):.1f}", len(epochs)]
        row += [f"{best:.2f}", f"{r['test']:.2f}" if "test" in r else r["why"]]
        for device in ("cuda", "cpu"):
            again = r.get(f"eval_{device}", "-")
            row.append(again if isinstance(again, str) else f"{again['accuracy']:.2f} % ({again['loss']:.6f})")
        rows.append(row)
    text = [
        "Seed 1. Wall time is that of the command, with its start, the data set, figures and the test; that of the "
        "epochs is with their validation. The best weights are tested again in fp32 (the loss in brackets).",
        "",
    ]
    head = ["precision", "wall s", "epochs s", "epochs", "best val %", "test %", "again on the card", "on the CPU"]
    text += table(head, rows)
    for r in runs:
        text += ["", f"{r['precision']}:", "", *block(r["lines"])]
    return text if runs else []

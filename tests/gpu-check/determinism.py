"""The same seed gives the same weights: short runs of training, compared by the SHA-256 of their weights.
Some run at the same time, so that they share the card."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from limits import CutShort, flags
from report import table

TITLE = "Determinism"
LIMIT = 100


def run(check, out: dict) -> None:
    work = check.workload
    out["steps"], out["together"], out["runs"] = work.repeated_steps, work.together, {}
    for precision in work.precisions:
        count = work.repeats if precision == "fp32" else work.repeats_else
        out["runs"][precision] = hashes = []
        # The first alone, the others several at a time.
        hashes.append(weights(check, precision, 0))
        with ThreadPoolExecutor(work.together) as pool:
            for result in pool.map(lambda number: weights(check, precision, number), range(1, count)):
                hashes.append(result)
                judge(out)
                check.save()
        judge(out)


def weights(check, precision: str, number: int) -> str:
    """The SHA-256 of a run's weights, or why it has none."""
    work, folder = check.workload, check.scratch / f"{precision}-{number}"
    settings = flags(
        device=work.device,
        precision=precision,
        seed=1,
        max_steps=work.repeated_steps,
        batch_size=work.batches[0],
        out=folder,
    )
    try:
        done = check.call([*check.crnn, "train", *settings], 40, environment=check.short_data())
    except CutShort as cut:
        return str(cut)
    return hashlib.sha256((folder / "last.safetensors").read_bytes()).hexdigest() if done else done.why()


def judge(out: dict) -> None:
    said, right = [], True
    for precision, hashes in out["runs"].items():
        failed = sum(not is_hash(h) for h in hashes)
        results = len(set(filter(is_hash, hashes)))
        right &= results == 1 and not failed
        said.append(
            f"{precision}: {len(hashes)} runs gave {results or 'no'} result{'s' if results > 1 else ''}"
            + (f", {failed} failed" if failed else "")
        )
    out["verdict"] = "passed" if right else "FAILED"
    out["finding"] = "; ".join(said)


def is_hash(text: str) -> bool:
    return len(text) == 64 and " " not in text


def lines(out: dict) -> list:
    if "runs" not in out:
        return []
    rows = []
    for precision, hashes in out["runs"].items():
        for result in dict.fromkeys(hashes):
            rows.append([precision, f"`{result[:16]}…`" if is_hash(result) else result, hashes.count(result)])
    return [
        f"Training of {out['steps']} steps from seed 1, the first run of each precision alone, the others "
        f"{out['together']} at a time on the one card. SHA-256 of last.safetensors:",
        "",
    ] + table(["precision", "weights", "runs"], rows)

"""The Docker image's program, if it was packed: its report on the machine, and some steps."""

from limits import flags
from report import block

TITLE = "The Docker image's program"
LIMIT = 60


def run(check, out: dict) -> None:
    if not check.tools.image:
        out["verdict"] = "not there"
        out["finding"] = "scripts/image had not built it, with CUDA support, when the check was packed"
        return
    program = [*check.crnn[:-1], str(check.tools.image)]
    doctor = check.call([*program, "doctor"], 30)
    out["doctor"] = doctor.stdout.splitlines() or [doctor.why()]
    steps = 2 if check.workload.emulated else 100
    settings = flags(
        device=check.workload.device,
        max_steps=steps,
        batch_size=check.workload.batches[0],
        out=check.scratch / "image-run",
    )
    done = check.call([*program, "train", *settings], 60, environment=check.short_data())
    out["train"] = done.stdout.splitlines()
    out["verdict"] = "passed" if done else "FAILED"
    out["finding"] = f"{steps} steps, in {done.seconds:.1f} s with everything" if done else done.why()


def lines(out: dict) -> list:
    return block(out["doctor"] + [""] + out.get("train", [])) if "doctor" in out else []

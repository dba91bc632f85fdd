"""The machine: card, driver, other users of the card, and whether crnn starts on it."""

import json
import os
import subprocess

from limits import flags
from report import block

TITLE = "Machine and driver"
LIMIT = 90

FIELDS = (
    "name driver_version compute_cap memory.total memory.used compute_mode mig.mode.current pstate "
    "clocks.sm clocks.mem clocks.max.sm clocks.max.mem clocks.applications.graphics power.draw power.limit "
    "temperature.gpu clocks_event_reasons.active ecc.mode.current"
).split()
# Those of them that change when the card computes.
CHANGING = "clocks.sm clocks.mem power.draw temperature.gpu clocks_event_reasons.active utilization.gpu".split()


def chosen() -> str:
    """The GPU that CUDA shows first, as an argument of nvidia-smi: its number or UUID."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"


def smi(*query: str) -> list:
    return ["nvidia-smi", "-i", chosen(), *query, "--format=csv,noheader"]


def card() -> str:
    """The name of that GPU, empty without one."""
    try:
        done = subprocess.run(smi("--query-gpu=name"), capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else ""


def ask(check, fields) -> dict:
    """nvidia-smi's values for the GPU, without those that it does not know."""
    done = check.call(smi(f"--query-gpu={','.join(fields)}"), 20)
    if done:
        return dict(zip(fields, done.stdout.strip().split(", ")))
    if len(fields) == 1:
        return {}
    # A single property unknown to the driver would spoil all answers.
    return {name: answer for field in fields for name, answer in ask(check, [field]).items()}


def run(check, out: dict) -> None:
    out["version"] = check.call([*check.crnn, "version"], 20).stdout.splitlines()
    doctor = check.call([*check.crnn, "doctor"], 40)
    out["doctor"] = doctor.stdout.splitlines() or [f"crnn doctor: {doctor.why()}"]
    check.save()
    if not check.workload.emulated:
        out["nvidia_smi"] = check.call(["nvidia-smi"], 30).stdout.splitlines()
        out["card"] = ask(check, FIELDS)
        users = check.call(smi("--query-compute-apps=pid,name,used_memory"), 20)
        out["others"] = users.stdout.split("\n") if users and users.stdout.strip() else []
        check.save()

    # The first start compiles the PTX for the card, the second uses the result.
    steps = 1 if check.workload.emulated else 20
    settings = flags(device=check.workload.device, batch_size=check.workload.batches[0], steps=steps)
    command = [*check.crnn, "bench", "--json", *settings]
    for name in ("first_start", "second_start"):
        done = check.call(command, 60)
        if not done:
            out["verdict"] = "FAILED"
            out["finding"] = f"a training step cannot be made: {done.why()}"
            out["errors"] = done.stderr.splitlines()[-20:]
            return
        out[name] = round(done.seconds, 2)
        check.save()
    out["step"] = json.loads(done.stdout)
    check.learn(out["step"])
    others = out.get("others")
    out["verdict"] = "measured"
    out["finding"] = f"crnn computes on {out['step']['device_name']}" + (
        f"; NOT ALONE: {len(others)} other programs use the card" if others else ""
    )


def lines(out: dict) -> list:
    text = block(out.get("version", []) + [""] + out.get("doctor", []))
    if card := out.get("card"):
        text += ["", "As found, and left so:", "", "| nvidia-smi | |", "|---|---|"]
        text += [f"| {field} | {answer} |" for field, answer in card.items()]
        others = out.get("others", [])
        text += ["", "Other programs on the card: " + ("; ".join(others) if others else "none") + "."]
    if "second_start" in out:
        first, second = out["first_start"], out["second_start"]
        text += [
            "",
            "A start of `crnn bench`, with the data set read and some steps, takes "
            f"{first:.1f} s the first time, when the driver compiles the PTX, and {second:.1f} s then.",
        ]
    if "errors" in out:
        text += ["", *block(out["errors"])]
    return text

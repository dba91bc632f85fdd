"""The amount of work of the check: on a card, and on the emulated driver, which is a thousand times slower."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Workload:
    emulated: bool
    slowness: int  # factor for all limits
    batches: tuple  # sizes; the first is the recipe's, where there is time for it
    precisions: tuple = ("fp32", "tf32", "bf16")
    measure: float = 1.0  # seconds of steps per measured time
    least_steps: int = 20  # steps per measured time, at least
    measure_steps: int = 0  # steps per measurement of package gpu's benchmarks; 0: their default
    repeats: int = 20  # runs that must give the same weights, in fp32
    repeats_else: int = 5  # in the other precisions
    repeated_steps: int = 50
    together: int = 4  # of these runs at the same time
    rounds: int = 5  # turns of crnn and PyTorch
    images: tuple = ()  # training and test images, if not all
    # Processes of tests, by name: their -test.run and -test.skip.
    tests: dict = field(default_factory=dict)
    device: str = "cuda"  # crnn's
    pytorch: str = "cuda"  # PyTorch's
    training: tuple = ()  # arguments of the full run, to make it shorter


OPERATORS = "TestOperators"

REAL = Workload(
    emulated=False,
    slowness=1,
    batches=(50, 256, 1024),
    # Separate processes, so that a fault of the card in one does not affect the others.
    tests={
        "fp32": (f"^{OPERATORS}$/^fp32$", ""),
        "tf32": (f"^{OPERATORS}$/^tf32$", ""),
        "bf16": (f"^{OPERATORS}$/^bf16$", ""),
        # The probes decide nothing here: the section launch checks their results.
        "others": (".", f"^({OPERATORS}|TestProbes)$"),
    },
)

# Small fixtures, in all precisions that the card has.
SMALL = "(ConvBlock|RNN|Head|Adam)/(odd-sizes|resumed)"

EMULATED = Workload(
    emulated=True,
    slowness=20,
    batches=(2, 3),
    precisions=("fp32", "bf16"),
    measure=0,
    least_steps=1,
    measure_steps=2,
    repeats=3,
    repeats_else=2,
    repeated_steps=2,
    together=2,
    rounds=2,
    images=(40, 20),
    pytorch="cpu",
    tests={
        "fp32": (f"^{OPERATORS}$/^fp32$/{SMALL}", ""),
        "bf16": (f"^{OPERATORS}$/^bf16$/{SMALL}", ""),
        "others": ("^(TestGraphGivesTheSameBits|TestOnlyWhatRunsIsLoaded)$", ""),
    },
    training=("--epochs", "2", "--batch-size", "9"),
)

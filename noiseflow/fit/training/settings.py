"""Settings of a training, and the learning rate schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from noiseflow.core.errors import DataError

__all__ = ["FitSettings", "TrainSettings", "learning_rate"]

CHOICES = {
    "optimiser": ("adam", "adamw"),
    "schedule": ("cosine", "plateau", "constant"),
    "precision": ("float32", "bf16"),
    "compile": ("auto", "on", "off"),
}
"""Setting → allowed values."""

OBJECTIVES = ("auto", "continuous", "discretised")

FREE_ON_RESUME = ("device", "max_minutes", "patience", "state_seconds")
"""Settings that may change on resume, since they affect how long a training runs but not what it computes."""

PLATEAU = 3
"""Number of validations without improvement after which the plateau schedule halves the learning rate."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings shared by all trainings.

    Parameters
    ----------
    learning_rate : float
        Learning rate after the warm-up.
    schedule : str
        Decay of the learning rate: ``"cosine"`` to zero over all steps, ``"plateau"`` by half whenever
        the held-out loss stops improving, or ``"constant"``.
    warmup : int
        Linear warm-up, in steps.
    optimiser : str
        ``"adam"`` or ``"adamw"``.
    weight_decay : float
        Weight decay of the optimiser.
    clip : float
        Clip the gradient norm at this value.
    ema : float
        EMA decay; the averaged weights are validated and saved (0 = off).
    patience : int or None
        Stop after this many validations without improvement; None never stops early.
    max_minutes : float or None
        Stop after this many minutes; None for no limit.
    precision : str
        ``"float32"``, or ``"bf16"`` for networks in bfloat16; log-dets stay in float32.
    compile : str
        Compile the CPU kernels: ``"on"``, ``"off"``, or ``"auto"`` to compile if the training is long
        enough for that to pay off.
    state_seconds : float
        Checkpoint interval in seconds; at most this much work is lost.
    seed : int
        Seed of all random numbers.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    COUNTS: ClassVar[tuple[str, ...]] = ()
    """Names of further settings that must be at least 1, or None."""

    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup: int = 0
    optimiser: str = "adam"
    weight_decay: float = 0.0
    clip: float = 10.0
    ema: float = 0.0
    patience: int | None = 4
    max_minutes: float | None = None
    precision: str = "float32"
    compile: str = "auto"
    state_seconds: float = 30.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.learning_rate > 0:
            raise DataError(f"learning rate: expected a positive number; got {self.learning_rate}")
        if not 0 <= self.ema < 1:
            raise DataError(f"ema: expected at least 0 and less than 1; got {self.ema}")
        for name in ("patience", *self.COUNTS):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise DataError(f"{name}: expected 1 or more; got {getattr(self, name)}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise DataError(f"{name}: expected one of {', '.join(known)}; got {getattr(self, name)!r}")
        for name in ("warmup", "weight_decay", "clip", "state_seconds"):
            if not getattr(self, name) >= 0:
                raise DataError(f"{name}: expected 0 or more; got {getattr(self, name)}")

    def binding(self) -> dict[str, Any]:
        """Settings that must be the same on resume."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in FREE_ON_RESUME}


@dataclass(frozen=True)
class FitSettings(TrainSettings):
    """Settings of a fit to patches.

    Parameters
    ----------
    epochs : int
        Largest number of epochs; the held-out NLL is computed after each.
    batch : int or None
        Patches per step; None tries several sizes and uses the fastest, see `fastest_batch`.
    steps_per_epoch : int or None
        Largest number of steps per epoch; None for a pass over the data.
    held_out : int
        Largest number of held-out patches to validate on.
    objective : str
        ``"continuous"``: the density of the noise; ``"discretised"``: the probability of the integer codes,
        including clipped ones; ``"auto"``: ``"discretised"`` if codes are coarse compared with the noise or dark
        values are clipped, otherwise ``"continuous"``, see `choose_objective`.
    """

    COUNTS = ("epochs", "batch", "steps_per_epoch", "held_out")

    epochs: int = 20
    batch: int | None = 128
    steps_per_epoch: int | None = 100
    held_out: int = 2048
    objective: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise DataError(f"objective: expected one of {', '.join(OBJECTIVES)}; got {self.objective!r}")


def learning_rate(settings: TrainSettings, step: int, steps: int, held_out: Sequence[float]) -> float:
    """Learning rate of a step; it depends only on step and history, so a resumed training needs no other state.

    Parameters
    ----------
    settings : TrainSettings
        Schedule, warm-up and largest rate.
    step : int
        Number of the step, from 0.
    steps : int
        Total number of steps of the training.
    held_out : sequence of float
        Held-out losses of all validations so far, starting with that of the start.

    Examples
    --------
    >>> [learning_rate(TrainSettings(learning_rate=1.0, warmup=2), step, 6, []) for step in (0, 1, 4)]
    [0.5, 1.0, 0.5]
    """
    rate = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup))
    if settings.schedule == "cosine":
        done = max(0, step - settings.warmup) / max(1, steps - settings.warmup)
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    if settings.schedule == "plateau":
        return rate * 0.5 ** _halvings(held_out)
    return rate


def _halvings(held_out: Sequence[float]) -> int:
    halvings, best, since = 0, math.inf, 0
    for value in held_out:
        since += 1
        if value < best:
            best, since = value, 0
        elif since == PLATEAU:
            halvings, since = halvings + 1, 0
    return halvings

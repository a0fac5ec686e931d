"""How a model is trained."""

from dataclasses import dataclass, fields
from typing import Any

from noiseflow.core.errors import DataError

__all__ = ["FitSettings", "TrainSettings"]

CHOICES = {
    "optimiser": ("adam", "adamw"),
    "schedule": ("cosine", "plateau", "constant"),
    "precision": ("float32", "bf16"),
    "compile": ("auto", "on", "off"),
}

OBJECTIVES = ("continuous", "discretised")

FREE = ("device", "max_minutes", "patience", "state_seconds")
"""What may differ when a training goes on: it changes how long, not what."""


@dataclass(frozen=True)
class TrainSettings:
    """What every training shares, whatever its objective.

    Parameters
    ----------
    learning_rate : float
        After the warm-up.
    schedule : str
        How the learning rate falls: ``"cosine"`` to zero over all steps, ``"plateau"`` by half
        whenever the held-out figure has not improved for some looks, or ``"constant"``.
    warmup : int
        Steps over which the learning rate rises from zero.
    optimiser : str
        ``"adam"`` or ``"adamw"``.
    weight_decay : float
    clip : float
        Largest norm of the gradient.
    ema : float
        Share that the average of the weights keeps at each step; 0 for no average.  The average
        is what is judged and kept.
    patience : int or None
        Stop after so many looks without a lower held-out figure.
    max_minutes : float or None
        Stop after the step in which this is reached.
    precision : str
        ``"float32"``, or ``"bf16"`` for nets in bfloat16; log-dets stay float32.
    compile : str
        ``"on"`` or ``"off"``: whether convolutions of few planes are compiled on a CPU; ``"auto"``
        where that pays back in the training.
    state_seconds : float
        Most time that a kill can cost: so often a state to go on from is written.
    seed : int
        Of all randomness.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

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
        """Refuse values out of range.

        Raises
        ------
        DataError
        """
        if not self.learning_rate > 0:
            raise DataError(f"learning rate: expected a positive number; got {self.learning_rate}")
        if not 0 <= self.ema < 1:
            raise DataError(f"ema: expected 0 or more and less than 1; got {self.ema}")
        if self.patience is not None and self.patience < 1:
            raise DataError(f"patience: expected 1 or more; got {self.patience}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise DataError(f"{name}: expected one of {', '.join(known)}; got {getattr(self, name)!r}")
        for name in ("warmup", "weight_decay", "clip", "state_seconds"):
            if not getattr(self, name) >= 0:
                raise DataError(f"{name}: expected 0 or more; got {getattr(self, name)}")

    def binding(self) -> dict[str, Any]:
        """The settings that must be the same when a training goes on."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in FREE}


@dataclass(frozen=True)
class FitSettings(TrainSettings):
    """How a model is fitted to patches.

    Parameters
    ----------
    epochs : int
        At the most; after each there is a look at the held-out NLL.
    batch : int or None
        Patches a step; None for the size from which on larger ones train no faster, found by trying:
        see `fastest_batch`.
    steps_per_epoch : int or None
        Most steps between two looks; a pass over the data if None.
    held_out : int
        Held-out patches to look at, at the most.
    objective : str
        ``"continuous"``, the density at the integers, or ``"discretised"``, the probability of the
        integers, clipped ones included.
    """

    epochs: int = 20
    batch: int | None = 128
    steps_per_epoch: int | None = 100
    held_out: int = 2048
    objective: str = "continuous"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise DataError(f"objective: expected one of {', '.join(OBJECTIVES)}; got {self.objective!r}")
        for name in ("epochs", "batch", "held_out"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise DataError(f"{name}: expected 1 or more; got {getattr(self, name)}")
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            raise DataError(f"steps_per_epoch: expected 1 or more; got {self.steps_per_epoch}")

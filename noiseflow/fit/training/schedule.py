"""The learning rate: a function of the step and of the history alone, so that nothing of it need be kept."""

import math
from collections.abc import Sequence

from noiseflow.fit.training.settings import TrainSettings

__all__ = ["learning_rate"]

PLATEAU = 3
"""Looks without a lower held-out figure after which the learning rate is halved."""


def learning_rate(settings: TrainSettings, step: int, steps: int, held_out: Sequence[float]) -> float:
    """The learning rate of a step.

    Parameters
    ----------
    settings : TrainSettings
    step : int
        From 0.
    steps : int
        Of the whole training.
    held_out : sequence of float
        Held-out figures of all looks so far, the start's first.

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

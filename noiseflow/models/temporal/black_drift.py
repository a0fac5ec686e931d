"""Drift of the black level from frame to frame."""

import math
from collections.abc import Mapping
from typing import ClassVar

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import FramePart

__all__ = ["BlackDrift"]


class BlackDrift(FramePart):
    """An offset common to all pixels of a frame, N(0, σ²), which follows a first-order autoregression over frames.

    Parameters of the part: ``log_sigma``, the log of σ, normalised; ``memory_of``, with φ = tanh(memory_of).
    """

    of_light = False
    starts: ClassVar[Mapping[str, float]] = {"log_sigma": math.log(1e-5), "memory_of": 0.5}

    def facts(self, cond: Resolved) -> dict[str, float]:
        """σ of the drift, normalised, and its correlation φ from one frame to the next."""
        return {"sigma": float(self.at("log_sigma", cond)[0].exp()), "phi": float(self.memory(cond)[0])}

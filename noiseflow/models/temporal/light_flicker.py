"""Flicker of the light from frame to frame."""

import math
from collections.abc import Mapping
from typing import ClassVar

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import FramePart

__all__ = ["LightFlicker"]


class LightFlicker(FramePart):
    """A gain 1 + N(0, σ²) on the signal of a whole frame, which follows a first-order autoregression over frames.

    Parameters of the part: ``log_sigma``, the log of σ, relative to the signal; ``memory_of``, with
    φ = tanh(memory_of).
    """

    of_light = True
    starts: ClassVar[Mapping[str, float]] = {"log_sigma": math.log(1e-4), "memory_of": 0.5}

    def facts(self, cond: Resolved) -> dict[str, float]:
        """σ of the light in %, and its correlation φ from one frame to the next."""
        return {"sigma_percent": 100 * float(self.at("log_sigma", cond)[0].exp()), "phi": float(self.memory(cond)[0])}

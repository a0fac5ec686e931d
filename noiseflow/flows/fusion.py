"""Fused passes: runs of neighbouring layers that a kernel takes in one pass over the pixels.

A layer declares by `Transform.joins` which pass it can be a part of; the pass itself is registered in `FUSIONS`
by the layer that it is made for.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["FUSIONS", "Fusion", "PlaneMixing"]


class PlaneMixing(Transform):
    """A transform that multiplies the planes of each pixel by one matrix."""

    joins = "coupling_chain"

    @abstractmethod
    def log_det(self, x: Tensor) -> Tensor:
        """log|det dz/dx| of each element, one number."""

    @classmethod
    @abstractmethod
    def matrices(cls, layers: Sequence[Any], planes: int, *, inverse: bool) -> Tensor:
        """What layers of the class, or their inverses, multiply a pixel's planes by, (layers, C, C) in float64."""


class Fusion(ABC):
    """A fused pass."""

    @abstractmethod
    def forward(
        self, layers: Sequence[Transform], x: Tensor, cond: Resolved, noise: NoiseParameters | None
    ) -> tuple[Tensor, Tensor] | None:
        """Data through the layers: z and log-det, (B,); None where no kernel serves."""

    @abstractmethod
    def inverse(
        self,
        layers: Sequence[Transform],
        after: Transform | None,
        z: Tensor,
        cond: Resolved,
        noise: NoiseParameters | None,
        *,
        own: bool,
    ) -> tuple[Tensor, int] | None:
        """Latent through the layers' inverses, and maybe that of the layer `after`: x, and how many they were.

        If z is the caller's `own`, x may take its place.
        """


FUSIONS: dict[str, Fusion] = {}
"""Name → fused pass."""

"""Fused passes: runs of neighbouring layers that a kernel takes in one pass over the pixels.

A layer declares by `Transform.joins` which pass it can be a part of; the pass itself is registered in `FUSIONS`
by the layer that it is made for.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["FUSIONS", "Fusion", "PlaneMixing", "run", "run_back"]


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
        self, layers: Sequence[Transform], x: Tensor, cond: Conditions, noise: NoiseParameters | None
    ) -> tuple[Tensor, Tensor] | None:
        """Data through the layers: z and log-det, (B,); None where no kernel serves."""

    @abstractmethod
    def inverse(
        self,
        layers: Sequence[Transform],
        after: Transform | None,
        z: Tensor,
        cond: Conditions,
        noise: NoiseParameters | None,
        *,
        own: bool,
    ) -> tuple[Tensor, int] | None:
        """Latent through the layers' inverses, and maybe that of the layer `after`: x, and how many they were.

        If z is the caller's `own`, x may take its place.
        """


FUSIONS: dict[str, Fusion] = {}
"""Name → fused pass."""


def run(
    transforms: Sequence[Transform], x: Tensor, cond: Conditions, noise: NoiseParameters | None
) -> tuple[Tensor, Tensor, int]:
    """Data through the first of some transforms: z, log-det (B,), and how many they were, one or more."""
    fusion, layers = _leading(transforms)
    found = fusion.forward(layers, x, cond, noise) if fusion else None
    if found is not None:
        return *found, len(layers)
    return *transforms[0](x, cond, noise), 1


def run_back(
    transforms: Sequence[Transform], z: Tensor, cond: Conditions, noise: NoiseParameters | None, *, own: bool = False
) -> tuple[Tensor, int]:
    """Latent through the inverses of the first of some transforms: x, and how many they were, one or more."""
    fusion, layers = _leading(transforms)
    after = transforms[len(layers)] if len(layers) < len(transforms) else None
    found = fusion.inverse(layers, after, z, cond, noise, own=own) if fusion else None
    return (transforms[0].inverse(z, cond, noise), 1) if found is None else found


def _leading(transforms: Sequence[Transform]) -> tuple[Fusion | None, Sequence[Transform]]:
    """The pass that the first transforms join, and these transforms."""
    name = transforms[0].joins
    fusion = None if name is None else FUSIONS.get(name)
    if fusion is None:
        return None, transforms[:1]
    count = next((at for at, each in enumerate(transforms) if each.joins != name), len(transforms))
    return fusion, transforms[:count]

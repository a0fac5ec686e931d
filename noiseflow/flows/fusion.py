"""Fused passes: runs of consecutive layers that one kernel computes in one pass over the pixels.

A layer names the pass it can join in `Transform.joins`.  The pass is registered in `FUSIONS` by the module of the
layer it was written for.
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
    """A transform that multiplies the planes of every pixel by the same matrix."""

    joins = "coupling_chain"

    @abstractmethod
    def log_det(self, x: Tensor) -> Tensor:
        """log|det dz/dx| in nats, one number for all elements."""

    @classmethod
    @abstractmethod
    def matrices(cls, layers: Sequence[Any], planes: int, *, inverse: bool) -> Tensor:
        """The matrices of several layers of this class, or their inverses, (layers, C, C), float64."""


class Fusion(ABC):
    """A fused pass over several layers, in both directions."""

    @abstractmethod
    def forward(
        self, layers: Sequence[Transform], x: Tensor, cond: Resolved, noise: NoiseParameters | None
    ) -> tuple[Tensor, Tensor] | None:
        """Map data to latent through `layers`; return z and log-det, (B,), or None if no kernel supports them."""

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
        """Map latent to data through the inverses of `layers`, and of the layer `after` them if the kernel can.

        Parameters
        ----------
        layers : sequence of Transform
            Layers that join this pass, in the order latent → data.
        after : Transform, optional
            The layer that follows them.
        z : Tensor, shape (B, C, H, W)
            Latent values.
        cond : Resolved
            Clean signal, ISO and camera of each element.
        noise : NoiseParameters, optional
            Noise parameters that the transforms share.
        own : bool
            Whether the memory of z may be overwritten.

        Returns
        -------
        (Tensor, int), optional
            x and the number of layers inverted; None if no kernel supports them.
        """


FUSIONS: dict[str, Fusion] = {}
"""Name → fused pass."""

"""The contract of a transform: data to latent with the log-determinant, and back."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.saved_state import SavedState
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["WHOLE_FRAME", "Transform", "WholeLines", "full_precision", "sum_per_sample"]

WHOLE_FRAME = 1 << 30
"""Reach of a transform whose output depends on the whole frame, so that the frame cannot be cut into tiles."""


class Transform(SavedState, ABC):
    """An invertible map of (B, C, H, W) tensors, given the conditions.

    Every transform accepts the conditions and the noise parameters shared by the flow's head, whether it uses them
    or not, so that chains need no branches.  `reach` is the receptive radius in pixels of a plane: the largest
    distance at which an input can change an output, in either direction of the map.  Tiles of a frame need a halo
    of the sum over the chain.  `forward_reach` and `sampling_reach` are the radii of one direction alone.
    """

    reach: int = 0
    joins: str | None = None
    """Name of the fused pass this transform can be part of; see `noiseflow.flows.fusion`."""
    ends: str | None = None
    """Name of the fused pass whose inverse can include the inverse of this transform as its last step."""
    cell: int = 1
    """Side of the square cells treated as one pixel, in pixels of a plane; an odd last row or column is unchanged."""
    period: int = 1
    """Tiles of a frame must start at a multiple of this many pixels of a plane."""
    sequential_forward: bool = False
    """Whether `forward` needs a number of sequential steps that grows with the frame."""
    sequential_inverse: bool = False
    """Whether `inverse` needs a number of sequential steps that grows with the frame."""
    elementwise: bool = False
    """Whether each output is a rising function of the input value at the same place alone, given the conditions."""

    leaves_out: bool = False
    """Whether `forward` ignores pixels where ``cond.observed`` is False, provided the noise is 0 there."""

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.reach

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters | None:
        """Noise parameters for all transforms of a flow: `noise` as it is, or with what this transform adds."""
        return noise

    def exportable(self) -> "Transform":
        """A transform with the same `inverse`, made of operations that ONNX supports; by default itself."""
        return self

    @abstractmethod
    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Data.
        cond : Resolved
            Clean signal, ISO and camera; `iso` and `camera` are tensors of shape (B,).
        noise : NoiseParameters, optional
            Noise parameters of each pixel, from the flow's head.

        Returns
        -------
        z : Tensor, shape (B, C, H, W)
            Latent.
        log_det : Tensor, shape (B,)
            log|det dz/dx| in nats, float32 or better.
        """

    @abstractmethod
    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data: the x for which ``forward(x, cond, noise)`` returns z."""

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latent to data; return x and log|det dx/dz| in nats, (B,).  The default runs both directions."""
        x = self.inverse(z, cond, noise)
        return x, -self(x, cond, noise)[1]


class WholeLines(Transform):
    """A transform whose inverse needs sums over whole sensor rows or columns and is otherwise pixel by pixel.

    A frame can be sampled in tiles, because the sums of tiles add up.
    """

    whole_rows: bool
    """Whether a row needs only its own sums; False for columns, and for rows that depend on one another."""
    whole_frame: bool = False
    """Whether the lines are rows that depend on one another, so that a tile needs the sums of all rows of the frame."""

    @abstractmethod
    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Sums over the lines of a tile, which add up over tiles; the last two axes are H or 1, and W or 1."""

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """Turn the sums of whole lines into the argument of `inverse_of_part`; by default the sums themselves."""
        return sums

    @abstractmethod
    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent to data on a tile of a frame, given the resolved `sums` over its whole lines."""


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Context that disables autocast on the device of `like`: for computations on values, not for nets."""
    return torch.autocast(like.device.type, enabled=False)


def sum_per_sample(values: Tensor) -> Tensor:
    """Sum over all but the batch dimension, in float32 or better, shape (B,)."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.flatten(1).sum(1, dtype=dtype)

"""The contract of a transform: data to latent with its log-det, and back."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.saved_state import SavedState
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["WHOLE_FRAME", "Transform", "WholeLines", "full_precision", "sum_per_sample"]

WHOLE_FRAME = 1 << 30
"""Reach of a transform whose output depends on the whole frame; it cannot be cut into tiles."""


class Transform(SavedState, ABC):
    """An invertible map of (B, C, H, W) tensors under conditions.

    Every transform takes the conditions, and the noise parameters that a flow's head shares,
    whether it uses them or not, so that a chain has no branches.  `reach` is its receptive
    radius: how many pixels away an input can change an output, in either direction; a frame
    cut into tiles needs a halo of the sum.
    `forward_reach` and `sampling_reach` are the radii of one direction alone.
    """

    reach: int = 0
    joins: str | None = None
    """Name of the fused pass that it can be a part of; see `noiseflow.flows.fusion`."""
    ends: str | None = None
    """Name of the fused pass whose inverse can end with its own."""
    cell: int = 1
    """Side of the squares of pixels that it takes as one; an odd rest of a frame stays as it is."""
    period: int = 1
    """Tiles of a frame must start at a multiple of it, in pixels of a plane."""
    sequential_forward: bool = False
    """Whether `forward` goes step by step over the frame, in as many steps as it is large."""
    sequential_inverse: bool = False
    """Whether `inverse` does."""
    elementwise: bool = False
    """Whether each output is a rising function of the input at its own place alone, given the conditions."""

    leaves_out: bool = False
    """Whether `forward` leaves out pixels that ``cond.observed`` has not, given noise of 0 there."""

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.reach

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters | None:
        """Noise parameters for all transforms of a flow: those of the transforms before, or with this one's share."""
        return noise

    def exportable(self) -> "Transform":
        """The same sampling direction, made of operations that a graph can have; itself by default."""
        return self

    @abstractmethod
    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Data.
        cond : Resolved
            Resolved: `iso` and `camera` are tensors of shape (B,).
        noise : NoiseParameters, optional
            Noise parameters of each pixel, as found by the flow's head.

        Returns
        -------
        z : Tensor, shape (B, C, H, W)
        log_det : Tensor, shape (B,)
            log|det dz/dx| in nats, float32 or better.
        """

    @abstractmethod
    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data: the x for which ``forward(x, cond, noise)`` gives z."""

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent to data with log|det dx/dz|, shape (B,); here by a pass each way."""
        x = self.inverse(z, cond, noise)
        return x, -self(x, cond, noise)[1]


class WholeLines(Transform):
    """A transform whose inverse needs sums over whole sensor rows or columns, and is pixel by pixel given these.

    A frame can be sampled in tiles: their sums add up.
    """

    whole_rows: bool
    """Whether the lines are rows; else they are columns."""
    whole_frame: bool = False
    """Whether they are rows that depend on each other: a part of a frame needs the sums of all its rows."""

    @abstractmethod
    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """What of a part of a frame goes into the sums, its last two axes H or 1, W or 1."""

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """What `inverse_of_part` takes for lines with these sums; the sums themselves where lines are independent."""
        return sums

    @abstractmethod
    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data of a part of a frame, given the `sums` over its whole lines."""


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Keep what is computed on `like` in its own dtype, whatever autocast is on: for values, not for nets."""
    return torch.autocast(like.device.type, enabled=False)


def sum_per_sample(values: Tensor) -> Tensor:
    """Sum over all but the batch dimension, in float32 or better, shape (B,)."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.flatten(1).sum(1, dtype=dtype)

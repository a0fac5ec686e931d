"""The contract of a transform: data to latent with its log-det, and back."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions

__all__ = ["Transform", "sum_per_sample"]


class Transform(nn.Module, ABC):
    """An invertible map of (B, C, H, W) tensors under conditions.

    Every transform takes the conditions whether it uses them or not, so that a chain
    has no branches.  `reach` is its receptive radius: how many pixels away an input can
    change an output, in either direction; a frame cut into tiles needs a halo of the sum.
    """

    reach: int = 0

    @abstractmethod
    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
        cond : Conditions
            Resolved: `iso` and `camera` are tensors of shape (B,).

        Returns
        -------
        z : Tensor, shape (B, C, H, W)
        log_det : Tensor, shape (B,)
            log|det dz/dx| in nats, float32 or better.
        """

    @abstractmethod
    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data: the x for which ``forward(x, cond)`` gives z."""


def sum_per_sample(values: Tensor) -> Tensor:
    """Sum over all but the batch dimension, in float32 or better, shape (B,)."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.flatten(1).sum(1, dtype=dtype)

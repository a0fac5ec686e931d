"""Strength of each part of the memory at each pixel of a frame."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["MOST", "Strengths", "share_of_jumping", "strengths"]

MOST = 0.9999
"""Largest share of the fixed pattern in a frame's variance; at 1 no temporal noise would be left."""

MOST_TRAPS = 0.5
"""Largest share of telegraph pixels in a frame's variance."""


@dataclass(frozen=True, eq=False)
class Strengths:
    """σ of each part divided by σ of the frame's noise, at each pixel of a frame.

    Parameters
    ----------
    own : Tensor, shape (B, I, N)
        Strengths h of the pixel parts.
    shared : Tensor, shape (B, J, N)
        Strengths g of the frame parts.
    jumping : Tensor, shape (B, N)
        Latent variance of a telegraph pixel around its level: 1 minus the mean variance of the traps.
    rest : Tensor, shape (B, N)
        Latent variance of the new noise of any other pixel: `jumping` minus Σ h², at least 1 − `MOST`.  If the
        pattern is added to the frame's noise, `jumping` and `rest` are 1.
    per_sigma : Tensor, shape (B, N)
        1/σ of the frame's noise, normalised.
    """

    own: Tensor
    shared: Tensor
    jumping: Tensor
    rest: Tensor
    per_sigma: Tensor


def strengths(model: "TemporalNoise", cond: Resolved, sigma: Tensor) -> Strengths:
    """Compute the strengths of a model's parts in a frame.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    cond : Resolved
        Clean signal, ISO and camera of the frame; strengths are 0 at masked pixels.
    sigma : Tensor, shape (B, C, H, W)
        σ of the frame's noise, normalised, in the dtype of the results.
    """
    none = sigma.new_zeros(len(sigma), 0, sigma[0].numel())
    own = [part.strength(cond, sigma).expand_as(sigma).flatten(1) for part in model.pixel_parts]
    shared = [part.strength(cond, sigma).expand_as(sigma).flatten(1) for part in model.frame_parts]
    h, g = (torch.stack(each, 1) if each else none for each in (own, shared))
    jumping = share_of_jumping(model, cond, sigma).expand_as(sigma).flatten(1)
    if not model.adds_pattern:
        least = jumping - (1 - MOST)
        h = h * (least[:, None] / torch.maximum(h.square().sum(1, keepdim=True), least[:, None])).sqrt()
    if cond.observed is not None:
        seen = cond.observed.flatten(1)[:, None]
        h, g = h * seen, g * seen
        jumping = torch.where(seen[:, 0], jumping, 1.0)
    rest = jumping if model.adds_pattern else jumping - h.square().sum(1)
    return Strengths(h, g, jumping, rest, 1 / sigma.flatten(1))


def share_of_jumping(model: "TemporalNoise", cond: Resolved, sigma: Tensor) -> Tensor:
    """`Strengths.jumping`: variance of a telegraph pixel around its level; broadcasts to (B, C, H, W)."""
    if model.telegraph is None or model.adds_pattern:
        return sigma.new_ones(len(sigma), 1, 1, 1)
    traps = model.telegraph.variance(cond).to(sigma)[:, None, None, None] / sigma.square()
    return 1 - traps.clamp(max=MOST_TRAPS)

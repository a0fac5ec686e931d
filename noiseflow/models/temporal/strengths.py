"""How strong each part of the memory is at each pixel of a frame."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["MOST", "Strengths", "share_of_jumping", "strengths"]

MOST = 0.9999
"""Largest share of the frame's variance that the fixed pattern may have; at 1 nothing would be left for the frame."""

MOST_TRAPS = 0.5
"""Largest share that telegraph pixels may have."""


@dataclass(frozen=True, eq=False)
class Strengths:
    """σ of each part over σ of the frame's noise, at each pixel of a frame.

    Parameters
    ----------
    own : Tensor, shape (B, I, N)
        h of the parts of pixels.
    shared : Tensor, shape (B, J, N)
        g of the parts of frames.
    jumping : Tensor, shape (B, N)
        Variance of a telegraph pixel around its level: 1, less the mean variance that traps make.
    rest : Tensor, shape (B, N)
        Variance of what is new in every frame of another pixel: less Σ h² too, all of it at least 1 − `MOST`.
        Where the pattern is added to the frame's noise both are 1.
    per_sigma : Tensor, shape (B, N)
        1/σ of the frame's noise.
    """

    own: Tensor
    shared: Tensor
    jumping: Tensor
    rest: Tensor
    per_sigma: Tensor


def strengths(model: "TemporalNoise", cond: Resolved, sigma: Tensor) -> Strengths:
    """How strong the parts of a model are in a frame.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    cond : Resolved
        Resolved; masked pixels have no part.
    sigma : Tensor, shape (B, C, H, W)
        σ of the frame's noise, in the dtype of the results.
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
    """Variance of a telegraph pixel around its level, as in `Strengths`, of a shape that broadcasts to (B, C, H, W)."""
    if model.telegraph is None or model.adds_pattern:
        return sigma.new_ones(len(sigma), 1, 1, 1)
    traps = model.telegraph.variance(cond).to(sigma)[:, None, None, None] / sigma.square()
    return 1 - traps.clamp(max=MOST_TRAPS)

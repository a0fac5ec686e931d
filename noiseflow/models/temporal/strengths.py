"""How strong each part of the memory is at each pixel of a frame."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["MOST", "Strengths", "strengths"]

MOST = 0.9999
"""Largest share of the frame's variance that the fixed pattern may have; at 1 nothing would be left for the frame."""


@dataclass(frozen=True, eq=False)
class Strengths:
    """σ of each part over σ of the frame's noise, at each pixel of a frame.

    Parameters
    ----------
    own : Tensor, shape (B, I, N)
        h of the parts of pixels.
    shared : Tensor, shape (B, J, N)
        g of the parts of frames.
    rest : Tensor, shape (B, N)
        Variance of what is new in every frame: 1 − Σ h² where the pattern is part of the frame's noise, with
        Σ h² ≤ `MOST`; 1 where it is added to it.
    per_sigma : Tensor, shape (B, N)
        1/σ of the frame's noise.
    """

    own: Tensor
    shared: Tensor
    rest: Tensor
    per_sigma: Tensor


def strengths(model: "TemporalNoise", cond: Conditions, sigma: Tensor) -> Strengths:
    """How strong the parts of a model are in a frame.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    cond : Conditions
        Resolved; masked pixels have no part.
    sigma : Tensor, shape (B, C, H, W)
        σ of the frame's noise, in the dtype of the results.
    """
    none = sigma.new_zeros(len(sigma), 0, sigma[0].numel())
    own = [part.strength(cond, sigma).expand_as(sigma).flatten(1) for part in model.pixel_parts]
    shared = [part.strength(cond, sigma).expand_as(sigma).flatten(1) for part in model.frame_parts]
    h, g = (torch.stack(each, 1) if each else none for each in (own, shared))
    if not model.adds_pattern:
        h = h * (MOST / h.square().sum(1, keepdim=True).clamp(min=MOST)).sqrt()
    if cond.observed is not None:
        seen = cond.observed.flatten(1)[:, None]
        h, g = h * seen, g * seen
    rest = torch.ones_like(sigma).flatten(1) if model.adds_pattern else 1 - h.square().sum(1)
    return Strengths(h, g, rest, 1 / sigma.flatten(1))

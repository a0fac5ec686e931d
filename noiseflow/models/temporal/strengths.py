"""How strong each part of the memory is at each pixel of a frame."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models.temporal.frame_latent import sigma_of

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["MOST", "strengths"]

MOST = 0.9999
"""Largest share of the frame's variance that the fixed pattern may have; at 1 nothing would be left for the frame."""


def strengths(
    model: "TemporalNoise", cond: Conditions, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """H of the parts of pixels, g of the parts of frames, and 1/σ.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    cond : Conditions
        Resolved; masked pixels have no part.
    dtype : torch.dtype
        Of the results.

    Returns
    -------
    h : Tensor, shape (B, I, N)
        Σ h² ≤ `MOST`.
    g : Tensor, shape (B, J, N)
        Of the parts of frames.
    per_sigma : Tensor, shape (B, N)
        1/σ of the frame's noise.
    """
    sigma = sigma_of(model.frame, cond).to(dtype)
    none = sigma.new_zeros(len(sigma), 0, sigma[0].numel())
    own = [part.strength(cond, sigma).flatten(1) for part in model.pixel_parts]
    shared = [part.strength(cond, sigma).expand_as(sigma).flatten(1) for part in model.frame_parts]
    h, g = (torch.stack(each, 1) if each else none for each in (own, shared))
    h = h * (MOST / h.square().sum(1, keepdim=True).clamp(min=MOST)).sqrt()
    if cond.observed is not None:
        seen = cond.observed.flatten(1)[:, None]
        h, g = h * seen, g * seen
    return h, g, 1 / sigma.flatten(1)

"""Shot and read noise of each plane relative to its camera's: where planes differ in gain or read noise."""

import math

import torch
from torch import Tensor

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models.closed_form.variance_line import fit_line
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["LARGEST", "start_planes"]

BINS = 64
"""Bins of the ratio of shot to read variance."""

LARGEST = math.log(2.0)
"""Largest |log| of the ratio of a plane's β to its camera's."""

FEWEST = 20_000
"""Values of a plane at an ISO from which it gets factors of its own there: they are then known to about 1 %."""


@torch.no_grad()
def start_planes(head: ShotReadScale, noise: Tensor, cond: Resolved, light: Tensor | None = None) -> None:
    """Fit β₁ and β₂ of each plane relative to its camera's, at each ISO, by maximum likelihood.

    With v = β₁y/β₂, the variance of a plane in units of β₂ is f₁v + f₂; `fit_line` finds both factors.  An ISO
    with fewer than `FEWEST` values of a plane takes the factors of all ISOs together.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise of the cameras.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Resolved conditions of the noise.
    light : Tensor, shape (cameras, isos), optional
        Relative variance of the light that is part of the noise, and is left out of its squares.
    """
    head.plane_beta1.zero_()
    head.plane_beta2.zero_()
    if cond.observed is not None:
        # What is masked here may be in the statistics that the head comes from, such as blacks that are clipped.
        together = _factors(head, noise, cond, light, by_plane=False)[:, 0]
        head.log_beta1.add_(together[..., 0])
        head.log_beta2.add_(together[..., 1])
    apart = _factors(head, noise, cond, light, by_plane=True)
    head.plane_beta1.copy_(apart[..., 0])
    head.plane_beta2.copy_(apart[..., 1])


def _factors(head: ShotReadScale, noise: Tensor, cond: Resolved, light: Tensor | None, *, by_plane: bool) -> Tensor:
    """Logarithms of f₁ and f₂ of each camera, plane (or all as one) and ISO: (cameras, planes, isos, 2)."""
    found = head.noise_parameters(cond)
    beta1, beta2 = found.beta1, found.beta2
    ratio = (beta1 * found.clean / beta2).clamp(min=0).double()
    square = (noise.square() / beta2).double()
    iso = (cond.iso.log()[:, None] - head.log_isos.to(noise.dtype)).abs().argmin(1)
    if light is not None:
        share = light[cond.camera, iso][:, None, None, None]
        square = square - (share * found.clean.square() / beta2).double()
    observed = torch.ones_like(noise, dtype=torch.bool) if cond.observed is None else cond.observed
    values = [each if by_plane else each.flatten(1)[:, None] for each in (ratio, square, observed)]
    knots = len(head.log_isos)
    factors = noise.new_zeros(len(head.log_beta1), values[0].shape[1], knots, 2)
    for camera in set(cond.camera.tolist()):
        own = cond.camera == camera
        for plane in range(factors.shape[1]):
            at, squares, seen = (each[:, plane] for each in values)
            pooled = _plane_factors(at[own][seen[own]], squares[own][seen[own]])
            for knot in range(knots):
                rows = own & (iso == knot)
                enough = int(seen[rows].sum()) >= FEWEST
                fitted = _plane_factors(at[rows][seen[rows]], squares[rows][seen[rows]]) if enough else pooled
                factors[camera, plane, knot] = fitted.to(noise.dtype)
    return factors


def _plane_factors(ratio: Tensor, square: Tensor) -> Tensor:
    """Logarithms of f₁ and f₂ in E(square) = f₁·ratio + f₂, each within ± `LARGEST`."""
    # Bins evenly spaced in the logarithm of shot over read variance, with one bin for the dark.
    cell = ((ratio.clamp(max=1e4).log1p() / math.log1p(1e4)) * (BINS - 1)).ceil().long().flatten()
    count = torch.bincount(cell, minlength=BINS).double()
    seen = count > 0
    mean_ratio, mean_square = (
        torch.bincount(cell, each.flatten(), BINS)[seen] / count[seen] for each in (ratio, square)
    )
    zeros = torch.zeros(int(seen.sum()), dtype=torch.long)
    cells = NoiseStatistics(zeros, zeros, count[seen], mean_ratio, 0 * mean_ratio, mean_square, ("",), (1.0,))
    return fit_line(cells).log().clamp(-LARGEST, LARGEST)

"""Shot and read noise of each plane relative to the camera's, for planes that differ in gain or read noise."""

import math

import torch
from torch import Tensor

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models.closed_form.variance_line import fit_line
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["LARGEST", "start_planes"]

BINS = 64
"""Number of bins of the ratio of shot to read variance."""

LARGEST = math.log(2.0)
"""Largest |log| of the ratio of a plane's β₁ or β₂ to the camera's."""

FEWEST = 20_000
"""Fewest values of a plane at an ISO for factors of its own there; they are then known to about 1 %."""


@torch.no_grad()
def start_planes(head: ShotReadScale, noise: Tensor, cond: Resolved, light: Tensor | None = None) -> None:
    """Fit β₁ and β₂ of each plane relative to the camera's, per ISO, by maximum likelihood; sets `head`.

    With v = β₁y/β₂, the variance of a plane in units of β₂ is f₁v + f₂; `fit_line` finds both factors.  An ISO
    with fewer than `FEWEST` values of a plane takes the factors of all ISOs together.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise of the cameras; its plane offsets are set.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    light : Tensor, shape (cameras, isos), optional
        Relative variance of light changes that are part of the noise; subtracted from its squares.
    """
    head.plane_beta1.zero_()
    head.plane_beta2.zero_()
    if cond.observed is not None:
        # The head's statistics may include pixels that are masked here, such as clipped blacks.
        together = _factors(head, noise, cond, light, by_plane=False)[:, 0]
        head.log_beta1.add_(together[..., 0])
        head.log_beta2.add_(together[..., 1])
    apart = _factors(head, noise, cond, light, by_plane=True)
    head.plane_beta1.copy_(apart[..., 0])
    head.plane_beta2.copy_(apart[..., 1])


def _factors(head: ShotReadScale, noise: Tensor, cond: Resolved, light: Tensor | None, *, by_plane: bool) -> Tensor:
    """Log f₁ and log f₂ of each camera, plane and ISO, (cameras, planes or 1, isos, 2)."""
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
    """Log f₁ and log f₂ in E(square) = f₁·ratio + f₂, each within ± `LARGEST`."""
    # Bins are evenly spaced in the log of shot over read variance, with one bin for the dark.
    cell = ((ratio.clamp(max=1e4).log1p() / math.log1p(1e4)) * (BINS - 1)).ceil().long().flatten()
    count = torch.bincount(cell, minlength=BINS).double()
    seen = count > 0
    mean_ratio, mean_square = (
        torch.bincount(cell, each.flatten(), BINS)[seen] / count[seen] for each in (ratio, square)
    )
    zeros = torch.zeros(int(seen.sum()), dtype=torch.long)
    cells = NoiseStatistics(zeros, zeros, count[seen], mean_ratio, 0 * mean_ratio, mean_square, ("",), (1.0,))
    return fit_line(cells).log().clamp(-LARGEST, LARGEST)

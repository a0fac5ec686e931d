"""Where a physics flow starts: what cell statistics do not tell, by moments and likelihood of patches."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_iso
from noiseflow.models.closed_form.variance_line import fit_line
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["start_lines", "start_planes", "start_tails"]

BINS = 64
"""Cells of shot over read variance."""

MOST = math.log(2.0)
"""Largest |log β| of a plane against its camera's."""

FEWEST = 20_000
"""Values of a plane at an ISO from which its factors there are its own: they are then known to about 1 %."""

OUTLIER = 12.0
"""Standard deviations; of Tukey's lambda noise with λ = −0.09 one value in 10⁸ is beyond."""


@torch.no_grad()
def start_planes(head: ShotReadScale, noise: Tensor, cond: Conditions) -> None:
    """Maximum-likelihood β₁ and β₂ of each plane against its camera's, at each ISO, by a line through cells.

    With v = β₁y/β₂ a plane's variance in units of β₂ is f₁v + f₂: `fit_line` finds both factors.  An ISO
    with fewer than `FEWEST` values of a plane takes the factors of all ISOs together.
    """
    beta1, beta2 = head.betas(cond)
    ratio = (beta1 * cond.clean / beta2).clamp(min=0).double()
    square = (noise.square() / beta2).double()
    iso = (cond.isos.log()[:, None] - head.log_isos.to(noise.dtype)).abs().argmin(1)
    for camera in set(cond.camera_indices.tolist()):
        own = cond.camera_indices == camera
        for plane in range(noise.shape[1]):
            values = [each[:, plane] for each in (ratio, square)]
            pooled = _plane_factors(*(each[own] for each in values))
            for knot in range(len(head.log_isos)):
                rows = own & (iso == knot)
                enough = int(rows.sum()) * values[0][0].numel() >= FEWEST
                factors = _plane_factors(*(each[rows] for each in values)) if enough else pooled
                head.plane_beta1[camera, plane, knot], head.plane_beta2[camera, plane, knot] = factors.to(noise.dtype)


def _plane_factors(ratio: Tensor, square: Tensor) -> Tensor:
    """Logarithms of f₁ and f₂ in E(square) = f₁·ratio + f₂, each within ± `MOST`."""
    # Even in the logarithm of shot over read variance, with a cell for the dark.
    cell = ((ratio.clamp(max=1e4).log1p() / math.log1p(1e4)) * (BINS - 1)).ceil().long().flatten()
    count = torch.bincount(cell, minlength=BINS).double()
    seen = count > 0
    mean_ratio, mean_square = (
        torch.bincount(cell, each.flatten(), BINS)[seen] / count[seen] for each in (ratio, square)
    )
    zeros = torch.zeros(int(seen.sum()), dtype=torch.long)
    cells = NoiseStatistics(zeros, zeros, count[seen], mean_ratio, 0 * mean_ratio, mean_square, ("",), (1.0,))
    return fit_line(cells).log().clamp(-MOST, MOST)


@torch.no_grad()
def start_lines(
    head: ShotReadScale,
    lines: LineNoise,
    noise: Tensor,
    cond: Conditions,
    bands: Tensor | None = None,
    rounds: int = 5,
) -> None:
    """Line noise by its moments, and the read noise without it.

    The read variance found so far holds the lines': β₂(1 + r), of which r is counted in β₂.
    Variances are taken at the mean signal of a patch's plane, which the products of pixels do
    not mind: a clean signal out of other frames holds a part of the noise, pixel by pixel, and
    weights that go with the noise make products of their own.
    """
    total = head.log_beta2.clone()
    even = replace(cond, clean=cond.clean.mean((2, 3), keepdim=True).expand_as(cond.clean))
    for _ in range(rounds):
        lines.start_from(head(noise, even)[0], even, head.noise_parameters(even), bands)
        head.log_beta2.copy_(total - lines.log_variance.exp().log1p())


@torch.no_grad()
def start_tails(head: ShotReadScale, tails: CubicTails, x: Tensor, cond: Conditions) -> None:
    """Excess kurtosis of the read noise by fourth moments, for each camera at each of its ISOs.

    E x⁴ = 3 + κ_shot + κ·w², with w the read noise's share in the variance: a line through
    pixels weighted by w².  Moments, not the likelihood: on whole codes a density is highest
    with a spike at them.  Values beyond `OUTLIER` are left out.

    Parameters
    ----------
    head : ShotReadScale
    tails : CubicTails
    x : Tensor, shape (B, C, H, W)
        Noise over its standard deviation, without line noise.
    cond : Conditions
    """
    weight = head.read_share(cond).clamp(max=1).square()
    kept = x.abs() < OUTLIER
    excess = (x.square().square() - 3 - head.shot_moments(cond)[1]) * weight * kept
    knots = tails.log_isos.to(tails.kurtosis.dtype)
    index = (cond.isos.log()[:, None] - knots).abs().argmin(1)
    sums = torch.stack([each.double().sum((1, 2, 3)) for each in (excess, weight.square() * kept)])
    for camera in set(cond.camera_indices.tolist()):
        own = cond.camera_indices == camera
        seen = sorted(set(index[own].tolist()))
        over, under = torch.stack([sums[:, own & (index == iso)].sum(1) for iso in seen], 1)
        tails.kurtosis[camera] = at_iso((over / under).to(knots.dtype), knots[seen], knots.exp())

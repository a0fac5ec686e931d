"""Offset and relative light change common to all rows of a frame, estimated from pairs of distant rows."""

import torch
from torch import Tensor

from noiseflow.flows.camera.line_noise import SURE, bands_of_rows, numbered
from noiseflow.flows.camera.row_noise import NO_FLICKER

__all__ = ["runs_of_bands", "shared_by_frames"]

FAR = 0.5
"""Bands count as distant from this fraction of the frame's height, so that slow drift does not look like a constant."""

ROUNDS = 4
"""Rounds of the fit of a band's own variance, each weighted by the previous one."""

SINGULAR = 1e6
"""Condition number of the fit above which bands of equal light cannot separate an offset from a light change."""

MOST = 2048
"""Most bands, evenly selected; all pairs of bands of a frame are used."""


def shared_by_frames(sums: Tensor, index: Tensor, cameras: Tensor, places: Tensor, none: Tensor) -> Tensor:
    """Variance of the offset and of the relative light change common to all rows of a frame.

    With p = Σ dx over a band, two bands b, c of one frame have E(p_b p_c) = w_a D_b D_c + w_b E_b E_c,
    D = Σ d² and E = Σ de.  w_a and w_b come from a linear fit over pairs of bands that are `FAR` apart, per camera
    and ISO.  A variance that is not `SURE` standard errors above 0 becomes `NO_FLICKER`.

    Parameters
    ----------
    sums : Tensor, shape (5, B, rows of a cell, 1, H, 1)
        `RowNoise.sums` of patches.
    index, cameras : Tensor of int, shape (B,)
        ISO knot and camera of each patch.
    places : Tensor of int, shape (B, 2)
        Frame and topmost row of each patch; patches with equal values form a band.
    none : Tensor of float64, shape (2, cameras, ISOs)
        Result where there are not enough pairs of bands.

    Returns
    -------
    Tensor of float64, shape (2, cameras, ISOs)
        w_a in units of the read-noise variance, and w_b relative to the squared signal.
    """
    found = none.clone()
    joined, knot, camera = bands_of_rows(sums.flatten(2).sum(2, keepdim=True).double(), index, cameras, places)
    frame, top = places[numbered(places)[0]].unbind(1)
    projection, _, offset, light = joined[:4, :, 0]
    height = sums.shape[4]
    for owner in range(none.shape[1]):
        for place in range(none.shape[2]):
            rows = ((camera == owner) & (knot == place)).nonzero()[:, 0]
            rows = rows[:: max(1, -(-len(rows) // MOST))]
            if not len(rows):
                continue
            tall = int(top[rows].max()) + height
            apart = (top[rows, None] - top[rows]).abs() >= max(FAR * tall, 2 * height)
            one, other = ((frame[rows, None] == frame[rows]) & apart).triu().nonzero().unbind(1)
            if len(one) > 2:
                found[:, owner, place] = _variances(projection[rows], offset[rows], light[rows], one, other)
    return found


def runs_of_bands(places: Tensor, height: int, most: int) -> Tensor:
    """Find runs of n bands that adjoin in a frame; return their indices from top to bottom, (runs, n).

    n is the largest power of 2, up to `most`, for which at least half of the bands belong to such runs.

    Parameters
    ----------
    places : Tensor of int, shape (bands, 2)
        Frame and topmost row of each band, in rising order.
    height : int
        Number of rows of a band.
    most : int
        Largest number of bands in a run.
    """
    count = len(places)
    below = (places[1:, 0] == places[:-1, 0]) & (places[1:, 1] - places[:-1, 1] == height)
    first = torch.cat([torch.ones(1, dtype=torch.bool), ~below]).nonzero()[:, 0]
    group = torch.searchsorted(first, torch.arange(count), right=True) - 1
    within = torch.arange(count) - first[group]
    length = torch.bincount(group)
    n = 1 << max(most, 1).bit_length() - 1
    while n > 1 and 2 * int((length // n * n).sum()) < count:
        n //= 2
    tops = ((within % n == 0) & (within + n <= length[group])).nonzero()[:, 0]
    return tops[:, None] + torch.arange(n)


def _variances(projection: Tensor, offset: Tensor, light: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Variances of offset and light, (2,), from the products of the bands `one` and `other`."""
    regressors = torch.stack([offset, light], 1)
    spread = _spread(projection, regressors)
    weight = (spread[one] * spread[other]).reciprocal()
    design, products = regressors[one] * regressors[other], projection[one] * projection[other]
    value, error = _fit(design, products, weight, design.abs().amax(0) > 0)
    return _fit(design, products, weight, value > SURE * error)[0].clamp(min=NO_FLICKER)


def _spread(projection: Tensor, regressors: Tensor) -> Tensor:
    """Variance of each band's projection, D + v_a D² + v_b E², with its own offset and light change."""
    design, spread = regressors.square(), regressors[:, 0]
    for _ in range(ROUNDS):
        weight = spread.square().reciprocal()
        value, _ = _fit(design, projection.square() - regressors[:, 0], weight, design.amax(0) > 0)
        spread = regressors[:, 0] + design @ value
    return spread


def _fit(design: Tensor, products: Tensor, weight: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares on the columns `kept`: values clamped to 0 or more, and errors; other columns are 0."""
    value, error = torch.zeros(2, 2, dtype=torch.float64)
    rows = design[:, kept] * weight.sqrt()[:, None]
    size = rows.square().sum(0).sqrt()
    rows = rows / size
    normal = rows.T @ rows
    if bool(kept.any()) and float(torch.linalg.cond(normal)) < SINGULAR:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(normal))
        value[kept] = inverse @ (rows.T @ (weight.sqrt() * products)) / size
        error[kept] = inverse.diagonal().sqrt() / size
    return value.clamp(min=0), error

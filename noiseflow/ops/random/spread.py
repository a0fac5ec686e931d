"""Evenly spread (quasi-random) numbers: moments of a model's noise from few samples."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["Spread"]

MOST_COUNTED = 400.0
"""Rate below which Poisson probabilities are added up; above it, the quantile comes from four cumulants."""

ROOT = 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Spread:
    """Random numbers for measuring the moments of a model's noise on flats, evenly spread over the pixels of the flat.

    The numbers of a cell of `cell` × `cell` pixels and all planes form one point of a scrambled Sobol sequence; the
    cells are in random order.  Every element of a batch gets the same numbers.

    Parameters
    ----------
    seed : int
        Seed of the scrambling and of the order of cells.
    cell : int
        Side of a cell in pixels of a plane; 1 if the noise of different pixels is independent.

    References
    ----------
    Owen: Scrambling Sobol' and Niederreiter-Xing points, Journal of Complexity 14, 1998.
    """

    seed: int = 0
    cell: int = 2

    def strata(self, like: Tensor, stream: int) -> tuple[Tensor, int]:
        """Stratum of each value of an element, (C, H, W) of int64, and the number of strata."""
        cells, count = _cells(*like.shape[1:], self.cell, self.seed, stream)
        return cells.to(like.device), count

    def uniform(self, like: Tensor, stream: int) -> Tensor:
        """Draw uniform numbers of (0, 1), evenly spread, in the shape of `like`, float64."""
        strata, count = self.strata(like, stream)
        place = torch.rand(strata.shape, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
        return ((strata + place.clamp(min=1e-12).to(like.device)) / count).expand(like.shape)

    def poisson(self, rate: Tensor, stream: int) -> Tensor:
        """Draw Poisson counts in the shape and dtype of `rate`, which must be constant over each plane."""
        of_plane, u = rate[:, :, 0, 0].double().flatten(), self.uniform(rate, stream).flatten(2).flatten(0, 1)
        counts = torch.empty_like(u)
        small = of_plane < MOST_COUNTED
        if small.any():
            most = float(of_plane[small].max())
            k = torch.arange(int(most + 12 * most**0.5) + 30, dtype=torch.float64, device=rate.device)
            # P(count ≤ k) = Γ(k + 1, rate)/Γ(k + 1), the regularised upper incomplete gamma function.
            below = torch.special.gammaincc(k + 1, of_plane[small, None])
            counts[small] = torch.searchsorted(below, u[small].contiguous()).double()
        counts[~small] = _many(of_plane[~small, None], u[~small])
        return counts.reshape(rate.shape).to(rate.dtype)

    def normal(self, like: Tensor, stream: int) -> Tensor:
        """Draw standard normal numbers with the shape, dtype and device of `like`, with an exact sixth moment."""
        strata, count = self.strata(like, stream)
        return _normal_of_strata(count).to(like)[strata].expand(like.shape)


def _many(rate: Tensor, u: Tensor) -> Tensor:
    """Poisson quantile at u from four cumulants (Cornish–Fisher), with the variance of rounding subtracted.

    References
    ----------
    Cornish, Fisher: Moments and cumulants in the specification of distributions, 1938.
    """
    z, root = torch.special.ndtri(u), rate.sqrt()
    w = z + (z.square() - 1) / (6 * root) + ((z**3 - 3 * z) / 24 - (2 * z**3 - 5 * z) / 36) / rate
    counts: Tensor = (rate + w * (rate - 1 / 12).sqrt()).round().clamp(min=0)
    return counts


@lru_cache(maxsize=8)
def _cells(planes: int, height: int, width: int, cell: int, seed: int, stream: int) -> tuple[Tensor, int]:
    down, across = (math.ceil(size / cell) for size in (height, width))
    seed = 256 * seed + stream
    sequence = torch.quasirandom.SobolEngine(planes * cell**2, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    count = 1 << max(down * across - 1, 0).bit_length()
    points = (sequence.draw(count, dtype=torch.float64) * count).long().clamp(max=count - 1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: down * across]
    cells = points[order].reshape(down, across, planes, cell, cell)
    whole = cells.permute(2, 0, 3, 1, 4).reshape(planes, cell * down, cell * across)
    return whole[:, :height, :width].contiguous(), count


@lru_cache(maxsize=8)
def _normal_of_strata(count: int) -> Tensor:
    """Sixth root of the mean of z⁶ over each of `count` equally likely strata of N(0, 1), float64.

    The midpoints of the outermost strata would miss much of the tails.  ∫ z⁶ φ = 15 Φ(z) − (z⁵ + 5z³ + 15z) φ(z).
    """
    half = torch.arange(count // 2, count, dtype=torch.float64)
    low, high = ((half + end) / count for end in (0, 1))
    z = torch.special.ndtri(torch.stack([low, high]).clamp(max=1 - 1e-16))
    density = ROOT * (-0.5 * z.square()).exp()
    below = 15 * torch.stack([low, high]) - (z**5 + 5 * z**3 + 15 * z) * density
    below[1, -1] = 15.0
    upper = ((below[1] - below[0]) * count).clamp(min=0).pow(1 / 6)
    return torch.cat([-upper.flip(0), upper])

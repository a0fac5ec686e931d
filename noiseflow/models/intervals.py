"""Probability of an interval of a standard normal, and of the codes of a model that has a distribution function."""

import torch
from torch import Tensor

from noiseflow.models.adc_levels import Cells

__all__ = ["log_cells", "log_normal_interval"]


def log_normal_interval(low: Tensor, high: Tensor) -> Tensor:
    """log[Φ(high) − Φ(low)], without cancellation anywhere.

    On the left half it is log Φ(b) + log(1 − Φ(a)/Φ(b)), of which each part keeps its relative
    precision; an interval on the right is mirrored.

    Parameters
    ----------
    low, high : Tensor of float64
        Finite, low < high.

    Examples
    --------
    >>> one = torch.ones((), dtype=torch.float64)
    >>> round(float(log_normal_interval(-one, one).exp()), 4), round(float(log_normal_interval(40 * one, 41 * one)), 2)
    (0.6827, -804.61)
    """
    right = low + high > 0
    a, b = torch.where(right, -high, low), torch.where(right, -low, high)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    result: Tensor = log_b + (-torch.expm1(log_a - log_b)).log()
    return result


def log_cells(z_low: Tensor, z_high: Tensor, cells: Cells) -> Tensor:
    """Log-probability of each code, from the standard normal z of its ends; clipped codes take a whole tail.

    Parameters
    ----------
    z_low, z_high : Tensor, shape (B, C, H, W)
        Of `Cells.low` and `Cells.high`.
    cells : Cells

    References
    ----------
    Tobin: Estimation of relationships for limited dependent variables, Econometrica 1958
    (the tails); Foi: Clipped noisy images: heteroskedastic modeling and practical denoising,
    Signal Processing 2009 (the same for sensors).
    """
    z_low, z_high = z_low.double(), z_high.double()
    inside = log_normal_interval(z_low, z_high)
    if not cells.clipped.any():
        return inside
    tail: Tensor = torch.special.log_ndtr(torch.where(cells.at_black, z_high, -z_low))
    return torch.where(cells.clipped, tail, inside)

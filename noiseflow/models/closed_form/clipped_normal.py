"""Variance of a normal variable that is clipped at both ends."""

import math

import torch
from torch import Tensor

__all__ = ["clipped_variance"]


def clipped_variance(low: Tensor, high: Tensor) -> Tensor:
    """Variance of min(max(z, low), high) for a standard normal z, of their shape.

    With φ and Φ of both ends, E = low·Φ(low) + high·Φ(−high) + φ(low) − φ(high) and
    E² = low²·Φ(low) + high²·Φ(−high) + Φ(high) − Φ(low) + low·φ(low) − high·φ(high).

    Examples
    --------
    >>> clipped_variance(torch.tensor(-9.0), torch.tensor([9.0, 0.0]))
    tensor([1.0000, 0.3408], dtype=torch.float64)
    """
    # Beyond these ends nothing is left of the tails, and infinity times 0 is no number.
    low, high = low.double().clamp(-40, 40), high.double().clamp(-40, 40)
    density_low, density_high = ((-0.5 * end.square()).exp() / math.sqrt(2 * math.pi) for end in (low, high))
    below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
    mean = low * below + high * above + density_low - density_high
    square = low.square() * below + high.square() * above + 1 - above - below
    variance: Tensor = square + low * density_low - high * density_high - mean.square()
    return variance.clamp(min=0)

"""Variance of a normal variable that is clipped at both ends."""

import math

import torch
from torch import Tensor

__all__ = ["clipped_variance"]


def clipped_variance(low: Tensor, high: Tensor) -> Tensor:
    """Variance of y = min(max(z, low), high) for a standard normal z.

    With the density φ and the distribution function Φ, E y = low·Φ(low) + high·Φ(−high) + φ(low) − φ(high) and
    E y² = low²·Φ(low) + high²·Φ(−high) + Φ(high) − Φ(low) + low·φ(low) − high·φ(high).

    Parameters
    ----------
    low, high : Tensor
        Ends, of shapes that broadcast together; ±∞ for no clipping.

    Examples
    --------
    >>> clipped_variance(torch.tensor(-9.0), torch.tensor([9.0, 0.0]))
    tensor([1.0000, 0.3408], dtype=torch.float64)
    """
    # Beyond ±40 the tails vanish; the clamp avoids infinity times 0.
    low, high = low.double().clamp(-40, 40), high.double().clamp(-40, 40)
    density_low, density_high = ((-0.5 * end.square()).exp() / math.sqrt(2 * math.pi) for end in (low, high))
    below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
    mean = low * below + high * above + density_low - density_high
    square = low.square() * below + high.square() * above + 1 - above - below
    variance: Tensor = square + low * density_low - high * density_high - mean.square()
    return variance.clamp(min=0)

"""Variance-stabilising transform with a closed-form inverse, for the photo denoiser."""

from torch import Tensor

__all__ = ["stabilised", "unstabilised"]

ANSCOMBE = 3 / 8


def stabilised(signal: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Apply the generalised Anscombe transform, relative to black and continued linearly below black.

    With c = β₂ + ⅜·β₁²: f(x) = 2·x/(√(β₁·x + c) + √c) for x ≥ 0, and x/√c below.  The former equals
    (2/β₁)·(√(β₁·x + c) − √c), written so that β₁ may be 0.  Value and slope are continuous at 0.

    Parameters
    ----------
    signal : Tensor
        Normalised signal.
    slope, offset : Tensor
        Coefficients of the noise variance β₁·x + β₂, broadcastable.

    Returns
    -------
    Tensor
        Stabilised signal, in units of σ.

    References
    ----------
    Mäkitalo, Foi: Optimal inversion of the generalized Anscombe transformation, IEEE TIP 2013.
    """
    root = (offset + ANSCOMBE * slope.square()).sqrt()
    lit = signal.clamp(min=0)
    return 2 * lit / ((slope * lit + root.square()).sqrt() + root) + signal.clamp(max=0) / root


def unstabilised(value: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Algebraic inverse of `stabilised`: x = √c·f + β₁·f²/4 for f ≥ 0, and √c·f below."""
    root = (offset + ANSCOMBE * slope.square()).sqrt()
    return root * value + slope / 4 * value.clamp(min=0).square()

"""Units in which noise has variance 1, with an inverse in closed form."""

from torch import Tensor

__all__ = ["stabilised", "unstabilised"]

ANSCOMBE = 3 / 8


def stabilised(signal: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """The generalised Anscombe transform about black, continued in a straight line below it.

    With c = β₂ + ⅜·β₁²: f(x) = 2·x/(√(β₁·x + c) + √c) for x ≥ 0, and x/√c below.  That is
    (2/β₁)·(√(β₁·x + c) − √c), written so that β₁ may be 0; value and slope are continuous at 0.

    Parameters
    ----------
    signal : Tensor
        Normalised signal.
    slope, offset : Tensor
        β₁ and β₂ of var = β₁·x + β₂, broadcastable.

    Returns
    -------
    Tensor
        In units of σ.

    References
    ----------
    Mäkitalo, Foi: Optimal inversion of the generalized Anscombe transformation, IEEE TIP 2013.
    """
    root = (offset + ANSCOMBE * slope.square()).sqrt()
    lit = signal.clamp(min=0)
    return 2 * lit / ((slope * lit + root.square()).sqrt() + root) + signal.clamp(max=0) / root


def unstabilised(value: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """The algebraic inverse of `stabilised`: x = √c·f + β₁·f²/4 for f ≥ 0, √c·f below."""
    root = (offset + ANSCOMBE * slope.square()).sqrt()
    return root * value + slope / 4 * value.clamp(min=0).square()

"""What of two noisy frames and their denoised selves a noise model is fitted to."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PAIR_NOISE", "Denoised", "difference", "residual", "unexplained"]


@dataclass(frozen=True, eq=False)
class Denoised:
    """Two noisy patches of one scene, x₁ and x₂, and what a denoiser makes of each.

    Parameters
    ----------
    first, second : Tensor, shape (B, C, h, w)
        Normalised.
    of_first, of_second : Tensor, shape (B, C, h, w)
        D(x₁) and D(x₂).
    variance : Tensor, shape (B, C, h, w)
        Of the noise, as far as it is known; without gradient.
    """

    first: Tensor
    second: Tensor
    of_first: Tensor
    of_second: Tensor
    variance: Tensor

    @property
    def crossed(self) -> Tensor:
        """½[(x₁ − D(x₂))² + (x₂ − D(x₁))²]/v: noise2noise's error, 1 + the denoiser's own."""
        total = (self.first - self.of_second).square() + (self.second - self.of_first).square()
        return 0.5 * total / self.variance


PairNoise = Callable[[Denoised], tuple[Tensor, Tensor]]
"""Noise and the clean signal to condition on, (N, C, h, w) with N a multiple of B."""


def difference(pair: Denoised) -> tuple[Tensor, Tensor]:
    """(x₁ − x₂)/√2, given ½[D(x₁) + D(x₂)].

    Its variance, its spectrum and its row noise are those of the noise exactly, whatever the
    denoiser: the scene cancels.  What it does not show is skewness, and of an excess
    kurtosis it shows half.
    """
    return (pair.first - pair.second) / math.sqrt(2), 0.5 * (pair.of_first + pair.of_second).detach()


def residual(pair: Denoised) -> tuple[Tensor, Tensor]:
    """x₁ − D(x₂) given D(x₂), and x₂ − D(x₁) given D(x₁), each over √(1 + ε).

    The noise of x₁ is independent of D(x₂), so that the residual's variance is the noise's and
    the mean squared error of D, the part ε of the noise's variance.  It is known without
    a clean signal, patch by patch (`unexplained`), and divided out.  Left in is its
    spectrum: what D lets through (row noise, low frequencies) the residual holds twice.
    """
    spread = (1 + unexplained(pair).clamp(min=-0.5)).sqrt()[:, None, None, None]
    noise = torch.cat([(pair.first - pair.of_second) / spread, (pair.second - pair.of_first) / spread])
    return noise, torch.cat([pair.of_second, pair.of_first])


@torch.no_grad()
def unexplained(pair: Denoised) -> Tensor:
    """ε, the denoiser's mean squared error over the noise's variance, shape (B,), without a clean signal.

    ½[(x₁ − D₂)² + (x₂ − D₁)²] − ½(x₁ − x₂)² = n₁n₂ − n₁e₂ − n₂e₁ + ½(e₁² + e₂²) with n the noise
    and e = D − clean: its mean is that of e², since n₁ is independent of n₂ and e₂.  No n²
    stands in it, so that a patch of N values knows ε to 1/√N.
    """
    half = 0.5 * (pair.first - pair.second).square() / pair.variance
    return (pair.crossed - half).mean((1, 2, 3))


PAIR_NOISE: dict[str, PairNoise] = {"difference": difference, "residual": residual}
"""Name → noise of a pair.  To add one, write a function beside these."""

"""Noise and clean signal from pairs of noisy frames and their denoised versions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PAIR_NOISE", "Denoised", "difference", "residual", "unexplained"]


@dataclass(frozen=True, eq=False)
class Denoised:
    """Two noisy patches of one scene, x₁ and x₂, and their denoised versions.

    Parameters
    ----------
    first, second : Tensor, shape (B, C, h, w)
        Noisy patches x₁ and x₂, normalised.
    of_first, of_second : Tensor, shape (B, C, h, w)
        Denoised patches D(x₁) and D(x₂).
    variance : Tensor, shape (B, C, h, w)
        Estimated variance of the noise, without gradient.
    """

    first: Tensor
    second: Tensor
    of_first: Tensor
    of_second: Tensor
    variance: Tensor

    @property
    def crossed(self) -> Tensor:
        """Noise2Noise loss ½[(x₁ − D(x₂))² + (x₂ − D(x₁))²]/v of each value; its mean is 1 + ε, see `unexplained`."""
        total = (self.first - self.of_second).square() + (self.second - self.of_first).square()
        return 0.5 * total / self.variance


PairNoise = Callable[[Denoised], tuple[Tensor, Tensor]]
"""Denoised pairs → noise and clean signal, each (N, C, h, w) with N a multiple of B."""


def difference(pair: Denoised) -> tuple[Tensor, Tensor]:
    """Noise (x₁ − x₂)/√2 with clean signal ½[D(x₁) + D(x₂)].

    The scene cancels, so variance, spectrum and row noise are exactly those of the noise, for any denoiser.  The
    difference has no skewness and half the excess kurtosis.
    """
    return (pair.first - pair.second) / math.sqrt(2), 0.5 * (pair.of_first + pair.of_second).detach()


def residual(pair: Denoised) -> tuple[Tensor, Tensor]:
    """Noise (x₁ − D(x₂))/√(1 + ε) with clean signal D(x₂), and the same with x₁ and x₂ exchanged.

    The noise of x₁ is independent of D(x₂), so the variance of the residual is that of the noise plus the mean
    squared error of D, which is a fraction ε of the noise variance.  ε is estimated for each patch without a clean
    signal (`unexplained`) and divided out.  The spectrum is not corrected: noise that D does not remove (row noise,
    low frequencies) appears twice in the residual.
    """
    spread = (1 + unexplained(pair).clamp(min=-0.5)).sqrt()[:, None, None, None]
    noise = torch.cat([(pair.first - pair.of_second) / spread, (pair.second - pair.of_first) / spread])
    return noise, torch.cat([pair.of_second, pair.of_first])


@torch.no_grad()
def unexplained(pair: Denoised) -> Tensor:
    """Estimate ε, the denoiser's mean squared error relative to the noise variance, without a clean signal; shape (B,).

    ½[(x₁ − D₂)² + (x₂ − D₁)²] − ½(x₁ − x₂)² = n₁n₂ − n₁e₂ − n₂e₁ + ½(e₁² + e₂²) with noise n and e = D − clean.
    Its mean is that of e², since n₁ is independent of n₂ and e₂.  It contains no n², so the standard error of ε
    over a patch of N values is 1/√N.
    """
    half = 0.5 * (pair.first - pair.second).square() / pair.variance
    return (pair.crossed - half).mean((1, 2, 3))


PAIR_NOISE: dict[str, PairNoise] = {"difference": difference, "residual": residual}
"""Name → function that gives the noise of pairs; to add one, write a function and add it here."""

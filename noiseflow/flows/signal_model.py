"""What the light at a pixel says of its noise, told to the transforms after shot and read noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, contiguous, kernels_for

if TYPE_CHECKING:
    from noiseflow.flows.conditions import Conditions

__all__ = ["FLOOR", "Features", "Light", "LightOf", "Moments", "ReadOffset", "ReadShare", "ShotMoments"]

FLOOR = 0.1
"""Least variance as a part of β₂, for clean estimates below black."""

LightOf = Callable[["Conditions"], "Light"]
Moments = Callable[["Conditions"], tuple[Tensor, Tensor]]
"""From conditions to skewness and excess kurtosis, each (B, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Light:
    """Clean signal y, (B, C, H, W), with the β₁ and β₂ of each element's planes, (B, C, 1, 1).

    s² = max(β₁·y + β₂, β₂/10) is the variance of shot and read noise.
    """

    clean: Tensor
    beta1: Tensor
    beta2: Tensor
    known: Tensor | None = None
    """Its `features`, if they are computed."""

    @torch.no_grad()
    def features(self) -> Tensor:
        """What nets are told: the read noise's share, then the shot noise's skewness, (B, 2C, H, W), without gradients.

        The signal itself in the dark would tell a net the noise of the frames whose mean it is.
        """
        if self.known is not None:
            return self.known
        kernels = self.kernels("lines", self.clean)
        if kernels is None:
            return torch.cat([self.read_share(), self.shot_moments()[0]], 1)
        clean, beta1, beta2 = contiguous(self.clean, self.beta1, self.beta2)
        batch, planes, *size = clean.shape
        features = clean.new_empty(batch, 2 * planes, *size)
        kernels("features", clean, beta1, beta2, features, batch, planes, size[0] * size[1], torch.get_num_threads())
        return features

    def kernels(self, source: str, x: Tensor) -> Kernels | None:
        """The kernels of a source for values `x` in this light, or None where PyTorch's operations are to be taken."""
        fits = self.beta1.dtype == self.clean.dtype == torch.float32 and not self.clean.requires_grad
        return kernels_for(source, x) if fits and x.shape == self.clean.shape else None

    def variance(self) -> Tensor:
        """s², shape (B, C, H, W)."""
        return torch.maximum(self.beta1 * self.clean + self.beta2, FLOOR * self.beta2)

    def read_share(self) -> Tensor:
        """β₂ / s², shape (B, C, H, W): the part of the variance that is read noise; 1 in the dark."""
        return self.beta2 / self.variance()

    def shot_moments(self) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of all noise, by the shot noise in it, each (B, C, H, W).

        A Poisson variable's cumulants are all equal: of K·Poisson(y/K) the third is K²y, the
        fourth K³y, and normal read noise adds none; γ = β₁²y/s³, κ = β₁³y/s⁴.
        """
        variance = self.variance()
        # The shot noise's share, and the variance of one electron in units of s².
        share, electron = (self.beta1 * self.clean / variance).clamp(min=0), self.beta1.square() / variance
        return share * electron.sqrt(), share * electron


@dataclass(frozen=True)
class Features:
    """What nets are told, (B, 2C, H, W)."""

    light: LightOf

    def __call__(self, cond: "Conditions") -> Tensor:
        """As `Light.features`."""
        return self.light(cond).features()


@dataclass(frozen=True)
class ReadShare:
    """The read noise's share in the variance, (B, C, H, W)."""

    light: LightOf

    def __call__(self, cond: "Conditions") -> Tensor:
        """β₂ / s²."""
        return self.light(cond).read_share()


@dataclass(frozen=True)
class ReadOffset:
    """The size of a unit offset, in read noise σ, after division by s, (B, C, H, W)."""

    light: LightOf

    def __call__(self, cond: "Conditions") -> Tensor:
        """√(β₂ / s²)."""
        return self.light(cond).read_share().sqrt()


@dataclass(frozen=True)
class ShotMoments:
    """Skewness and excess kurtosis of the shot noise, beside read noise of some kurtosis.

    Bending a heavy-tailed value adds more to its moments than bending a normal one: with a factor
    on each the cumulants add to 2 %, as those of independent noises do.  A negative kurtosis of
    the read noise, which `CubicTails` leaves, is added here.
    """

    light: LightOf
    kurtosis: Callable[["Conditions"], Tensor]
    """Excess kurtosis of each element's read noise, (B,)."""

    def __call__(self, cond: "Conditions") -> tuple[Tensor, Tensor]:
        """γ and κ, each (B, C, H, W)."""
        light = self.light(cond)
        skew, excess = light.shot_moments()
        read_excess = self.kurtosis(cond)[:, None, None, None] * light.read_share().clamp(max=1).square()
        heavy = read_excess.clamp(min=0)
        return skew / (1 + heavy / 3), excess / (1 + 4 * heavy / 3) + read_excess.clamp(max=0)

"""Per-pixel noise parameters, derived from the clean signal: variance, read-noise share, skewness."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.ops.native import Kernels, contiguous, kernels_for

__all__ = ["FLOOR", "NoiseParameters", "required"]

FLOOR = 0.1
"""Least variance as a part of β₂, for clean estimates below black."""


@dataclass(frozen=True, eq=False)
class NoiseParameters:
    """What the head of a flow finds of each pixel's noise, computed once and passed to all transforms.

    s² = max(β₁·y + β₂, β₂/10) is the variance of shot and read noise.

    Parameters
    ----------
    clean : Tensor, shape (B, C, H, W)
        Clean signal y, normalised.
    beta1, beta2 : Tensor, shape (B, C, 1, 1)
        Slope and offset of the variance, of each element's planes.
    read_excess : Tensor, shape (B,), optional
        Excess kurtosis of the read noise; normal read noise without it.
    """

    clean: Tensor
    beta1: Tensor
    beta2: Tensor
    read_excess: Tensor | None = None

    def kernels(self, source: str, x: Tensor) -> Kernels | None:
        """The kernels of a source for values `x`, or None where PyTorch's operations are to be taken."""
        fits = self.beta1.dtype == self.clean.dtype == torch.float32 and not self.clean.requires_grad
        return kernels_for(source, x) if fits and x.shape == self.clean.shape else None

    def variance(self) -> Tensor:
        """s², shape (B, C, H, W), in units of the normalised signal squared."""
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

    def moments(self) -> tuple[Tensor, Tensor]:
        """Skewness γ and excess kurtosis κ of the shot noise, beside read noise of `read_excess`, each (B, C, H, W).

        Bending a heavy-tailed value adds more to its moments than bending a normal one: with a factor
        on each the cumulants add to 2 %, as those of independent noises do.  A negative kurtosis of
        the read noise, which `CubicTails` leaves, is added here.
        """
        skew, excess = self.shot_moments()
        if self.read_excess is None:
            return skew, excess
        read_excess = self.read_excess[:, None, None, None] * self.read_share().clamp(max=1).square()
        heavy = read_excess.clamp(min=0)
        return skew / (1 + heavy / 3), excess / (1 + 4 * heavy / 3) + read_excess.clamp(max=0)

    @cached_property
    def net_inputs(self) -> Tensor:
        """Read-noise share, then skewness of the shot noise, (B, 2C, H, W), without gradients: what nets see.

        From the signal itself a net could read, in the dark, the noise of the frames whose mean it is.
        """
        with torch.no_grad():
            kernels = self.kernels("lines", self.clean)
            if kernels is None:
                return torch.cat([self.read_share(), self.shot_moments()[0]], 1)
            clean, beta1, beta2 = contiguous(self.clean, self.beta1, self.beta2)
            batch, planes, *size = clean.shape
            inputs = clean.new_empty(batch, 2 * planes, *size)
            kernels("features", clean, beta1, beta2, inputs, batch, planes, size[0] * size[1], torch.get_num_threads())
            return inputs


def required(noise: NoiseParameters | None, layer: object) -> NoiseParameters:
    """The noise parameters, which a layer cannot do without.

    Raises
    ------
    ModelError
        If there are none.
    """
    if noise is None:
        raise ModelError(
            f"{type(layer).__name__}: expected the noise parameters of a head; got none: put a ShotReadScale or "
            "SignalDependentScale with shares_features=True into the same flow"
        )
    return noise

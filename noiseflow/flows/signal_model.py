"""Per-pixel noise parameters, derived from the clean signal: variance, read-noise share, skewness."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.ops.shot_read_noise import net_inputs, read_share, shot_moments, variance_of

__all__ = ["NoiseParameters", "required"]


DAZZLING = 1e18
"""Normalised signal at which read noise has no share of the variance: less than 10⁻⁶ with any β of a fit."""


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
    observed : Tensor of bool, shape (B, C, H, W), optional
        As of `Conditions`: lines leave the other pixels out.
    """

    clean: Tensor
    beta1: Tensor
    beta2: Tensor
    read_excess: Tensor | None = None
    observed: Tensor | None = None

    @property
    def signal(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clean signal, β₁ and β₂, as the operations take them."""
        return self.clean, self.beta1, self.beta2

    @property
    def line_signal(self) -> tuple[Tensor, Tensor, Tensor]:
        """As `signal`, for sums along lines: a masked pixel is so bright there that it has no share of an offset."""
        if self.observed is None:
            return self.signal
        return self.clean.where(self.observed, DAZZLING), self.beta1, self.beta2

    def variance(self) -> Tensor:
        """s², shape (B, C, H, W), in units of the normalised signal squared."""
        return variance_of(*self.signal)

    def read_share(self) -> Tensor:
        """β₂ / s², shape (B, C, H, W): the part of the variance that is read noise; 1 in the dark."""
        return read_share(*self.signal)

    def shot_moments(self) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of all noise, by the shot noise in it, each (B, C, H, W)."""
        return shot_moments(*self.signal)

    @property
    def net_inputs(self) -> Tensor:
        """Read-noise share, then skewness of the shot noise, (B, 2C, H, W): what nets see.

        From the signal itself a net could read, in the dark, the noise of the frames whose mean it is.  The gradient
        by the clean signal is whole; a fit takes what nets see as given, so that there is none by the betas.
        """
        # No `cached_property`: until Python 3.12 it takes a lock, which no compiler can trace.
        found: Tensor | None = self.__dict__.get("_net_inputs")
        if found is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.clean.requires_grad):
                found = net_inputs(self.clean, self.beta1.detach(), self.beta2.detach())
            self.__dict__["_net_inputs"] = found
        return found


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

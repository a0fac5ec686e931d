"""Per-pixel noise parameters, derived from the clean signal: variance, read-noise share, skewness."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.ops.shot_read_noise import net_inputs, read_share, shot_moments, variance_of

__all__ = ["NoiseParameters", "required"]


DAZZLING = 1e18
"""Normalised signal at which read noise has a negligible share of the variance: < 10⁻⁶ for any realistic β₁, β₂."""


@dataclass(frozen=True, eq=False)
class NoiseParameters:
    """Noise parameters of each pixel, computed once by a flow's head and passed to all its transforms.

    s² = max(β₁·y + β₂, β₂/10) is the variance of shot and read noise.

    Parameters
    ----------
    clean : Tensor, shape (B, C, H, W)
        Clean signal y, normalised.
    beta1, beta2 : Tensor, shape (B, C, 1, 1)
        Slope and offset of the variance over the signal, for each element and plane.
    read_excess : Tensor, shape (B,), optional
        Excess kurtosis of the read noise; None means normal read noise.
    observed : Tensor of bool, shape (B, C, H, W), optional
        As in `Conditions`: pixels where it is False are left out of the sums along lines.
    """

    clean: Tensor
    beta1: Tensor
    beta2: Tensor
    read_excess: Tensor | None = None
    observed: Tensor | None = None

    @property
    def signal(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clean signal, β₁ and β₂, the arguments of the operations in `noiseflow.ops`."""
        return self.clean, self.beta1, self.beta2

    @property
    def line_signal(self) -> tuple[Tensor, Tensor, Tensor]:
        """As `signal`, for sums along lines: masked pixels get a huge signal, so that their weight is negligible."""
        if self.observed is None:
            return self.signal
        return self.clean.where(self.observed, DAZZLING), self.beta1, self.beta2

    def variance(self) -> Tensor:
        """s², shape (B, C, H, W), in units of the normalised signal squared."""
        return variance_of(*self.signal)

    def read_share(self) -> Tensor:
        """Read noise's share β₂ / s² of the variance, shape (B, C, H, W); 1 in the dark."""
        return read_share(*self.signal)

    def shot_moments(self) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of the total noise that come from its shot noise, each (B, C, H, W)."""
        return shot_moments(*self.signal)

    @property
    def net_inputs(self) -> Tensor:
        """Inputs of nets: read-noise share, then skewness of the shot noise, (B, 2C, H, W).

        Nets do not see the clean signal itself: in the dark, a net could read from it the noise of the frames whose
        mean it is.  The gradient with respect to the clean signal is exact.  There is no gradient with respect to β₁
        and β₂, so that a fit cannot change them through the nets.
        """
        # Not a `cached_property`: before Python 3.12 it takes a lock, which compilers cannot trace.
        found: Tensor | None = self.__dict__.get("_net_inputs")
        if found is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.clean.requires_grad):
                found = net_inputs(self.clean, self.beta1.detach(), self.beta2.detach())
            self.__dict__["_net_inputs"] = found
        return found


def required(noise: NoiseParameters | None, layer: object) -> NoiseParameters:
    """Return the noise parameters, for a layer that cannot work without them.

    Raises
    ------
    ModelError
        If `noise` is None.
    """
    if noise is None:
        raise ModelError(
            f"{type(layer).__name__}: expected the noise parameters of a head; got none: put a ShotReadScale or "
            "SignalDependentScale with shares_features=True into the same flow"
        )
    return noise

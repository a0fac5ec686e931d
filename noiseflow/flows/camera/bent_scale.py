"""Shot and read noise of a sensor with a non-linear response: shot-noise variance follows a curve over the signal."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso, at_signal
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["PARTS", "BentScale"]

PARTS = 16
"""Equal intervals of the signal between black and white; the bend is linear within each."""


class BentScale(ShotReadScale):
    """Divide by the standard deviation of shot and read noise, with a shot-noise variance that is non-linear in signal.

    z = x / s,  s² = max(β₁·y·exp b(y) + β₂, β₂/10);  log|det dz/dx| = −Σ log s.  The bend b is linear between
    knots at y = 0, 1/16, … 1 and constant beyond.  If the sensor's response f is not linear, its shot-noise
    variance is proportional to f′² and vanishes where the sensor saturates.  Later transforms see the effective
    signal y·exp b(y) instead of y: the signal at which a linear sensor would have the same shot noise.

    Parameters
    ----------
    planes, cameras : int
        Number of planes and of cameras.
    isos : sequence of float
        Fitted ISOs, rising; b is linear in log ISO between them and constant beyond.
    shares_features : bool
        Whether this layer computes the noise parameters for all transforms of its flow.
    """

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], *, shares_features: bool = False) -> None:
        super().__init__(planes, cameras, isos, shares_features=shares_features)
        self.bend = nn.Parameter(torch.zeros(cameras, len(isos), PARTS + 1))

    def noise_parameters(self, cond: Resolved, noise: NoiseParameters | None = None) -> NoiseParameters:
        """Noise parameters with the effective signal: `noise` if this layer shares its own, else computed here."""
        if self.shares_features and noise is not None:
            return noise
        return NoiseParameters(self.bent(cond), *self.betas(cond), observed=cond.observed)

    def bent(self, cond: Resolved) -> Tensor:
        """Effective signal y·exp b(y), normalised, shape (B, C, H, W)."""
        knots = self.log_isos.to(self.bend.dtype)
        ends = self.log_isos.exp().to(cond.iso.dtype)
        within = cond.iso.clamp(ends[0], ends[-1])
        tables = self.bend[cond.camera].transpose(1, 2)
        table = at_iso(tables.flatten(0, 1), knots, within.repeat_interleave(PARTS + 1)).reshape(-1, PARTS + 1)
        return cond.clean * at_signal(table, cond.clean).exp()

"""Shot and read noise of a response that bends: the shot noise follows a curve over the signal, not a line."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso, at_signal
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["PARTS", "BentScale"]

PARTS = 16
"""Equal parts of the signal from black to white, in each of which the bend is a line."""


class BentScale(ShotReadScale):
    """Divide by the standard deviation of shot and read noise, the shot noise bent.

    s² = max(β₁·y·exp b(y) + β₂, β₂/10), b linear between knots at y = 0, 1/16, … 1 and constant beyond: where the
    response f of the sensor is no line, the variance of shot noise goes with f′², and falls to nothing where the
    sensor saturates.  Later transforms see the signal only as y·exp b(y), the light of a straight
    sensor with the same shot noise.

    Parameters
    ----------
    planes, cameras : int
        Planes and cameras of the noise that it is for.
    isos : sequence of float
        Fitted ISOs, rising; b is linear in log ISO between them and constant beyond.
    shares_features : bool
        Whether all transforms of its flow get its noise parameters, computed once for all.
    """

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], *, shares_features: bool = False) -> None:
        super().__init__(planes, cameras, isos, shares_features=shares_features)
        self.bend = nn.Parameter(torch.zeros(cameras, len(isos), PARTS + 1))

    def noise_parameters(self, cond: Resolved, noise: NoiseParameters | None = None) -> NoiseParameters:
        """The bent signal with its betas: those that it shares with its flow, or computed here."""
        if self.shares_features and noise is not None:
            return noise
        return NoiseParameters(self.bent(cond), *self.betas(cond), observed=cond.observed)

    def bent(self, cond: Resolved) -> Tensor:
        """y·exp b(y), shape (B, C, H, W)."""
        knots = self.log_isos.to(self.bend.dtype)
        ends = self.log_isos.exp().to(cond.iso.dtype)
        within = cond.iso.clamp(ends[0], ends[-1])
        tables = self.bend[cond.camera].transpose(1, 2)
        table = at_iso(tables.flatten(0, 1), knots, within.repeat_interleave(PARTS + 1)).reshape(-1, PARTS + 1)
        return cond.clean * at_signal(table, cond.clean).exp()

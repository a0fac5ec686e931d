"""Scaling by the standard deviation of shot and read noise: the published signal-dependent layer `sdn5`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.shot_read_scale import NoiseScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import READ_SLOPE, SHOT_SLOPE, at_iso
from noiseflow.flows.nets.saved_state import log_of

__all__ = ["SignalDependentScale"]


class SignalDependentScale(NoiseScale):
    """Divide by the standard deviation of shot and read noise, in the published parametrisation.

    z = x / s,  s² = β₁·y / gain + β₂,  with y the clean signal and, for camera m at ISO v,

    gain = v · exp(g(v)·c₃ₘ),  β₁ = exp(b₁·c₁ₘ),  β₂ = exp(b₂·c₂ₘ),  c = exp(k);

    log|det dz/dx| = −Σ log s.  g is a table over the fitted ISOs, interpolated linearly in log ISO; at a fitted
    ISO this is the published layer.  With a single fitted ISO the published law would make the noise fall as the
    ISO rises; instead β₁/gain is then proportional to the ISO and β₂ to ISO^`READ_SLOPE`.

    An estimated clean signal can lie below black, so s² is clamped to at least β₂/10.  The clamp never acts on a
    signal at or above black.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising.
    shares_features : bool
        Whether this layer computes the noise parameters for all transforms of its flow.

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow, ICCV 2019, section 4 (signal-dependent
    layer); parametrisation of the authors' layer ``sdn5``.
    """

    log_isos: Tensor

    def __init__(self, cameras: int, isos: Sequence[float], *, shares_features: bool = False) -> None:
        super().__init__(shares_features=shares_features)
        self.beta1 = nn.Parameter(torch.tensor(-5.0))
        self.beta2 = nn.Parameter(torch.tensor(-5.0))
        self.gain_params = nn.Parameter(torch.full((len(isos),), -5.0))
        self.cam_params = nn.Parameter(torch.zeros(3, cameras))
        self._constant("log_isos", log_of(isos))

    def log_betas(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """log(β₁/gain) and log β₂ of each element, each of shape (B,)."""
        c1, c2, c3 = self.cam_params.exp()[:, cond.camera]
        knots = self.log_isos.to(self.gain_params.dtype)
        log_iso = cond.iso.to(knots.dtype).log()
        # For a table with one ISO: the slope of g that makes β₁/gain proportional to the ISO.
        log_gain = at_iso(self.gain_params, knots, cond.iso, -(1 + SHOT_SLOPE) / c3) * c3 + log_iso
        log_beta2 = self.beta2 * c2
        if len(knots) == 1:
            log_beta2 = log_beta2 + READ_SLOPE * (log_iso - knots[0])
        return self.beta1 * c1 - log_gain, log_beta2

    def betas(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """β₁/gain and β₂ of each element, the same for all planes, each (B, C, 1, 1)."""
        beta1, beta2 = (
            beta.exp()[:, None, None, None].expand(*cond.clean.shape[:2], 1, 1) for beta in self.log_betas(cond)
        )
        return beta1, beta2

"""Signal-dependent scale: shot and read noise, the published `sdn5` layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import READ_SLOPE, SHOT_SLOPE, at_iso
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.line_noise import scaled, unscaled

__all__ = ["SignalDependentScale"]


class SignalDependentScale(Transform):
    """Divide by the standard deviation that shot and read noise predict.

    z = x / s,  s² = β₁·y / gain + β₂,  with y the clean signal and, for camera m at ISO v,

    gain = v · exp(g(v)·c₃ₘ),  β₁ = exp(b₁·c₁ₘ),  β₂ = exp(b₂·c₂ₘ),  c = exp(k);

    log|det dz/dx| = −Σ log s.  g is a table over the fitted ISOs, read in between by linear
    interpolation in log ISO, so that at a fitted ISO it is the published layer.  With one fitted ISO the
    published law would make the noise fall as the ISO rises; β₁ then goes with the ISO and β₂ by `READ_SLOPE`.

    A clean signal that is itself an estimate can lie below black; s² is held above a
    tenth of β₂, which no signal at or above black reaches.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising.

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow, ICCV 2019, section 4 (signal-dependent
    layer); parametrisation of the authors' layer ``sdn5``.
    """

    elementwise = True
    log_isos: Tensor

    def __init__(self, cameras: int, isos: Sequence[float]) -> None:
        super().__init__()
        self.beta1 = nn.Parameter(torch.tensor(-5.0))
        self.beta2 = nn.Parameter(torch.tensor(-5.0))
        self.gain_params = nn.Parameter(torch.full((len(isos),), -5.0))
        self.cam_params = nn.Parameter(torch.zeros(3, cameras))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    def log_betas(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """log(β₁/gain) and log β₂ per element, each of shape (B,)."""
        c1, c2, c3 = self.cam_params.exp()[:, cond.camera_indices]
        knots = self.log_isos.to(self.gain_params.dtype)
        log_iso = cond.isos.to(knots.dtype).log()
        # The slopes are those of log β₁ and log β₂, for a table of one ISO.
        log_gain = at_iso(self.gain_params, knots, cond.isos, -(1 + SHOT_SLOPE) / c3) * c3 + log_iso
        log_beta2 = self.beta2 * c2
        if len(knots) == 1:
            log_beta2 = log_beta2 + READ_SLOPE * (log_iso - knots[0])
        return self.beta1 * c1 - log_gain, log_beta2

    def noise_parameters(self, cond: Conditions, noise: NoiseParameters | None = None) -> NoiseParameters:
        """Clean signal, β₁/gain and β₂ of each element, the same for all planes."""
        beta1, beta2 = (
            beta.exp()[:, None, None, None].expand(*cond.clean.shape[:2], 1, 1) for beta in self.log_betas(cond)
        )
        return NoiseParameters(cond.clean, beta1, beta2)

    def variance(self, cond: Conditions) -> Tensor:
        """s², shape (B, C, H, W), in units of the normalised signal squared."""
        return self.noise_parameters(cond).variance()

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        light = self.noise_parameters(cond, noise)
        kernels = light.kernels("lines", x)
        if kernels is not None:
            return scaled(kernels, x, light)
        variance = light.variance()
        return x * variance.rsqrt(), -0.5 * sum_per_sample(variance.log())

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        light = self.noise_parameters(cond, noise)
        kernels = None if torch.is_grad_enabled() else light.kernels("lines", z)
        if kernels is not None:
            return unscaled(kernels, z, light)
        return z * light.variance().sqrt()

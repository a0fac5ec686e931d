"""Scaling by the standard deviation of shot and read noise: the base class, and a table per camera, ISO and plane."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import SHOT_SLOPE, IsoPlace, read_variance_at
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.shot_read_noise import divide_by_std, multiply_by_std

__all__ = ["NoiseScale", "ShotReadScale"]


class NoiseScale(Transform):
    """Divide by the standard deviation of shot and read noise: z = x / s, log|det dz/dx| = −Σ log s.

    Parameters
    ----------
    shares_features : bool
        Whether this layer computes the noise parameters for all transforms of its flow.
    """

    elementwise = True
    ends = "coupling_chain"

    def __init__(self, *, shares_features: bool = False) -> None:
        super().__init__()
        self.shares_features = shares_features

    @abstractmethod
    def betas(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Shot-noise slope β₁ and read-noise variance β₂ per element and plane, each (B, C, 1, 1), normalised."""

    def noise_parameters(self, cond: Resolved, noise: NoiseParameters | None = None) -> NoiseParameters:
        """Clean signal, β₁ and β₂ of each pixel: `noise` if this layer shares its own, else computed here."""
        if self.shares_features and noise is not None:
            return noise
        return NoiseParameters(cond.clean, *self.betas(cond), observed=cond.observed)

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters | None:
        """Noise parameters of this layer if it `shares_features`, else `noise` unchanged."""
        return self.noise_parameters(cond) if self.shares_features else noise

    def variance(self, cond: Resolved) -> Tensor:
        """s², shape (B, C, H, W), in units of the normalised signal squared."""
        return self.noise_parameters(cond).variance()

    def read_share(self, cond: Resolved) -> Tensor:
        """Read noise's share β₂ / s² of the variance, shape (B, C, H, W); 1 in the dark."""
        return self.noise_parameters(cond).read_share()

    def shot_moments(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of the total noise that come from its shot noise, each (B, C, H, W)."""
        return self.noise_parameters(cond).shot_moments()

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z, log_det = divide_by_std(x, *self.noise_parameters(cond, noise).signal)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        x: Tensor = multiply_by_std(z, *self.noise_parameters(cond, noise).signal)
        return x


class ShotReadScale(NoiseScale):
    """Divide by the standard deviation of shot and read noise.

    z = x / s,  s² = max(β₁·y + β₂, β₂/10);  log|det dz/dx| = −Σ log s.  log β₁ and log β₂ are tables per camera
    over the fitted ISOs, linear in log ISO between and beyond them; where the conversion gain is switched, β₂
    follows `read_at_iso` instead.  Offsets per camera, ISO and plane are added, which start at 0 and stay constant
    beyond the fitted ISOs.  With a single fitted ISO, β₁ is proportional to the ISO and β₂ to ISO^`READ_SLOPE`.

    Parameters
    ----------
    planes, cameras : int
        Number of planes and of cameras.
    isos : sequence of float
        Fitted ISOs, rising.
    shares_features : bool
        Whether this layer computes the noise parameters for all transforms of its flow.

    References
    ----------
    Foi, Trimeche, Katkovnik, Egiazarian: Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data, IEEE TIP 2008, eq. 4.
    """

    log_isos: Tensor

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], *, shares_features: bool = False) -> None:
        super().__init__(shares_features=shares_features)
        self.log_beta1 = nn.Parameter(torch.full((cameras, len(isos)), -7.0))
        self.log_beta2 = nn.Parameter(torch.full((cameras, len(isos)), -14.0))
        self.plane_beta1 = nn.Parameter(torch.zeros(cameras, planes, len(isos)))
        self.plane_beta2 = nn.Parameter(torch.zeros(cameras, planes, len(isos)))
        self._constant("log_isos", log_of(isos))

    def betas(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Shot-noise slope β₁ and read-noise variance β₂ per element and plane, each (B, C, 1, 1), normalised."""
        camera, planes = cond.camera, self.plane_beta1.shape[1]
        place = IsoPlace.of(self.log_isos.to(self.log_beta1.dtype), cond.iso)
        shot = place.read(self.log_beta1[camera], SHOT_SLOPE)
        read = read_variance_at(place, self.log_beta2[camera])
        own = place.held(torch.cat([self.plane_beta1, self.plane_beta2], 1)[camera])
        base = torch.stack([shot, read], 1)[..., None]
        beta1, beta2 = (base + own.reshape(-1, 2, planes)).exp()[..., None, None].unbind(1)
        return beta1, beta2

    def _bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Earlier versions had one offset per camera and plane, the same at every ISO."""
        for name in ("plane_beta1", "plane_beta2"):
            saved, own = weights.get(prefix + name), getattr(self, name)
            if saved is not None and saved.ndim == 2 and saved.shape == own.shape[:2]:
                weights[prefix + name] = saved[:, :, None].expand(own.shape).clone()

"""Simulate the noise of a camera, from photons to codes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError

__all__ = ["CameraPhysics", "IsoPhysics", "expose", "tukey_lambda", "tukey_lambda_variance"]


@dataclass(frozen=True)
class IsoPhysics:
    """Noise parameters of a camera at one ISO.

    Parameters
    ----------
    gain_dn_per_e : float
        Conversion gain K in DN per electron.
    read_scale_dn : float
        Scale of the read noise in DN: σ if Gaussian, otherwise the factor of the Tukey-lambda
        quantile function.
    read_lambda : float
        Shape λ of Tukey-lambda read noise.
    row_sigma_dn : float
        σ in DN of the random offset of each row of the mosaic.
    """

    gain_dn_per_e: float
    read_scale_dn: float
    read_lambda: float = 0.0
    row_sigma_dn: float = 0.0


@dataclass(frozen=True)
class CameraPhysics:
    """A camera of known physics.

    Parameters
    ----------
    name : str
        Name of the camera in files and models.
    cfa : str
        Colour filter array at the first pixel, one of `noiseflow.raw.patterns.CFAS`.
    black_dn, white_dn : float
        Black and white level in DN.
    read_shape : str
        Distribution of the read noise: ``"gaussian"`` or ``"tukey-lambda"``.
    isos : dict of float to IsoPhysics
        ISO → noise parameters.
    source : str
        Source of the numbers.
    """

    name: str
    cfa: str
    black_dn: float
    white_dn: float
    read_shape: str
    isos: dict[float, IsoPhysics]
    source: str = ""

    def at(self, iso: float) -> IsoPhysics:
        """Noise parameters at an ISO.

        Raises
        ------
        RawError
            If they are unknown at this ISO; true values are not interpolated.
        """
        if iso not in self.isos:
            known = ", ".join(f"{known:g}" for known in sorted(self.isos))
            raise RawError(f"camera {self.name!r}: its physics at ISO {iso:g} is not known; expected one of {known}")
        return self.isos[iso]

    def read_sigma_dn(self, iso: float) -> float:
        """Standard deviation of the read noise in DN."""
        at = self.at(iso)
        if self.read_shape == "gaussian":
            return at.read_scale_dn
        return at.read_scale_dn * float(np.sqrt(tukey_lambda_variance(at.read_lambda)))

    def noise_profile(self, iso: float) -> tuple[float, float]:
        """(S, O) of the DNG NoiseProfile: the variance of the normalised signal is S·signal + O.

        S = K/(white − black); O is the sum of read, row and quantisation (1/12 DN²) variance, over
        (white − black)².
        """
        at, span = self.at(iso), self.white_dn - self.black_dn
        offset = self.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12
        return at.gain_dn_per_e / span, offset / span**2


def tukey_lambda(shape: float, size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample Tukey's lambda distribution with scale 1 by its quantile function.

    Q(u) = (u^λ − (1 − u)^λ)/λ, and log(u/(1 − u)) at λ = 0.

    Parameters
    ----------
    shape : float
        Shape λ.
    size : tuple of int
        Shape of the array.
    rng : numpy Generator
        Source of random numbers.

    References
    ----------
    Joiner, Rosenblatt: Some properties of the range in samples from Tukey's symmetric
    lambda distributions, JASA 1971.
    """
    # Keep u away from 0 and 1, where a logarithm would be infinite.
    u = np.clip(rng.random(size), 1e-16, 1 - 1e-16)
    log_u, log_v = np.log(u), np.log1p(-u)
    if abs(shape) < 1e-8:
        return np.asarray(log_u - log_v)
    return np.asarray((np.expm1(shape * log_u) - np.expm1(shape * log_v)) / shape)


def tukey_lambda_variance(shape: float) -> float:
    """Variance of Tukey's lambda distribution with scale 1.

    2/λ² · (1/(1 + 2λ) − Γ(λ + 1)²/Γ(2λ + 2)), and π²/3 at λ = 0.

    Parameters
    ----------
    shape : float
        Shape λ > −½.

    Raises
    ------
    RawError
        If λ ≤ −½, where the variance is infinite.

    Examples
    --------
    >>> round(tukey_lambda_variance(1.0), 6)
    0.333333
    """
    from scipy.special import gammaln

    if shape <= -0.5:
        raise RawError(f"Tukey-lambda shape {shape}: the variance is infinite; expected more than -0.5")
    if abs(shape) < 1e-4:
        return float(np.pi**2 / 3)
    ratio = np.exp(2 * gammaln(shape + 1) - gammaln(2 * shape + 2))
    return float(2 / shape**2 * (1 / (1 + 2 * shape) - ratio))


def expose(signal_dn: NDArray[Any], camera: CameraPhysics, iso: float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Simulate one frame: photons, read noise, row noise, rounding, clipping.

    code = round(black + K·Poisson(signal/K) + read + row), clipped to [0, white].

    Parameters
    ----------
    signal_dn : ndarray, shape (H, W)
        Expected signal above black in DN, at least 0.
    camera : CameraPhysics
        The camera.
    iso : float
        One of the camera's ISOs.
    rng : numpy Generator
        Source of random numbers.

    Returns
    -------
    ndarray of uint16, shape (H, W)
        Codes in DN.

    Raises
    ------
    RawError
        If the ISO is unknown.
    """
    at = camera.at(iso)
    codes = at.gain_dn_per_e * rng.poisson(signal_dn / at.gain_dn_per_e).astype(np.float64)
    if camera.read_shape == "gaussian":
        codes += at.read_scale_dn * rng.standard_normal(signal_dn.shape)
    else:
        codes += at.read_scale_dn * tukey_lambda(at.read_lambda, signal_dn.shape, rng)
    codes += at.row_sigma_dn * rng.standard_normal((signal_dn.shape[0], 1))
    return np.clip(np.rint(codes + camera.black_dn), 0, camera.white_dn).astype(np.uint16)

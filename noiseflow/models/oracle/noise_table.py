"""Tabulated distribution of a pixel's code: photon noise, read noise of any shape, and rounding."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from noiseflow.core.errors import ModelError
from noiseflow.simulate.physics import tukey_lambda_variance

__all__ = ["NoiseTable"]

Array = NDArray[np.float64]

STEP, POINTS = 1 / 24, 2048
"""Step of the tabulated values in standard deviations, and their number."""

LOW, HIGH = -16.0, 20.0
"""Range of the table in standard deviations; beyond it, the density is constant."""

LEVEL_STEP = 0.04
"""Step of light levels l, with λ = (σ² + 1)(cosh l − 1), which is even in l, as the mirrored spline requires."""

FLOOR = 1e-14
"""Density per standard deviation below which rounding errors dominate."""


class NoiseTable:
    """Table of the log-probability of a code, for any offset from the signal and any light level.

    K·Poisson(λ) + read noise + rounding has the characteristic function
    exp(λ(e^{iKt} − 1))·φ_read(t)·sin(t/2)/(t/2).  Its Fourier transform is tabulated over standardised values
    and light levels, and interpolated by cubic splines.  Averaged over data, the error is about 1e-6 nats.

    Parameters
    ----------
    gain : float
        Conversion gain K, DN/e⁻.
    scale : float
        Scale of the read noise, DN: σ of a Gaussian, or the factor on Tukey's lambda quantile function.
    shape : float or None
        Shape λ of Tukey's lambda distribution; None for a Gaussian.
    most_dn : float
        Largest signal of the table, DN above black.

    Raises
    ------
    ModelError
        Read noise so small that single photons can be distinguished.
    """

    def __init__(self, gain: float, scale: float, shape: float | None, most_dn: float) -> None:
        self.gain, self.scale, self.shape = gain, scale, shape
        unit = 1.0 if shape is None else tukey_lambda_variance(shape)
        self.read_variance = scale**2 * unit
        if self.read_variance < (0.6 * gain) ** 2:
            raise ModelError(
                f"noise table: expected a read noise of 0.6 e⁻ or more; got {self.read_variance**0.5 / gain:.2f} e⁻, "
                "at which single photons can be distinguished"
            )
        # In photo-electrons; below it read noise dominates.
        self.knee = self.read_variance / gain**2 + 1
        self.levels = int(np.ceil(np.arccosh(1 + most_dn / gain / self.knee) / LEVEL_STEP)) + 2

    def deviation(self, signal_dn: Array) -> Array:
        """Standard deviation of the codes, DN."""
        return np.sqrt(self.gain * signal_dn + self.read_variance + 1 / 12)

    def log_prob(self, offset_dn: Array, signal_dn: Array) -> Array:
        """Log-probability of the code at `offset_dn` above black plus signal, nats."""
        return self._read(self._inside, offset_dn, signal_dn) - np.log(self.deviation(signal_dn))

    def log_below(self, edge_dn: Array, signal_dn: Array) -> Array:
        """Log-probability of an analogue value below `edge_dn` above black plus signal."""
        return self._read(self._below, edge_dn, signal_dn)

    def log_above(self, edge_dn: Array, signal_dn: Array) -> Array:
        """Log-probability of an analogue value above `edge_dn` above black plus signal."""
        return self._read(self._above, edge_dn, signal_dn)

    def _read(self, table: Array, offset_dn: Array, signal_dn: Array) -> Array:
        at = (np.clip(offset_dn / self.deviation(signal_dn), LOW, HIGH) - LOW) / STEP
        level = np.arccosh(1 + signal_dn / self.gain / self.knee) / LEVEL_STEP
        return np.asarray(map_coordinates(table, [level, at], order=3, mode="mirror", prefilter=False))

    @cached_property
    def _inside(self) -> Array:
        return self._filtered(self._density(rounded=True))

    @cached_property
    def _below(self) -> Array:
        density = self._density(rounded=False)
        return self._filtered((density.cumsum(1) - density / 2) * STEP)

    @cached_property
    def _above(self) -> Array:
        density = self._density(rounded=False)
        return self._filtered((density[:, ::-1].cumsum(1)[:, ::-1] - density / 2) * STEP)

    @staticmethod
    def _filtered(values: Array) -> Array:
        return np.asarray(spline_filter(np.log(np.maximum(values, FLOOR)), order=3))

    def _density(self, *, rounded: bool) -> Array:
        """Density per standard deviation, (levels, values)."""
        electrons = self.knee * (np.cosh(LEVEL_STEP * np.arange(self.levels)) - 1)[:, None]
        frequency = 2 * np.pi * np.arange(POINTS // 2 + 1) / (POINTS * STEP) / self.deviation(electrons * self.gain)
        turn = self.gain * frequency
        # e^{ix} − 1 − ix, written so that its real part does not cancel.
        log_shot = electrons * (-2 * np.sin(turn / 2) ** 2 + 1j * (np.sin(turn) - turn))
        characteristic = np.exp(log_shot) * self._read_characteristic(frequency)
        if rounded:
            characteristic = characteristic * np.sinc(frequency / (2 * np.pi))
        signs = np.where(np.arange(POINTS // 2 + 1) % 2, -1.0, 1.0)
        density = np.fft.irfft(characteristic.conj() * signs, POINTS, axis=1) / STEP
        first, last = (POINTS // 2 + round(end / STEP) for end in (LOW, HIGH))
        return np.asarray(density[:, first : last + 1])

    def _read_characteristic(self, frequency: Array) -> Array:
        """Characteristic function of the read noise, real since the noise is symmetric."""
        if self.shape is None:
            return np.exp(-0.5 * (self.scale * frequency) ** 2)
        # Mean of cos(tQ(u)) over u = 1/(1 + e^{−v}), by the rectangle rule in v.
        v = np.linspace(-36, 36, 8001)
        u = 1 / (1 + np.exp(-v))
        density = u * (1 - u) * (v[1] - v[0])
        quantile = tukey_quantile_of_logit(v, self.shape)
        knots = np.arange(0, self.scale * frequency.max() + 0.2, 0.04)
        values = np.array([density @ np.cos(knot * quantile) for knot in knots])
        coefficients = spline_filter(values, order=3)
        at = self.scale * frequency / 0.04
        return np.asarray(map_coordinates(coefficients, [at], order=3, mode="mirror", prefilter=False))


def tukey_quantile_of_logit(v: Array, shape: float) -> Array:
    """Tukey's lambda quantile function Q(u) at u = 1/(1 + e^{−v}).

    >>> tukey_quantile_of_logit(np.array([-1.0, 0.0, 2.0]), 0.0)
    array([-1.,  0.,  2.])
    """
    if abs(shape) < 1e-8:
        return v
    log_u, log_1_u = -np.logaddexp(0, -v), -np.logaddexp(0, v)
    return np.asarray((np.expm1(shape * log_u) - np.expm1(shape * log_1_u)) / shape)

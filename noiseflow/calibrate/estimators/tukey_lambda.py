"""Shape of the read noise: Tukey-lambda by the probability-plot correlation coefficient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

from noiseflow.calibrate.measurement import Measurement, from_error
from noiseflow.core.errors import DataError

__all__ = ["ReadNoiseShape", "fit_tukey_lambda", "read_noise_shape", "tukey_quantile"]

Array = NDArray[np.float64]

RANGE = (-0.45, 0.9)
"""Range of shapes searched: the variance is infinite at −0.5, and 1 is the uniform distribution."""

BLOCKS = 10
"""Groups of pixels fitted separately; their spread gives the error bars."""


@dataclass(frozen=True)
class ReadNoiseShape:
    """Distribution of the pixels' read noise.

    Parameters
    ----------
    shape : Measurement
        λ of Tukey's distribution: 0 is logistic, 0.14 close to Gaussian, below 0 heavy-tailed.
    scale : Measurement
        Scale of the distribution, DN: x = scale·(p^λ − (1 − p)^λ)/λ.
    correlation : float
        Correlation of the Tukey-lambda probability plot.
    correlation_gaussian : float
        Correlation of the Gaussian probability plot.
    excess_kurtosis : float
        Kurtosis minus 3; 0 for a Gaussian.
    beyond_4_sigma : float
        Fraction of the values beyond ±4 σ; 6.3e-5 for a Gaussian.
    """

    shape: Measurement
    scale: Measurement
    correlation: float
    correlation_gaussian: float
    excess_kurtosis: float
    beyond_4_sigma: float


def tukey_quantile(p: Array, shape: float) -> Array:
    """Return Tukey's quantile function Q(p) = (p^λ − (1 − p)^λ)/λ, or its limit log(p/(1 − p)) at λ = 0.

    Parameters
    ----------
    p : ndarray, any shape
        Probabilities, between 0 and 1 exclusive.
    shape : float
        λ.

    Returns
    -------
    ndarray, shape of `p`
        Quantiles at scale 1.
    """
    log_p, log_q = np.log(p), np.log1p(-p)
    if abs(shape) < 1e-6:
        return log_p - log_q
    quantile: Array = (np.expm1(shape * log_p) - np.expm1(shape * log_q)) / shape
    return quantile


def fit_tukey_lambda(noise: NDArray[np.floating], blur: float = 0.0) -> tuple[float, float, float]:
    """Fit a Tukey-lambda distribution by the correlation of its probability plot.

    The fitted shape maximises the correlation between the ordered values and the quantiles at their median
    ranks; the scale is the slope.  `blur` allows for a little independent noise on top of the Tukey-lambda
    variate: the quantiles are then those of the sum to first order, Q + (blur / 2 scale²) Q''/Q'².

    Parameters
    ----------
    noise : ndarray, any shape
        Zero-mean values, DN; at least 100, not all the same.
    blur : float
        Variance of the independent noise, DN²: quantisation, and the remainder of subtracted means.

    Returns
    -------
    shape : float
        λ, within `RANGE`.
    scale : float
        Scale, DN.
    correlation : float
        Correlation of the probability plot.

    Raises
    ------
    DataError
        Fewer than 100 values, or all are the same.

    References
    ----------
    Filliben: The probability plot correlation coefficient test for normality,
    Technometrics 17, 1975; Wei, Fu, Yang, Huang: A physics-based noise formation model for
    extreme low-light raw denoising, CVPR 2020, 3.2.
    """
    values: Array = np.sort(np.asarray(noise, np.float64), axis=None)
    n = values.size
    if n < 100 or values[0] == values[-1]:
        raise DataError(f"Tukey-lambda fit: expected 100 varying values or more; got {n}")
    # Median ranks (i − 0.3175)/(n + 0.365); 0.5^(1/n) for the last and its complement for the first.
    p: Array = (np.arange(1, n + 1) - 0.3175) / np.float64(n + 0.365)
    p[-1] = 0.5 ** (1 / n)
    p[0] = 1 - p[-1]
    values, p, weights = _grouped(values, p)
    log_p, log_q = np.log(p), np.log1p(-p)
    centred = values - weights @ values / n
    spread = float(np.sqrt(weights @ centred**2))
    scale = spread / np.sqrt(n) / 2

    def quantiles(shape: float) -> Array:
        if abs(shape) < 1e-6:
            shape = 1e-6
        a, b = np.exp((shape - 1) * log_p), np.exp((shape - 1) * log_q)
        q = (a * p - b * (1 - p)) / shape
        if blur:
            slope = a + b
            q += blur / (2 * scale**2) * (shape - 1) * (a / p - b / (1 - p)) / slope**2
        return q

    def correlation(shape: float) -> tuple[float, float]:
        q = quantiles(shape)
        q -= weights @ q / n
        product, square = float((weights * q) @ centred), float((weights * q) @ q)
        return product / (np.sqrt(square) * spread), product / square

    best, r = 0.14, 0.0
    low, high = RANGE
    for _ in range(3 if blur else 1):
        found = minimize_scalar(
            lambda shape: -correlation(float(shape))[0], bounds=(low, high), method="bounded", options={"xatol": 2e-4}
        )
        best = float(found.x)
        r, scale = correlation(best)
        low, high = max(best - 0.05, RANGE[0]), min(best + 0.05, RANGE[1])
    return best, scale, r


def _grouped(values: Array, p: Array, tail: int = 4000, groups: int = 20000) -> tuple[Array, Array, Array]:
    """Average neighbouring ordered values and ranks; also return each group's size.  Tail values stay single."""
    width = (values.size - 2 * tail) // groups
    if width < 2:
        return values, p, np.ones_like(values)
    middle = width * groups
    end = tail + middle
    parts = [np.concatenate([a[:tail], a[tail:end].reshape(groups, width).mean(1), a[end:]]) for a in (values, p)]
    weights = np.ones_like(parts[0])
    weights[tail : tail + groups] = width
    return parts[0], parts[1], weights


def read_noise_shape(
    sample: NDArray[np.float32],
    offsets: NDArray[np.floating],
    line_offsets: NDArray[np.floating],
    generator: np.random.Generator,
    lines: float = 0.0,
) -> ReadNoiseShape:
    """Measure the distribution of the read noise from a sample of dark pixels.

    Frame, row and column offsets are subtracted entirely.  Fixed pattern is subtracted with the weight
    w = s²/(s² + σ²/n), where s² is its variance and σ²/n the noise of a pixel's mean; w is 0 where the pattern is
    not significant.  A dither spreads integer codes over their width.  The fitted quantiles allow for these steps.

    Parameters
    ----------
    sample : ndarray, shape (n, m)
        The same m pixels of n frames, DN.
    offsets : ndarray, shape (n,)
        Mean of each frame, DN.
    line_offsets : ndarray, shape (n, m)
        Offsets of each pixel's row and column in each frame, DN, relative to the frame's mean and to the line's
        mean over the frames.
    generator : numpy.random.Generator
        Draws the dither.
    lines : float
        Fraction of a pixel's own noise that `line_offsets` contain: 1/W + 1/H of a plane.

    Returns
    -------
    ReadNoiseShape
        The fit, with error bars from `BLOCKS` groups of pixels.

    Raises
    ------
    DataError
        Fewer than two frames, or fewer than 100 varying values.
    """
    n, m = sample.shape
    if n < 2:
        raise DataError(f"the distribution of the read noise needs at least two dark frames; got {n}")
    codes = sample - offsets[:, None] - line_offsets
    pattern = codes.mean(0)
    variance = float(codes.var(0, ddof=1).mean())
    fixed = max(float(pattern.var()) - variance / n, 0.0)
    weight = fixed / (fixed + variance / n) if fixed > 2 * variance / n * np.sqrt(2 / m) else 0.0
    noise = codes - weight * pattern - (1 - weight) * pattern.mean()
    # Subtracting w·mean leaves (1 − w/n)·own − (w/n)·others: rescale to the full size and count the others as blur.
    # Do the same for the pixel's own contribution to the means of its row and column.
    lines *= 1 - 1 / n
    own = (1 - weight / n) * (1 - lines)
    noise = noise / own
    blur = (weight / n / own) ** 2 * (n - 1) * variance + 2 / 12 + (1 - weight) ** 2 * fixed + lines * variance
    noise = noise + generator.uniform(-0.5, 0.5, noise.shape)
    shape, scale, correlation = fit_tukey_lambda(noise, blur)
    parts = [fit_tukey_lambda(part, blur)[:2] for part in np.array_split(noise, min(BLOCKS, m), axis=1)]
    spread = np.std(parts, axis=0, ddof=1) / np.sqrt(len(parts))
    flat = np.sort(noise, axis=None)[:: max(1, noise.size // 20000)]
    normal = ndtri((np.arange(1, flat.size + 1) - 0.3175) / (flat.size + 0.365))
    centred = noise - noise.mean()
    deviation = float(centred.std())
    free = len(parts) - 1
    return ReadNoiseShape(
        from_error(shape, float(spread[0]), "", free),
        from_error(scale, float(spread[1]), "DN", free),
        correlation,
        float(np.corrcoef(flat, normal)[0, 1]),
        float((centred**4).mean()) / deviation**4 - 3,
        float((np.abs(centred) > 4 * deviation).mean()),
    )

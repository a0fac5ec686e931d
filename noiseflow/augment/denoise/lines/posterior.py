"""Posterior of row offsets, given measured differences between neighbouring rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded
from scipy.ndimage import uniform_filter1d

__all__ = ["Differences", "OffsetPosterior", "offset_posterior"]

Array = NDArray[np.float64]

FREEDOM = 3.0
"""Degrees of freedom of Student's t for the scene's steps; edges and horizons are outliers."""

FARTHEST_OUT = 3.5
"""Differences larger than this many σ of offset differences are attributed to the scene."""

TREND = 65
"""Number of steps over which the local mean step of the scene is averaged."""

ROUNDS = 30
"""Number of EM iterations."""

LEAST = 1e-3
"""Smallest variance of the offsets, and of the scene's steps, relative to the prior variance of the offsets."""

MOST_ERROR = 1e3
"""Largest error variance of a row's mean relative to the prior variance; such a row carries no information."""

LOOSE = 1e-9
"""Precision, relative to the prior precision, that ties a row to 0 if it is compared with no other row."""

NORMAL_MEDIAN = 0.4549
"""Median of the square of a standard normal number."""


@dataclass(frozen=True, eq=False)
class Differences:
    """Measured differences between rows `lag` apart.

    Parameters
    ----------
    lag : int
        Distance in sensor rows, 1 or 2.
    first : ndarray of int, shape (N,)
        The upper row of each pair.
    value : ndarray, shape (N,)
        Lower row minus upper row.
    variance : ndarray, shape (N,)
        Squared standard error of each value; infinite where nothing was measured.
    """

    lag: int
    first: NDArray[np.intp]
    value: Array
    variance: Array


@dataclass(frozen=True, eq=False)
class OffsetPosterior:
    """Posterior of the offset of each row.

    Parameters
    ----------
    mean, variance : ndarray, shape (rows,)
        Posterior mean and variance.
    """

    mean: Array
    variance: Array


def offset_posterior(rows: int, differences: Sequence[Differences], variance: float) -> OffsetPosterior:
    """Separate independent row offsets from a scene whose rows resemble their neighbours.

    The level of row i is m_i = r_i + s_i + e_i, with offsets r ~ N(0, σ_r²); the scene s, a random walk whose steps
    follow Student's t with scale τ about their local mean; and the noise e of the row's mean.  The levels are the
    least-squares fit to the differences.  EM finds τ, the weight u of each step, and σ_r², which cannot exceed the
    given value.  Then r + e has the tridiagonal precision 1/(σ_r² + var e) + Σ u/τ² over the steps.

    The prior limits what counts as an offset.  Steps that are too large are attributed to the scene; a scene that
    changes from row to row as much as offsets do makes τ large and all offsets small.

    Parameters
    ----------
    rows : int
        Number of rows.
    differences : sequence of Differences
        Measured differences of rows one and two apart.
    variance : float
        σ_r² of the noise model, normalised.

    Returns
    -------
    OffsetPosterior
        Mean and variance of each row's offset.

    References
    ----------
    Dempster, Laird, Rubin: Iteratively reweighted least squares for linear regression when errors are
    normal/independent distributed, Multivariate Analysis V, 1980.
    """
    differences = [_without_outliers(each, variance) for each in differences]
    level, known = _levels(rows, differences, variance)
    error = _errors(rows, differences).clip(0, MOST_ERROR * variance)
    step, own = np.diff(level), variance
    scene = _first_scale(step[known], variance)
    weight, trend = _weight(step**2 / (scene + 2 * variance)), np.zeros(rows - 1)
    for _ in range(ROUNDS):
        prior = own + error
        mean, spread, between = _gaussian(prior, step - trend, np.where(known, weight / scene, 0.0))
        left = step - np.diff(mean)
        trend = _trend(left, np.where(known, weight, 0.0))
        square = (left - trend) ** 2 + spread[1:] + spread[:-1] - 2 * between
        weight = _weight(square / scene)
        if known.any():
            scene = max(float(np.mean((weight * square)[known])), LEAST * variance)
        # The M-step for σ_r²: the offset's share of the variance of offset plus error.
        share = own / prior
        own = float(np.mean(share**2 * (mean**2 + spread) + share * error).clip(LEAST * variance, variance))
    return OffsetPosterior(share * mean, share**2 * spread + share * error)


def _without_outliers(differences: Differences, variance: float) -> Differences:
    """Drop differences too large for offsets; a wire across a plain sky would otherwise become a row offset."""
    reach = FARTHEST_OUT**2 * (2 * variance + differences.variance)
    return replace(differences, variance=np.where(differences.value**2 > reach, np.inf, differences.variance))


def _levels(rows: int, differences: Sequence[Differences], variance: float) -> tuple[Array, NDArray[np.bool_]]:
    """Level of each row up to a constant, (rows,), and which steps between adjacent rows are known, (rows − 1,)."""
    # Lower banded form: band[k, i] is the matrix element (i + k, i).
    band, right, known = np.zeros((3, rows)), np.zeros(rows), np.zeros(rows - 1, bool)
    band[0] = LOOSE / variance
    for each in differences:
        i, j, precision = each.first, each.first + each.lag, 1 / each.variance
        for at, sign in ((i, -1), (j, 1)):
            np.add.at(band[0], at, precision)
            np.add.at(right, at, sign * precision * each.value)
        np.add.at(band[each.lag], i, -precision)
        if each.lag == 1:
            known[i] |= precision > 0
    level: Array = solveh_banded(band, right, lower=True)
    return level, known


def _errors(rows: int, differences: Sequence[Differences]) -> Array:
    """Error variance of each row's mean, (rows,): half the smallest variance of a difference two rows apart."""
    least = np.full(rows, np.inf)
    for each in differences:
        if each.lag == 2:
            for at in (each.first, each.first + 2):
                np.minimum.at(least, at, each.variance / 2)
    return least


def _first_scale(step: Array, variance: float) -> float:
    middle = float(np.median(step**2)) if len(step) else 0.0
    return max(middle / NORMAL_MEDIAN - 2 * variance, 0.02 * variance)


def _trend(step: Array, weight: Array) -> Array:
    """Local weighted mean of the steps, for example of a sky that brightens from row to row."""
    total = uniform_filter1d(weight, TREND, mode="nearest")
    sums = uniform_filter1d(weight * step, TREND, mode="nearest")
    mean: Array = np.divide(sums, total, out=np.zeros_like(sums), where=total > 1e-9)
    return mean


def _weight(square: Array) -> Array:
    """E-step for Student's t: the expected precision, given the squared step in units of the scale."""
    return (FREEDOM + 1) / (FREEDOM + square)


def _gaussian(prior: Array, step: Array, precision: Array) -> tuple[Array, Array, Array]:
    """Posterior mean and variance of each value, and its covariance with the next, given measured steps.

    Parameters
    ----------
    prior : ndarray, shape (rows,)
        Prior variances of the independent, zero-mean values.
    step, precision : ndarray, shape (rows − 1,)
        Measured steps from each value to the next, and their precisions.
    """
    band, right = np.zeros((2, len(prior))), np.zeros(len(prior))
    band[0] = 1 / prior
    band[0, :-1] += precision
    band[0, 1:] += precision
    band[1, :-1] = -precision
    right[:-1] -= precision * step
    right[1:] += precision * step
    factor = cholesky_banded(band, lower=True)
    mean: Array = cho_solve_banded((factor, True), right)
    # The band of the inverse, from the last value up (Takahashi, Fagan, Chin 1973); Python floats are faster here.
    inverse, ratio = (factor[0] ** -2).tolist(), (factor[1] / factor[0]).tolist()
    spread, between, below = [], [], 0.0
    for own, part in zip(reversed(inverse), reversed(ratio), strict=True):
        between.append(-part * below)
        below = own + part**2 * below
        spread.append(below)
    return mean, np.array(spread[::-1]), np.array(between[:0:-1])

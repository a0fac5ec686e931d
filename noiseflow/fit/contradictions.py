"""Find contradictions between data and files: levels, ISO, linear response."""

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.store.patches import Patches

__all__ = ["Levels", "contradictions", "levels_of"]

Array = NDArray[np.float64]

SURE = 5.0
"""A read variance is reported as negative if it is so by this many standard errors; by chance 1 in 10⁶."""

BELOW = 0.25
"""The black level may be reported as too high if more than this fraction of the clean signal is below black."""

FALLS = 0.3
"""The brightest cells are reported as saturated if their variance is below this fraction of the line."""

HUBER = 2.0
"""Cells that depart from the line by more than this many deviations get less weight."""

BENT = 0.1
"""The response is reported as bent if the variance departs from its line by more than this fraction."""

PARTS = 8
"""Number of equal parts of the signal's range in which the variance is compared with the line."""

LIT = 2
"""Number of darkest parts that are not compared, since they show read noise and clipping more than the response."""

SCALES = 1.3
"""An ISO is reported if the gain changes by this factor more or less than the ISO, from one ISO to the next."""


@dataclass(frozen=True)
class Levels:
    """Black and white level of a camera, averaged over its planes.

    Parameters
    ----------
    black, white : float
        Levels in DN.
    """

    black: float
    white: float

    @property
    def span(self) -> float:
        """Range from black to white, DN."""
        return self.white - self.black

    def dn(self, signal: float) -> float:
        """Convert a normalised signal to DN."""
        return self.black + signal * (self.white - self.black)


def levels_of(store: Patches) -> list[Levels]:
    """Mean black and white level of each camera of a store, in the order of its cameras."""
    found = []
    for camera in range(len(store.cameras)):
        rows = store.table[store.table["camera"] == camera]
        found.append(Levels(float(rows["black"].mean()), float(rows["white"].mean())))
    return found


@dataclass(frozen=True)
class _Line:
    """Line of variance over normalised signal, by weighted least squares without bounds; errors from the residuals.

    `zero` is the signal at which the variance vanishes, `scatter` the relative scatter of the cells about the line.
    """

    slope: float
    intercept: float
    intercept_error: float
    zero: float
    zero_error: float
    scatter: float


def contradictions(
    statistics: NoiseStatistics, levels: list[Levels], unlike: Collection[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """Report levels and ISOs declared by the files that cannot be true, and responses that bend.

    Parameters
    ----------
    statistics : NoiseStatistics
        Statistics of the training data.
    levels : list of Levels
        Levels of each camera of the statistics.
    unlike : collection of str
        Cameras whose planes have unlike gains, so that their variance over the light tells nothing of levels.

    Returns
    -------
    found : list of str
        One sentence per contradiction, for the user.
    bends : dict of str to list of str
        Camera → sentences about its variance, which bends; none if there are contradictions, which bend it too.
    """
    found: list[str] = []
    bends: dict[str, list[str]] = {}
    for camera, name in enumerate(statistics.cameras):
        gains: list[tuple[float, float]] = []
        for index, iso in enumerate(statistics.isos):
            cells = statistics.of(camera, index)
            count, signal, square = (part.double().numpy() for part in (cells.count, cells.clean, cells.square))
            if len(count) < 4:
                continue
            where = f"camera {name!r}, ISO {iso:g}"
            line = _line(count, signal, square)
            if line is None:
                continue
            gains.append((iso, line.slope))
            if name in unlike:
                continue
            beneath = _beneath_squares(count, signal, square)
            found += [f"{where}: {text}" for text in _levels(count, signal, square, line, levels[camera], beneath)]
            bent = [f"{where}: {text}" for text in _bends(count, signal, square, line, levels[camera], beneath)]
            if bent:
                bends.setdefault(name, []).extend(bent)
        found += [f"camera {name!r}: {text}" for text in _isos(gains)]
    return found, {} if found else bends


def _levels(
    count: Array, signal: Array, square: Array, line: _Line, levels: Levels, beneath: float | None
) -> Iterator[str]:
    # A line through a variance that grows with the square of the light vanishes above black, and black is right.
    if line.slope > 0 and line.intercept < -SURE * line.intercept_error and beneath is None:
        implied, error = levels.dn(line.zero), line.zero_error * (levels.white - levels.black)
        yield (
            f"the read variance is negative: the variance vanishes at {implied:.4g} ± {error:.2g} DN, above the black "
            f"level of {levels.black:.4g} DN. The black level is too low; it is at least {implied:.4g} DN"
        )
    dark = signal <= 0
    if dark.any():
        below = count[dark].sum() / count.sum()
        depth, sigma = -float(count[dark] @ signal[dark] / count[dark].sum()), math.sqrt(float(square[dark].max()))
        if below > BELOW and depth > 2 * sigma:
            yield (
                f"{100 * below:.0f} % of the clean signal lies below black, on average by "
                f"{depth * (levels.white - levels.black):.3g} DN, which exceeds the noise: the black level of "
                f"{levels.black:.4g} DN is too high; it is at most {levels.dn(-depth):.4g} DN"
            )
    bright = signal > 0.5 * signal.max()
    expected = np.maximum(line.slope * signal + line.intercept, 1e-300)
    low = bright & (square < FALLS * expected) & (count > 100)
    if low.any() and low[-1] and signal.max() < 0.98:
        start = float(signal[low].min())
        yield (
            f"from {levels.dn(start):.4g} DN the variance falls to "
            f"{100 * float((square[low] / expected[low]).mean()):.0f} % of its line, below the white level of "
            f"{levels.white:.4g} DN: the sensor saturates there, and the white level is too high"
        )


def _bends(
    count: Array, signal: Array, square: Array, line: _Line, levels: Levels, beneath: float | None
) -> Iterator[str]:
    """Yield a sentence about the part of the signal's range in which the variance departs most from its line."""
    expected = line.slope * signal + line.intercept
    part = (PARTS * (signal - signal.min()) / max(float(np.ptp(signal)), 1e-300)).astype(int).clip(0, PARTS - 1)
    # Cells scatter about a line because they lie on a curve, if there is one.
    scatter = line.scatter if beneath is None else 0.0
    worst = (0.0, 0.0)
    for number in range(LIT, PARTS):
        own = (part == number) & (expected > 0)
        if not own.any():
            continue
        relative = square[own] / expected[own] - 1
        weight = 1 / (2 / count[own] + scatter**2)
        departure, error = float(weight @ relative / weight.sum()), float(weight.sum()) ** -0.5
        if abs(departure) > max(BENT, SURE * error, abs(worst[0])):
            worst = departure, float(signal[own].mean())
    departure, where = worst
    if departure:
        side = "above" if departure > 0 else "below"
        why = (
            "The response is not linear there, the clean signal is wrong, or the gain depends on the place"
            if beneath is None
            else f"It has a part that grows with the square of the light, over a gain of {beneath * levels.span:.3g} "
            "DN/e⁻: the light changes (a lamp, clouds), fine texture moves, the clean signal lacks the unlike response "
            "of the pixels, or the response is not linear"
        )
        yield (
            f"the variance bends: it is {100 * abs(departure):.0f} % {side} its straight line at "
            f"{levels.dn(where):.4g} DN. {why}, so one gain does not describe the whole range; only the model "
            "`physics_flow` can fit a curve"
        )


def _beneath_squares(count: Array, signal: Array, square: Array) -> float | None:
    """Slope at black of a variance with a part c·signal², by least squares.

    None if c is not surely above 0, or if the variance at black is surely below 0.
    """
    weight = np.sqrt(count / 2) / np.maximum(square, 0.01 * np.abs(square).mean())
    design = np.stack([np.ones_like(signal), signal, signal**2], 1) * weight[:, None]
    inverse = np.linalg.pinv(design)
    found = inverse @ (square * weight)
    left = square * weight - design @ found
    errors = np.sqrt((inverse**2).sum(1) * max(float((left**2).mean()), 1.0))
    squares = found[2] > SURE * errors[2] and found[0] > -SURE * errors[0]
    return float(found[1]) if found[1] > 0 and squares else None


def _isos(gains: list[tuple[float, float]]) -> Iterator[str]:
    known = [(iso, gain) for iso, gain in gains if gain > 0]
    for (below, first), (above, second) in itertools.pairwise(known):
        found, dial = second / first, above / below
        if not 1 / SCALES < found / dial < SCALES:
            yield (
                f"from ISO {below:g} to {above:g} the gain rises by {found:.2f}, but the ISO by {dial:.2f}: the ISO "
                "does not scale the codes there (it is only a label, or wrong in the files)"
            )


def _line(count: Array, signal: Array, square: Array) -> _Line | None:
    """Fit a robust line; None if it is undetermined or horizontal.

    The deviation of a cell with variance v and n values is v·√(2/n + τ²), where τ is the scatter of the cells about
    the line; Huber's weights reduce the effect of outliers.
    """
    start = _theil_sen(count, signal, square)
    fitted = np.maximum(start, 0.1 * square)
    design = np.stack([signal, np.ones_like(signal)], 1)
    scatter, huber = 0.0, np.ones_like(signal)
    for _ in range(30):
        deviation = fitted * np.sqrt(2 / count + scatter**2)
        weight = np.sqrt(huber) / deviation
        solution, _, rank, _ = np.linalg.lstsq(design * weight[:, None], square * weight, rcond=None)
        if rank < 2:
            return None
        expected = design @ solution
        # Where the line is near 0 or negative, use the cell's own variance for a positive deviation.
        fitted = np.where(expected > 0.1 * square, expected, np.maximum(square, fitted.min()))
        relative = np.abs(square - expected) / fitted
        scatter = max(1.4826 * _median(relative, count) - float(np.sqrt(2 / np.median(count))), 0.0)
        huber = np.minimum(1, HUBER / np.maximum(np.abs(square - expected) / deviation, 1e-9))
    rows = design * weight[:, None]
    inverse = np.linalg.pinv(rows)
    normal = inverse @ inverse.T
    residual = (square - expected) * weight
    # White's sandwich estimate, which a single outlier does not dominate, but at least the counting error.
    covariance = (inverse * residual**2) @ inverse.T
    covariance = np.where(np.eye(2, dtype=bool), np.maximum(covariance, normal), covariance)
    slope, intercept = (float(value) for value in solution)
    if slope == 0:
        return None
    gradient = np.array([intercept / slope**2, -1 / slope])
    error = math.sqrt(max(float(gradient @ covariance @ gradient), 0.0))
    return _Line(slope, intercept, math.sqrt(float(covariance[1, 1])), -intercept / slope, error, scatter)


def _theil_sen(count: Array, signal: Array, square: Array) -> Array:
    """Line with the weighted median slope (Theil–Sen) at each cell; up to half of the pixels may be wrong."""
    i, j = np.triu_indices(len(signal), 1)
    step = signal[j] - signal[i]
    apart = step != 0
    i, j, step = i[apart], j[apart], step[apart]
    slope = _median((square[j] - square[i]) / step, np.sqrt(count[i] * count[j]) * np.abs(step)) if len(step) else 0.0
    line: Array = slope * signal + _median(square - slope * signal, count)
    return line


def _median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])

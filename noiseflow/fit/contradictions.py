"""Find contradictions between data and files (levels, ISO, linear response), and noise that no model can have."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["Levels", "beyond_models", "contradictions", "levels_of"]

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

OFF = 0.1
"""The black level of a plane is doubted if its noise has a mean of more than this many σ of the darkest frames."""

APART = 0.2
"""The gains of frames are doubted if their variances at the same light spread by more than this fraction."""

RARE = 50.0
"""Squares of noise are limited to this multiple of their median in a patch, 4.8 σ of Gaussian noise."""

CLIPPED = 1e-3
"""Largest fraction of a camera's codes at 0 at which a mean is not that of a clipped tail."""

OWN = 0.01
"""Row offsets that planes do not share are reported above this fraction of a pixel's variance."""

FRAMES, VALUES, PATCHES = 8, 2000, 32
"""Fewest frames of a camera at an ISO that are compared, fewest values of each, and fewest patches for their rows."""


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


def contradictions(statistics: NoiseStatistics, levels: list[Levels]) -> tuple[list[str], dict[str, list[str]]]:
    """Report levels and ISOs declared by the files that cannot be true, and responses that bend.

    Parameters
    ----------
    statistics : NoiseStatistics
        Statistics of the training data.
    levels : list of Levels
        Levels of each camera of the statistics.

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
            found += [f"{where}: {text}" for text in _levels(count, signal, square, line, levels[camera])]
            bent = [f"{where}: {text}" for text in _bends(count, signal, square, line, levels[camera])]
            if bent:
                bends.setdefault(name, []).extend(bent)
        found += [f"camera {name!r}: {text}" for text in _isos(gains)]
    return found, {} if found else bends


def beyond_models(
    batch: PatchBatch, frames: NDArray[np.int64], cameras: Sequence[str], planes: Sequence[str]
) -> list[str]:
    """Say what is in the noise that a model cannot have: a mean, rows of one plane, frames of several gains.

    Parameters
    ----------
    batch : PatchBatch
        Training patches, best in whole bands of sensor rows.
    frames : ndarray of int, shape (B,)
        Number of each patch's frame.
    cameras, planes : sequence of str
        Names.

    Returns
    -------
    list of str
        One sentence for each.
    """
    found: list[str] = []
    noise, clean = (part.double().numpy() for part in (batch.noise, batch.clean))
    seen = np.ones(noise.shape, bool) if batch.observed is None else batch.observed.numpy()
    black = batch.table["black"].astype(np.float64)
    span = (batch.table["white"].astype(np.float64)[:, None] - black)[..., None, None]
    code = black[..., None, None] + (noise + clean) * span
    for camera, iso in sorted({(int(c), float(i)) for c, i in zip(batch.camera, batch.iso, strict=True)}):
        own = ((batch.camera == camera) & (batch.iso == iso)).numpy()
        number = np.unique(frames[own], return_inverse=True)[1]
        if (
            np.count_nonzero(np.bincount(number) * noise[0].size >= VALUES) < FRAMES
            or (code[own] < 0.5).mean() > CLIPPED
        ):
            continue
        part = _Frames(noise[own] * seen[own], seen[own], clean[own], number, float(span[own].mean()))
        said = [*_means(part, planes), *_gains(part), *(_rows_of_planes(part) if len(planes) == 4 else ())]
        found += [f"camera {cameras[camera]!r}, ISO {iso:g}: {text}" for text in said]
    return found


@dataclass(frozen=True, eq=False)
class _Frames:
    """Patches of one camera at one ISO: noise, 0 where it is not seen, clean signal, frame of each, and DN of 1."""

    noise: Array
    seen: NDArray[np.bool_]
    clean: Array
    frame: NDArray[np.int64]
    span: float

    def sums(self, values: Array) -> Array:
        """Sum over the patches of each frame."""
        return np.stack([values[self.frame == each].sum(0) for each in range(self.frame.max() + 1)])


def _means(part: _Frames, planes: Sequence[str]) -> Iterator[str]:
    count = part.sums(part.seen.sum((2, 3)))
    mean, square = (part.sums(each.sum((2, 3))) / count.clip(1) for each in (part.noise, part.noise**2))
    # Codes are rounded: no variance is below that, and a frame that is masked has none.
    square = np.maximum(square, 1 / 12 / part.span**2)
    weight = (count > 0) / square
    total = weight.sum(0)
    of_planes = zip(square.T, count.T > 0, strict=True)
    sigma = np.sqrt([np.quantile(one[have], 0.25) if have.any() else np.inf for one, have in of_planes])
    centre = (weight * mean).sum(0) / np.where(total > 0, total, np.inf)
    scatter = np.maximum((mean - centre) ** 2, square / count.clip(1))
    error = np.hypot(np.sqrt((weight**2 * scatter).sum(0)) / np.where(total > 0, total, 1), _of_pattern(part))
    for plane in map(int, np.flatnonzero((np.abs(centre) > SURE * error) & (np.abs(centre) > OFF * sigma))):
        yield (
            f"the noise of plane {planes[plane]} has a mean of {part.span * centre[plane]:+.3g} ± "
            f"{part.span * error[plane]:.1g} DN: the black level of the frames or of their clean signal is wrong by "
            "this amount. The noise of a model has no mean: its rows and variance would be wrong; correct the black "
            "level of the plane"
        )


def _of_pattern(part: _Frames) -> float:
    """Error of a plane's mean by a fixed pattern, which is the same in all frames: scatter of patches over places.

    n patches of a frame lie in about √n columns and √n rows, whose fixed offsets they share; planes are pooled.
    """
    each = part.noise.sum((2, 3)) / part.seen.sum((2, 3)).clip(1)
    patches = np.bincount(part.frame)
    of_frame = (part.sums(each) / patches[:, None])[part.frame]
    if patches.max() < 2:
        return float(each.std(0).max())
    variance = float(((each - of_frame) ** 2).sum(0).mean()) / max(int((patches - 1).sum()), 1)
    return math.sqrt(variance / math.sqrt(float(np.median(patches))))


def _gains(part: _Frames) -> Iterator[str]:
    """Whether frames of similar light differ in variance, relative to one line of variance over light."""
    seen = part.seen.sum((1, 2, 3))
    about = part.noise - part.noise.sum(3, keepdims=True) / part.seen.sum(3, keepdims=True).clip(1)
    square = np.where(part.seen, about**2, np.nan).reshape(len(about), -1)
    # A few pixels hit by particles, or that jump, must not count as the noise of their frame.
    typical = np.array([np.nanmedian(one) if have else 0.0 for one, have in zip(square, seen, strict=True)])
    kept = np.nan_to_num(np.minimum(square, RARE * typical[:, None])).sum(1)
    count = part.sums(seen)
    variance = part.sums(kept)[count > 0] / count[count > 0]
    light = (part.sums((part.clean * part.seen).sum((1, 2, 3)))[count > 0]) / count[count > 0]
    if len(light) < FRAMES or not (variance > 0).all():
        return
    design = np.stack([light, np.ones_like(light)], 1)
    # In the dark all light is 0, and the line a constant.
    solution = np.linalg.lstsq(design / variance[:, None], np.ones_like(light), rcond=None)[0]
    line = np.maximum(design @ solution, 0.1 * variance.min())
    order = np.argsort(light)
    pairs = [(a, b) for a, b in itertools.pairwise(order) if abs(light[a] - light[b]) <= 0.1 * abs(light[b]) + 1e-3]
    if len(pairs) < FRAMES // 2:
        return
    ratio = np.array([np.log(variance[b] / line[b] / (variance[a] / line[a])) for a, b in pairs])
    spread = float(np.sqrt((ratio**2).mean() / 2))
    # A few frames that moved are no second gain.
    if spread > APART and float((np.abs(ratio) > APART).mean()) > 0.25:
        yield (
            f"the variance of frames of the same light differs by {100 * spread:.0f} % (standard deviation): they have "
            "several gains under one ISO, or the scene moved. A model has one gain per ISO: give each gain its own ISO"
        )


def _rows_of_planes(part: _Frames) -> Iterator[str]:
    """Whether the two planes of a row share less than each has: an offset of each, or of one of them."""
    # In the darkest quarter of the frames, where offsets are the largest part.
    square = part.sums((part.noise**2).sum((1, 2, 3))) / part.sums(part.seen.sum((1, 2, 3))).clip(1)
    dark = square[part.frame] <= np.quantile(square, 0.25)
    x = part.noise[dark] - part.noise[dark].mean((2, 3), keepdims=True)
    x = x / np.sqrt((x**2).mean((2, 3), keepdims=True).clip(1e-300))
    width = x.shape[3]
    if len(x) < PATCHES or width <= 8:
        return
    near = sum((x[..., lag:] * x[..., : width - lag]).sum(3) * (2 if lag else 1) for lag in range(3))
    alone = (x.sum(3) ** 2 - near) / (width**2 - width - 2 * (width - 1) - 2 * (width - 2))
    for one, other, names in ((0, 1, "R and G1"), (2, 3, "G2 and B")):
        shared = x[:, one].sum(2) * x[:, other].sum(2) / width**2
        excess = ((alone[:, one] + alone[:, other]) / 2 - shared).mean(1)
        value, error = float(excess.mean()), float(excess.std(ddof=1) / np.sqrt(len(excess)))
        if value > SURE * error and value > OWN:
            yield (
                f"row offsets differ between planes {names}: {100 * value:.1f} ± {100 * error:.1g} % of the variance "
                "of a pixel is a row offset of one plane alone. A model's rows are those of the sensor: its samples "
                "share them between planes"
            )


def _levels(count: Array, signal: Array, square: Array, line: _Line, levels: Levels) -> Iterator[str]:
    if line.slope > 0 and line.intercept < -SURE * line.intercept_error:
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


def _bends(count: Array, signal: Array, square: Array, line: _Line, levels: Levels) -> Iterator[str]:
    """Yield a sentence about the part of the signal's range in which the variance departs most from its line."""
    expected = line.slope * signal + line.intercept
    part = (PARTS * (signal - signal.min()) / max(float(np.ptp(signal)), 1e-300)).astype(int).clip(0, PARTS - 1)
    worst = (0.0, 0.0)
    for number in range(LIT, PARTS):
        own = (part == number) & (expected > 0)
        if not own.any():
            continue
        relative = square[own] / expected[own] - 1
        weight = 1 / (2 / count[own] + line.scatter**2)
        departure, error = float(weight @ relative / weight.sum()), float(weight.sum()) ** -0.5
        if abs(departure) > max(BENT, SURE * error, abs(worst[0])):
            worst = departure, float(signal[own].mean())
    departure, where = worst
    if departure:
        side = "above" if departure > 0 else "below"
        yield (
            f"the variance bends: it is {100 * abs(departure):.0f} % {side} its straight line at "
            f"{levels.dn(where):.4g} DN. The response is not linear there, the clean signal is wrong, or the gain "
            "depends on the place, so one gain does not describe the whole range; only the model `physics_flow` can "
            "fit a curve"
        )


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

"""Find a gain that depends on the place: a shading that was corrected in the codes, or several converters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from noiseflow.fit.residue.relative_noise import RelativeNoise

__all__ = ["gain_by_place"]

Array = NDArray[np.float64]

TILE = 8
"""Side in pixels of a plane of the parts of patches that are compared, if a patch is a multiple of it."""

PLACES = 12
"""Fewest places that are compared."""

PARTS = 8
"""A border between two gains is searched for at this many equal steps of the frame's width and height."""

FALSE_ALARM = 1e-6
"""Chance of a word about a camera of one gain, over all patterns."""

UNLIKE = 1.04
"""Gains are reported if their ratio between two places exceeds this factor."""

EXPLAINED = 0.5
"""A pattern is named if it explains this fraction of what differs by place beyond chance."""

ALIKE = 8
"""Number of places of about the same light, within which gains are compared."""

SMOOTH, STANDS = (3, 4), 1e-3
"""Numbers of coefficients of the polynomials by which a response may bend; the largest chance of a step beside the
second one."""

NEAR = 0.1
"""Largest step of the light, as a fraction of its range, over which a step of the variance may be one of the place."""

SPOILT = "Gain and read noise of a fit are those of a mean over the frame, wrong at most places"
"""What it means for a fit."""

LEAST_SHOT = 0.1
"""Smallest part of the variance of a place, as a root mean square, that is photon noise: less tells of no gain."""

SQUARE_VARIANCE = 2.0
"""Variance of the square of a standard normal value."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Relative excess of the gain at each place, its weight, and where it is: from 0 to 1 over the frame.

    What follows the light is taken out of the excess: by groups of places of about the same light, whose numbers are
    in `alike`, or by a polynomial of the light, whose columns are in `smooth`.  `chance` is the weighted square of the
    excess that normal noise gives.
    """

    excess: Array
    weight: Array
    light: Array
    y: Array
    x: Array
    chance: float
    smooth: Array | None = None

    @cached_property
    def alike(self) -> NDArray[np.intp]:
        """Number of the group of each place."""
        found = np.empty(len(self.light), np.intp)
        found[np.argsort(self.light)] = np.arange(len(self.light)) // ALIKE
        return np.minimum(found, max(len(self.light) // ALIKE - 1, 0))

    @property
    def free(self) -> int:
        """Number of places less that of the parameters of the light."""
        return len(self.light) - (int(self.alike.max()) + 1 if self.smooth is None else self.smooth.shape[1])

    def within(self, values: Array) -> Array:
        """Values less what follows the light."""
        if self.smooth is None:
            over, weight = (np.bincount(self.alike, each) for each in (self.weight * values, self.weight))
            return values - (over / weight)[self.alike]
        root = np.sqrt(self.weight)
        return values - self.smooth @ np.linalg.lstsq(self.smooth * root[:, None], values * root, rcond=None)[0]


@dataclass(frozen=True)
class _Pattern:
    """Values of a pattern at each place, and a sentence about gains that follow it, from their ratio."""

    values: Array
    words: Callable[[float], str]
    step: bool = False


@dataclass(frozen=True)
class _Found:
    """How much of the weighted squares a pattern explains, gain at its highest over that at its lowest, chance."""

    explained: float
    ratio: float
    chance: float


def gain_by_place(noise: RelativeNoise, *, straight: bool = False) -> Iterator[str]:
    """Yield a sentence if the gain K follows a simple pattern over the frame.

    At one light the variance is the same everywhere if K is.  If K and the deviation of read noise are 1 + a times
    their mean at a place, and photon noise is the part s of the variance, the relative square is 1 + a·(2 − s) there.
    So a of a place is found from its pixels in all frames of a scene, with weights s, since read noise may differ by
    place alone.  Patterns with one parameter are tried: a parabola about the centre (corrected shading), slopes, and
    steps at a column or a row (converters of halves, stitched parts).  The error of the parameter is that by the
    scatter of the places about the pattern, so that texture, motion and dust, which differ by place too, make no
    pattern.

    Places are compared with those of about the same light: where light follows the place, a response that bends looks
    like a pattern.  If that decides nothing and the response is straight otherwise, a step of the variance over the
    light may be one of the place, and both are named.

    Parameters
    ----------
    noise : RelativeNoise
        Noise of a camera.
    straight : bool
        Whether the variance over the light is a straight line apart from what is found here.
    """
    places = _places(noise, noise.square)
    if len(places.light) < PLACES:
        return
    if (words := _pattern_of(replace(places, excess=places.within(places.excess)))) is not None:
        yield f"{words}. {SPOILT}"
    elif straight:
        places = _places(noise, noise.square * noise.bend)
        scaled = places.light / places.light.max()
        smooth = [replace(places, smooth=scaled[:, None] ** np.arange(count)) for count in SMOOTH]
        if (words := _pattern_of(*(replace(each, excess=each.within(places.excess)) for each in smooth))) is not None:
            yield (
                f"{words}. Or the variance jumps at the light there: light follows the place, so that the data cannot "
                f"tell; frames of another scene can. {SPOILT}"
            )


def _pattern_of(places: _Places, smoother: _Places | None = None) -> str | None:
    """Words for the pattern that explains most; a step only, if it must stand beside a smoother law of the light."""
    patterns = [each for each in _patterns(places) if smoother is None or each.step]
    fitted = [_fitted(places, each.values) for each in patterns]
    best = max(range(len(fitted)), key=lambda number: fitted[number].explained)
    found, whole = fitted[best], float(places.weight @ places.excess**2) - places.chance * places.free
    if found.chance > FALSE_ALARM / len(patterns) or found.explained < EXPLAINED * whole:
        return None
    if smoother is not None and not _stands(smoother, patterns[best].values):
        return None
    ratio = max(found.ratio, 1 / found.ratio)
    return patterns[best].words(found.ratio) if ratio > UNLIKE else None


def _stands(places: _Places, step: Array) -> bool:
    """Whether a step is no part of a smoother law, and light goes on over it: a law is not known between its levels."""
    first, second = (places.light[step == side] for side in (0, 1))
    gap = max(first.min() - second.max(), second.min() - first.max()) if len(first) and len(second) else np.inf
    return bool(gap < NEAR * np.ptp(places.light)) and _fitted(places, step).chance < STANDS


def _places(noise: RelativeNoise, square: NDArray[np.float32]) -> _Places:
    height, width = square.shape[2:]
    tile = TILE if height % TILE == 0 and width % TILE == 0 else height
    shape = (len(square), -1, height // tile, tile, width // tile, tile)
    square, seen, shot, light = (each.reshape(shape) for each in (square, noise.seen, noise.shot, noise.light))

    def summed(weight: NDArray[Any], values: NDArray[Any]) -> Array:
        found: Array = np.einsum("bcitju,bcitju->bij", weight, values).astype(np.float64)
        return found

    parts = [
        summed(shot, np.where(seen, square - 1, 0)),
        summed(shot, np.where(seen, 2 - shot, 0)),
        summed(shot, shot),
        summed(shot * shot, light * light),
        summed(seen, np.ones_like(seen)),
    ]
    corner = np.broadcast_to(noise.place[:, None, None], (*parts[0].shape, 3)).copy()
    corner[..., 1] += tile * np.arange(corner.shape[1])[:, None]
    corner[..., 2] += tile * np.arange(corner.shape[2])
    place, number = np.unique(corner.reshape(-1, 3), axis=0, return_inverse=True)
    over, gain, power, light, count = (np.bincount(number.ravel(), each.ravel()) for each in parts)
    have = power > LEAST_SHOT**2 * count
    middle = ((place[:, 1:] + tile / 2) / (place[:, 1:].max(0) + tile))[have]
    # Frames have noise in common with the mean of the others: of two frames it is the same.
    chance = SQUARE_VARIANCE * (1 + float(noise.clean_variance.mean()))
    over, gain, power, light = over[have], gain[have], power[have], light[have]
    y, x = middle.T
    return _Places(over / gain, gain**2 / power, np.sqrt(light / power), y, x, chance)


def _patterns(places: _Places) -> Iterator[_Pattern]:
    y, x = places.y, places.x
    yield _Pattern((y - 0.5) ** 2 + (x - 0.5) ** 2, _of_shading)
    for along, names in ((x, ("right", "left", "column")), (y, ("bottom", "top", "row"))):
        yield _Pattern(along, partial(_of_slope, names[:2]))
        for part in range(1, PARTS):
            yield _Pattern((along > part / PARTS).astype(float), partial(_of_step, names, part / PARTS), True)


def _of_shading(ratio: float) -> str:
    if ratio < 1:
        return (
            f"K is {1 / ratio:.3g} times as large in the centre as in the corners: were the codes corrected by place?"
        )
    return (
        f"K is {ratio:.3g} times as large in the corners as in the centre: a lens-shading or flat-field correction "
        "multiplied the codes. Use frames without it, or a part of the frame in which it is even"
    )


def _of_slope(names: tuple[str, str], ratio: float) -> str:
    high, low = names if ratio > 1 else names[::-1]
    return (
        f"K is {max(ratio, 1 / ratio):.3g} times as large at the {high} as at the {low}: a flat-field correction "
        "multiplied the codes, or the sensor is tilted in its gain. Use frames without it"
    )


def _of_step(names: tuple[str, str, str], at: float, ratio: float) -> str:
    after, before, line = names
    high, low = (after, before) if ratio > 1 else (before, after)
    return (
        f"K is {max(ratio, 1 / ratio):.3g} times as large at the {high} as at the {low}, with a border near "
        f"{100 * at:.0f} % of the {line}s: two converters or stitched parts of unlike gain, or one of the parts moved. "
        "Fit each part for itself"
    )


def _fitted(places: _Places, values: Array) -> _Found:
    """Least squares of the excess over a pattern; the chance of its t value by the scatter of the places about it."""
    weight, free = places.weight, places.free - 1
    pattern = places.within(values)
    power = float(weight @ pattern**2)
    if not power > 0:
        return _Found(0.0, 1.0, 1.0)
    slope = float((weight * pattern) @ places.excess) / power
    left = places.excess - slope * pattern
    scatter = max(float(weight @ left**2) / free, places.chance)
    # The errors of places may grow with their distance from the middle; then their own squares count.
    error = np.sqrt(max(scatter / power, float((weight * pattern) ** 2 @ left**2) / power**2))
    ends = 1 + slope * (np.array([values.min(), values.max()]) - (weight @ values) / weight.sum())
    ratio = float(ends[1] / ends[0]) if (ends > 0).all() else 1.0
    return _Found(slope**2 * power, ratio, 2 * float(stdtr(free, -abs(slope) / error)))

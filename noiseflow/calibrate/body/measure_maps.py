"""Dark frames and flats of one body to its maps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter
from scipy.special import chdtri

from noiseflow.calibrate.body.body_maps import DEFECT_KINDS, BodyMaps, DarkMap, GainMap
from noiseflow.calibrate.estimators.robust import robust_sigma
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.core.errors import DataError
from noiseflow.core.version import __version__
from noiseflow.raw.image import RawImage

__all__ = ["measure_maps"]

Map = NDArray[np.float32]

HOT_SIGMAS = 5.0
"""Of the spread of the pixels' offsets about the median of their 5×5 neighbours, in the plane: 1 or 2 normal pixels in
a million pass it (measured; the pixel is one of its own median's 25)."""

UNLIKELY = 1e-6
"""Chance of a pixel of normal noise being listed as a telegraph pixel, before `ALLOWANCE`."""

ALLOWANCE = 1.5
"""The variance of heavy-tailed noise scatters more than χ² says."""

FEWEST_FOR_VARIANCE = 8
"""Frames from which on a pixel's own variance is looked at."""

SMOOTH = 33
"""Side of the window, in pixels of a plane, over which light is taken for even."""

CLIPPED = 1e-3
"""Fraction of the pixels of a flat that may clip."""

LIT = 10.0
"""σ of a frame's noise above black from which a flat says something of the response."""


@dataclass(frozen=True, eq=False)
class _Stack:
    """Frames of one setting: per pixel the mean about the plane's, and the temporal variance; the plane means."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    level: NDArray[np.float64]
    frames: int
    exposure_s: float | None
    cfa: str
    side: int

    def planes(self) -> list[tuple[slice, slice]]:
        """Where the pixels of each place in the cell stand in the mosaic."""
        return _places(self.side)


def measure_maps(frames: Frames) -> BodyMaps:
    """Maps of one body from its darks and flats.

    The offset of a pixel is the mean over dark frames of its departure from its plane's mean: what all frames have
    in common.  With darks of two exposure times or more it is a line in the time, by weighted least squares.  Its
    standard error is σ/√n.  The drift of the black level from frame to frame goes out with the planes' means.

    The gain of a pixel is its flat less its dark over the mean of its plane around it (`SMOOTH` pixels), so that
    lamp and lens stay out.

    Parameters
    ----------
    frames : Frames
        Darks of one ISO or more, and flats of any ISO; each frame is read once more.

    Raises
    ------
    DataError
        There are fewer than two darks of every ISO.
    """
    darks, defects, cfa, untimed = [], set(), "", 0
    for iso in sorted({group.iso for group in frames.groups if group.dark}):
        groups = [group for group in frames.groups if group.dark and group.iso == iso and len(group.reads) > 1]
        if not groups:
            continue
        timed = [group for group in groups if group.timed]
        if timed:
            untimed += sum(len(group.reads) for group in groups if not group.timed)
        stacks = [_stacked(group) for group in timed or groups]
        cfa = stacks[0].cfa
        darks.append(_dark_map(iso, stacks))
        defects |= _defects(stacks)
    if not darks:
        raise DataError("body maps: expected two dark frames or more of one ISO; got none. Put the lens cap on")
    gain, untimed_flats = _gain_map(frames.groups, {each.iso: each for each in darks})
    shape = darks[0].offset.shape
    for each in darks:
        if each.offset.shape != shape:
            raise DataError(f"body maps: the darks of ISO {each.iso:g} have another size; of two cameras or crops?")
    listed = np.array(sorted(defects), np.int32).reshape(-1, 3)
    provenance = {"tool": f"noiseflow calibrate {__version__}"}
    if untimed or untimed_flats:
        provenance["left_out"] = (
            f"left out, as they say no exposure time and others do: {untimed} dark frames, {untimed_flats} flats"
        )
    return BodyMaps(frames.camera, cfa, tuple(darks), gain, listed, provenance)


def _places(side: int) -> list[tuple[slice, slice]]:
    return [(slice(row, None, side), slice(column, None, side)) for row in range(side) for column in range(side)]


def _stacked(group: Group) -> _Stack:
    """One pass over a group's frames (Welford), about the means of each frame's planes."""
    mean = square = np.zeros(0)
    levels: list[list[float]] = []
    count, side, cfa = 0, 2, ""
    for read in group.reads:
        image = read()
        values, side, cfa = _whole_cells(image), image.side, image.cfa
        levels.append([float(values[place].mean()) for place in _places(side)])
        for place, level in zip(_places(side), levels[-1], strict=True):
            values[place] -= level
        count += 1
        if count == 1:
            mean, square = values, np.zeros_like(values)
            continue
        step = values - mean
        mean += step / count
        square += step * (values - mean)
    seconds = group.exposure_s if group.timed else None
    return _Stack(mean, square / max(count - 1, 1), np.mean(levels, 0), count, seconds, cfa, side)


def _whole_cells(image: RawImage) -> NDArray[np.float64]:
    """The mosaic as float64; last rows and columns beyond whole cells belong to no plane, and are left out."""
    height, width = (length // image.side * image.side for length in image.mosaic.shape)
    return np.asarray(image.mosaic[:height, :width], np.float64)


def _dark_map(iso: float, stacks: Sequence[_Stack]) -> DarkMap:
    """Offset and current of each pixel by weighted least squares over the exposure times."""
    noise = [math.sqrt(float(np.median(each.variance)) + 1e-12) for each in stacks]
    # The median of a variance of few frames lies below its mean.
    noise = [
        each / math.sqrt(float(chdtri(stack.frames - 1, 0.5)) / (stack.frames - 1))
        for each, stack in zip(noise, stacks, strict=True)
    ]
    weights = np.array([stack.frames / each**2 for each, stack in zip(noise, stacks, strict=True)])
    known = [each.exposure_s for each in stacks if each.exposure_s is not None]
    times = np.array(known if known else [0.0] * len(stacks))
    count, seconds = sum(each.frames for each in stacks), tuple(sorted(set(known)))
    mean_time = float(weights @ times) / weights.sum()
    spread = float(weights @ (times - mean_time) ** 2)
    whole = sum(weight * stack.mean for weight, stack in zip(weights, stacks, strict=True)) / weights.sum()
    typical = float(np.sqrt(weights @ np.square(noise) / weights.sum()))
    if len(seconds) < 2 or not spread > 0:
        return DarkMap(iso, _map(whole), float(weights.sum() ** -0.5), typical, count, seconds)
    steps = zip(weights, times, stacks, strict=True)
    current = sum(weight * (time - mean_time) * stack.mean for weight, time, stack in steps) / spread
    offset = whole - mean_time * current
    error = math.sqrt(1 / weights.sum() + mean_time**2 / spread)
    return DarkMap(iso, _map(offset), error, typical, count, seconds, _map(current), spread**-0.5)


def _map(values: NDArray[np.floating] | float) -> Map:
    return np.asarray(values, np.float32)


def _defects(stacks: Sequence[_Stack]) -> set[tuple[int, int, int]]:
    """Hot pixels in the darks of the longest exposure, telegraph pixels in the darks with most frames."""
    longest = max(stacks, key=lambda each: (each.exposure_s or 0.0, each.frames))
    found = _listed(longest, _hot, "hot")
    most = max(stacks, key=lambda each: each.frames)
    if most.frames >= FEWEST_FOR_VARIANCE:
        free = most.frames - 1
        limit = ALLOWANCE * float(chdtri(free, UNLIKELY)) / float(chdtri(free, 0.5))
        found |= _listed(most, lambda stack, place: _unsteady(stack.variance[place], limit), "telegraph")
    return found


def _listed(
    stack: _Stack, test: Callable[[_Stack, tuple[slice, slice]], NDArray[np.bool_]], kind: str
) -> set[tuple[int, int, int]]:
    found = set()
    for place in stack.planes():
        y, x = np.nonzero(test(stack, place))
        rows, columns = stack.side * y + place[0].start, stack.side * x + place[1].start
        found |= {(int(row), int(column), DEFECT_KINDS.index(kind)) for row, column in zip(rows, columns, strict=True)}
    return found


def _hot(stack: _Stack, place: tuple[slice, slice]) -> NDArray[np.bool_]:
    plane = stack.mean[place].astype(np.float32)
    above = plane - median_filter(plane, 5, mode="reflect")
    # Codes are whole numbers: the mean of n equal ones has no spread.
    return np.asarray(above > HOT_SIGMAS * max(robust_sigma(above), 0.05))


def _unsteady(variance: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    return np.asarray(variance > limit * max(float(np.median(variance)), 1 / 12))


def _gain_map(groups: Sequence[Group], darks: dict[float, DarkMap]) -> tuple[GainMap | None, int]:
    """Response over the mean around it, averaged over flats by what each of them says; and the flats without a time."""
    total, weight, frames, untimed = np.zeros(0), 0.0, 0, 0
    for group in groups:
        dark = darks.get(group.iso)
        clipped = max(stack.clipped for stack in group.stacks)
        if group.dark or dark is None or clipped >= CLIPPED or len(group.reads) < 2:
            continue
        stack = _stacked(group)
        pattern = dark.at(stack.exposure_s)
        if pattern is None:
            untimed += stack.frames
            continue
        response, own = _response(stack, pattern, group)
        if own == 0.0:
            continue
        total = own * response if weight == 0 else total + own * response
        weight, frames = weight + own, frames + stack.frames
    return (GainMap(_map(total / weight), float(weight**-0.5), frames) if weight else None), untimed


def _response(stack: _Stack, dark: Map, group: Group) -> tuple[NDArray[np.float64], float]:
    """Relative response of each pixel to a flat, and the inverse of its variance; 0 where there is too little light."""
    pattern = stack.mean - dark
    response, weights = np.ones_like(pattern), []
    black = np.resize(np.asarray(group.black or (0.0,), np.float64), len(stack.level))
    for index, place in enumerate(stack.planes()):
        signal = stack.level[index] - float(black[index])
        noise = math.sqrt(float(np.median(stack.variance[place])))
        if signal < LIT * max(noise, 1.0):
            return response, 0.0
        light = pattern[place] + signal
        around = uniform_filter(light, SMOOTH, mode="reflect")
        response[place] = light / around
        weights.append(stack.frames * (signal / noise) ** 2)
    return response, min(weights)

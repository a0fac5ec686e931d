"""Body maps from dark frames and flats."""

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
"""Robust standard deviations above the median of the 5×5 neighbourhood in the plane, from which a pixel is hot.  One or
two of a million normal pixels exceed it (measured; a pixel is part of its own neighbourhood)."""

UNLIKELY = 1e-6
"""Probability of a pixel with normal noise exceeding the limit for telegraph pixels, before `ALLOWANCE`."""

ALLOWANCE = 1.5
"""Factor on that limit, as the variance of heavy-tailed noise scatters more than χ²."""

FEWEST_FOR_VARIANCE = 8
"""Fewest frames for a search for telegraph pixels, by each pixel's variance."""

SMOOTH = 33
"""Side of the window over which the light is taken as even, in pixels of a plane."""

CLIPPED = 1e-3
"""Largest fraction of clipped pixels in a flat."""

LIT = 10.0
"""Smallest signal of a usable flat, in standard deviations of one frame's noise."""


@dataclass(frozen=True, eq=False)
class _Stack:
    """Frames of one setting.

    `mean` is each pixel's mean relative to its plane's, DN; `variance` the temporal variance, DN²; `level` the mean of
    each plane, DN; `side` the side of the mosaic's cell, pixels.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    level: NDArray[np.float64]
    frames: int
    exposure_s: float | None
    cfa: str
    side: int

    def planes(self) -> list[tuple[slice, slice]]:
        """Return the slices of the mosaic that select each plane."""
        return _places(self.side)


def measure_maps(frames: Frames) -> BodyMaps:
    """Measure the maps of one body from its darks and flats.

    The offset of a pixel is its mean departure from its plane's mean over the dark frames, with a standard error of
    σ/√n.  Subtracting the planes' means of each frame removes the drift of the black level.  With darks of two or more
    exposure times, a line in the time is fitted by weighted least squares.

    The gain of a pixel is its signal in the flats, minus the dark pattern, divided by the mean of its plane over
    `SMOOTH`×`SMOOTH` pixels around it.  The division removes the fall-off of lamp and lens.

    Parameters
    ----------
    frames : Frames
        Darks of one or more ISOs, and flats at these ISOs; every frame is read a second time.

    Returns
    -------
    BodyMaps
        Dark maps per ISO, a gain map if there are usable flats, and hot and telegraph pixels.

    Raises
    ------
    DataError
        No ISO has two darks, or darks of two ISOs differ in size.
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
        raise DataError(
            "body maps: expected at least two dark frames of one ISO and exposure time; got fewer. Take them with the "
            "lens cap on"
        )
    gain, untimed_flats = _gain_map(frames.groups, {each.iso: each for each in darks})
    shape = darks[0].offset.shape
    for each in darks:
        if each.offset.shape != shape:
            raise DataError(
                f"body maps: the darks of ISO {each.iso:g} are {each.offset.shape[1]}×{each.offset.shape[0]} pixels, "
                f"those of ISO {darks[0].iso:g} {shape[1]}×{shape[0]}; are they of two cameras or crops?"
            )
    listed = np.array(sorted(defects), np.int32).reshape(-1, 3)
    provenance = {"tool": f"noiseflow calibrate {__version__}"}
    if untimed or untimed_flats:
        provenance["left_out"] = (
            f"left out, because they state no exposure time and others do: {untimed} dark frames, {untimed_flats} flats"
        )
    return BodyMaps(frames.camera, cfa, tuple(darks), gain, listed, provenance)


def _places(side: int) -> list[tuple[slice, slice]]:
    """Return the slices of a mosaic that select each plane of a cell of `side`×`side` pixels."""
    return [(slice(row, None, side), slice(column, None, side)) for row in range(side) for column in range(side)]


def _stacked(group: Group) -> _Stack:
    """Compute mean and variance per pixel in one pass (Welford), relative to the plane means of each frame."""
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
    """Return the mosaic as float64 without rows and columns beyond the last whole cell, which belong to no plane."""
    height, width = (length // image.side * image.side for length in image.mosaic.shape)
    return np.asarray(image.mosaic[:height, :width], np.float64)


def _dark_map(iso: float, stacks: Sequence[_Stack]) -> DarkMap:
    """Fit offset and current of each pixel by weighted least squares over the exposure times."""
    noise = [math.sqrt(float(np.median(each.variance)) + 1e-12) for each in stacks]
    # The median of χ² lies below its mean: correct it for the number of frames.
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
    """Find hot pixels in the darks of the longest exposure, and telegraph pixels in the darks with most frames."""
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
    """Return row, column and kind of all pixels for which a test is true."""
    found = set()
    for place in stack.planes():
        y, x = np.nonzero(test(stack, place))
        rows, columns = stack.side * y + place[0].start, stack.side * x + place[1].start
        found |= {(int(row), int(column), DEFECT_KINDS.index(kind)) for row, column in zip(rows, columns, strict=True)}
    return found


def _hot(stack: _Stack, place: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return a mask of the pixels of a plane that are far above their neighbours."""
    plane = stack.mean[place].astype(np.float32)
    above = plane - median_filter(plane, 5, mode="reflect")
    # The spread may be 0, as codes are whole numbers.
    return np.asarray(above > HOT_SIGMAS * max(robust_sigma(above), 0.05))


def _unsteady(variance: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    """Return a mask of the pixels whose variance exceeds `limit` times the median."""
    return np.asarray(variance > limit * max(float(np.median(variance)), 1 / 12))


def _gain_map(groups: Sequence[Group], darks: dict[float, DarkMap]) -> tuple[GainMap | None, int]:
    """Return the gain map, averaged over flats with inverse-variance weights, and a number of flats left out.

    The number counts flats of unknown exposure time at ISOs whose dark pattern depends on it.
    """
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
    """Return each pixel's relative response and the inverse of its variance, which is 0 with too little light."""
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

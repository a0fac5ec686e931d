"""Cheap tests on some rows of a frame, listed in `TESTS`; each names the reason of a doubt and a remedy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import code_gaps
from noiseflow.raw.inspection.fractions import said_of_fractions
from noiseflow.raw.inspection.other_readings import HOW_BYTES, period_of_low_bytes, why_above_white
from noiseflow.raw.inspection.second_looks import WRAPPED, WRAPPED_FROM, empty_side, noise_below, without_excused, wraps
from noiseflow.raw.patterns import MONO, offsets

__all__ = ["TESTS", "Look", "inspected"]

HISTOGRAM_PIXELS, BLOCK_PIXELS = 1 << 18, 1 << 20
"""Approximate number of pixels sampled for the histograms and for the search for undecoded blocks."""

SEGMENT = 32
"""Length in pixels of a piece of a cell row; all its codes are equal only if it was not decoded or is clipped."""

FAR_PART = 0.02
"""Pixels further from black than this fraction of the range do not count as dark."""

BELOW_DN, BELOW_PART = 3.0, 0.002
"""A median below black by more than both limits, in DN and as a fraction of the range, gives a caution; all codes
below black by `BELOW_ERROR` of the range are an error."""
BELOW_ERROR = 0.005

ABOVE_FACTOR, ABOVE_SHARE = 1.25, 0.01
"""A larger share of pixels above this multiple of the white level means a wrong type, byte order or white level."""

SPIKE_SHARE, SPIKE_RATIO, SPIKE_CODES = 5e-4, 8.0, 64
"""A clip has at least this share of a plane's pixels at its highest code, and this multiple of the largest count among
so many codes just below."""

SPIKE_ALIKE = 0.5
"""More than this share of the neighbours of clipped pixels have the same code; of other bright pixels fewer do."""

COLOUR_PART = 0.15
"""A frame is not monochrome if the medians of the four positions of a 2×2 cell differ by more than this fraction."""

PHASE_PART = 0.1
"""The phase is doubted if medians of one colour differ by more than this fraction; real greens differ by 0.04."""

COLOURS = {"R": "red", "G": "green", "B": "blue"}


@dataclass(frozen=True, eq=False)
class Look:
    """Sampled rows of a frame, in groups of one cell height, and statistics of them.

    Parameters
    ----------
    image : RawImage
        The frame to inspect.
    """

    image: RawImage

    def rows(self, pixels: int) -> NDArray[Any]:
        """Rows of cells spread over the frame, with about `pixels` pixels in all; shape (n, side, W), DN."""
        height, width = self.image.mosaic.shape
        side = self.image.side
        groups = height // side
        step = max(1, side * groups * width // pixels)
        return self.image.mosaic[: side * groups].reshape(groups, side, width)[::step]

    @cached_property
    def planes(self) -> list[NDArray[Any]]:
        """Sampled pixels of each plane that has a black level, DN."""
        rows = self.rows(HISTOGRAM_PIXELS)
        if self.image.cfa == MONO:
            return [rows]
        return [rows[:, row, column :: self.image.side] for row, column in offsets(self.image.cfa)]

    @cached_property
    def counts(self) -> list[NDArray[np.intp]]:
        """Histogram of the codes in each plane, from code 0."""
        return [np.bincount(plane.ravel()) for plane in self.planes]

    @cached_property
    def sums(self) -> list[NDArray[np.intp]]:
        """Number of pixels up to each code, in each plane."""
        return [counts.cumsum() for counts in self.counts]

    @cached_property
    def codes(self) -> list[NDArray[np.intp]]:
        """Codes in use in each plane, ascending."""
        return [np.flatnonzero(counts) for counts in self.counts]

    @cached_property
    def medians(self) -> list[float]:
        """Median of each plane, DN."""
        return [float(np.searchsorted(sums, sums[-1] / 2)) for sums in self.sums]

    def above(self, level: float) -> int:
        """Number of sampled pixels above a level in DN."""
        return sum(int(sums[-1] - sums[min(int(level), len(sums) - 1)]) for sums in self.sums)

    @cached_property
    def free_bits(self) -> int:
        """Number of low bits that are 0 in every code below the white level."""
        return _free_bits(self, min(self.image.white, 65535))

    @property
    def span(self) -> float:
        """White level minus the lowest black level, DN."""
        return self.image.white - min(self.image.black)

    def fail(self, words: str) -> RawError:
        """Make an error that names the file."""
        return RawError(f"{self.image.source}: {words}")


def inspected(image: RawImage) -> RawImage:
    """Test the pixels of a frame; return it with cautions and the clip level found.

    Frames with fractional values, such as means, are only given a caution, and those with codes beyond 16 bits none.

    Parameters
    ----------
    image : RawImage
        The frame.

    Raises
    ------
    RawError
        If blocks were not decoded, codes contradict the levels, or bytes were read as pixels.
    """
    if image.iso == 0:
        words = f"{image.source}: gain 0 was taken as ISO 1, since models need a number above 0; --iso sets another"
        image = replace(image, iso=1.0, cautions=(*image.cautions, words))
    if image.mosaic.dtype.kind == "f":
        return replace(image, cautions=(*image.cautions, f"{image.source}: {said_of_fractions(image.mosaic)}"))
    if image.mosaic.dtype.kind not in "ui" or not image.whole or min(image.mosaic.shape) < image.side:
        return image
    look = Look(image)
    cautions = [f"{image.source}: {words}" for test in TESTS for words in test(look)]
    clip = _clip(look)
    if clip:
        cautions += [f"{image.source}: {words}" for words in _said_of(look, clip)]
    return replace(image, clip=clip, cautions=tuple(dict.fromkeys((*image.cautions, *cautions))))


def bytes_for_pixels(look: Look) -> Iterator[str]:
    """Refuse 8-bit codes under a larger white level: 16-bit or packed pixels that were read as bytes."""
    image = look.image
    if image.mosaic.dtype != np.uint8:
        return
    period = period_of_low_bytes(look.rows(HISTOGRAM_PIXELS))
    if image.white > 255 or period:
        raise look.fail(
            f"contains 8-bit codes, but the white level is {image.white:g} DN; {HOW_BYTES.get(period, HOW_BYTES[0])}"
        )
    yield from ()


def above_white(look: Look) -> Iterator[str]:
    """Find codes above the white level; refuse the frame if many lie far above it."""
    image = look.image
    size = sum(int(sums[-1]) for sums in look.sums)
    above = look.above(ABOVE_FACTOR * image.white)
    if above > ABOVE_SHARE * size:
        top = max(len(counts) for counts in look.counts) - 1
        raise look.fail(
            f"{100 * above / size:.2g} % of the pixels lie far above the white level of {image.white:g} DN "
            f"(up to {top}); " + why_above_white(look.rows(HISTOGRAM_PIXELS), top, image.white, _free_bits(look, 65535))
        )
    if max(len(counts) for counts in look.counts) > WRAPPED_FROM and wraps(look.counts, WRAPPED_FROM):
        raise look.fail(WRAPPED)
    over = look.above(image.white)
    if over > 0.05 * size:
        yield f"{100 * over / size:.2g} % of the pixels lie above the white level of {image.white:g} DN; is it right?"


def below_black(look: Look) -> Iterator[str]:
    """Find codes below the black level, from a wrong level or wrong alignment; refuse the frame if all are."""
    image = look.image
    highest = [len(counts) - 1 for counts in look.counts]
    gap = min(black - top for black, top in zip(image.black, highest, strict=True))
    levels = ", ".join(f"{level:g}" for level in image.black)
    if gap > max(BELOW_DN, BELOW_ERROR * look.span):
        raise look.fail(
            f"all codes ({min(int(codes[0]) for codes in look.codes)} to {max(highest)}) lie below "
            f"the black level ({levels} DN); check --black, or the type of the pixels"
        )
    under = max(black - median for black, median in zip(image.black, look.medians, strict=True))
    if under > max(BELOW_DN, BELOW_PART * look.span):
        yield f"half of the codes lie below the black level ({levels} DN), by {under:.4g} DN or more; is it right?"
        return
    side = 1 if image.cfa == MONO else image.side
    for (row, column), sums, black in zip(offsets(image.cfa), look.sums, image.black, strict=False):
        below = black - float(np.searchsorted(sums, 0.02 * sums[-1]))
        if below > max(BELOW_DN, BELOW_PART * look.span):
            sigma = noise_below(image.mosaic[row::side, column::side], black, HISTOGRAM_PIXELS)
            if below > 6 * sigma + BELOW_DN:
                yield f"dark parts lie {below:.4g} DN below black ({levels} DN), with σ {sigma:.3g} DN; is it right?"
                return


def left_aligned(look: Look) -> Iterator[str]:
    """Find left-aligned codes: all are multiples of a power of two, so the low bits are empty."""
    shift = look.free_bits
    spread = max(int(codes[-1] - codes[0]) for codes in look.codes)
    if shift and spread >= 4 << shift:
        yield (
            f"all codes are multiples of {1 << shift}: left-aligned, with {shift} empty bits; gain and noise are in "
            f"units of these codes, or of the converter's own codes with --shift {shift}"
        )


def _free_bits(look: Look, clip: float) -> int:
    """Number of low bits that are 0 in every code below `clip`, a level in DN."""
    used = 0
    for codes in look.codes:
        codes = codes[: np.searchsorted(codes, clip)]
        used |= int(np.bitwise_or.reduce(codes)) if codes.size else 0
    return (used & -used).bit_length() - 1 if used else 0


def gaps(look: Look) -> Iterator[str]:
    """Find codes that are missing between frequent ones: codes were multiplied, or compressed by a curve."""
    names = plane_names("mono" if look.image.cfa == MONO else look.image.layout)
    if look.free_bits:
        return
    yield from code_gaps.said_of_bits(look.codes)
    factors, curves, spaced = dict[str, float](), list[int](), dict[str, tuple[float, float]]()
    for name, plane, counts in zip(names, look.planes, look.counts, strict=True):
        # A frame without noise lacks most codes, and one row is not enough to see noise.
        quiet = len(plane) < 2 or np.count_nonzero(plane[1:] == plane[:-1]) > 0.5 * plane[1:].size
        if quiet or code_gaps.spaced_codes(counts, name, spaced):
            continue
        factor, curve = code_gaps.gaps_of(counts)
        if factor:
            factors[name] = factor
        elif curve:
            curves.append(curve)
    yield from code_gaps.said_of_spaced(spaced)
    yield from code_gaps.said_of_factors(factors)
    yield from code_gaps.said_of_curves(curves)


def undecoded(look: Look) -> Iterator[str]:
    """Refuse frames with blocks of one code below the clip: parts of the file are missing or were not decoded."""
    image, rows, side = look.image, look.rows(BLOCK_PIXELS), look.image.side
    segment = -(-SEGMENT // side) * side
    width = (rows.shape[2] - side) // segment * segment
    if width <= 0:
        return
    segments = rows[..., :width].reshape(len(rows), side, -1, segment)
    same = _of_one_code(segments, rows[..., side : side + width].reshape(segments.shape))
    if not same.any():
        return
    first = segments[..., :side].astype(np.float64)
    black, clip = (_cells(image, levels) for levels in (image.black, image.clips_at))
    far = (np.abs(first - black) > FAR_PART * look.span).all((1, 3)) & (first < clip).all((1, 3))
    # A clip below the white level is found by `_clip`.
    far &= ~(first >= _cells(image, tuple(float(len(counts) - 1) for counts in look.counts))).all((1, 3))
    zero = (first == 0).all((1, 3)) & bool(min(image.black) > BELOW_DN)
    lit = np.abs(segments.mean((1, 3)) - black.mean()) > FAR_PART * look.span
    found = same & (far | zero)
    found = without_excused(found, zero, segments, image.mosaic) if found.any() else found
    # Nearly all lit segments have one code: a picture without noise, not a damaged file.
    if not found.any() or (not zero[found].any() and found.sum() > 0.9 * lit.sum()):
        return
    group, place = (int(each[0]) for each in np.nonzero(found))
    step = image.mosaic.shape[0] // side // len(rows) or 1
    code = int(first[group, 0, place, 0])
    raise look.fail(
        f"about {100 * found.mean():.2g} % of the frame are blocks of one code (the first, with code {code}, near row "
        f"{side * group * step}, column {place * segment}): they were not decoded; "
        + (empty_side(image.mosaic, side, min(image.black)) or "copy the file again")
    )
    yield


def _of_one_code(segments: NDArray[Any], beside: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether all pixels of segments, (n, side, m, segment), equal those `beside`, one cell to the right; (n, m)."""
    # Comparing a few pixels first excludes nearly all segments, at an eighth of the cost.
    few = slice(None, None, segments.shape[-1] // 4)
    same: NDArray[np.bool_] = (segments[..., few] == beside[..., few]).all((1, 3))
    group, place = np.nonzero(same)
    same[group, place] = (segments[group, :, place] == beside[group, :, place]).all((1, 2))
    return same


def _cells(image: RawImage, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Arrange one level per plane by position in the cell, shape (side, 1, side)."""
    cell = np.empty((image.side, 1, image.side))
    for plane, (row, column) in enumerate(offsets(image.cfa)):
        cell[row, 0, column] = levels[plane % len(levels)]
    return cell


def colours_of_mono(look: Look) -> Iterator[str]:
    """Find a colour sensor read as monochrome: no pattern in the file, but the four positions of a cell differ."""
    if look.image.cfa != MONO or not dict(look.image.taken_from).get("cfa", "").startswith("no "):
        return
    rows = look.rows(HISTOGRAM_PIXELS)
    signal = np.array([np.median(rows[:, row, column::2]) for row, column in offsets(MONO)]) - look.image.black[0]
    if signal.mean() > FAR_PART * look.span and np.ptp(signal) > COLOUR_PART * signal.mean():
        values = ", ".join(f"{value:.4g}" for value in signal)
        yield (
            "no keyword names a colour filter array, so it was taken for monochrome, but the four positions of the 2×2 "
            f"cell differ (medians above black {values} DN): if it is a colour sensor, give --cfa"
        )


def unlike_places(look: Look) -> Iterator[str]:
    """Find a wrong phase: levels at positions of one colour differ as those of different colours do."""
    image = look.image
    if image.cfa == MONO:
        return
    light = [level - black for level, black in zip(look.medians, image.black, strict=True)]
    places = dict(zip(offsets(image.cfa), light, strict=True))
    for colour in sorted(set(image.cfa)):
        same = [places[each] for each in places if image.cfa[each[0] * image.side + each[1]] == colour]
        mean = sum(same) / len(same)
        if mean > FAR_PART * look.span and max(same) - min(same) > PHASE_PART * mean:
            values = ", ".join(f"{value:.4g}" for value in dict.fromkeys(same))
            yield (
                f"positions that are {COLOURS[colour]} in the pattern {image.pattern} differ (medians above black "
                f"{values} DN): is the phase right? --cfa sets another"
            )
            return


def _clip(look: Look) -> tuple[float, ...]:
    """Code in DN at which each plane clips, if the pixels show a clip below the white level; else empty.

    A clip is a spike at the top of the histogram: many pixels at the highest code and few just
    below, in connected areas, while other bright pixels differ from their neighbours.  A white
    level that the user gave is not questioned.
    """
    image = look.image
    where = dict(image.taken_from).get("white", "")
    if where.startswith("--") or where.endswith(".toml"):
        return ()
    levels = []
    for plane, counts, black in zip(look.planes, look.counts, image.black, strict=True):
        top = len(counts) - 1
        found = top < image.white and top - black > FAR_PART * look.span and _is_spike(plane, counts)
        levels.append(float(top) if found else float(image.white))
    return tuple(levels) if min(levels) < image.white else ()


def _is_spike(plane: NDArray[Any], counts: NDArray[np.intp]) -> bool:
    top, size = len(counts) - 1, int(counts.sum())
    lowest = int(np.flatnonzero(counts)[0])
    if counts[top] < max(SPIKE_SHARE * size, 4) or top - lowest < SPIKE_CODES:
        return False
    # The largest count, not the mean: left-aligned codes leave empty codes between them.
    below = counts[max(0, top - SPIKE_CODES) : top]
    if counts[top] < SPIKE_RATIO * max(int(below.max()), 1):
        return False
    line = plane.reshape(-1, plane.shape[-1])
    here, beside = line[:, :-1], line[:, 1:]
    at_top = here == top
    others = (here > (lowest + top) / 2) & ~at_top
    alike = here == beside
    noisy = not others.any() or alike[others].mean() < SPIKE_ALIKE
    return bool(at_top.any() and alike[at_top].mean() > SPIKE_ALIKE and noisy)


def _said_of(look: Look, clip: tuple[float, ...]) -> Iterator[str]:
    names = plane_names("mono" if look.image.cfa == MONO else look.image.layout)
    parts = [
        f"{name} at {level:g} ({100 * counts[-1] / counts.sum():.2g} % of its pixels)"
        for name, level, counts in zip(names, clip, look.counts, strict=True)
        if level < look.image.white
    ]
    yield (
        f"clips below its white level of {look.image.white:g} DN: {', '.join(parts)}; these pixels count as clipped "
        f"(to set the white level there, give --white {min(clip):g})"
    )


TESTS: tuple[Callable[[Look], Iterator[str]], ...] = (
    bytes_for_pixels,
    above_white,
    below_black,
    undecoded,
    left_aligned,
    gaps,
    colours_of_mono,
    unlike_places,
)
"""Tests in the order in which they run; the first that raises gives the reason."""

"""A look at the pixels before they are believed: cheap tests on some rows, each with a reason and a remedy.

To add a test, write a function of a `Look` that yields cautions or raises, and give it a
line in `TESTS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection.other_readings import HOW_BYTES, period_of_low_bytes
from noiseflow.raw.inspection.second_looks import empty_side, noise_below, without_excused
from noiseflow.raw.patterns import MONO, offsets

__all__ = ["TESTS", "Look", "inspected"]

HISTOGRAM_PIXELS, BLOCK_PIXELS = 1 << 18, 1 << 20
"""Pixels that the histograms and the search for blocks look at, about."""

SEGMENT = 32
"""Pixels in a row, in two rows, that are equal only where nothing was decoded or all is clipped."""

FAR_PART = 0.02
"""Part of the range from black that is no black any more."""

BELOW_DN, BELOW_PART = 3.0, 0.002
"""A median below black by more than both, DN and part of the range, is worth a word; all codes below by
`BELOW_ERROR` of the range are an error."""
BELOW_ERROR = 0.005

ABOVE_FACTOR, ABOVE_SHARE = 1.25, 0.01
"""More than this share of pixels above that multiple of the white level: another type, byte order or white level."""

SPIKE_SHARE, SPIKE_RATIO, SPIKE_CODES = 5e-4, 8.0, 64
"""A clip: this share of a plane at its highest code, so many times the counts just below, over a range of codes."""

SPIKE_ALIKE = 0.5
"""Neighbours of clipped pixels are clipped too, at least this share; those of other bright pixels differ."""

COLOUR_PART = 0.15
"""Medians of the four places of a 2×2 cell that differ by more than this fraction are no monochrome sensor's."""

PHASE_PART = 0.1
"""Medians of places of one colour that differ by more than this part are no one colour; real greens differ by 0.04."""

GAP, OFTEN, STRAY, FEWEST_GAPS, LEAST_GAPS, ALIKE, EVEN = 4, 20, 0.05, 8, 0.03, 1.5, 0.9
"""A code is missing if it occurs less than that part as often as one, often, within so many codes on both sides.  So
many missing ones, or that fraction, count; a factor leaves as many above as below, at distances alike but for 1."""

COLOURS = {"R": "red", "G": "green", "B": "blue"}


@dataclass(frozen=True, eq=False)
class Look:
    """Some rows of a frame, in groups of those of a cell.

    Parameters
    ----------
    image : RawImage
        The image that was inspected.
    """

    image: RawImage

    def rows(self, pixels: int) -> NDArray[Any]:
        """Rows of cells, spread over the frame, with about that many pixels: shape (n, side, W), DN."""
        height, width = self.image.mosaic.shape
        side = self.image.side
        groups = height // side
        step = max(1, side * groups * width // pixels)
        return self.image.mosaic[: side * groups].reshape(groups, side, width)[::step]

    @cached_property
    def planes(self) -> list[NDArray[Any]]:
        """Sampled pixels of each plane of `RawImage.black`."""
        rows = self.rows(HISTOGRAM_PIXELS)
        if self.image.cfa == MONO:
            return [rows]
        return [rows[:, row, column :: self.image.side] for row, column in offsets(self.image.cfa)]

    @cached_property
    def counts(self) -> list[NDArray[np.intp]]:
        """How often each code, from 0 on, occurs in each plane."""
        return [np.bincount(plane.ravel()) for plane in self.planes]

    @cached_property
    def medians(self) -> list[float]:
        """Median of each plane, DN."""
        return [float(np.searchsorted(counts.cumsum(), counts.sum() / 2)) for counts in self.counts]

    @property
    def span(self) -> float:
        """White level minus the lowest black level, DN."""
        return self.image.white - min(self.image.black)

    def fail(self, words: str) -> RawError:
        """An error that names the file."""
        return RawError(f"{self.image.source}: {words}")


def inspected(image: RawImage) -> RawImage:
    """The frame, with cautions and with the code at which it clips, found in its pixels.

    Frames of fractions, as clean means are, pass as they are.

    Raises
    ------
    RawError
        Blocks that were not decoded, codes that the levels exclude, bytes taken for pixels.
    """
    if image.iso == 0:
        words = f"{image.source}: gain 0 stands as ISO 1: models need a number above 0; --iso gives another"
        image = replace(image, iso=1.0, cautions=(*image.cautions, words))
    if image.mosaic.dtype.kind not in "ui" or not image.whole or min(image.mosaic.shape) < image.side:
        return image
    look = Look(image)
    cautions = [f"{image.source}: {words}" for test in TESTS for words in test(look)]
    clip = _clip(look)
    if clip:
        cautions += [f"{image.source}: {words}" for words in _said_of(look, clip)]
    return replace(image, clip=clip, cautions=tuple(dict.fromkeys((*image.cautions, *cautions))))


def bytes_for_pixels(look: Look) -> Iterator[str]:
    """Codes of 8 bits under levels of more: two bytes read as two pixels, or packed pixels read as bytes."""
    image = look.image
    if image.mosaic.dtype != np.uint8:
        return
    period = period_of_low_bytes(look.rows(HISTOGRAM_PIXELS))
    if image.white > 255 or period:
        raise look.fail(
            f"holds codes of 8 bits, under a white level of {image.white:g} DN; {HOW_BYTES.get(period, HOW_BYTES[0])}"
        )
    yield from ()


def above_white(look: Look) -> Iterator[str]:
    """Codes that the white level excludes."""
    image = look.image
    size = sum(int(counts.sum()) for counts in look.counts)
    above = sum(int(counts[int(ABOVE_FACTOR * image.white) + 1 :].sum()) for counts in look.counts)
    if above > ABOVE_SHARE * size:
        top = max(len(counts) for counts in look.counts) - 1
        raise look.fail(
            f"{100 * above / size:.2g} % of the pixels lie far above the white level of {image.white:g} DN "
            f"(up to {top}); " + _why_above(look, top)
        )
    over = sum(int(counts[int(image.white) + 1 :].sum()) for counts in look.counts)
    if over > 0.05 * size:
        yield f"{100 * over / size:.2g} % of the pixels lie above the white level of {image.white:g} DN; is it right?"


def _why_above(look: Look, top: int) -> str:
    shift = _free_bits(look, 65535)
    if shift and top >> shift <= look.image.white:
        return f"all codes are multiples of {1 << shift}: they are left-aligned, give --shift {shift}"
    swapped = look.rows(HISTOGRAM_PIXELS).astype(np.uint16).byteswap()
    if np.percentile(swapped, 99) <= look.image.white:
        return "their bytes are in the other order: give --dtype with > for <, or < for >"
    return "check the white level, the type and the packing of the pixels"


def below_black(look: Look) -> Iterator[str]:
    """Codes below the black level: a wrong level, or codes of another alignment."""
    image = look.image
    highest = [len(counts) - 1 for counts in look.counts]
    gap = min(black - top for black, top in zip(image.black, highest, strict=True))
    levels = ", ".join(f"{level:g}" for level in image.black)
    if gap > max(BELOW_DN, BELOW_ERROR * look.span):
        raise look.fail(
            f"all codes ({min(int(np.flatnonzero(counts)[0]) for counts in look.counts)} to {max(highest)}) lie below "
            f"the black level ({levels} DN); check --black, or the type of the pixels"
        )
    under = max(black - median for black, median in zip(image.black, look.medians, strict=True))
    if under > max(BELOW_DN, BELOW_PART * look.span):
        yield f"half of the codes lie below the black level ({levels} DN), by {under:.4g} DN or more; is it right?"
        return
    side = 1 if image.cfa == MONO else image.side
    for (row, column), counts, black in zip(offsets(image.cfa), look.counts, image.black, strict=False):
        below = black - float(np.searchsorted(counts.cumsum(), 0.02 * counts.sum()))
        if below > max(BELOW_DN, BELOW_PART * look.span):
            sigma = noise_below(image.mosaic[row::side, column::side], black, HISTOGRAM_PIXELS)
            if below > 6 * sigma + BELOW_DN:
                yield f"dark parts lie {below:.4g} DN below the black level ({levels} DN), σ {sigma:.3g}; is it right?"
                return


def left_aligned(look: Look) -> Iterator[str]:
    """All codes multiples of a power of two: fewer bits than the levels say, at the high end."""
    shift = _free_bits(look, min(look.image.white, 65535))
    spread = max(len(counts) - 1 - int(np.flatnonzero(counts)[0]) for counts in look.counts)
    if shift and spread >= 4 << shift:
        yield (
            f"all codes are multiples of {1 << shift}: left-aligned, with {shift} empty bits; gain and noise count in "
            f"these codes, or in the converter's own with --shift {shift}"
        )


def _free_bits(look: Look, clip: float) -> int:
    """Lowest bits that are 0 in every code below the clip, in DN."""
    used = 0
    for counts in look.counts:
        codes = np.flatnonzero(counts)
        codes = codes[codes < clip]
        used |= int(np.bitwise_or.reduce(codes)) if codes.size else 0
    return (used & -used).bit_length() - 1 if used else 0


def gaps(look: Look) -> Iterator[str]:
    """Codes that never occur between codes that often do: multiplied after the converter, or written by a curve."""
    names = plane_names("mono" if look.image.cfa == MONO else look.image.layout)
    if _free_bits(look, min(look.image.white, 65535)):
        return
    factors, curves = {}, {}
    for name, plane, counts in zip(names, look.planes, look.counts, strict=True):
        # Without noise most codes are missing; of one row nothing is known.
        if len(plane) < 2 or (plane[1:] == plane[:-1]).mean() > 0.5:
            continue
        beside = np.lib.stride_tricks.sliding_window_view(np.pad(counts, GAP), GAP).max(1)
        around = np.minimum(beside[: len(counts)], beside[-len(counts) :])
        rare, frequent = counts <= STRAY * around, around >= OFTEN
        missing = np.flatnonzero(frequent & rare)
        if len(missing) < FEWEST_GAPS:
            continue
        within = np.flatnonzero(frequent)
        low, *_, high = (float(rare[part].mean()) for part in np.array_split(within, 4))
        steps = np.sort(np.diff(missing))
        usual = steps[len(steps) // 4 : -(len(steps) // 4)].mean()
        even = (np.abs(steps - usual) < 1.5).mean()
        if low > LEAST_GAPS and high < ALIKE * low and even > EVEN:
            factors[name] = len(within) / max(len(within) - len(missing), 1)
        elif high > low + 0.2:
            curves[name] = int(missing[0])
    if factors:
        each = ", ".join(f"{name} by about {factor:.3g}" for name, factor in factors.items())
        yield (
            f"codes are missing at equal distances: they were multiplied after the converter, {each}, or the converter "
            "skips codes; gain and noise count in the codes of the file"
        )
    if curves:
        yield (
            f"from about {min(curves.values())} DN on more and more codes are missing: they were written by a curve, "
            "as of a lossy compression, whose rounding counts as noise"
        )


def undecoded(look: Look) -> Iterator[str]:
    """Blocks of one code that is no clip: parts of the file that were not there, or could not be decoded."""
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
    # A picture without any noise is of one code everywhere: it was decoded.
    if not found.any() or (not zero[found].any() and found.sum() > 0.9 * lit.sum()):
        return
    group, place = (int(each[0]) for each in np.nonzero(found))
    step = image.mosaic.shape[0] // side // len(rows) or 1
    code = int(first[group, 0, place, 0])
    raise look.fail(
        f"about {100 * found.mean():.2g} % of the frame are blocks of one code (the first, of {code}, near row "
        f"{side * group * step}, column {place * segment}): they were not decoded; "
        + (empty_side(image.mosaic, side, min(image.black)) or "copy the file again")
    )
    yield


def _of_one_code(segments: NDArray[Any], beside: NDArray[Any]) -> NDArray[np.bool_]:
    """Segments, (n, side, m, segment), whose pixels equal those `beside`, one cell to the right: (n, m)."""
    # A few pixels exclude nearly all of them, at an eighth of the cost.
    few = slice(None, None, segments.shape[-1] // 4)
    same: NDArray[np.bool_] = (segments[..., few] == beside[..., few]).all((1, 3))
    group, place = np.nonzero(same)
    same[group, place] = (segments[group, :, place] == beside[group, :, place]).all((1, 2))
    return same


def _cells(image: RawImage, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """One level per plane at the places of the cell, shaped (side, 1, side)."""
    cell = np.empty((image.side, 1, image.side))
    for plane, (row, column) in enumerate(offsets(image.cfa)):
        cell[row, 0, column] = levels[plane % len(levels)]
    return cell


def colours_of_mono(look: Look) -> Iterator[str]:
    """A file without a pattern whose four places of a cell differ: a colour sensor taken for a monochrome one."""
    if look.image.cfa != MONO or not dict(look.image.taken_from).get("cfa", "").startswith("no "):
        return
    rows = look.rows(HISTOGRAM_PIXELS)
    signal = np.array([np.median(rows[:, row, column::2]) for row, column in offsets(MONO)]) - look.image.black[0]
    if signal.mean() > FAR_PART * look.span and np.ptp(signal) > COLOUR_PART * signal.mean():
        values = ", ".join(f"{value:.4g}" for value in signal)
        yield (
            "no keyword names a colour filter array, so it was taken for monochrome, but the four places of the 2×2 "
            f"cell differ (medians above black {values} DN): a colour sensor? give --cfa"
        )


def unlike_places(look: Look) -> Iterator[str]:
    """Places of one colour whose levels differ, as those of different colours do: the phase is another."""
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
                f"places of the cell that are {COLOURS[colour]} by the pattern {image.pattern} differ (medians above "
                f"black {values} DN): is the phase right? --cfa gives another"
            )
            return


def _clip(look: Look) -> tuple[float, ...]:
    """Code at which each plane clips, if the pixels show that one does below the white level; else empty.

    A clip is a spike of equal codes at the top: many pixels at the highest code, few just
    below, and side by side, while bright pixels elsewhere differ from their neighbours.
    A white level that the user gave stands.
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
    # Left-aligned codes have empty ones between them.
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
        f"(--white {min(clip):g} makes it the white level)"
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
"""In this order: the first that fails names the reason."""

"""Black and white levels of a DNG by the specification's formula, compared with its masked pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.black_levels import BlackMap, said_of_leak
from noiseflow.raw.formats.tags.opcodes import OPCODE_LISTS, opcode_words
from noiseflow.raw.formats.tags.tiff_pages import numbers
from noiseflow.raw.patterns import MONO, cell_side, offsets

__all__ = ["Levels", "levels_of", "masked_means"]

BLACK_REPEAT, BLACK, DELTA_H, DELTA_V, WHITE, ACTIVE_AREA, MASKED_AREAS = (
    50713,
    50714,
    50715,
    50716,
    50717,
    50829,
    50830,
)

LINEARIZATION = 50712

RARE = 0.05
"""Fraction of a table's steps ignored at each end, the shortest and the longest, when looking for a curve."""

DIFFERENT_DN, DIFFERENT_PART = 2.0, 0.002
"""Masked pixels contradict the tags if they differ from them by more than both limits: DN, and fraction of the range
above black."""

NO_BLACK = (
    "no tag gives the black level; 0 was taken, the specification's default, but no code is below {:g}: give --black "
    "if 0 is wrong"
)

Spans = tuple[tuple[int, int, int, int], ...]
"""Areas as in the DNG: top, left, bottom, right, in pixels."""


@dataclass(frozen=True)
class Levels:
    """Levels from the tags of a raw image.

    Parameters
    ----------
    black : BlackMap or None
        Black level in DN, starting at the active area's first pixel; None without a tag.
    white : float or None
        White level in DN; None without a tag.
    area : tuple of int
        Active area: top, left, bottom, right, counted from the first stored pixel.
    masked : tuple
        Areas of masked pixels, in the same form.
    said_by : str
        Names of the tags that give the black level.
    cautions : tuple of str
        Doubts about the levels, as sentences for the user.
    """

    black: BlackMap | None
    white: float | None
    area: tuple[int, int, int, int]
    masked: Spans = ()
    said_by: str = ""
    cautions: tuple[str, ...] = ()

    def black_at(
        self, pixels: NDArray[Any], cfa: str, top: int, left: int, shape: tuple[int, int]
    ) -> tuple[BlackMap | tuple[float, ...], str, tuple[str, ...]]:
        """Black level of an area of the stored pixels.

        It comes from the tags, otherwise from the masked pixels, otherwise it is 0, the default of the
        specification.

        Parameters
        ----------
        pixels : ndarray
            All stored pixels in DN, masked ones included.
        cfa : str
            Phase at row `top`, column `left`.
        top, left : int
            First row and column of the area.
        shape : tuple of int
            (H, W) of the area.

        Returns
        -------
        black : BlackMap or tuple of float
            Black level in DN of each pixel, or of each plane.
        source : str
            Where it came from.
        cautions : tuple of str
            Doubts, as sentences for the user.
        """
        means = masked_means(pixels, cfa, top, left, self.masked)
        if self.black is None:
            if means is not None:
                side = 1 if cfa == MONO else cell_side(cfa)
                white = self.white or float(np.max(pixels))
                leaks = [said_of_leak(pixels[y0:y1, x0:x1], side, white) for y0, x0, y1, x1 in self.masked]
                cautions = (*self.cautions, *filter(None, dict.fromkeys(leaks)))
                return means, "mean of the masked pixels (MaskedAreas)", cautions
            lowest = float(pixels[top : top + shape[0], left : left + shape[1]].min())
            doubts = self.cautions if lowest <= DIFFERENT_DN else (*self.cautions, NO_BLACK.format(lowest))
            return (0.0,), "DNG default 0, no BlackLevel tag", doubts
        black = self.black.cropped(top - self.area[0], left - self.area[1], *shape)
        cautions = self.cautions
        if means is not None:
            said = float(black.pixels(shape).mean())
            found = float(np.mean(means))
            limit = max(DIFFERENT_DN, DIFFERENT_PART * ((self.white or 0.0) - said))
            if abs(found - said) > limit:
                cautions += (
                    f"the masked pixels have a mean of {found:.5g} DN, but {self.said_by} gives a black level of "
                    f"{said:.5g} DN, which was taken; give --black if the masked pixels are right",
                )
        return black, self.said_by, cautions


def levels_of(page: tifffile.TiffPage, first: tifffile.TiffPage | None = None) -> Levels:
    """Read the level tags of a page, or of the file's first page where this one has none.

    black(y, x) = BlackLevel[y mod R, x mod C] + BlackLevelDeltaV[y] + BlackLevelDeltaH[x]

    Parameters
    ----------
    page : TiffPage
        Page of the raw image.
    first : TiffPage, optional
        First page of the file; some writers put the levels there, and LibRaw uses them.

    Raises
    ------
    RawError
        If there are fewer levels than the repeating cell needs, or fewer row or column deltas than the active
        area has rows or columns.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapter 4, BlackLevelRepeatDim to WhiteLevel.
    """
    area = _area(page)
    of_black = _with_any(page, first, (BLACK, DELTA_H, DELTA_V, MASKED_AREAS))
    base, cautions, name = _cell(of_black)
    deltas = {}
    for tag, what, length in ((DELTA_V, "V", area[2] - area[0]), (DELTA_H, "H", area[3] - area[1])):
        values = tuple(numbers(of_black, tag))
        if values and (len(values) < length or not np.isfinite(values).all()):
            found = f"{len(values)} values" if len(values) < length else "a ratio with denominator 0"
            raise RawError(
                f"BlackLevelDelta{what} contains {found}; expected {length} numbers, one for each "
                f"{'row' if what == 'V' else 'column'} of the active area"
            )
        deltas[what] = values[:length]
    names = [name] if base is not None else []
    names += [f"BlackLevelDelta{what}" for what, values in deltas.items() if values]
    black = BlackMap(base or ((0.0,),), deltas["V"], deltas["H"]) if names else None
    areas = [int(value) for value in numbers(page, MASKED_AREAS)]
    listed = tuple(zip(areas[::4], areas[1::4], areas[2::4], areas[3::4], strict=False))
    # Without an ActiveArea the active area is the whole image, which includes the masked pixels.
    spans = tuple(part for span in listed for part in _outside(span, area)) if ACTIVE_AREA in page.tags else listed
    if black is None and _pixels(spans) < _pixels(listed):
        cautions = (*cautions, "MaskedAreas overlaps the active area; only the part outside it was used")
    white, words = _white(_with_any(page, first, (WHITE,)))
    said_by = " + ".join(names) + (" of IFD0" if names and of_black is not page else "")
    if any(tag in page.tags for tag in OPCODE_LISTS):
        words = (*words, *opcode_words(page))
    words = (*words, *_table_words(numbers(page, LINEARIZATION)))
    return Levels(black, white, area, spans, said_by, (*cautions, *words))


def _with_any(page: tifffile.TiffPage, first: tifffile.TiffPage | None, tags: tuple[int, ...]) -> tifffile.TiffPage:
    """Return the first page if only that page has any of the tags, otherwise the page."""
    alone = first is not None and not any(tag in page.tags for tag in tags) and any(tag in first.tags for tag in tags)
    return first if alone and first is not None else page


def _white(page: tifffile.TiffPage) -> tuple[float | None, tuple[str, ...]]:
    """White level in DN, the smallest if there are several, and cautions."""
    levels = numbers(page, WHITE)
    if not levels:
        return None, ()
    if not all(level > 0 for level in levels):
        listed = ", ".join(f"{level:g}" for level in levels)
        return None, (f"WhiteLevel is {listed}, which cannot be a white level; it was ignored: give --white",)
    if len(set(levels)) > 1:
        listed = ", ".join(f"{level:g}" for level in levels)
        return min(levels), (f"WhiteLevel lists {listed} for one sample per pixel; the smallest was taken",)
    return levels[0], ()


def _table_words(table: list[float]) -> tuple[str, ...]:
    """Caution if a LinearizationTable has steps of different lengths, as it has for compressed codes."""
    # Ignore the last step, which may lead to a clip level, and rare ones: a curve has long steps for many codes.
    steps = np.diff(table)[:-1]
    steps = steps[steps > 0]
    if not steps.size:
        return ()
    low, high = np.quantile(steps, (RARE, 1 - RARE), method="inverted_cdf")
    if high < 2 or high == low:
        return ()
    return (
        f"LinearizationTable has steps of {low:.4g} to {high:.4g} DN: the codes were compressed by a "
        "curve, and its rounding counts as noise (variance s²/12 for a step of s DN)",
    )


def _pixels(spans: Spans) -> int:
    return sum((bottom - top) * (right - left) for top, left, bottom, right in spans)


def _outside(span: tuple[int, int, int, int], area: tuple[int, int, int, int]) -> Spans:
    """Parts of a rectangle that lie above, below, left and right of another rectangle."""
    (y0, x0, y1, x1), (top, left, bottom, right) = span, area
    within = (max(y0, top), min(y1, bottom))
    parts = (
        (y0, x0, min(y1, top), x1),
        (max(y0, bottom), x0, y1, x1),
        (within[0], x0, within[1], min(x1, left)),
        (within[0], max(x0, right), within[1], x1),
    )
    return tuple(part for part in parts if part[0] < part[2] and part[1] < part[3])


def _area(page: tifffile.TiffPage) -> tuple[int, int, int, int]:
    values = [int(value) for value in numbers(page, ACTIVE_AREA)]
    if len(values) != 4:
        return 0, 0, int(page.imagelength), int(page.imagewidth)
    return values[0], values[1], values[2], values[3]


def _cell(page: tifffile.TiffPage) -> tuple[tuple[tuple[float, ...], ...] | None, tuple[str, ...], str]:
    """Repeating cell of BlackLevel in DN or None without the tag, cautions, and a name for messages."""
    levels = numbers(page, BLACK)
    if not levels:
        return None, (), ""
    if not np.isfinite(levels).all():
        return None, ("BlackLevel contains a ratio with denominator 0; it was ignored: give --black",), ""
    repeat = [max(int(value), 1) for value in numbers(page, BLACK_REPEAT)]
    rows, columns = (repeat[0], repeat[-1]) if repeat else (1, 1)
    cautions: tuple[str, ...] = ()
    if not repeat and len(levels) == 4:
        # The specification's default is one level; writers who list four mean the 2×2 cell.
        rows, columns = 2, 2
        cautions = ("BlackLevel lists 4 levels without BlackLevelRepeatDim; they were taken as a 2×2 cell",)
    if len(levels) < rows * columns and len(set(levels)) > 1:
        raise RawError(
            f"BlackLevel lists {len(levels)} levels for a repeating cell of {rows}×{columns}; expected {rows * columns}"
        )
    if len(levels) > rows * columns and len(set(levels)) > 1:
        cautions += (
            f"BlackLevel lists {len(levels)} levels for a repeating cell of {rows}×{columns}; the first were taken",
        )
    cell = np.resize(np.asarray(levels), (rows, columns))
    name = "BlackLevel" if rows * columns == 1 else f"BlackLevel ({rows}×{columns})"
    return tuple(map(tuple, cell.tolist())), cautions, name


def masked_means(pixels: NDArray[Any], cfa: str, top: int, left: int, masked: Spans) -> tuple[float, ...] | None:
    """Mean code in DN of each plane over the masked pixels; None if a plane has none.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)
        All stored pixels in DN.
    cfa : str
        Colour filter array with its phase at row `top`, column `left`.
    top, left : int
        Row and column to which `cfa` refers.
    masked : tuple
        Top, left, bottom, right of each masked area.
    """
    side = 1 if cfa == MONO else cell_side(cfa)
    levels = []
    for row, column in offsets(cfa)[: side * side]:
        values = [
            pixels[y0:y1, x0:x1][(row + top - y0) % side :: side, (column + left - x0) % side :: side]
            for y0, x0, y1, x1 in masked
        ]
        count = sum(each.size for each in values)
        if not count:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            levels.append(float(sum(each.sum(dtype=np.float64) for each in values) / count))
    return tuple(levels)

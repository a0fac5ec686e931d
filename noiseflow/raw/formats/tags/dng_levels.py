"""Black and white levels of a DNG, by the specification's formula, and what its masked pixels say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.black_levels import BlackMap
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

DIFFERENT_DN, DIFFERENT_PART = 2.0, 0.002
"""Masked pixels contradict the tags if they differ by more than both: DN, and part of the range above black."""

Spans = tuple[tuple[int, int, int, int], ...]
"""Areas as DNG lists them: top, left, bottom, right."""


@dataclass(frozen=True)
class Levels:
    """What the directory of a raw image says of its levels.

    Parameters
    ----------
    black : BlackMap or None
        From the active area's first pixel; None if no tag says it.
    white : float or None
        DN; None if no tag says it.
    area : tuple of int
        Active area: top, left, bottom, right, from the first stored pixel.
    masked : tuple
        Areas of masked pixels, likewise.
    said_by : str
        Names of the tags of the black level.
    cautions : tuple of str
        What is doubtful about the levels, in sentences for the user.
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
        """Black level of an area of the stored pixels, where it came from, and cautions.

        By the tags, or else by the masked pixels, or else 0, the specification's default.

        Parameters
        ----------
        pixels : ndarray
            All stored pixels, masked ones included.
        cfa : str
            Phase at row `top`, column `left`.
        top, left : int
            First row and column of the area.
        shape : tuple of int
            (H, W) of the area.
        """
        means = masked_means(pixels, cfa, top, left, self.masked)
        if self.black is None:
            if means is not None:
                return means, "mean of the masked pixels (MaskedAreas)", self.cautions
            return (0.0,), "DNG default 0, no BlackLevel tag", self.cautions
        black = self.black.cropped(top - self.area[0], left - self.area[1], *shape)
        cautions = self.cautions
        if means is not None:
            said = float(black.pixels(shape).mean())
            found = float(np.mean(means))
            limit = max(DIFFERENT_DN, DIFFERENT_PART * ((self.white or 0.0) - said))
            if abs(found - said) > limit:
                cautions += (
                    f"the masked pixels have a mean of {found:.5g} DN, but {self.said_by} says a black level of "
                    f"{said:.5g} DN, which was taken; give --black if the masked pixels are right",
                )
        return black, self.said_by, cautions


def levels_of(page: tifffile.TiffPage) -> Levels:
    """Read the level tags of a page.

    black(y, x) = BlackLevel[y mod R, x mod C] + BlackLevelDeltaV[y] + BlackLevelDeltaH[x]

    Raises
    ------
    RawError
        As many levels as fit no repeating cell; row or column deltas of another length than the active area.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapter 4, BlackLevelRepeatDim to WhiteLevel.
    """
    area = _area(page)
    base, cautions, name = _cell(page)
    deltas = {}
    for tag, what, length in ((DELTA_V, "V", area[2] - area[0]), (DELTA_H, "H", area[3] - area[1])):
        values = tuple(numbers(page, tag))
        if values and len(values) < length:
            raise RawError(
                f"BlackLevelDelta{what} holds {len(values)} values; expected {length}, one for each "
                f"{'row' if what == 'V' else 'column'} of the active area"
            )
        deltas[what] = values[:length]
    names = [name] if base is not None else []
    names += [f"BlackLevelDelta{what}" for what, values in deltas.items() if values]
    black = BlackMap(base or ((0.0,),), deltas["V"], deltas["H"]) if names else None
    areas = [int(value) for value in numbers(page, MASKED_AREAS)]
    spans = tuple(zip(areas[::4], areas[1::4], areas[2::4], areas[3::4], strict=False))
    white = next(iter(numbers(page, WHITE)), None)
    if white is not None and not white > 0:
        cautions = (*cautions, f"WhiteLevel says {white:g}, which is no level; it was not taken: give --white")
        white = None
    return Levels(black, white, area, spans, " + ".join(names), cautions)


def _area(page: tifffile.TiffPage) -> tuple[int, int, int, int]:
    values = [int(value) for value in numbers(page, ACTIVE_AREA)]
    if len(values) != 4:
        return 0, 0, int(page.imagelength), int(page.imagewidth)
    return values[0], values[1], values[2], values[3]


def _cell(page: tifffile.TiffPage) -> tuple[tuple[tuple[float, ...], ...] | None, tuple[str, ...], str]:
    """The repeating cell of BlackLevel, cautions, and its name for messages; None without the tag."""
    levels = numbers(page, BLACK)
    if not levels:
        return None, (), ""
    repeat = [max(int(value), 1) for value in numbers(page, BLACK_REPEAT)]
    rows, columns = (repeat[0], repeat[-1]) if repeat else (1, 1)
    cautions: tuple[str, ...] = ()
    if not repeat and len(levels) == 4:
        # The specification's default is one level; writers of four mean the 2×2 cell.
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
    """Mean code in DN of each plane over the masked pixels; None if they do not hold every plane.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)
        All stored pixels.
    cfa : str
        Phase at row `top`, column `left`.
    top, left : int
        Row and column of the pixel that `cfa` is the phase of.
    masked : tuple
        Top, left, bottom, right of each area.
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

"""Signs that a picture was processed after the converter: correlated noise, gaps between codes, JPEG blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from noiseflow.calibrate.single_frame.blocks import HIGH, SIDE, Blocks, coefficients_at
from noiseflow.calibrate.single_frame.cells import Chosen
from noiseflow.calibrate.single_frame.variance_line import VarianceLine

__all__ = ["Traces", "code_step", "traces_of"]

Array = NDArray[np.float64]

MOST = 3000
"""Approximate number of flat blocks examined per plane; more would not help."""

FEW = 800
"""Number of these in which a JPEG grid is searched for, at 64 phases each."""

LEAST_OUTER = 0.87
"""Smallest ratio of energy in the outer to that in the inner high coefficients: 1 for white noise, 0.84 after a blur of
0.4 pixels.  Residual texture in unprocessed pictures leaves 0.93 to 1."""

MOST_CORRELATION = 0.08
"""Largest correlation of two planes' high coefficients: 0 for the noise of a mosaic, up to 0.06 with residual texture,
0.09 or more after demosaicing and a colour matrix."""

MOST_PHASE = 0.03
"""Largest departure of the ratio (E|c|)²/E c² at one phase of the 8×8 grid from the median over phases."""

MOST_STEP = 0.1
"""Largest fraction of the noise variance that gaps between codes may explain."""

EIGHT_BITS = 256
"""Largest number of different codes of a plane that was 8 bits deep."""

UNEVEN = 1
"""Largest difference in DN between the distances of codes at different levels; a digital gain differs by rounding."""

_NUMBER = np.add.outer(np.arange(SIDE), np.arange(SIDE))
_OUTER, _NEXT = HIGH & (_NUMBER >= 10), HIGH & (_NUMBER <= 9)


@dataclass(frozen=True)
class Traces:
    """Traces of processing in a picture.

    Parameters
    ----------
    outer : float
        Ratio of energy in the outer to that in the inner high coefficients; 1 for white noise.
    correlation : float
        Largest correlation of the high coefficients of two planes; 0 where there are too few blocks.
    phase : float
        Largest departure of one phase of the 8×8 grid from the others.
    step_part : float
        Variance of rounding to the local step between codes relative to the noise variance; the largest of the planes.
    curved_codes : int
        Number of different codes of a plane of 8 bits behind a tone curve; 0 if there is none.
    """

    outer: float
    correlation: float
    phase: float
    step_part: float
    curved_codes: int = 0

    def reason(self) -> str | None:
        """Return why the picture cannot be measured, or None if it shows no trace of processing."""
        if self.step_part > MOST_STEP:
            return (
                "the gaps between its codes are wide compared with the noise: it comes from 8 bits or a tone curve, as "
                "in a JPEG or a lossy raw file"
            )
        if self.curved_codes:
            return (
                f"it has only {self.curved_codes} different codes, unevenly spaced: it comes from 8 bits and a tone "
                "curve, as in a JPEG or a lossy raw file"
            )
        if self.phase > MOST_PHASE:
            return "its 8×8 blocks are quantised in frequency, as by JPEG"
        if self.outer < LEAST_OUTER:
            return (
                f"its noise is not white ({100 * self.outer:.0f} % of the energy in the highest frequencies): it was "
                "denoised, blurred or compressed, or texture is everywhere"
            )
        if self.correlation > MOST_CORRELATION:
            return (
                f"the fine structure of its colours is correlated by {self.correlation:.2f}: it was demosaiced, "
                "blurred or denoised, or texture is everywhere"
            )
        return None


def traces_of(
    planes: Sequence[NDArray[Any]], blocks: Sequence[Blocks], chosen: Sequence[Chosen], line: VarianceLine
) -> Traces:
    """Search the flat blocks of a picture for traces of processing.

    Parameters
    ----------
    planes : sequence of ndarray, shape (H, W)
        Codes of each plane, DN.
    blocks : sequence of Blocks
        Blocks of each plane.
    chosen : sequence of Chosen
        Flat blocks of each plane.
    line : VarianceLine
        Noise of all planes.

    Returns
    -------
    Traces
        What was found.
    """
    power, steps, phases = np.zeros((SIDE, SIDE)), [0.0], []
    for plane, each, taken in zip(planes, blocks, chosen, strict=True):
        index = taken.index[:: max(1, len(taken.index) // MOST)]
        if not len(index):
            continue
        variance = line.at(each.mean[index])
        power += (np.square(coefficients_at(plane, each, index)) / variance[:, None, None]).sum(0)
        steps.append(_step_part(plane, each, index, variance))
        phases.append(_phase(plane, each, index))
    outer = float(power[_OUTER].mean() / power[_NEXT].mean())
    curved = max(_curved_codes(plane) for plane in planes)
    return Traces(outer, _correlation(planes, blocks, chosen), max(phases, default=0.0), max(steps), curved)


def code_step(codes: NDArray[Any]) -> float:
    """Return the median distance of neighbouring codes that occur, DN; 1 if only one occurs."""
    found = np.unique(codes)
    return float(np.median(np.diff(found))) if len(found) > 1 else 1.0


def _step_part(plane: NDArray[Any], blocks: Blocks, index: NDArray[np.intp], variance: Array) -> float:
    """Return (step² − 1)/12 relative to the noise variance, as the median over levels of signal."""
    order = np.argsort(blocks.mean[index])
    parts = []
    for group in np.array_split(order, 8):
        taken = index[group]
        if len(taken) < 4:
            continue
        rows, columns = (number * blocks.stride for number in np.divmod(taken, blocks.grid[1]))
        near = [plane[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)]
        step = code_step(np.stack(near))
        parts.append((step**2 - 1) / 12 / float(np.median(variance[group])))
    return float(np.median(parts)) if parts else 0.0


def _curved_codes(plane: NDArray[Any]) -> int:
    """Return the number of different codes of a plane if they are those of 8 bits behind a tone curve, or 0.

    The distance of neighbouring codes is compared between quarters of the pixels, ordered by code.  The lowest and the
    highest hundredth are left out, because the codes of few pixels are far apart in any picture.
    """
    if plane.dtype.kind not in "ui" or int(plane.max()) >= 1 << 16:
        return 0
    counts = np.bincount(plane.ravel())
    codes = np.flatnonzero(counts)
    if len(codes) > EIGHT_BITS:
        return 0
    place = np.cumsum(counts[codes]) / plane.size
    gaps, place = np.diff(codes), place[1:]
    kept = (place > 0.01) & (place < 0.99)
    quarters = [gaps[kept & (place >= k / 4) & (place < (k + 1) / 4)] for k in range(4)]
    steps = [float(np.median(quarter)) for quarter in quarters if len(quarter)]
    return len(codes) if steps and max(steps) - min(steps) > UNEVEN else 0


def _correlation(planes: Sequence[NDArray[Any]], blocks: Sequence[Blocks], chosen: Sequence[Chosen]) -> float:
    """Return the largest correlation of two planes, in blocks that are flat in both.

    Offsets of rows and columns, which two planes share, do not affect the high coefficients.
    """
    worst = 0.0
    for first, second in combinations(range(len(planes)), 2):
        both = np.intersect1d(chosen[first].index, chosen[second].index)
        both = both[:: max(1, len(both) // MOST)]
        if len(both) < 40:
            continue
        a, b = (coefficients_at(planes[k], blocks[k], both)[:, HIGH] for k in (first, second))
        a, b = (each / np.sqrt((each**2).mean(1, keepdims=True) + 1e-9) for each in (a, b))
        worst = max(worst, abs(float((a * b).mean())))
    return worst


def _phase(plane: NDArray[Any], blocks: Blocks, index: NDArray[np.intp]) -> float:
    """Return the largest departure of (E|c|)²/E c² at one phase of the 8×8 grid from the median over all phases.

    Coefficients that JPEG quantised lose their Gaussian shape, but only at the phase of JPEG's own blocks.
    """
    seen = index[:: max(1, len(index) // FEW)]
    rows, columns = (number * blocks.stride // SIDE * SIDE for number in np.divmod(seen, blocks.grid[1]))
    kept = (rows + 2 * SIDE <= plane.shape[0]) & (columns + 2 * SIDE <= plane.shape[1])
    corners = np.unique(np.stack([rows[kept], columns[kept]], 1), axis=0)
    if len(corners) < 60:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))
    ratios = np.empty((SIDE, SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            taken = windows[corners[:, 0] + row, corners[:, 1] + column].astype(np.float32)
            high = dctn(taken, axes=(1, 2), norm="ortho")[:, HIGH]
            high /= np.sqrt((high**2).mean(1, keepdims=True)) + 1e-9
            # A coefficient that is 0 in every block was quantised too.
            power = np.maximum((high**2).mean(0), 1e-9)
            ratios[row, column] = float(np.mean(np.abs(high).mean(0) ** 2 / power))
    return float(np.abs(ratios - np.median(ratios)).max())

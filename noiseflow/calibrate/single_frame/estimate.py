"""`measure_picture`: K, read noise, row noise and black level of one picture, or why it cannot say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.calibrate.single_frame.blocks import SIDE, Blocks, block_energies
from noiseflow.calibrate.single_frame.cells import REGIONS, Cells, Chosen, choose, first_line, gather, line_of
from noiseflow.calibrate.single_frame.processing import traces_of
from noiseflow.calibrate.single_frame.row_noise import row_noise_of
from noiseflow.calibrate.single_frame.variance_line import VarianceLine
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage

__all__ = ["LineErrors", "PictureNoise", "line_errors", "measure_picture"]

Array = NDArray[np.float64]

LEAST_SIDE = 64
"""Pixels of a plane."""

ROUNDS = 4
"""Of choosing blocks by the noise and measuring the noise in the blocks."""

LARGEST_ERROR = 0.12
"""Relative standard error of K beyond which a picture is refused as too uncertain."""

LEAST_ERROR = 0.007
"""Relative standard error of K that no picture goes below: what simulated ones scatter by besides counting."""

UNEQUAL = 16.3
"""χ² of the planes' gains about the common one, three degrees of freedom, that one in a thousand exceeds."""

ROUNDING = 1 / 12
"""Variance of rounding to whole DN, DN²: no picture's read noise is less."""


@dataclass(frozen=True, eq=False)
class PictureNoise:
    """What one picture says.

    Parameters
    ----------
    gain : tuple of Measurement
        K of each plane, DN/e⁻; equal where the planes agree.
    read_noise : tuple of Measurement or None
        Temporal noise at black of each plane, rows and rounding included, DN; None where the declared black level
        contradicts the picture.
    row_noise : Measurement or None
        DN.
    black : tuple of Measurement
        Black level of each plane with the interval that the picture leaves, DN.
    flat_blocks : int
        Blocks of 8×8 pixels of a plane that were measured in.
    signal, variance : ndarray, shape (cells,)
        Cells that the line went through, DN above black and DN².
    plane : ndarray of int, shape (cells,)
        Plane of each cell.
    spread_percent : float
        Spread of pixel response, or texture, that the curve needed besides the line, of the signal.
    cautions : tuple of str
        What limits the numbers.
    """

    gain: tuple[Measurement, ...]
    read_noise: tuple[Measurement | None, ...]
    row_noise: Measurement | None
    black: tuple[Measurement, ...]
    flat_blocks: int
    signal: Array
    variance: Array
    plane: NDArray[np.intp]
    spread_percent: float
    cautions: tuple[str, ...]


def measure_picture(image: RawImage) -> PictureNoise:
    """Noise of one raw picture of anything, with 95 % intervals.

    Each plane of the mosaic is cut into blocks of 8×8 pixels. Those that the *other* planes show to be flat are
    measured in their high cosine coefficients; what texture is left is seen in the middle ones and taken off.
    Through cells of like signal goes var = σ² + K·x + (t·x)². The error is the larger of the jackknife's over
    36 regions and the fit's, with the doubt about the texture.

    Parameters
    ----------
    image : RawImage
        As the camera wrote it: not demosaiced, denoised or compressed with loss.

    Raises
    ------
    DataError
        The picture cannot say: too small, of one level of signal, clipped, of texture everywhere, or processed. The
        message says which.

    References
    ----------
    Ponomarenko et al., SPIE 6812, 2008, and Colom, Buades, IPOL 3, 2013, for the cosine transform; selection by the
    other planes is ours.

    Examples
    --------
    >>> from noiseflow.simulate import load_camera
    >>> import numpy as np
    >>> from noiseflow.simulate.physics import expose
    >>> camera = load_camera("Sony A7S2")
    >>> ramp = np.linspace(0, 8000, 512)[:, None] * np.ones(512)
    >>> codes = expose(ramp, camera, 800, np.random.default_rng(0))
    >>> measure_picture(RawImage(codes, "RGGB", (512.0,) * 4, 16383.0)).gain[1].covers(0.76504)
    True
    """
    image = image.levelled()
    planes = list(image.planes())
    where = image.source or "picture"
    if min(planes[0].shape) < LEAST_SIDE:
        raise DataError(
            f"{where}: {image.mosaic.shape[1]}×{image.mosaic.shape[0]} pixels are too few for a measurement from one "
            f"picture; expected {2 * LEAST_SIDE}×{2 * LEAST_SIDE} or more"
        )
    black = [float(level) for level in image.levels()[0].ravel()]
    ceiling = [float(top) - level for top, level in zip(image.clip_levels().ravel(), black, strict=True)]
    blocks = [block_energies(plane, level) for plane, level in zip(planes, black, strict=True)]
    chosen, cells, line = _settled(blocks, black, ceiling, where)
    processed = traces_of(planes, blocks, chosen, line).said()
    if processed is not None:
        raise DataError(f"{where}: cannot be measured: {processed}. Give the raw file as the camera wrote it")
    errors = line_errors(cells, line)
    if not 0 < errors.gain < LARGEST_ERROR * line.gain:
        raise DataError(f"{where}: {_why_no_gain(cells, line, errors)}")
    rows = row_noise_of(planes, blocks, chosen, line)
    fits = _by_plane(cells, line, errors, len(blocks)) if image.layout == "bayer" else [(line, errors)] * len(blocks)
    found = [
        _plane(fit, error, each, level, rows) for (fit, error), each, level in zip(fits, blocks, black, strict=True)
    ]
    count = cells.count.sum(1)
    return PictureNoise(
        tuple(from_error(fit.gain, error.gain, "DN/e-", error.freedom) for fit, error in fits),
        tuple(read for read, _, _ in found),
        rows,
        tuple(level for _, level, _ in found),
        int(count.sum()),
        cells.signal.sum(1) / count,
        cells.high.sum(1) / count,
        cells.plane,
        100 * line.spread,
        tuple(dict.fromkeys(caution for _, _, caution in found if caution)),
    )


def _settled(
    blocks: Sequence[Blocks], black: Sequence[float], ceiling: Sequence[float], where: str
) -> tuple[list[Chosen], Cells, VarianceLine]:
    """Flat blocks by the noise, and the noise in the flat blocks, until they agree."""
    line = first_line(blocks, ceiling)
    for _ in range(ROUNDS):
        chosen = [choose(number, blocks, [line] * len(blocks), black, ceiling) for number in range(len(blocks))]
        cells = gather(blocks, chosen)
        found = line_of(cells) if len(cells.plane) else None
        if found is None:
            raise DataError(f"{where}: {_why_nothing(blocks, ceiling)}")
        line = found
    return chosen, cells, line


@dataclass(frozen=True)
class LineErrors:
    """Standard errors of K and of the floor, the part of K's that is doubt about texture, degrees of freedom."""

    gain: float
    floor: float
    texture: float
    freedom: int


def line_errors(cells: Cells, line: VarianceLine) -> LineErrors:
    """By the jackknife over regions, the fit and the doubt about texture, the larger of the first two."""
    left = [one for region in range(REGIONS**2) if (one := line_of(cells, region)) is not None]
    if len(left) < 3:
        return LineErrors(np.inf, np.inf, 0.0, 1)
    # Regions without a flat block leave the fit as it is; the sum counts them rightly.
    jackknife = np.sqrt((len(left) - 1) * np.var([(one.gain, one.floor) for one in left], axis=0))
    posterior = np.sqrt(np.diag(line.covariance))[::-1]
    more = line_of(cells, leak=0.0)
    doubt = np.abs([more.gain - line.gain, more.floor - line.floor]) / 2 if more is not None else np.zeros(2)
    gain, floor = np.hypot(np.maximum(jackknife, posterior), doubt)
    freedom = max(len(cells.plane) - 3, 2)
    return LineErrors(float(np.hypot(gain, LEAST_ERROR * line.gain)), float(floor), float(doubt[0]), freedom)


def _by_plane(
    cells: Cells, line: VarianceLine, errors: LineErrors, planes: int
) -> list[tuple[VarianceLine, LineErrors]]:
    """The common line for each plane, or, where planes were scaled apart, each one's own."""
    own = [line_of(cells.of_plane(number)) for number in range(planes)]
    if any(one is None for one in own):
        return [(line, errors)] * planes
    fits = [(one, line_errors(cells.of_plane(k), one)) for k, one in enumerate(own) if one is not None]
    gains = np.array([one.gain for one, _ in fits])
    weights = np.array([error.gain**-2.0 for _, error in fits])
    chi2 = float(weights @ (gains - weights @ gains / weights.sum()) ** 2)
    if chi2 < UNEQUAL or any(error.gain > LARGEST_ERROR * one.gain for one, error in fits):
        return [(line, errors)] * planes
    return fits


def _plane(
    line: VarianceLine, errors: LineErrors, blocks: Blocks, black: float, rows: Measurement | None
) -> tuple[Measurement | None, Measurement, str]:
    """Read noise and black level of a plane; a caution where the declared black level cannot be.

    With a black level that is wrong by δ the floor is σ² − K·δ. σ² is 1/12 or more, and light is 0 or more, so that
    (1/12 − floor)/K ≤ δ ≤ the darkest signal.
    """
    darkest = float(blocks.mean.min())
    noise = float(np.sqrt(line.at(np.array([max(darkest, 0.0)])))[0]) / SIDE
    margin = noise * (np.sqrt(2 * np.log(len(blocks.mean))) + 2)
    row = rows.value if rows is not None else 0.0
    high = darkest + margin + 2 * row / np.sqrt(SIDE)
    low = (ROUNDING - line.floor - 2 * errors.floor) / line.gain
    if not low <= 0 <= high:
        middle = (low + max(high, low)) / 2
        ends = (float(black + low), float(black + max(high, low)))
        level = Measurement(black + middle, (ends[1] - ends[0]) / 4, ends, "DN")
        word = f"the declared black level {black:g} DN cannot be: it lies between {ends[0]:.1f} and {ends[1]:.1f} DN"
        return None, level, word
    level = Measurement(black, float(high - low) / 4, (float(black + low), float(black + high)), "DN")
    # The floor is of coefficients that no row offset enters.
    row_error = 2 * row * rows.standard_error if rows is not None else 0.0
    read = root(max(line.floor, ROUNDING) + row**2, float(np.hypot(errors.floor, row_error)), "DN", errors.freedom)
    return read, level, ""


def _clipped(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> float:
    """Fraction of the blocks that is at saturation."""
    return float(np.mean([np.mean(each.mean > 0.97 * top) for each, top in zip(blocks, ceiling, strict=True)]))


def _why_nothing(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> str:
    clipped = _clipped(blocks, ceiling)
    if clipped > 0.5:
        return f"cannot be measured: {100 * clipped:.0f} % of it is clipped. Take a picture that is exposed less"
    levels = np.concatenate([each.mean for each in blocks])
    noise = np.sqrt(np.median(np.concatenate([each.high for each in blocks]))) / SIDE
    if float(np.ptp(np.quantile(levels, [0.02, 0.98]))) < 12 * noise:
        return _one_level(float(np.median(levels)), (noise * SIDE) ** 2)
    return (
        "cannot be measured: it has too few flat parts that are neither clipped nor black. Take a picture with "
        "plain areas of several brightnesses, or flats"
    )


def _one_level(level: float, variance: float) -> str:
    bound = f": only K ≤ {variance / level:.3g} DN/e- is known" if level > 0 else ""
    return (
        f"has one level of signal, which cannot tell the gain from the read noise{bound}. Add a dark, or take a scene"
    )


def _why_no_gain(cells: Cells, line: VarianceLine, errors: LineErrors) -> str:
    count = cells.count.sum(1)
    x = cells.signal.sum(1) / count
    level = float(np.average(x, weights=count))
    if float(np.average(np.abs(x - level), weights=count)) < 0.25 * abs(level):
        return _one_level(level, float(np.average(cells.high.sum(1) / count, weights=count)))
    if line.gain <= 0 or not np.isfinite(errors.gain):
        return "cannot be measured: its variance does not grow with its signal. Is it the raw file of a lit scene?"
    cause = "texture is everywhere" if errors.texture > 0.5 * errors.gain else "its flat parts hold too few levels"
    return (
        f"cannot tell the gain: the error would be {100 * errors.gain / line.gain:.0f} %, for {cause}. Take a picture "
        "with plain areas of several brightnesses, at a higher ISO, or flats"
    )

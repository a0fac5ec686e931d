"""`measure_picture`: K, read noise, row noise and black level from one picture, or the reason why not."""

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
"""Smallest height and width of a plane, pixels."""

ROUNDS = 4
"""Iterations of choosing flat blocks by the noise and measuring the noise in them."""

LARGEST_ERROR = 0.12
"""Relative standard error of K above which a picture is refused as too uncertain."""

LEAST_ERROR = 0.007
"""Relative error added to that of K in quadrature: the scatter of simulated pictures beyond counting statistics."""

UNEQUAL = 16.3
"""χ² of the planes' gains about their mean above which they differ: 0.1 % of equal ones exceed it (three degrees of
freedom)."""

ROUNDING = 1 / 12
"""Variance of rounding to whole codes, DN²: a lower limit of any read variance."""


@dataclass(frozen=True, eq=False)
class PictureNoise:
    """Noise measured from one picture.

    Parameters
    ----------
    gain : tuple of Measurement
        K of each plane, DN/e⁻; all equal if the planes agree.
    read_noise : tuple of Measurement or None
        Temporal noise at black of each plane, row noise and rounding included, DN; None where the picture
        contradicts the declared black level.
    row_noise : Measurement or None
        Standard deviation of the row offsets, DN; None where it cannot be measured.
    black : tuple of Measurement
        Black level of each plane, with the interval that is consistent with the picture, DN.
    flat_blocks : int
        Number of blocks of 8×8 pixels of a plane that were used; overlapping ones count half.
    signal, variance : ndarray, shape (cells,)
        Cells that the line was fitted to: signal above black (DN) and variance (DN²).
    plane : ndarray of int, shape (cells,)
        Index of the plane of each cell.
    spread_percent : float
        Spread of pixel response, or texture, fitted beside the line, percent of the signal.
    cautions : tuple of str
        Limits of the numbers, as sentences for the user.
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
    """Measure the noise from one raw picture of any scene, with 95 % intervals.

    Each plane of the mosaic is divided into blocks of 8×8 pixels.  The noise is measured in the high cosine
    coefficients of those blocks that the *other* planes show to be flat.  Residual texture is estimated from the
    middle coefficients and subtracted.  The curve var = σ² + K·x + (t·x)² is fitted to cells of similar signal x.
    Its error is the larger of the fit's and a jackknife's over 36 regions, plus the uncertainty of the texture.

    Parameters
    ----------
    image : RawImage
        A picture as the camera wrote it: not demosaiced, denoised or lossily compressed.

    Returns
    -------
    PictureNoise
        K, read noise, row noise and black level.

    Raises
    ------
    DataError
        The picture cannot be measured: it is too small, has one level of signal, is clipped, has texture everywhere, or
        was processed.  The message names the reason.

    References
    ----------
    Ponomarenko et al., SPIE 6812, 2008, and Colom, Buades, IPOL 3, 2013, for the cosine transform.  The selection
    by other planes is our own.

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
            f"picture; expected at least {2 * LEAST_SIDE}×{2 * LEAST_SIDE}"
        )
    black = [float(level) for level in image.levels()[0].ravel()]
    ceiling = [float(top) - level for top, level in zip(image.clip_levels().ravel(), black, strict=True)]
    blocks = [block_energies(plane, level) for plane, level in zip(planes, black, strict=True)]
    chosen, cells, line = _settled(blocks, black, ceiling, where)
    processed = traces_of(planes, blocks, chosen, line).reason()
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
    """Alternate between choosing flat blocks by the noise and measuring the noise in them, `ROUNDS` times."""
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
    """Standard errors of a variance line.

    Parameters
    ----------
    gain : float
        Standard error of K, DN/e⁻.
    floor : float
        Standard error of the variance at black, DN².
    texture : float
        Part of `gain` that comes from the uncertainty of texture, DN/e⁻.
    freedom : int
        Degrees of freedom.
    """

    gain: float
    floor: float
    texture: float
    freedom: int


def line_errors(cells: Cells, line: VarianceLine) -> LineErrors:
    """Estimate the standard errors of a line.

    They are the larger of the fit's and of those of a jackknife over regions, plus (in quadrature) half of the change
    without the correction for texture.

    Parameters
    ----------
    cells : Cells
        Sums over flat blocks.
    line : VarianceLine
        The line fitted to them.

    Returns
    -------
    LineErrors
        The errors; infinite if too few regions allow a fit.
    """
    left = [one for region in range(REGIONS**2) if (one := line_of(cells, region)) is not None]
    if len(left) < 3:
        return LineErrors(np.inf, np.inf, 0.0, 1)
    # Leaving out a region without flat blocks does not change the fit; its zero term in the sum is right.
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
    """Return the common line for every plane, or each plane's own line if their gains differ significantly."""
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
    """Return read noise and black level of a plane, and a caution if the declared black level is impossible.

    If the black level is wrong by δ, the floor is σ² − K·δ.  As σ² ≥ 1/12 DN² and light cannot be negative,
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
        caution = (
            f"the declared black level of {black:g} DN is wrong: the picture puts it between {ends[0]:.1f} and "
            f"{ends[1]:.1f} DN"
        )
        return None, level, caution
    level = Measurement(black, float(high - low) / 4, (float(black + low), float(black + high)), "DN")
    # The floor does not include row noise: row offsets do not affect the high coefficients.
    row_error = 2 * row * rows.standard_error if rows is not None else 0.0
    read = root(max(line.floor, ROUNDING) + row**2, float(np.hypot(errors.floor, row_error)), "DN", errors.freedom)
    return read, level, ""


def _clipped(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> float:
    """Return the fraction of blocks at saturation."""
    return float(np.mean([np.mean(each.mean > 0.97 * top) for each, top in zip(blocks, ceiling, strict=True)]))


def _why_nothing(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> str:
    """Return why no line could be fitted, and what to do."""
    clipped = _clipped(blocks, ceiling)
    if clipped > 0.5:
        return f"cannot be measured: {100 * clipped:.0f} % of it is clipped. Take a picture with less exposure"
    levels = np.concatenate([each.mean for each in blocks])
    noise = np.sqrt(np.median(np.concatenate([each.high for each in blocks]))) / SIDE
    if float(np.ptp(np.quantile(levels, [0.02, 0.98]))) < 12 * noise:
        return _one_level(float(np.median(levels)), (noise * SIDE) ** 2)
    return (
        "cannot be measured: it has too few flat parts that are neither clipped nor black. Take a picture with "
        "plain areas of several brightnesses, or flats"
    )


def _one_level(level: float, variance: float) -> str:
    """Return the message for a picture of a single signal level (DN) with its variance (DN²)."""
    bound = f" (only K ≤ {variance / level:.3g} DN/e- is known)" if level > 0 else ""
    return (
        f"has only one level of signal, so gain and read noise cannot be separated{bound}. Add a dark, or take a "
        "scene with light and shade"
    )


def _why_no_gain(cells: Cells, line: VarianceLine, errors: LineErrors) -> str:
    """Return why K is too uncertain, and what to do."""
    count = cells.count.sum(1)
    x = cells.signal.sum(1) / count
    level = float(np.average(x, weights=count))
    if float(np.average(np.abs(x - level), weights=count)) < 0.25 * abs(level):
        return _one_level(level, float(np.average(cells.high.sum(1) / count, weights=count)))
    if line.gain <= 0 or not np.isfinite(errors.gain):
        return (
            "cannot be measured: its variance does not rise with its signal. Is it the raw file of a scene with light?"
        )
    cause = "texture is everywhere" if errors.texture > 0.5 * errors.gain else "its flat parts have too few levels"
    return (
        f"cannot be measured: the error of the gain would be {100 * errors.gain / line.gain:.0f} %, because {cause}. "
        "Take a picture with plain areas of several brightnesses, at a higher ISO, or flats"
    )

"""Measurements of a camera at one ISO from one picture, a pair of pictures, or a dark."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.single_frame.blocks import Blocks, block_energies
from noiseflow.calibrate.single_frame.cells import BLOWN, UNCLIPPED, Chosen, evenly, gather, line_of
from noiseflow.calibrate.single_frame.estimate import LEAST_SIDE, line_errors, measure_picture
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage

__all__ = ["Seen", "dark_noise", "is_dark", "pair_noise", "picture_noise", "same_camera"]

Array = NDArray[np.float64]

DARK_PART = 0.005
"""Fraction of the range above black; a frame whose median signal is lower counts as dark."""

LEAK = 2.0
"""Largest difference between parts of a dark, in standard deviations of a pixel's noise; a larger one is light."""

EVEN, EVEN_ROWS = 16.0, 4.0
"""Twice the expected mean of an even dark's sixteen parts above the lowest: in standard deviations of a pixel over the
root of the number of pixels, and in those of a row over the root of the number of rows."""

MOVED, MOST_MOVED = 1.0, 0.05
"""Difference of a block's means in two frames from which it counts as moved, in standard deviations of a pixel (0.13 is
the usual difference), and the largest fraction of moved blocks."""

ROUNDING = 1 / 12
"""Variance of rounding to whole codes, DN²."""

TAIL_ERROR = 0.02
"""Standard error of a Tukey-lambda shape: real noise does not follow that family exactly."""

SORTED = 400_000
"""Approximate number of pixels used for the shape."""


@dataclass(frozen=True)
class Seen:
    """Measurements at one ISO; None where not measured.

    Parameters
    ----------
    iso : float
        ISO of the frames.
    gain : tuple of (float, float), optional
        K in DN/e⁻, and its relative standard error.
    read : tuple of (float, float), optional
        Read noise in DN (rounding excluded; row noise included, except from a pair), and its relative standard error.
    row : tuple of (float, float), optional
        Row noise in DN, and its relative standard error.
    tail : tuple of (float, float), optional
        Tukey-lambda shape, and its absolute standard error.
    glow : float
        Mean of a dark above its darkest part, DN, beyond what noise explains: shading, or light with noise of its own.
    """

    iso: float
    gain: tuple[float, float] | None = None
    read: tuple[float, float] | None = None
    row: tuple[float, float] | None = None
    tail: tuple[float, float] | None = None
    glow: float = 0.0


def is_dark(image: RawImage) -> bool:
    """Return whether a frame was taken without light, by its median being at the black level."""
    return float(np.median(image.normalised())) < DARK_PART


def picture_noise(image: RawImage) -> Seen:
    """Measure K, read noise and row noise of one illuminated frame, with `measure_picture`.

    Parameters
    ----------
    image : RawImage
        A picture of any scene.

    Returns
    -------
    Seen
        The second plane's numbers, if there is one: G1 of a Bayer mosaic.

    Raises
    ------
    DataError
        The picture cannot be measured.
    """
    found = measure_picture(image)
    gain, read, row = (
        found.gain[min(1, len(found.gain) - 1)],
        found.read_noise[min(1, len(found.gain) - 1)],
        found.row_noise,
    )
    return Seen(
        image.iso or 0.0,
        (gain.value, gain.standard_error / gain.value),
        _relative(read, ROUNDING),
        _relative(row, 0.0),
    )


def _relative(found: Measurement | None, less: float) -> tuple[float, float] | None:
    """Return a standard deviation without the variance `less`, and its relative error; None if it is only a bound."""
    if found is None or found.interval[0] <= 0 or found.value**2 <= less:
        return None
    value = (found.value**2 - less) ** 0.5
    return value, found.value * found.standard_error / value**2


def dark_noise(image: RawImage) -> Seen:
    """Measure read noise, row noise and the shape of the noise from one dark frame.

    Pixel noise is measured in the high cosine coefficients of 8×8 blocks, which shading, rows and columns do not
    affect.  Row noise comes from second differences of the rows' means.  The shape comes from the L-kurtosis, which
    is τ₄ = (λ − 1)(λ − 2)/((λ + 3)(λ + 4)) for a Tukey-lambda distribution.

    Parameters
    ----------
    image : RawImage
        Frame taken with the lens cap on.  Fixed pattern is counted as noise.

    Returns
    -------
    Seen
        Read noise, row noise if it is significant, and shape if the noise exceeds 1 DN.

    Raises
    ------
    DataError
        Light has leaked in, more than 1 % of the codes are 0, the noise is no more than rounding, or the frame is too
        small.

    References
    ----------
    Hosking: L-moments, Journal of the Royal Statistical Society B 52, 1990.
    """
    where = image.source or "dark frame"
    planes, blacks = image.planes(), image.levels()[0].ravel()
    if min(planes.shape[1:]) < LEAST_SIDE:
        raise DataError(
            f"{where}: is a dark of {image.mosaic.shape[1]}×{image.mosaic.shape[0]} pixels, too small; "
            f"expected planes of at least {LEAST_SIDE}×{LEAST_SIDE}"
        )
    pixel, errors, rows, glow = [], [], [], []
    for plane, black in zip(planes, blacks, strict=True):
        if np.mean(plane <= 0) > 0.01:
            raise DataError(
                f"{where}: is a dark clipped at code 0, which hides its noise; use `noiseflow calibrate` without --few"
            )
        blocks = block_energies(plane, float(black))
        # A dark without noise keeps all its blocks and is refused below.
        kept = blocks.high <= BLOWN * np.median(blocks.high)
        high = blocks.high[kept]
        pixel.append(float(high.mean()))
        errors.append(float(high.std() / np.sqrt(0.5 * len(high))))
        rows.append(_rows(plane.astype(np.float64), pixel[-1]))
        glow.append(_glow(where, blocks, pixel[-1], max(rows[-1][0], 0.0)))
    row = float(np.mean([value for value, _ in rows]))
    row_error = float(np.mean([error for _, error in rows])) / np.sqrt(len(rows))
    total = float(np.mean(pixel)) - ROUNDING + max(row, 0.0)
    if total <= 0:
        raise DataError(
            f"{where}: its noise is no more than rounding to whole codes, so the read noise cannot be measured; take a "
            "dark at a higher ISO"
        )
    error = float(np.hypot(np.mean(errors) / np.sqrt(len(errors)), row_error)) / (2 * total)
    seen_row = (row**0.5, row_error / (2 * row)) if row > 2 * row_error else None
    tail = None
    if np.sqrt(np.mean(pixel)) > 1:
        shapes = [_tail(plane, float(np.sqrt(own))) for plane, own in zip(planes, pixel, strict=True) if own > 0]
        tail = float(np.mean(shapes)), TAIL_ERROR
    read = total**0.5, float(np.hypot(error, 0.005))
    return Seen(image.iso or 0.0, None, read, seen_row, tail, float(np.mean(glow)))


def _glow(where: str, blocks: Blocks, variance: float, rows: float = 0.0) -> float:
    """Return the mean of a dark above its darkest part, DN; refuse one with much light or glow."""
    means = blocks.mean.reshape(blocks.grid)
    parts = [np.median(part) for band in np.array_split(means, 4) for part in np.array_split(band, 4, axis=1)]
    sigma = float(np.sqrt(variance))
    if np.ptp(parts) > LEAK * sigma or abs(float(np.median(parts))) > 5 * LEAK * sigma:
        raise DataError(
            f"{where}: this dark contains light or glow (its parts differ by {np.ptp(parts):.1f} DN, and it is "
            f"{np.median(parts):.1f} DN from black, with a noise of {sigma:.1f} DN); cover the lens and the viewfinder"
        )
    height, width = blocks.stride * blocks.grid[0], blocks.stride * blocks.grid[1]
    even = np.hypot(EVEN * sigma / np.sqrt(height * width), EVEN_ROWS * np.sqrt(rows / height))
    return max(0.0, float(np.mean(parts) - np.min(parts) - even))


def _rows(plane: Array, pixel: float) -> tuple[float, float]:
    """Return the variance of row offsets and its error, DN², from second differences of the rows' means."""
    means = plane.mean(1)
    # A second difference cancels linear shading; its squared weights sum to 6.
    squares = np.diff(means, n=2) ** 2 / 6
    squares = squares[squares < 25 * np.median(squares) + 1e-12]
    value = float(squares.mean()) - pixel / plane.shape[1]
    return value, float(squares.mean()) * np.sqrt(2 * 1.94 / len(squares))


def _tail(plane: NDArray[np.generic], sigma: float) -> float:
    """Return the Tukey-lambda shape of a plane's noise, by L-moments, without row offsets and hot pixels."""
    x = plane.astype(np.float64)
    x -= x.mean(1, keepdims=True)
    x = x.ravel()[:: max(1, x.size // SORTED)]
    x = np.sort(x[np.abs(x) < 10 * sigma])
    n = len(x)
    place = np.arange(n) / (n - 1)
    b = [float((x * place**k).mean()) for k in range(4)]
    second, fourth = 2 * b[1] - b[0], 20 * b[3] - 30 * b[2] + 12 * b[1] - b[0]
    ratio = fourth / second
    # (1 − τ)λ² − (3 + 7τ)λ + 2 − 12τ = 0: the smaller root.
    a, half, c = 1 - ratio, (3 + 7 * ratio) / 2, 2 - 12 * ratio
    return float((half - np.sqrt(max(half**2 - a * c, 0.0))) / a)


def pair_noise(first: RawImage, second: RawImage) -> Seen:
    """Measure K and read noise from two frames of one static scene, whose difference contains no texture.

    Parameters
    ----------
    first, second : RawImage
        Two frames of one ISO, exposure time and size.

    Returns
    -------
    Seen
        K, and the read noise (row noise and rounding excluded) if it is significant.

    Raises
    ------
    DataError
        The scene moved, the light changed, or the scene has too few levels of signal.
    """
    where = f"{first.source} and {second.source}"
    blacks, tops = first.levels()[0].ravel(), first.clip_levels().ravel()
    blocks, chosen, moved = [], [], []
    for a, b, black, top in zip(first.planes(), second.planes(), blacks, tops, strict=True):
        apart = (a.astype(np.float32) - b.astype(np.float32)) / np.float32(np.sqrt(2))
        of_difference, of_first = block_energies(apart, 0.0), block_energies(a, float(black))
        mean = of_first.mean - of_difference.mean / np.sqrt(2)
        own = Blocks(
            of_difference.grid,
            of_difference.stride,
            mean,
            of_difference.high,
            of_difference.middle,
            of_difference.active,
        )
        margin = UNCLIPPED * np.sqrt(np.median(own.high) + 1)
        whole = (mean + margin < top - black) & (mean + black > margin)
        index = np.flatnonzero(whole)
        # Compare the difference of each block's mean (of 64 pixels) with the noise of its pixels.
        if len(index):
            moved.append(float(np.mean(np.abs(of_difference.mean[whole]) > MOVED * np.sqrt(own.high[whole]))))
        blocks.append(own)
        chosen.append(Chosen(index, evenly(mean[index])))
    if max(moved, default=0.0) > MOST_MOVED:
        raise DataError(f"{where}: the scene moved or the light changed between the two; give only one of them")
    cells = gather(blocks, chosen)
    line = line_of(cells) if len(cells.plane) else None
    if line is None:
        raise DataError(
            f"{where}: the pair has too few parts that are neither clipped nor black; change the exposure or the scene"
        )
    error = line_errors(cells, line)
    if not 0 < error.gain < 0.12 * line.gain:
        raise DataError(
            f"{where}: the pair has too few levels of signal to measure the gain; take a scene with light and shade"
        )
    floor = line.floor - ROUNDING
    read = (floor**0.5, error.floor / (2 * floor)) if floor > 2 * error.floor else None
    return Seen(first.iso or 0.0, (line.gain, error.gain / line.gain), read)


def same_camera(images: Sequence[RawImage]) -> None:
    """Raise `DataError` if frames differ in camera, colour filter array or white level."""
    for image in images[1:]:
        for what, a, b in (
            ("camera", images[0].camera, image.camera),
            ("colour filter array", images[0].cfa, image.cfa),
            ("white level", images[0].white, image.white),
        ):
            if a != b:
                raise DataError(
                    f"{image.source}: its {what} is {b}, but that of {images[0].source} is {a}; give frames of one "
                    "camera"
                )

"""Denoising of a whole raw photo, tile by tile."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.augment.denoise.lines.offsets import find_line_offsets
from noiseflow.augment.denoise.network import PhotoDenoiser
from noiseflow.augment.denoise.noise_line import NoiseLine
from noiseflow.augment.frames.frame import NoisyFrame
from noiseflow.augment.frames.windows import Window
from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.raw.image import RawImage

__all__ = ["check_photo", "denoise_photo"]

CLOSE = 1e-6
"""Tolerance at the clip level, for rounding to single precision."""

TILE = 512
"""Side of a tile in pixels of a plane, without its margin."""


def check_photo(image: RawImage) -> None:
    """Refuse a frame that the network does not support.

    Raises
    ------
    DataError
        The frame is not a Bayer mosaic; the message names the pattern.
    """
    if image.layout != "bayer":
        raise DataError(
            f"{image.source}: is a {image.pattern} mosaic; expected a Bayer mosaic (RGGB, GRBG, GBRG, BGGR). For other "
            "mosaics, fit a model to noisy pairs (noiseflow fit) and give the run: noiseflow denoise RUN NOISY"
        )


def denoise_photo(
    denoiser: PhotoDenoiser,
    noisy: RawImage,
    noise: NoiseLine,
    *,
    strength: float = 1.0,
    tile: int = TILE,
    progress: Progress = silent,
) -> NoisyFrame:
    """Denoise a raw frame of any size, tile by tile; apart from the frame itself, memory does not grow with its size.

    Strong row and column offsets are estimated over the whole width or height of the frame and subtracted first; see
    `noiseflow.augment.denoise.lines`.

    Parameters
    ----------
    denoiser : PhotoDenoiser
        Network from `load_photo_denoiser` or `shipped_denoiser`.
    noisy : RawImage
        Bayer frame; its levels are kept.  If the height or width is odd, the last row or column keeps its codes.
        Pixels at or above the clip level also keep their codes, because their true value is unknown.
    noise : NoiseLine
        Noise of the frame, from `find_noise`.
    strength : float
        Fraction of the noise to remove, 0 to 1.
    tile : int
        Side of a tile in pixels of a plane.
    progress : Progress
        Called after each tile with the number of pixels done.

    Returns
    -------
    NoisyFrame
        ``image`` in whole DN, without a noise profile, because its noise has changed; ``signal`` neither rounded
        nor clipped.

    Raises
    ------
    DataError
        The frame is not a Bayer mosaic, or the strength is out of range.
    """
    check_photo(noisy)
    if not 0 <= strength <= 1:
        raise DataError(f"strength: expected 0 to 1; got {strength:g}")
    noisy = noisy.levelled()
    black, white = noisy.levels()
    span = white - black
    step = noisy.side
    size = (noisy.mosaic.shape[0] // step, noisy.mosaic.shape[1] // step)
    # An empty signal leaves all codes unchanged, including those of an odd last row or column.
    image = noisy.with_signal(np.empty((len(black), 0, 0)))
    signal = np.empty((len(black), *size), np.float32)
    lines = find_line_offsets(noisy, noise)
    noise = noise if lines is None else lines.noise
    levels = [_of_planes(values) for values in (noise.slope, noise.offset, -black / span)]
    device = next(denoiser.parameters()).device
    clip = (noisy.clip_levels() - black) / span
    for window in _tiles(size, tile):
        whole = window.grown(denoiser.reach, size)
        seen = given = _cut(noisy, whole).normalised().astype(np.float32)
        if lines is not None:
            seen = given - lines.of(slice(whole.top, whole.bottom), slice(whole.left, whole.right))
        with torch.no_grad():
            found = denoiser(torch.from_numpy(seen)[None].to(device), *(each.to(device) for each in levels)).cpu()[0]
        inside = np.s_[:, window.top - whole.top :, window.left - whole.left :]
        before = given[inside][:, : window.height, : window.width]
        after = before + strength * (found.numpy()[inside][:, : window.height, : window.width] - before)
        after = np.where(before >= clip - CLOSE, before, after)
        signal[:, window.top : window.bottom, window.left : window.right] = after
        part = _cut(noisy, window).with_signal(after).mosaic
        rows, columns = (
            slice(step * a, step * b) for a, b in ((window.top, window.bottom), (window.left, window.right))
        )
        image.mosaic[rows, columns] = part
        progress(step**2 * (window.top * size[1] + window.height * window.right), step**2 * size[0] * size[1])
    return NoisyFrame(replace(image, noise_profile=()), signal)


def _tiles(size: tuple[int, int], side: int) -> Iterator[Window]:
    """Tiles in raster order; the last ones in a row or column may be smaller."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            yield Window(top, left, min(side, size[0] - top), min(side, size[1] - left))


def _cut(image: RawImage, window: Window) -> RawImage:
    step = image.side
    rows = slice(step * window.top, step * window.bottom)
    columns = slice(step * window.left, step * window.right)
    return replace(image, mosaic=image.mosaic[rows, columns])


def _of_planes(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32).reshape(1, -1, 1, 1))

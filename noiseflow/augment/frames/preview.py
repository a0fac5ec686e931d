"""Previews: raw frames in a simple sRGB development."""

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from noiseflow.augment.frames.mosaic import demosaic
from noiseflow.augment.frames.write import written_whole
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.ends import sealed_png
from noiseflow.core.output.marks import MARK
from noiseflow.raw.bayer import MONO, plane_names, unpack
from noiseflow.raw.image import RawImage

__all__ = ["check_preview", "develop", "write_preview"]

LARGEST = 4096
"""Largest side in pixels; larger mosaics are developed at half size, one pixel per 2×2 cell."""

BRIGHT = 0.99
"""Quantile of the signal shown as white."""


def develop(image: RawImage) -> NDArray[np.uint8]:
    """Develop a raw frame: black level, white balance, bilinear demosaicing, exposure, sRGB curve.

    The white balance is that of the file, or grey world if the file has none.  Colours are those of the sensor,
    because a raw image has no colour matrix.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        sRGB picture.  A Bayer frame loses an odd last row or column, and has (H//2, W//2) pixels if a side exceeds
        `LARGEST`.  Cells with a larger side s are developed from their mean colours to 2H//s × 2W//s pixels.

    References
    ----------
    IEC 61966-2-1 (sRGB curve); Buchsbaum: A spatial processor model for object colour
    perception, J. Franklin Inst. 1980 (grey world).
    """
    if image.cfa == MONO:
        colour = np.repeat(image.normalised("mono").transpose(1, 2, 0).astype(np.float32), 3, 2)
    elif min(image.mosaic.shape) < image.side:
        raise DataError(
            f"{image.source}: {image.mosaic.shape[0]}×{image.mosaic.shape[1]} pixels; expected at least one whole "
            f"{image.side}×{image.side} cell"
        )
    else:
        colour = _balanced(image)
    white = max(float(np.quantile(colour[:: max(1, len(colour) // 512)], BRIGHT)), 1e-6)
    return (_srgb(np.clip(colour / white, 0, 1)) * 255 + 0.5).astype(np.uint8)


def write_preview(path: str | Path, image: RawImage, *, overwrite: bool = False) -> None:
    """Write a developed frame as a PNG, atomically."""
    path = Path(path)
    check_preview(path, overwrite=overwrite)
    about = PngInfo()
    about.add_text("Software", MARK)
    with writing(path, overwrite=overwrite), written_whole(path, overwrite=overwrite) as partial:
        content = io.BytesIO()
        Image.fromarray(develop(image)).save(content, format="PNG", pnginfo=about)
        partial.write_bytes(sealed_png(content.getvalue()))


def check_preview(path: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a path that `write_preview` would refuse, or that is one of the inputs."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: previews are PNG files; use the suffix .png")
    check_output(path, overwrite=overwrite, inputs=inputs)


def _balanced(image: RawImage) -> NDArray[np.float32]:
    if image.side > 2:
        image = _binned(image)
    planes = image.normalised().astype(np.float32)
    # Clipped highlights have lost their colour and cannot show the colour of the light.
    lit = (planes < 0.98).all(0)
    if image.neutral is not None:
        red, green, blue = image.neutral
    else:
        red, *greens, blue = (max(float(plane[lit].mean()) if lit.any() else 1.0, 1e-6) for plane in planes)
        green = sum(greens) / 2
    gains = np.clip([green / red, 1.0, 1.0, green / blue], 0.25, 4).astype(np.float32)
    # White is the level at which the first colour clips, so that clipped highlights stay neutral.
    planes = np.minimum(planes * gains[:, None, None], gains.min())
    if max(image.mosaic.shape) > LARGEST:
        return np.stack([planes[0], (planes[1] + planes[2]) / 2, planes[3]], 2)
    mosaic = torch.from_numpy(unpack(planes, image.cfa))[None, None]
    colours: NDArray[np.float32] = demosaic(mosaic, image.cfa)[0].permute(1, 2, 0).numpy()
    return colours


def _binned(image: RawImage) -> RawImage:
    """Reduce each cell of a larger colour filter array to one 2×2 Bayer cell with its mean colours."""
    names, planes = plane_names(image.layout), image.normalised()
    red, green, blue = (planes[[name[0] == colour for name in names]].mean(0) for colour in "RGB")
    mosaic = unpack(np.stack([red, green, green, blue]), "RGGB")
    return replace(image, mosaic=mosaic, cfa="RGGB", black=(0.0,) * 4, white=1.0, clip=(), black_map=None)


def _srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply the sRGB transfer function."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

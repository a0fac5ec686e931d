"""A picture to look at: a raw frame, simply developed to sRGB."""

from collections.abc import Iterable
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
from noiseflow.core.output.marks import MARK
from noiseflow.raw.bayer import MONO, unpack
from noiseflow.raw.image import RawImage

__all__ = ["check_preview", "develop", "write_preview"]

LARGEST = 4096
"""Pixels a side beyond which a mosaic is developed at half size, a pixel for each 2×2 cell."""

BRIGHT = 0.99
"""Quantile of the signal that is shown as white."""


def develop(image: RawImage) -> NDArray[np.uint8]:
    """Black level, white balance, bilinear demosaicing, exposure, sRGB curve.

    White balance is the file's, and grey world where it says none.  Colours are the sensor's
    own, since a raw image does not say its matrix.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        An odd last row or column is left out of a Bayer frame; of (H//2, W//2) pixels beyond `LARGEST`.

    References
    ----------
    IEC 61966-2-1 for the curve; Buchsbaum: A spatial processor model for object colour
    perception, J. Franklin Inst. 1980, for grey world.
    """
    if image.cfa == MONO:
        colour = np.repeat(image.normalised("mono").transpose(1, 2, 0).astype(np.float32), 3, 2)
    elif min(image.mosaic.shape) < 2:
        raise DataError(f"{image.source}: {image.mosaic.shape[0]}×{image.mosaic.shape[1]} pixels hold no whole cell")
    else:
        colour = _balanced(image)
    white = max(float(np.quantile(colour[:: max(1, len(colour) // 512)], BRIGHT)), 1e-6)
    return (_srgb(np.clip(colour / white, 0, 1)) * 255 + 0.5).astype(np.uint8)


def write_preview(path: str | Path, image: RawImage, *, overwrite: bool = False) -> None:
    """Write a developed frame as a PNG, which takes its name when it is whole."""
    path = Path(path)
    check_preview(path, overwrite=overwrite)
    about = PngInfo()
    about.add_text("Software", MARK)
    with writing(path, overwrite=overwrite), written_whole(path, overwrite=overwrite) as partial:
        Image.fromarray(develop(image)).save(partial, format="PNG", pnginfo=about)


def check_preview(path: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a file that `write_preview` would refuse, or that is one of the inputs."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: a preview is a PNG; give it the suffix .png")
    check_output(path, overwrite=overwrite, inputs=inputs)


def _balanced(image: RawImage) -> NDArray[np.float32]:
    planes = image.normalised().astype(np.float32)
    # Clipped highlights have lost their colour and do not tell the light's.
    lit = (planes < 0.98).all(0)
    if image.neutral is not None:
        red, green, blue = image.neutral
    else:
        red, *greens, blue = (max(float(plane[lit].mean()) if lit.any() else 1.0, 1e-6) for plane in planes)
        green = sum(greens) / 2
    gains = np.clip([green / red, 1.0, 1.0, green / blue], 0.25, 4).astype(np.float32)
    # White is where the first colour clips, so that clipped light stays neutral.
    planes = np.minimum(planes * gains[:, None, None], gains.min())
    if max(image.mosaic.shape) > LARGEST:
        return np.stack([planes[0], (planes[1] + planes[2]) / 2, planes[3]], 2)
    mosaic = torch.from_numpy(unpack(planes, image.cfa))[None, None]
    colours: NDArray[np.float32] = demosaic(mosaic, image.cfa)[0].permute(1, 2, 0).numpy()
    return colours


def _srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sRGB transfer function."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

"""Clean scenes for simulations: pictures from scikit-image, converted to linear light, and a step wedge."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import data, transform

from noiseflow.raw.bayer import pack, unpack
from noiseflow.raw.patterns import MONO, cell_side

__all__ = ["PICTURES", "WEDGE", "render", "scene_names"]

PICTURES: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "astronaut": data.astronaut,
    "coffee": data.coffee,
    "chelsea": data.chelsea,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "camera": data.camera,
    "rocket": data.rocket,
    "brick": data.brick,
    "grass": data.grass,
}
"""Name → function that loads a picture; all are in the scikit-image wheel, none is downloaded."""

WEDGE = "wedge"
"""Name of the scene with steps and a ramp from black to white."""

WHITE_BALANCE = (0.5, 1.0, 0.65)
"""Response of a typical sensor to a white surface in daylight, in R, G, B."""


def scene_names(count: int) -> tuple[str, ...]:
    """Names of `count` scenes: the wedge, then the pictures, then the same again with other crops and exposures."""
    subjects = (WEDGE, *PICTURES)
    return tuple(f"{index:03d}_{subjects[index % len(subjects)]}" for index in range(count))


def render(name: str, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Render the linear signal of a scene on an RGGB mosaic.

    Parameters
    ----------
    name : str
        Name from `scene_names`.
    size : tuple of int
        (H, W) of the mosaic in pixels, both even.
    rng : numpy Generator
        Source of random numbers for crop, flip and exposure.

    Returns
    -------
    ndarray, shape (H, W)
        Normalised signal, from 0 to 1.
    """
    subject = name.split("_", 1)[1]
    planes = (size[0] // 2, size[1] // 2)
    if subject == WEDGE:
        colour = _wedge(planes)
    else:
        picture = np.asarray(PICTURES[subject]())
        colour = _photograph(picture, planes, rng) * np.exp(rng.uniform(np.log(0.15), np.log(1.0)))
    red, green, blue = (colour[..., channel] * gain for channel, gain in enumerate(WHITE_BALANCE))
    return unpack(np.stack([red, green, green, blue]), "RGGB")


def in_pattern(mosaic: NDArray[Any], cfa: str) -> NDArray[Any]:
    """Convert a rendered scene to the mosaic of a sensor with another colour filter array.

    Each pixel takes the value of its colour from the 2×2 cell of the scene in which it lies.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        RGGB mosaic from `render`, H and W even.
    cfa : str
        The sensor's array at the first pixel; with ``"MONO"`` and ``"RGGB"`` the mosaic is returned unchanged.
    """
    red, green, _, blue = planes = pack(mosaic, "RGGB")
    if cell_side(cfa) == 2:
        return mosaic if cfa == MONO else unpack(planes, cfa)
    full = [np.repeat(np.repeat(colour, 2, 0), 2, 1) for colour in (red, green, blue)]
    side, out = cell_side(cfa), np.empty_like(mosaic)
    for place, colour in enumerate(cfa):
        row, column = divmod(place, side)
        out[row::side, column::side] = full["RGB".index(colour)][row::side, column::side]
    return out


def _photograph(picture: NDArray[np.uint8], planes: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    rgb = np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture[..., :3]
    linear = _linear(rgb / 255.0)
    # Average away the picture's own noise and JPEG blocks before resizing.
    small = transform.downscale_local_mean(linear, (2, 2, 1))
    crop = rng.uniform(0.7, 1.0)
    height, width = (int(crop * length) for length in small.shape[:2])
    top, left = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(small.shape[:2], (height, width), strict=True)
    )
    part = small[top : top + height, left : left + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    resized: NDArray[np.float64] = transform.resize(part, planes, order=1, anti_aliasing=True)
    return np.clip(resized, 0, 1)


def _linear(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the sRGB transfer function (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _wedge(planes: tuple[int, int]) -> NDArray[np.float64]:
    """Sixteen steps in the upper half and a ramp in the lower half, both linear in the square root of the signal."""
    height, width = planes
    ramp = np.linspace(0, 0.95, width) ** 2
    steps = (np.floor(np.linspace(0, 16, width, endpoint=False)) / 16 * 0.95) ** 2
    grey = np.where((np.arange(height) < height // 2)[:, None], steps[None], ramp[None])
    # Divide by the white balance, so that all four planes have the same levels.
    return np.asarray(grey[..., None] / np.array(WHITE_BALANCE))

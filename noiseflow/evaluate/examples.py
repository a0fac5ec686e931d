"""Example patches for the report: clean signal, real noise and sampled noise at the same place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import Survey
from noiseflow.evaluate.metric import DATA, ScoredBatch

__all__ = ["Example", "choose", "crop", "preview"]

BRIGHTNESS = (("dark", 0.1), ("mid", 0.5), ("bright", 0.9))
"""Names of the examples, and the quantile of mean signal near which each is chosen."""

LARGEST = 64
"""Largest height and width of an example, pixels; larger patches are cropped to their centre."""

Pixels = tuple[tuple[float, ...], ...]
Colours = tuple[tuple[tuple[int, int, int], ...], ...]


@dataclass(frozen=True)
class Example:
    """One plane of one patch, DN above black.

    Parameters
    ----------
    name : str
        ``"dark"``, ``"mid"`` or ``"bright"``.
    row : int
        Row number in the store.
    camera, scene, plane : str
        Names of the camera, the scene and the plane shown.
    iso : float
        ISO of the patch.
    clean_variance : float
        Variance of the clean estimate as a fraction of the noise variance.
    clean : tuple of tuple of float
        Clean signal, row by row, DN above black.
    noise : mapping of str to tuple of tuple of float
        Noise of each source, DN.  The real noise is divided by √(1 + clean_variance), as for the models.
    srgb : mapping of str to tuple of tuple of (int, int, int)
        Colour previews, 0 to 255: of the clean patch (``"clean"``), of the real noisy patch and of each sampled
        one; empty for layouts other than Bayer.
    """

    name: str
    row: int
    camera: str
    iso: float
    scene: str
    plane: str
    clean_variance: float
    clean: Pixels = field(repr=False)
    noise: Mapping[str, Pixels] = field(repr=False)
    srgb: Mapping[str, Colours] = field(repr=False)


def choose(survey: Survey) -> dict[int, str]:
    """Choose a dark, a mid and a bright patch, each with an accurate clean signal and much texture.

    Parameters
    ----------
    survey : Survey
        Summary of the patches.

    Returns
    -------
    dict of int to str
        Name of the example by its row in the store.
    """
    order = np.argsort(survey.brightness, kind="stable")
    chosen: dict[int, str] = {}
    for name, quantile in BRIGHTNESS:
        reach = max(len(order) // 20, 1)
        start = min(max(round(quantile * (len(order) - 1)) - reach // 2, 0), len(order) - reach)
        near = order[start : start + reach]
        best = near[np.lexsort((-survey.texture[near], survey.clean_variance[near]))[0]]
        chosen.setdefault(int(survey.rows[best]), name)
    return chosen


def crop(batch: ScoredBatch, index: int, plane: int) -> tuple[Pixels, dict[str, Pixels]]:
    """Return clean signal and noise of one plane of a patch, in DN rounded to 0.001.

    Parameters
    ----------
    batch : ScoredBatch
        The batch.
    index, plane : int
        Position of the patch in the batch, and index of the plane.

    Returns
    -------
    clean : tuple of tuple of float
        Clean signal, DN above black.
    noise : dict of str to tuple of tuple of float
        Noise of each source, DN.
    """
    scale = batch.scale_dn[index, plane]
    window = (index, plane, *_middle(batch))
    clean, *noises = (_pixels(image[window].double().numpy() * scale) for image in (batch.clean, *batch.noise.values()))
    return clean, dict(zip(batch.noise, noises, strict=True))


def _middle(batch: ScoredBatch) -> tuple[slice, slice]:
    """Return the slices of the central `LARGEST`×`LARGEST` pixels."""
    height, width = batch.clean.shape[2:]
    top, left = max(height - LARGEST, 0) // 2, max(width - LARGEST, 0) // 2
    return slice(top, top + LARGEST), slice(left, left + LARGEST)


def preview(batch: ScoredBatch, index: int) -> dict[str, Colours]:
    """Render a Bayer patch in colour: clean, with the real noise, and with each sampled noise.

    All share the grey-world white balance and the exposure of the clean patch, and the sRGB curve.

    Parameters
    ----------
    batch : ScoredBatch
        A batch with planes R, G1, G2, B.
    index : int
        Position of the patch in the batch.

    Returns
    -------
    dict of str to tuple of tuple of (int, int, int)
        sRGB pixels, 0 to 255, of ``"clean"`` and of each source.
    """
    rows, columns = _middle(batch)
    clean = batch.clean[index, :, rows, columns].double().numpy()
    spread = math.sqrt(1 + batch.clean_variance[index])
    noisy = {
        name: clean + noise[index, :, rows, columns].double().numpy() * (spread if name == DATA else 1.0)
        for name, noise in batch.noise.items()
    }
    linear = {name: _linear_rgb(planes) for name, planes in {"clean": clean, **noisy}.items()}
    means = np.maximum(linear["clean"].mean((0, 1)), 1e-6)
    balance = means[1] / means
    exposure = 0.8 / max(float(np.quantile(linear["clean"] * balance, 0.99)), 1e-6)
    return {name: _srgb(image * balance * exposure) for name, image in linear.items()}


def _linear_rgb(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    red, green1, green2, blue = planes
    return np.stack([red, (green1 + green2) / 2, blue], 2)


def _srgb(linear: NDArray[np.float64]) -> Colours:
    """Apply the sRGB curve (IEC 61966-2-1) to linear values, and return integers from 0 to 255."""
    linear = linear.clip(0.0, 1.0)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(
        tuple((int(r), int(g), int(b)) for r, g, b in row) for row in (255 * curve).round().astype(int).tolist()
    )


def _pixels(image: NDArray[np.float64]) -> Pixels:
    return tuple(tuple(row) for row in image.round(3).tolist())

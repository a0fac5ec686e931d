"""A few patches to look at: clean, real and sampled at the same place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import Survey
from noiseflow.evaluate.metric import DATA, ScoredBatch

__all__ = ["Example", "choose", "crop", "preview"]

BRIGHTNESS = (("dark", 0.1), ("mid", 0.5), ("bright", 0.9))
"""Names of the examples, and the quantile of mean signal that each is taken near."""

LARGEST = 64
"""Pixels a side of an example; of larger patches the middle is shown."""

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
        Names of the camera, the scene and the plane that is shown.
    iso : float
        ISO of the patch.
    clean_variance : float
        Variance of the clean signal as an estimate, as a fraction of the noise's.
    clean : tuple of tuple of float
        Pixels, row by row.
    noise : mapping of str to tuple of tuple of float
        Per source; the real noise as models see it, divided by √(1 + clean_variance).
    srgb : mapping of str to tuple of tuple of (int, int, int)
        Preview in colour of the clean patch (``"clean"``), the real noisy and each sampled
        one, 0…255; empty where there are no colours.
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
    """Rows of the store for the examples: dark, mid and bright, each with an accurate clean signal and texture."""
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
    """Clean signal and noise of one plane of a patch, DN above black, to a thousandth."""
    scale = batch.scale_dn[index, plane]
    window = (index, plane, *_middle(batch))
    clean, *noises = (_pixels(image[window].double().numpy() * scale) for image in (batch.clean, *batch.noise.values()))
    return clean, dict(zip(batch.noise, noises, strict=True))


def _middle(batch: ScoredBatch) -> tuple[slice, slice]:
    height, width = batch.clean.shape[2:]
    top, left = max(height - LARGEST, 0) // 2, max(width - LARGEST, 0) // 2
    return slice(top, top + LARGEST), slice(left, left + LARGEST)


def preview(batch: ScoredBatch, index: int) -> dict[str, Colours]:
    """A patch of planes R, G1, G2, B in colour: the clean one, the real and each sampled noisy one.

    Grey-world balance and brightness are those of the clean patch; then the sRGB curve.
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
    """IEC 61966-2-1, as bytes."""
    linear = linear.clip(0.0, 1.0)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(
        tuple((int(r), int(g), int(b)) for r, g, b in row) for row in (255 * curve).round().astype(int).tolist()
    )


def _pixels(image: NDArray[np.float64]) -> Pixels:
    return tuple(tuple(row) for row in image.round(3).tolist())

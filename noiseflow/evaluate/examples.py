"""A few patches to look at: clean, real and sampled at the same place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.drawing import Plate, canvas, plate
from noiseflow.evaluate.metric import DATA, ScoredBatch
from noiseflow.evaluate.survey import Survey
from noiseflow.evaluate.words import cell_name

__all__ = ["Example", "choose", "crop", "draw"]

BRIGHTNESS = (("dark", 0.1), ("mid", 0.5), ("bright", 0.9))
"""Names of the examples, and the quantile of mean signal that each is taken near."""

LARGEST = 64
"""Pixels a side of an example; of larger patches the middle is shown."""

Pixels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Example:
    """One plane of one patch, DN above black.

    Parameters
    ----------
    name : str
        ``"dark"``, ``"mid"`` or ``"bright"``.
    row : int
        Of the store.
    camera, scene, plane : str
    iso : float
    clean_variance : float
        Of the clean signal as an estimate, as a part of the noise's.
    clean : tuple of tuple of float
        Pixels, row by row.
    noise : mapping of str to tuple of tuple of float
        Per source; the real noise as models see it, divided by √(1 + clean_variance).
    """

    name: str
    row: int
    camera: str
    iso: float
    scene: str
    plane: str
    clean_variance: float
    clean: Pixels
    noise: Mapping[str, Pixels]


def choose(survey: Survey) -> dict[int, str]:
    """Row of the store → name of the example: dark, mid and bright, well known and with much to see."""
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
    height, width = batch.clean.shape[2:]
    top, left = max(height - LARGEST, 0) // 2, max(width - LARGEST, 0) // 2
    window = (index, plane, slice(top, top + LARGEST), slice(left, left + LARGEST))
    clean, *noises = (_pixels(image[window].double().numpy() * scale) for image in (batch.clean, *batch.noise.values()))
    return clean, dict(zip(batch.noise, noises, strict=True))


def _pixels(image: NDArray[np.float64]) -> Pixels:
    return tuple(tuple(row) for row in image.round(3).tolist())


def draw(examples: Sequence[Example], tested: str) -> list[Plate]:
    """A figure for each: clean, real, sampled; below, the real and sampled noise alone."""
    return [_draw(example, tested) for example in examples]


def _draw(example: Example, tested: str) -> Plate:
    clean = np.array(example.clean)
    real, sampled = (np.array(example.noise[name]) for name in (DATA, tested))
    frame = clean + real * math.sqrt(1 + example.clean_variance)
    low, high = np.quantile(np.concatenate([clean, frame]), (0.005, 0.995))
    reach = 3 * max(float(real.std()), 1e-6)
    with canvas(height=3.1, width=4.2) as figure:
        (top, bottom) = figure.subplots(2, 3)
        for ax, title, image in zip(top, ("clean", "real", "sampled"), (clean, frame, clean + sampled), strict=True):
            grey = ax.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax, title, image in zip(bottom[1:], ("real noise", "sampled noise"), (real, sampled), strict=True):
            colour = ax.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax in (*top, *bottom):
            ax.set_axis_off()
        figure.colorbar(grey, ax=top, shrink=0.9, aspect=12, pad=0.02).set_label("signal, DN")
        figure.colorbar(colour, ax=bottom, shrink=0.9, aspect=12, pad=0.02).set_label("noise, DN")
        estimated = (
            f"The clean signal is an estimate of {example.clean_variance:.2g} × the noise’s variance, which the "
            "sampled picture has on top of its own: compare the noises below. "
            if example.clean_variance > 0
            else ""
        )
        where = f"{cell_name(example.camera, example.iso)}, scene {example.scene}, patch {example.row}"
        return plate(
            figure,
            title=f"{example.name.capitalize()}: {clean.mean():.0f} DN, σ {real.std():.3g} DN",
            alt=f"{example.name} patch: clean, real noisy and sampled noisy signal, and both noises alone",
            caption=f"Plane {example.plane}, sampled by {tested}; one grey scale above, one colour scale below, DN "
            f"above black. Good: nobody can tell real from sampled. {estimated}{where}.",
            pixels=True,
        )

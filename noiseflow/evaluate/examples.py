"""A few patches to look at: clean, real and sampled at the same place."""

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
    clean : tuple of tuple of float
        Pixels, row by row.
    noise : mapping of str to tuple of tuple of float
        Per source.
    """

    name: str
    row: int
    camera: str
    iso: float
    scene: str
    plane: str
    clean: Pixels
    noise: Mapping[str, Pixels]


def choose(survey: Survey) -> dict[int, str]:
    """Row of the store → name of the example: dark, mid and bright, each with much to see in it."""
    order = np.argsort(survey.brightness, kind="stable")
    chosen: dict[int, str] = {}
    for name, quantile in BRIGHTNESS:
        reach = max(len(order) // 20, 1)
        start = min(max(round(quantile * (len(order) - 1)) - reach // 2, 0), len(order) - reach)
        near = order[start : start + reach]
        chosen.setdefault(int(survey.rows[near[np.argmax(survey.texture[near])]]), name)
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
    low, high = np.quantile(np.concatenate([clean, clean + real]), (0.005, 0.995))
    reach = 3 * max(float(real.std()), 1e-6)
    with canvas(height=4.1, width=4.8) as figure:
        grid = figure.subplots(2, 3)
        panels = (("clean", clean), ("real", clean + real), (f"{tested}", clean + sampled))
        for ax, (title, image) in zip(grid[0], panels, strict=True):
            grey = ax.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax, (title, image) in zip(grid[1, 1:], (("real noise", real), ("sampled noise", sampled)), strict=True):
            colour = ax.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax in grid.flat:
            ax.set_xticks([])
            ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set_visible(False)
        figure.colorbar(grey, ax=grid[0], shrink=0.9, aspect=14, pad=0.02).set_label("signal, DN")
        figure.colorbar(colour, ax=grid[1], shrink=0.9, aspect=14, pad=0.02).set_label("noise, DN")
        where = cell_name(example.camera, example.iso)
        grid[1, 0].text(
            0.0, 0.5, f"{where}\nplane {example.plane}\n{clean.mean():.0f} DN\nσ {real.std():.3g} DN",
            transform=grid[1, 0].transAxes, va="center", fontsize=8, wrap=True,
        )  # fmt: skip
        return plate(
            figure,
            title=f"{example.name.capitalize()} patch",
            alt=f"{example.name} patch: clean, real noisy and sampled noisy signal, and both noises alone",
            caption=f"{where}, scene {example.scene}, patch {example.row}, plane {example.plane}; one grey scale above, one "
            "colour scale below, DN above black. Good: nobody can tell real from sampled.",
            pixels=True,
        )

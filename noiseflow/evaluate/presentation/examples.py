"""Figures of the patches to look at: clean, real and sampled at the same place."""

import math
from collections.abc import Sequence

import numpy as np

from noiseflow.evaluate.examples import Example
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.presentation.figures import Plate, canvas, plate
from noiseflow.evaluate.presentation.formatting import cell_name

__all__ = ["draw_examples"]

TITLES = ("clean", "real", "sampled")
IN_COLOUR = "Top: all planes as sRGB, grey-world balance, brightness of the clean patch. "


def draw_examples(examples: Sequence[Example], tested: str) -> list[Plate]:
    """A figure for each: clean, real, sampled; below, the real and sampled noise alone."""
    return [_draw(example, tested) for example in examples]


def _draw(example: Example, tested: str) -> Plate:
    clean = np.array(example.clean)
    real, sampled = (np.array(example.noise[name]) for name in (DATA, tested))
    frame = clean + real * math.sqrt(1 + example.clean_variance)
    low, high = np.quantile(np.concatenate([clean, frame]), (0.005, 0.995))
    reach = 3 * max(float(real.std()), 1e-6)
    in_colour = bool(example.srgb)
    with canvas(height=4.5 if in_colour else 3.1, width=4.2) as figure:
        panels = figure.subplots(3 if in_colour else 2, 3)
        if in_colour:
            for ax, title, name in zip(panels[0], TITLES, ("clean", DATA, tested), strict=True):
                ax.imshow(np.array(example.srgb[name], np.uint8), interpolation="none")
                ax.set_title(f"{title}, sRGB" if title == "clean" else title, fontsize=9)
        (top, bottom) = panels[-2:]
        for ax, title, image in zip(top, TITLES, (clean, frame, clean + sampled), strict=True):
            grey = ax.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="none")
            ax.set_title(f"{title}, {example.plane}" if title == "clean" else title, fontsize=9)
        for ax, title, image in zip(bottom[1:], ("real noise", "sampled noise"), (real, sampled), strict=True):
            colour = ax.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax in panels.ravel():
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
            caption=f"Sampled by {tested}. {IN_COLOUR if in_colour else ''}Plane {example.plane} in grey, its noise "
            f"below, DN above black, one scale each. Good: nobody can tell real from sampled. {estimated}{where}.",
            pixels=True,
        )

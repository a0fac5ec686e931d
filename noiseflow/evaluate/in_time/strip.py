"""A picture that does not move of noise that does: one row of pixels, time downwards."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import DATA

__all__ = ["strip"]

RANGE = 4.0
"""σ of the data that are shown to each side of 0; black is below, white above."""

ZOOM = 4
"""Pixels of the picture for one of the sensor."""

GAP = 3
"""Frames of white between the data and each model."""


def strip(measured: MeasuredSequences) -> bytes:
    """PNG of the middle row of the tiles, side by side: the data above, each model below, frame under frame.

    What stays is a vertical line, what a whole frame shares a horizontal one.

    Parameters
    ----------
    measured : MeasuredSequences
        Real noise and samples.
    """
    sigma = float(measured.noise[DATA].double().square().mean().sqrt())
    panels: list[NDArray[np.uint8]] = []
    for noise in measured.noise.values():
        row = noise[:, :, 0, noise.shape[3] // 2].transpose(0, 1).flatten(1).numpy() / sigma
        shown = np.clip((row / RANGE + 1) * 127.5, 0, 255).astype(np.uint8)
        panels += [shown, np.full((GAP, shown.shape[1]), 255, np.uint8)]
    picture = Image.fromarray(np.concatenate(panels[:-1]))
    out = io.BytesIO()
    picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()

"""Still picture of a sequence: one row of pixels, with time running downwards."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import DATA

__all__ = ["strip"]

RANGE = 4.0
"""Noise shown as black and white: −RANGE and +RANGE, in σ of the data."""

ZOOM = 4
"""Pixels of the picture per pixel of the sensor."""

GAP = 3
"""Height of the white gap between two panels, in frames."""


def strip(measured: MeasuredSequences) -> bytes:
    """Draw the middle row of all tiles side by side, one frame below the other: the data first, then each model.

    Fixed pattern appears as vertical lines, and offsets of whole frames as horizontal lines.

    Parameters
    ----------
    measured : MeasuredSequences
        Real and sampled noise.

    Returns
    -------
    bytes
        PNG of the picture.
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

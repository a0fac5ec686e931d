"""Noise on whole frames of any size."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.raw.image import RawImage

__all__ = ["NoisyFrame", "sample_frame"]


@dataclass(frozen=True, eq=False)
class NoisyFrame:
    """A frame with noise drawn for it.

    Parameters
    ----------
    image : RawImage
        Whole DN, clipped to [0, white], as the camera would have stored it.
    signal : ndarray of float32, shape (C, H//2, W//2)
        The same before rounding and clipping, normalised.
    """

    image: RawImage
    signal: NDArray[np.float32]


def sample_frame(
    model: NoiseModel,
    clean: RawImage,
    *,
    iso: float | None = None,
    camera: str | None = None,
    seed: int = 0,
    temperature: float = 1.0,
) -> NoisyFrame:
    """Draw noise for a clean frame.

    Parameters
    ----------
    model : NoiseModel
    clean : RawImage
        Of any size; its levels are kept.  Of an odd height or width, the last row or
        column keeps its codes.
    iso : float, optional
        The frame's own if None.
    camera : str, optional
        The frame's own, or the model's only one, if None.
    seed : int
        The same seed gives the same noise on the same machine.
    temperature : float
        1 is the fitted density.

    Raises
    ------
    ModelError
        If the model knows no such camera, or has other planes.
    DataError
        If neither the frame nor the call says the ISO.
    """
    layout = model.spec.layout
    if (layout == "bayer") != (clean.layout == "bayer"):
        raise ModelError(f"{clean.source}: a {clean.cfa} frame, but the model was fitted on {layout!r} planes")
    if camera is None:
        camera = model.cameras[0] if len(model.cameras) == 1 else clean.camera
    iso = iso or clean.iso
    if iso is None:
        raise DataError(f"{clean.source}: the file does not say its ISO; give it with --iso")
    signal = torch.from_numpy(clean.normalised(layout)).to(torch.float32)[None]
    generator = torch.Generator().manual_seed(seed)
    noise = model.sample(Conditions(signal, iso, camera), generator, temperature)
    noisy: NDArray[np.float32] = (signal + noise)[0].numpy()
    return NoisyFrame(clean.with_signal(noisy, iso=iso), noisy)

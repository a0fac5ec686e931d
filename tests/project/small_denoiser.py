"""A photo denoiser that is quick to build, and a frame for it."""

import numpy as np
import torch
from builders import noisy_mosaic

from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec


def network(seed: int = 0) -> PhotoDenoiser:
    """A small network that is not the identity."""
    made = PhotoDenoiser(PhotoDenoiserSpec((6, 8, 8), 1, seed)).eval()
    with torch.no_grad():
        made.leave.weight.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
    return made


def ramp(height: int = 64, width: int = 96) -> np.ndarray:
    """Codes of a ramp to white by the camera of `builders`."""
    signal = np.linspace(20, 1000, width)[None].repeat(height, 0)
    return noisy_mosaic(signal, np.random.default_rng(0))

"""What is drawn from each source of noise, on the training pictures at the camera's highest ISO."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from tools.denoising.cameras import Sensor
from tools.denoising.sources import source

__all__ = ["Moments", "moments"]

DARK, BRIGHT = 0.1, 0.99
"""Quantiles of the clean signal, below and above which it is called so."""


@dataclass(frozen=True)
class Moments:
    """Of noisy − clean, in DN.

    Parameters
    ----------
    dark_dn, bright_dn : float
        Standard deviation where the signal is darkest and brightest.
    kurtosis : float
        Excess kurtosis in the dark; 0 for a Gaussian.
    row_dn : float
        Standard deviation of the means of a plane's rows.
    """

    dark_dn: float
    bright_dn: float
    kurtosis: float
    row_dn: float


def moments(camera: Sensor, noise: str, seed: int = 5, batch: int = 4) -> Moments:
    """Moments of the noise of that name.

    Parameters
    ----------
    batch : int
        Pictures drawn at once.
    """
    clean, expose, iso = camera.train(), source(camera, noise), float(max(camera.isos))
    parts = enumerate(torch.from_numpy(clean).split(batch), seed)
    noisy = torch.cat([expose(part, torch.full((len(part),), iso), each) for each, part in parts])
    error = (noisy.numpy().astype(np.float64) - clean) * (camera.white - camera.black)
    dark, bright = np.quantile(clean, (DARK, BRIGHT))
    in_the_dark = error[clean <= dark]
    return Moments(
        dark_dn=float(in_the_dark.std()),
        bright_dn=float(error[clean >= bright].std()),
        kurtosis=float(stats.kurtosis(in_the_dark)),
        row_dn=float(error.mean(-1).std()),
    )

"""Noise of cameras that nobody has built: drawn from the prior over cameras, with what else raw files hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from noiseflow.calibrate.prior.few_shot import sample_camera
from noiseflow.simulate.physics import tukey_lambda_variance

__all__ = ["DrawnCameras", "NoisyCrops", "add_noise", "camera_table", "draw_cameras"]

Array = NDArray[np.float64]

CAMERAS = 2048
"""Cameras that a training draws from, each at one ISO."""

ISOS = (100.0, 25600.0)

BITS = (14, 14, 14, 12, 12, 10)
"""Of the converter; one is drawn."""

PARTS = ("tails", "rows", "columns", "pattern", "hot")

NORMAL = 0.14
"""Shape of Tukey's lambda that is nearly normal."""

STRONG, STRONGEST = 0.35, 5.0
"""Part of the cameras whose rows are stronger than the prior finds likely, and by how much at most."""

COLD, LEAST_COLD, MOST_COLD = 0.5, 0.002, 40.0
"""Pixels that are too dark, for each hot one; by how much of the range at least, and how many times that at most."""

COLUMNS = (0.03, 0.4)
"""Noise of columns against that of pixels, where there is any."""

LINE_ERROR = 0.05
"""Relative error, one σ, of the noise level that the network is given."""


@dataclass(frozen=True, eq=False)
class DrawnCameras:
    """Cameras at one ISO each; every value has shape (B, 1, 1, 1), noise in units of the range from black to white.

    Parameters
    ----------
    electrons : Tensor
        Electrons that fill the range.
    scale, shape : Tensor
        Scale and shape of the Tukey-lambda read noise of pixels.
    sigma : Tensor
        Its standard deviation.
    row, drift, column : Tensor
        Standard deviations of the offset of a row, of its part that goes on from row to row, and of a column.
    dark, response : Tensor
        Standard deviations of the fixed offset of a pixel, and of its relative response.
    hot : Tensor
        Fraction of the pixels that are hot.
    step : Tensor
        One code.
    floor : Tensor
        Code 0.
    """

    electrons: Tensor
    scale: Tensor
    shape: Tensor
    sigma: Tensor
    row: Tensor
    drift: Tensor
    column: Tensor
    dark: Tensor
    response: Tensor
    hot: Tensor
    step: Tensor
    floor: Tensor

    def line(self) -> tuple[Tensor, Tensor]:
        """β₁ and β₂ of the variance β₁·x + β₂, (B, 1, 1, 1), rounding included."""
        parts = (self.sigma, self.row, self.drift, self.column, self.dark)
        return 1 / self.electrons, sum((part.square() for part in parts), self.step.square() / 12)


@dataclass(frozen=True, eq=False)
class NoisyCrops:
    """What a network is trained on: shapes (B, 4, H, W), and (B, 4, 1, 1) of the last three."""

    clean: Tensor
    noisy: Tensor
    slope: Tensor
    offset: Tensor
    floor: Tensor


@cache
def camera_table(first_seed: int, count: int = CAMERAS) -> Array:
    """Cameras from the prior: electrons that fill the range, read noise e⁻, row noise e⁻, Tukey shape; (count, 4).

    Parameters
    ----------
    first_seed : int
        Camera n is ``sample_camera(first_seed + n)`` at an ISO even in its logarithm.
    count : int
        Number of cameras.
    """
    low, high = np.log(ISOS)
    isos = np.exp(np.random.default_rng(first_seed).uniform(low, high, count))
    rows = []
    for seed, iso in enumerate(isos, first_seed):
        at = sample_camera(seed, [float(iso)]).settings[0].estimates
        gain, full, row = (at[name].value for name in ("gain_dn_per_e", "saturation_e", "row_noise_dn"))
        read, shape = at["read_noise_e"].value, at["tukey_shape"].value
        rows.append((full, read, row / gain, shape))
    return np.asarray(rows)


@cache
def _unit_sigma(shape: float) -> float:
    return math.sqrt(tukey_lambda_variance(shape))


def draw_cameras(rng: np.random.Generator, count: int, table: Array, only: Sequence[str] | None = None) -> DrawnCameras:
    """Cameras of a table with a converter, lines, a fixed pattern and hot pixels.

    Parameters
    ----------
    rng : numpy Generator
        Source of the random numbers.
    count : int
        Number of cameras.
    table : ndarray, shape (N, 4)
        From `camera_table`.
    only : sequence of str, optional
        Parts besides shot and normal read noise that are drawn, of `PARTS`; all if None.
    """
    parts = PARTS if only is None else only
    full, read, row, shape = table[rng.integers(len(table), size=count)].T
    shape = shape if "tails" in parts else np.full(count, NORMAL)
    row = np.minimum(row, 0.9 * read)
    pixel = np.sqrt(read**2 - row**2)
    strong = np.exp(rng.uniform(0, math.log(STRONGEST), count) * (rng.random(count) < STRONG))
    row = np.minimum(row * strong, 1.2 * pixel) * ("rows" in parts)
    drift = row * rng.uniform(0, 1, count) * (rng.random(count) < 0.3)
    low, high = np.log(COLUMNS)
    column = pixel * np.exp(rng.uniform(low, high, count)) * (rng.random(count) < 0.4) * ("columns" in parts)
    dark = pixel * rng.uniform(0, 0.4, count) * (rng.random(count) < 0.4) * ("pattern" in parts)
    response = 10 ** rng.uniform(-3, -1.8, count) * ("pattern" in parts)
    hot = 10 ** rng.uniform(-6, -3.3, count) * (rng.random(count) < 0.5) * ("hot" in parts)
    bits = np.asarray(BITS)[rng.integers(len(BITS), size=count)]
    black = np.where(rng.random(count) < 0.1, 0.0, 1 / 32)
    step = 1 / (2.0**bits * (1 - black))
    sigma = np.array([_unit_sigma(round(float(each), 2)) for each in shape])
    e = 1 / full
    noise = (full, pixel * e / sigma, np.round(shape, 2), pixel * e, row * e, drift * e, column * e, dark * e)
    values = (*noise, response, hot, step, -black / (1 - black))
    return DrawnCameras(*(torch.from_numpy(np.asarray(each, np.float32))[:, None, None, None] for each in values))


def add_noise(
    clean: Tensor, cameras: DrawnCameras, generator: torch.Generator, jitter: float = LINE_ERROR
) -> NoisyCrops:
    """Photons, read noise, lines, pattern, hot pixels, rounding and clipping; the noise level is stated with an error.

    Parameters
    ----------
    clean : Tensor, shape (B, 4, H, W)
        Clean planes, 0 to 1.
    cameras : DrawnCameras
        A camera each.
    generator : torch.Generator
        Source of the noise.
    jitter : float
        Relative standard deviation of the stated noise level.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    count, planes, height, width = clean.shape
    seen = clean * (1 + cameras.response * normal(*clean.shape))
    hot = torch.rand(clean.shape, generator=generator) / cameras.hot.clamp(min=1e-12)
    seen = (seen + torch.where(hot < 1, -hot.clamp(min=1e-6).log() * 0.1, 0)).clamp(min=0)
    noisy = torch.poisson(seen * cameras.electrons, generator=generator) / cameras.electrons
    noisy = noisy + cameras.scale * tukey(cameras.shape, clean.shape, generator)
    noisy = noisy + cameras.dark * normal(*clean.shape)
    noisy = noisy - torch.where((hot >= 1) & (hot < 1 + COLD), LEAST_COLD * MOST_COLD ** ((hot - 1) / COLD), 0)
    rows = cameras.row * normal(count, 1, 2 * height, 1) + cameras.drift * drifting(count, 2 * height, generator)
    noisy = noisy + rows.reshape(count, height, 2).movedim(2, 1)[..., None].repeat_interleave(2, 1)
    columns = cameras.column * normal(count, 2, 1, width)
    noisy = noisy + columns.repeat(1, 2, 1, 1)
    noisy = torch.maximum((noisy / cameras.step).round() * cameras.step, cameras.floor).clamp(max=1)
    slope, offset = cameras.line()
    common, own = normal(count, 1, 1, 1), normal(count, planes, 1, 1)
    told = (jitter * common + 0.5 * jitter * own).exp().square()
    return NoisyCrops(clean, noisy, slope * told, offset * told, cameras.floor.expand(-1, planes, -1, -1))


def tukey(shape: Tensor, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Tukey's lambda distribution of scale 1, shape of `size`: (u^λ − (1 − u)^λ)/λ."""
    u = torch.rand(size, generator=generator).clamp(1e-7, 1 - 1e-7)
    low, high = u.log(), (-u).log1p()
    flat = shape.abs() < 1e-3
    power = torch.where(flat, torch.ones_like(shape), shape)
    drawn: Tensor = torch.where(flat, low - high, ((power * low).expm1() - (power * high).expm1()) / power)
    return drawn


def drifting(count: int, rows: int, generator: torch.Generator) -> Tensor:
    """Offsets of variance 1 that go on over some eight rows, (count, 1, rows, 1): a moving mean of white noise."""
    over = 16
    white = torch.randn(count, 1, rows + over - 1, generator=generator)
    moving: Tensor = F.avg_pool1d(white, over, stride=1)[..., None] * over**0.5
    return moving

"""Noise of random cameras: drawn from the prior over cameras, with lines, fixed pattern and hot pixels added."""

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
"""Number of cameras that a training draws from, each at one ISO."""

ISOS = (100.0, 25600.0)

BITS = (14, 14, 14, 12, 12, 10)
"""Bit depths of the converter; one is drawn."""

PARTS = ("tails", "rows", "columns", "pattern", "hot")

NORMAL = 0.14
"""Shape of Tukey's lambda distribution that is nearly normal."""

STRONG, STRONGEST = 0.35, 5.0
"""Fraction of the cameras with stronger row noise than the prior gives, and the largest factor."""

COLD, LEAST_COLD, MOST_COLD = 0.5, 0.002, 40.0
"""Cold pixels per hot one; their smallest deficit as a fraction of the range, and largest deficit over smallest."""

COLUMNS = (0.03, 0.4)
"""Range of the column noise σ relative to that of pixels, for cameras with column noise."""

LINE_ERROR = 0.05
"""Relative error of the stated noise σ given to the network, one standard deviation."""


@dataclass(frozen=True, eq=False)
class DrawnCameras:
    """Cameras at one ISO each; all tensors have the shape (B, 1, 1, 1), noise is in units of white − black.

    Parameters
    ----------
    electrons : Tensor
        Number of electrons at white.
    scale, shape : Tensor
        Scale and shape of the pixels' Tukey-lambda read noise.
    sigma : Tensor
        Standard deviation of that read noise.
    row, drift, column : Tensor
        Standard deviations of the independent row offsets, of row offsets that drift over rows, and of column offsets.
    dark, response : Tensor
        Standard deviations of a pixel's fixed offset and of its relative response.
    hot : Tensor
        Fraction of hot pixels.
    step : Tensor
        Width of one code.
    floor : Tensor
        Normalised signal of code 0.
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
        """Coefficients β₁ and β₂ of the variance β₁·x + β₂, (B, 1, 1, 1), including rounding."""
        parts = (self.sigma, self.row, self.drift, self.column, self.dark)
        return 1 / self.electrons, sum((part.square() for part in parts), self.step.square() / 12)


@dataclass(frozen=True, eq=False)
class NoisyCrops:
    """Training data of the network: clean and noisy crops, (B, 4, H, W); β₁, β₂ and code 0, (B, 4, 1, 1)."""

    clean: Tensor
    noisy: Tensor
    slope: Tensor
    offset: Tensor
    floor: Tensor


@cache
def camera_table(first_seed: int, count: int = CAMERAS) -> Array:
    """Draw cameras from the prior: electrons at white, read noise e⁻, row noise e⁻ and Tukey shape, (count, 4).

    Parameters
    ----------
    first_seed : int
        Camera n is ``sample_camera(first_seed + n)``, at a log-uniform ISO.
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
    """Draw cameras from a table, and add a converter, line noise, a fixed pattern and hot pixels to each.

    Parameters
    ----------
    rng : numpy Generator
        Source of the random numbers.
    count : int
        Number of cameras.
    table : ndarray, shape (N, 4)
        Result of `camera_table`.
    only : sequence of str, optional
        Names in `PARTS` to draw besides shot noise and normal read noise; all if None.
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
    """Add photon noise, read noise, lines, fixed pattern, hot pixels, rounding and clipping to clean crops.

    Parameters
    ----------
    clean : Tensor, shape (B, 4, H, W)
        Clean planes, 0 to 1.
    cameras : DrawnCameras
        One camera per crop.
    generator : torch.Generator
        Source of the random numbers.
    jitter : float
        Relative error of the stated noise σ, one standard deviation.
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
    factor = (jitter * common + 0.5 * jitter * own).exp().square()
    return NoisyCrops(clean, noisy, slope * factor, offset * factor, cameras.floor.expand(-1, planes, -1, -1))


def tukey(shape: Tensor, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw from Tukey's lambda distribution of scale 1 in the shape `size`: (u^λ − (1 − u)^λ)/λ."""
    u = torch.rand(size, generator=generator).clamp(1e-7, 1 - 1e-7)
    low, high = u.log(), (-u).log1p()
    flat = shape.abs() < 1e-3
    power = torch.where(flat, torch.ones_like(shape), shape)
    drawn: Tensor = torch.where(flat, low - high, ((power * low).expm1() - (power * high).expm1()) / power)
    return drawn


def drifting(count: int, rows: int, generator: torch.Generator) -> Tensor:
    """Row offsets of variance 1, correlated over some eight rows, (count, 1, rows, 1): a moving mean of white noise."""
    over = 16
    white = torch.randn(count, 1, rows + over - 1, generator=generator)
    moving: Tensor = F.avg_pool1d(white, over, stride=1)[..., None] * over**0.5
    return moving

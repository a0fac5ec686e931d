"""A static burst of a simulated sensor as the patches of a fit, without files, and their statistics."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from noiseflow.fit.batches import Values, summed
from noiseflow.fit.residue.relative_noise import RelativeNoise, relative_noise
from noiseflow.models.noise_statistics import NoiseStatistics, local_mean
from noiseflow.patches.schema import fields
from noiseflow.patches.store.patches import PatchBatch

GAIN, READ, BLACK, WHITE = 0.8, 3.0, 64, 1023
SHAPE = (192, 256)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
CONTRAST = 600 * ((X / SHAPE[1] + np.sin(Y / 30) / 16 + 1 / 16) / 1.125) ** 2
"""A scene with dark and bright parts, DN."""

Frame = Callable[[int, np.random.Generator], np.ndarray]
"""Number of a frame and its random numbers → signal and noise in DN above black, of `SHAPE`."""


def exposed(
    signal: np.ndarray, rng: np.random.Generator, gain: float = GAIN, read: float | np.ndarray = READ
) -> np.ndarray:
    return gain * rng.poisson(signal / gain) + rng.normal(0, read, signal.shape)


def plain(number: int, rng: np.random.Generator) -> np.ndarray:
    return exposed(CONTRAST, rng)


def burst(frame: Frame = plain, count: int = 4, seed: int = 0, size: int = 16) -> PatchBatch:
    """Patches of `size` pixels of a plane; the clean signal is the mean of the other frames."""
    rng = np.random.default_rng(seed)
    codes = np.stack([np.clip(np.rint(BLACK + frame(n, rng)), 0, WHITE) for n in range(count)])
    clean = (codes.sum(0) - codes) / (count - 1)

    def patches(frames: np.ndarray) -> np.ndarray:
        """As (frame, row of patches, column of patches) × (plane, y, x)."""
        n, height, width = frames.shape
        tiles = frames.reshape(n, height // size // 2, size, 2, width // size // 2, size, 2)
        return tiles.transpose(0, 1, 4, 3, 6, 2, 5).reshape(-1, 4, size, size)

    span, spread = WHITE - BLACK, np.sqrt(1 + 1 / (count - 1))
    noise, light = patches(codes - clean) / span / spread, patches(clean - BLACK) / span
    table = np.zeros(len(noise), fields(4))
    table["black"], table["white"], table["clean_variance"] = BLACK, WHITE, 1 / (count - 1)
    grid = np.array([each // size // 2 for each in SHAPE])
    number, place = np.divmod(np.arange(len(noise)), grid.prod())
    table["frame"], table["y"], table["x"] = number, *(size * each for each in np.divmod(place, grid[1]))
    camera = torch.zeros(len(noise), dtype=torch.long)
    values = (torch.from_numpy(each.astype(np.float32)) for each in (noise, light))
    return PatchBatch(*values, torch.full((len(noise),), 400.0), camera, table)


def statistics_of(batch: PatchBatch) -> NoiseStatistics:
    clean, noise = batch.clean.double(), batch.noise.double()
    store = SimpleNamespace(cameras=("One",), isos=(400.0,))
    values = Values(batch.camera, batch.iso.double(), local_mean(clean, hollow=True), clean, noise)
    return summed(store, [values], len(noise))  # type: ignore[arg-type]


def relative(frame: Frame = plain, count: int = 4, seed: int = 0, size: int = 16) -> RelativeNoise:
    batch = burst(frame, count, seed, size)
    (found,) = relative_noise(batch, statistics_of(batch))
    return found

"""Crops of clean pictures with the noise of drawn cameras, the training data of the shipped network."""

from collections.abc import Sequence

import numpy as np
import torch

from noiseflow.augment.denoise.training.cameras import NoisyCrops, add_noise, camera_table, draw_cameras
from noiseflow.augment.denoise.training.objective import CropSource
from noiseflow.augment.denoise.training.pictures import HELD_OUT, LEAVES, TRAINED_ON, clean_crops

__all__ = ["HELD_OUT_SEED", "drawn_cameras", "held_out_cameras"]

HELD_OUT_SEED = 1_000_000
"""Seed of the first held-out camera, which no training draws; the seeds of training cameras begin at 0."""

HELD_OUT_CAMERAS = 256


def drawn_cameras(side: int, only: Sequence[str] | None = None, leaf_count: int = LEAVES) -> CropSource:
    """Source of training crops: pictures and leaves with cameras drawn from the prior.

    Parameters
    ----------
    side : int
        Side of a crop, in pixels of a plane.
    only : sequence of str, optional
        As in `draw_cameras`.
    leaf_count : int
        Number of leaf pictures.
    """
    clean, table = clean_crops(TRAINED_ON, 0, leaf_count), camera_table(0)

    def draw(rng: np.random.Generator, generator: torch.Generator, count: int) -> NoisyCrops:
        return add_noise(clean(rng, count, side), draw_cameras(rng, count, table, only), generator)

    return draw


def held_out_cameras(side: int) -> CropSource:
    """Source of held-out crops: pictures and cameras that no training draws, with the exact noise level."""
    clean, table = clean_crops(HELD_OUT, 1, 0), camera_table(HELD_OUT_SEED, HELD_OUT_CAMERAS)

    def draw(rng: np.random.Generator, generator: torch.Generator, count: int) -> NoisyCrops:
        return add_noise(clean(rng, count, side), draw_cameras(rng, count, table), generator, jitter=0.0)

    return draw

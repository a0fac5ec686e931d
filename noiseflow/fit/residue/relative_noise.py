"""Noise of some patches relative to the deviation that their light lets expect, whatever the camera's response is."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.models.closed_form.variance_line import fit_line, line_errors
from noiseflow.models.noise_statistics import NoiseStatistics, local_mean, signal_bins
from noiseflow.patches.store.patches import PatchBatch

__all__ = ["RelativeNoise", "relative_noise"]

BINS, LEAST = 256, 400
"""Number of bins of light, and the fewest values of a group of bins whose variance is used."""

TINY = 1e-24
"""Least variance: noise with a σ of 10⁻¹² of full scale."""

SURE = 3.0
"""Standard errors that are taken off the gain."""

RARE = 16.0
"""Squares of relative noise count up to this: a pixel hit by a particle, or that jumps, is no noise of its place."""


@dataclass(frozen=True, eq=False)
class RelativeNoise:
    """Noise of one camera's patches over its deviation at their light, at all ISOs.

    The arrays of shape (B, C, h, w) are 0 where a pixel is masked.

    Parameters
    ----------
    camera : str
        Name.
    value : ndarray of float32, shape (B, C, h, w)
        Noise over the root mean square of all noise of the same plane, ISO and light.
    seen : ndarray of bool, shape (B, C, h, w)
        False where a pixel is masked.
    light : ndarray of float32, shape (B, C, h, w)
        Clean signal above black, over the same root mean square.
    shot : ndarray of float32, shape (B, C, h, w)
        Least share of photon noise in the variance, from 0 to 1.
    bend : ndarray of float32, shape (B, C, h, w)
        Mean square of the noise over its straight line.
    clean_variance : ndarray of float32, shape (B,)
        Variance of the clean signal's error, as a fraction of that of the noise.
    frame : ndarray of int, shape (B,)
        Number of a patch's frame, over all scenes.
    place : ndarray of int, shape (B, 3)
        Scene, and row and column of a patch's corner in pixels of a plane.
    """

    camera: str
    value: NDArray[np.float32]
    seen: NDArray[np.bool_]
    light: NDArray[np.float32]
    shot: NDArray[np.float32]
    bend: NDArray[np.float32]
    clean_variance: NDArray[np.float32]
    frame: NDArray[np.int64]
    place: NDArray[np.int64]

    @cached_property
    def square(self) -> NDArray[np.float32]:
        """Squared noise, at most `RARE`, without the means of rows and columns of each patch."""
        found = self.value
        for axis in (3, 2):
            mean = found.sum(axis, keepdims=True) / self.seen.sum(axis, keepdims=True).clip(1)
            found = np.where(self.seen, found - mean, 0)
        return np.minimum(np.square(found), RARE).astype(np.float32)


def relative_noise(batch: PatchBatch, statistics: NoiseStatistics) -> Iterator[RelativeNoise]:
    """Yield the relative noise of each camera.

    The variance over the light is measured plane by plane, in groups of bins, and not taken from a line: a response
    that bends, two conversion gains and planes of different gain leave nothing behind.

    Parameters
    ----------
    batch : PatchBatch
        The patches.
    statistics : NoiseStatistics
        Of the same data, for straight lines of the variance.
    """
    estimated = torch.from_numpy(batch.table["clean_variance"] > 0)
    light = batch.clean
    if estimated.any() and light[0, 0].numel() > 1:
        # Sorted by their own noisy light, pixels would be sorted by their noise.
        light = torch.where(estimated[:, None, None, None], local_mean(light, hollow=True), light)
    seen = np.ones(tuple(batch.noise.shape), bool) if batch.observed is None else batch.observed.numpy()
    noise = batch.noise.float().numpy()
    iso = np.unique(batch.iso.numpy(), return_inverse=True)[1]
    camera = batch.camera.numpy()
    sigma, line, shot = np.empty_like(noise), np.empty_like(noise), np.empty_like(noise)
    for group in sorted({*zip(camera.tolist(), iso.tolist(), strict=True)}):
        own = (camera == group[0]) & (iso == group[1])
        index = statistics.isos.index(float(batch.iso.numpy()[own][0]))
        cells = statistics.of(group[0], index)
        betas = fit_line(cells)
        lit = light[own].clamp(min=0).float().numpy()
        line[own] = float(betas[0]) * lit + float(betas[1])
        # At least so much of the variance is photon noise: light of one level does not tell it from read noise.
        shot[own] = max(float(betas[0] - SURE * line_errors(betas, cells)[0]), 0.0) * lit / line[own]
        for plane in range(noise.shape[1]):
            sigma[own, plane] = _sigma_at(light[own, plane].numpy(), noise[own, plane], seen[own, plane])
    relative = (noise / sigma, batch.clean.float().numpy() / sigma, shot, sigma**2 / line)
    value, bright, shot, bend = (np.where(seen, each, 0) for each in relative)
    names = np.stack([batch.table[name] for name in ("scene", "source", "frame")], 1)
    frame = np.unique(names, axis=0, return_inverse=True)[1]
    place = np.stack([batch.table[name].astype(np.int64) for name in ("scene", "y", "x")], 1)
    for number in sorted(set(camera.tolist())):
        own = camera == number
        parts = (
            each[own] for each in (value, seen, bright, shot, bend, batch.table["clean_variance"], frame.ravel(), place)
        )
        yield RelativeNoise(statistics.cameras[number], *parts)


def _sigma_at(light: NDArray[np.float32], noise: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Root mean square at the light of each value, shape as `light`: interpolated between groups of bins."""
    where = signal_bins(torch.from_numpy(light), BINS).numpy()[seen]
    count = np.bincount(where, minlength=BINS)
    weights = (light[seen].astype(np.float64), np.square(noise[seen], dtype=np.float64))
    group = np.minimum((count.cumsum() - count) // LEAST, max(count.sum() // LEAST - 1, 0))
    values = np.bincount(group, count)
    lit, power = (np.bincount(group, np.bincount(where, each, BINS)) for each in weights)
    have = values > 0
    if not have.any():
        return np.ones_like(light)
    mean = np.interp(light, lit[have] / values[have], np.maximum(power[have] / values[have], TINY))
    found: NDArray[np.float32] = np.sqrt(mean).astype(np.float32)
    return found

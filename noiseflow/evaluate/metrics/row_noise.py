"""Row noise: the variance of row means relative to that of independent pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, ratio_of_sums

__all__ = ["RowNoise", "RowNoiseMetric", "RowRatio", "row_ratio"]

SIGNAL_BINS = 6
"""Bins of a patch's mean signal, equally spaced in its square root."""


@dataclass(frozen=True)
class RowRatio:
    """Row ratio of each source over some of the patches.

    Parameters
    ----------
    camera : str or None
        Name of the camera; None for all.
    iso : float or None
        ISO; None for all.
    part : str
        Plane or intensity; empty for all.
    signal_dn : float
        Mean clean signal of these patches, DN above black.
    patches : int
        Number of patches.
    ratio : mapping of str to Interval
        Row ratio (see `row_ratio`) of each source; 1 for independent pixels.
    missing : mapping of str to Interval
        Ratio of the data minus that of the samples, paired by group, per model.
    """

    camera: str | None
    iso: float | None
    part: str
    signal_dn: float
    patches: int
    ratio: Mapping[str, Interval]
    missing: Mapping[str, Interval]


@dataclass(frozen=True)
class RowNoise(Score):
    """Row noise, real and sampled.

    Parameters
    ----------
    width : int
        Width of a patch, pixels.
    whole : RowRatio
        Ratio over all patches.
    planes, signals, cells : tuple of RowRatio
        Ratios of each plane; of each bin of intensity with patches, from dark to bright; and of each camera
        at each ISO.
    """

    width: int
    whole: RowRatio
    planes: tuple[RowRatio, ...]
    signals: tuple[RowRatio, ...]
    cells: tuple[RowRatio, ...]


class RowNoiseMetric(Metric):
    """Sums of the patches' row ratios per bin of intensity, group and plane."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        survey = setup.survey
        planes, _, self.width = survey.patch_shape
        shape = (SIGNAL_BINS, survey.groups, planes)
        self.sums = {name: np.zeros(shape) for name in setup.sources}
        self.counts = np.zeros(shape)
        self.signal = np.zeros((2, SIGNAL_BINS, survey.groups))
        self.low = math.sqrt(max(float(survey.brightness.min()), 0.0))
        self.step = max((math.sqrt(max(float(survey.brightness.max()), 0.0)) - self.low) / SIGNAL_BINS, 1e-12)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        brightness = batch.clean.double().mean((1, 2, 3)).numpy()
        index = np.floor((np.sqrt(np.maximum(brightness, 0)) - self.low) / self.step)
        place = (index.clip(0, SIGNAL_BINS - 1).astype(np.int64), batch.group)
        ratios = {name: row_ratio(noise).numpy() for name, noise in batch.noise.items()}
        # A plane without noise, as when clipped throughout, has no ratio; drop it in all sources to keep pairs.
        valid = np.logical_and.reduce([np.isfinite(ratio) for ratio in ratios.values()])
        np.add.at(self.counts, place, valid.astype(np.float64))
        np.add.at(self.signal[0], place, brightness * batch.scale_dn.mean(1))
        np.add.at(self.signal[1], place, 1.0)
        for name, ratio in ratios.items():
            np.add.at(self.sums[name], place, np.where(valid, ratio, 0.0))

    def score(self) -> RowNoise:
        """Return ratios over all patches, per plane, per intensity, and per camera and ISO."""
        survey = self.setup.survey
        every, all_bins = np.ones(survey.groups, np.bool_), np.ones(SIGNAL_BINS, np.bool_)
        all_planes = list(range(survey.patch_shape[0]))
        filled = np.flatnonzero(self.counts.sum((1, 2)))
        strict = 1 - (1 - LEVEL) / max(len(filled), 1)
        return RowNoise(
            width=self.width,
            whole=self._ratio(None, None, "", all_bins, every, all_planes, LEVEL),
            planes=tuple(
                self._ratio(None, None, f"plane {name}", all_bins, every, [plane], LEVEL)
                for plane, name in enumerate(survey.plane_names)
            ),
            signals=tuple(
                self._ratio(None, None, f"intensity {bin_}", np.arange(SIGNAL_BINS) == bin_, every, all_planes, strict)
                for bin_ in filled
            ),
            cells=tuple(
                self._ratio(cell.camera, cell.iso, "", all_bins, survey.cell_of_group == index, all_planes, LEVEL)
                for index, cell in enumerate(survey.cells)
            ),
        )

    def _ratio(
        self,
        camera: str | None,
        iso: float | None,
        part: str,
        bins: NDArray[np.bool_],
        groups: NDArray[np.bool_],
        planes: list[int],
        level: float,
    ) -> RowRatio:
        """Return the ratio over some bins, groups and planes, with intervals of a confidence level."""

        def of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
            chosen: NDArray[np.float64] = sums[bins][:, groups][:, :, planes].sum((0, 2))
            return chosen

        count, sums = of(self.counts), {name: of(sums) for name, sums in self.sums.items()}
        signal, patches = self.signal[:, bins][:, :, groups].sum((1, 2))
        return RowRatio(
            camera=camera,
            iso=iso,
            part=part,
            signal_dn=float(signal / patches),
            patches=int(patches),
            ratio={name: ratio_of_sums(numerator=x, denominator=count, level=level) for name, x in sums.items()},
            missing={
                name: ratio_of_sums(numerator=sums[DATA] - sums[name], denominator=count, level=level)
                for name in self.setup.models
            },
        )


def row_ratio(noise: Tensor) -> Tensor:
    """Compute variance of row means × width ÷ variance of pixels, of each patch and plane.

    Both are unbiased variances about the mean of the plane.  The expectation is therefore 1
    for independent pixels, even if the variance changes from row to row.

    Parameters
    ----------
    noise : Tensor, shape (B, C, h, w)
        Noise, with h and w at least 2.

    Returns
    -------
    Tensor of float64, shape (B, C)
        Ratio; NaN where the pixels do not vary.
    """
    noise = noise.double()
    pixels = noise.flatten(2).var(2)
    ratio = noise.mean(3).var(2) * noise.shape[3] / pixels
    return torch.where(pixels > 0, ratio, math.nan)

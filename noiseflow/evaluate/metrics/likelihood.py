"""Likelihood of the real noise, as a density and of the integer codes, with paired differences between models."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import SIGNAL_BINS, signal_bins
from noiseflow.evaluate.metric import LIKELIHOOD_KINDS, Kind, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, bootstrap_ratio

__all__ = [
    "CodeLikelihood",
    "CodeLikelihoodCell",
    "CodeLikelihoodMetric",
    "DensityLikelihood",
    "DensityLikelihoodCell",
    "DensityLikelihoodMetric",
    "LikelihoodCell",
    "LikelihoodScore",
]

Sums = NDArray[np.float64]
"""Sums per bin of intensity and group, shape (SIGNAL_BINS, groups)."""


@dataclass(frozen=True)
class LikelihoodCell:
    """Negative log-likelihood of some of the patches: of one camera and ISO, one intensity, one plane, or all.

    Parameters
    ----------
    camera : str or None
        Name of the camera; None for all.
    iso : float or None
        ISO; None for all.
    part : str
        Intensity or plane; empty for all.
    signal_dn : float
        Mean clean signal of these patches, DN above black.
    patches, groups : int
        Number of patches, and of their scenes or frames.
    behind : mapping of str to Interval
        NLL of each other model minus that of the model under test, nats/dim or nats/pixel;
        above 0, the model under test is better.
    """

    camera: str | None
    iso: float | None
    part: str
    signal_dn: float
    patches: int
    groups: int
    behind: Mapping[str, Interval]


@dataclass(frozen=True)
class DensityLikelihoodCell(LikelihoodCell):
    """NLL by the models' densities.

    Parameters
    ----------
    nats_per_dim : mapping of str to Interval
        NLL of the normalised noise, nats/dim, per model.
    nats_per_pixel_dn : mapping of str to Interval
        NLL of the noise in DN, nats/pixel, per model.
    """

    nats_per_dim: Mapping[str, Interval]
    nats_per_pixel_dn: Mapping[str, Interval]


@dataclass(frozen=True)
class CodeLikelihoodCell(LikelihoodCell):
    """NLL of the integer codes.

    Parameters
    ----------
    nats_per_pixel : mapping of str to Interval
        NLL, nats/pixel, per model.  A cell of one plane has only models that give each pixel its own probability.
    """

    nats_per_pixel: Mapping[str, Interval]


CellType = TypeVar("CellType", bound=LikelihoodCell)


@dataclass(frozen=True)
class LikelihoodScore(Score):
    """Negative log-likelihood.

    Parameters
    ----------
    coarse : bool
        Whether the codes are coarse relative to the noise (see `noiseflow.evaluate.data_summary.COARSE`); if so, the
        verdict is by the likelihood of the integer codes.
    group_is : str
        Groups that intervals are over: ``"scene"`` or ``"frame"``.
    """

    coarse: bool
    group_is: str


@dataclass(frozen=True)
class DensityLikelihood(LikelihoodScore):
    """Negative log-density of the real noise.

    Parameters
    ----------
    density : mapping of str to str
        Description of each model's kind of likelihood; see `noiseflow.evaluate.metric.LIKELIHOOD_KINDS`.
    without_density : mapping of str to str
        Models that can only sample, with the message of their error.
    group_dims : tuple of float
        Number of values in each group, for paired differences between reports.
    group_nats : mapping of str to tuple of float
        NLL summed over each group, nats, per model.
    cells : tuple of DensityLikelihoodCell
        All data, then each camera at each ISO if there are several.
    cameras : tuple of DensityLikelihoodCell
        Each camera with all its ISOs, if there are several cameras and one has several ISOs.
    signals : tuple of DensityLikelihoodCell
        Bins of the patches' mean signal, from dark to bright.
    """

    density: Mapping[str, str]
    without_density: Mapping[str, str]
    group_dims: tuple[float, ...]
    group_nats: Mapping[str, tuple[float, ...]]
    cells: tuple[DensityLikelihoodCell, ...]
    cameras: tuple[DensityLikelihoodCell, ...]
    signals: tuple[DensityLikelihoodCell, ...]


@dataclass(frozen=True)
class CodeLikelihood(LikelihoodScore):
    """Negative log-probability of the integer codes.

    Parameters
    ----------
    kinds : mapping of str to str
        Kind of each model's likelihood, a key of `noiseflow.evaluate.metric.LIKELIHOOD_KINDS`.
    sigma_dn : float
        Smallest σ of the real noise at any signal of any camera and ISO, DN.
    cells, cameras, signals : tuple of CodeLikelihoodCell
        As in `DensityLikelihood`.
    planes : tuple of CodeLikelihoodCell
        Each plane, if there are several.
    """

    kinds: Mapping[str, Kind]
    sigma_dn: float
    cells: tuple[CodeLikelihoodCell, ...]
    cameras: tuple[CodeLikelihoodCell, ...]
    signals: tuple[CodeLikelihoodCell, ...]
    planes: tuple[CodeLikelihoodCell, ...]


class LikelihoodMetric(Metric):
    """Sums of NLL in nats per model, bin of intensity and group, for any kind of likelihood.

    Parameters
    ----------
    setup : Setup
        Facts about data and models.
    models : sequence of str
        Names of the models with this likelihood.
    """

    def __init__(self, setup: Setup, models: Sequence[str]) -> None:
        self.setup = setup
        shape = (SIGNAL_BINS, setup.survey.groups)
        self.nll = {name: np.zeros(shape) for name in models}
        self.dims, self.patches, self.signal = (np.zeros(shape) for _ in range(3))
        self.bin = signal_bins(setup.survey)

    def add(self, batch: ScoredBatch, patches: NDArray[np.int64], nll: Mapping[str, Sums]) -> tuple[Any, Any]:
        """Add the NLL of some patches of a batch to the sums.

        Parameters
        ----------
        batch : ScoredBatch
            The batch.
        patches : ndarray of int, shape (K,)
            Positions of the patches in the batch.
        nll : mapping of str to ndarray, shape (K,)
            NLL of each patch, nats, per model.

        Returns
        -------
        tuple of ndarray, shape (K,)
            Bin and group of each patch, its index in the sums.
        """
        place = (self.bin[batch.number[patches]], batch.group[patches])
        brightness = self.setup.survey.brightness[batch.number[patches]]
        np.add.at(self.patches, place, 1)
        np.add.at(self.dims, place, math.prod(batch.clean.shape[1:]))
        np.add.at(self.signal, place, brightness * batch.scale_dn[patches].mean(1))
        for name, values in nll.items():
            np.add.at(self.nll[name], place, values)
        return place

    @abstractmethod
    def cell(self, bins: NDArray[np.bool_], groups: NDArray[np.bool_], **where: Any) -> LikelihoodCell:
        """Return the numbers of some bins of intensity and groups.

        Parameters
        ----------
        bins : ndarray of bool, shape (SIGNAL_BINS,)
            Mask of the bins.
        groups : ndarray of bool, shape (G,)
            Mask of the groups.
        where : Any
            Fields `camera`, `iso` and `part` of the cell.
        """

    def scopes(self) -> dict[str, Any]:
        """Return the fields of a score: numbers over all, per camera and ISO, per camera, and per intensity."""
        survey = self.setup.survey
        every, bins = np.ones(survey.groups, np.bool_), np.ones(SIGNAL_BINS, np.bool_)
        return {
            "cells": tuple(
                self.cell(bins, groups, camera=cell.camera, iso=cell.iso, part="") for cell, groups in survey.scopes()
            ),
            "cameras": tuple(
                self.cell(bins, groups, camera=camera, iso=None, part="all ISOs")
                for camera, groups in survey.by_camera()
            ),
            "signals": tuple(
                self.cell(np.arange(SIGNAL_BINS) == bin_, every, camera=None, iso=None, part=f"intensity {bin_}")
                for bin_ in np.flatnonzero(self.patches.sum(1))
            ),
            "coarse": survey.coarse,
            "group_is": survey.group_is,
        }

    def estimates(
        self,
        kind: type[CellType],
        fields: Mapping[str, Mapping[str, Sums]],
        dims: Sums,
        patches: Sums,
        signal: float,
        **where: Any,
    ) -> CellType:
        """Make a cell from sums per group.

        Parameters
        ----------
        kind : type
            Type of the cell.
        fields : mapping of str to mapping of str to ndarray, shape (G,)
            NLL summed over each group, by field of the cell and by model; models are compared by the first field.
        dims, patches : ndarray, shape (G,)
            Number of values, and of patches, in each group.
        signal : float
            Sum of the patches' mean signals, DN above black.
        where : Any
            Fields `camera`, `iso` and `part` of the cell.
        """
        paired, tested = next(iter(fields.values())), self.setup.models[0]
        others = [name for name in paired if name != tested and tested in paired]
        means: dict[str, Any] = {field: {name: _mean(of[name], dims) for name in of} for field, of in fields.items()}
        return kind(
            signal_dn=signal / max(float(patches.sum()), 1.0),
            patches=int(patches.sum()),
            groups=int((patches > 0).sum()),
            behind={name: _mean(paired[name] - paired[tested], dims) for name in others},
            **means,
            **where,
        )


def _mean(sums: Sums, dims: Sums) -> Interval:
    return bootstrap_ratio(numerator=sums, denominator=dims, level=LEVEL)


class DensityLikelihoodMetric(LikelihoodMetric):
    """NLL of the noise by each model's density, in nats/dim and in nats/pixel in DN."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, [name for name in setup.models if name in setup.densities])
        self.log_scale = np.zeros_like(self.dims)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        place = self.add(batch, np.arange(len(batch.number)), batch.nll)
        np.add.at(self.log_scale, place, math.prod(batch.clean.shape[1:]) * np.log(batch.scale_dn).mean(1))

    def cell(self, bins: NDArray[np.bool_], groups: NDArray[np.bool_], **where: Any) -> DensityLikelihoodCell:
        """Return the NLL in both units; in DN it is larger by log(white − black)."""
        nll = {name: _of(sums, bins, groups) for name, sums in self.nll.items()}
        log_scale = _of(self.log_scale, bins, groups)
        fields = {
            "nats_per_dim": nll,
            "nats_per_pixel_dn": {name: each + log_scale for name, each in nll.items()},
        }
        dims, patches, signal = (_of(sums, bins, groups) for sums in (self.dims, self.patches, self.signal))
        return self.estimates(DensityLikelihoodCell, fields, dims, patches, float(signal.sum()), **where)

    def score(self) -> DensityLikelihood:
        """Return NLL and differences between models."""
        return DensityLikelihood(
            density={name: LIKELIHOOD_KINDS[kind] for name, kind in self.setup.densities.items()},
            without_density=self.setup.without_density,
            group_dims=tuple(self.dims.sum(0).tolist()),
            group_nats={name: tuple(nll.sum(0).tolist()) for name, nll in self.nll.items()},
            **self.scopes(),
        )


class CodeLikelihoodMetric(LikelihoodMetric):
    """NLL of the integer codes in nats/pixel; also per plane for models with exact probabilities."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, list(setup.codes))
        shape = (len(setup.survey.plane_names), setup.survey.groups)
        self.by_plane = {name: np.zeros(shape) for name, kind in setup.codes.items() if kind != "bound"}

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        self.add(batch, batch.looked_at, {name: nll.total for name, nll in batch.codes.items()})
        for name, nll in batch.codes.items():
            if nll.per_plane is not None:
                for sums, values in zip(self.by_plane[name], nll.per_plane.T, strict=True):
                    np.add.at(sums, batch.group[batch.looked_at], values)

    def cell(self, bins: NDArray[np.bool_], groups: NDArray[np.bool_], **where: Any) -> CodeLikelihoodCell:
        """Return the NLL per pixel."""
        nll = {name: _of(sums, bins, groups) for name, sums in self.nll.items()}
        dims, patches, signal = (_of(sums, bins, groups) for sums in (self.dims, self.patches, self.signal))
        return self.estimates(CodeLikelihoodCell, {"nats_per_pixel": nll}, dims, patches, float(signal.sum()), **where)

    def _plane(self, index: int, name: str) -> CodeLikelihoodCell:
        pixels = self.dims.sum(0) / len(self.setup.survey.plane_names)
        fields = {"nats_per_pixel": {model: sums[index] for model, sums in self.by_plane.items()}}
        where = {"camera": None, "iso": None, "part": f"plane {name}"}
        signal = float(self.signal.sum())
        return self.estimates(CodeLikelihoodCell, fields, pixels, self.patches.sum(0), signal, **where)

    def score(self) -> CodeLikelihood:
        """Return NLL and differences between models."""
        survey = self.setup.survey
        planes = survey.plane_names if len(survey.plane_names) > 1 else ()
        return CodeLikelihood(
            kinds=self.setup.codes,
            sigma_dn=survey.smallest_sigma_dn,
            planes=tuple(self._plane(index, name) for index, name in enumerate(planes)),
            **self.scopes(),
        )


def _of(sums: Sums, bins: NDArray[np.bool_], groups: NDArray[np.bool_]) -> Sums:
    """Sum over some bins, and return some of the groups, shape (groups,)."""
    chosen: Sums = sums[bins][:, groups].sum(0)
    return chosen

"""Likelihood of the integers: sums of discretised NLL, and the score made of them."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import SIGNAL_BINS, signal_bins
from noiseflow.evaluate.metric import Metric, ScoredBatch, Setup
from noiseflow.evaluate.metrics.code_likelihood import CellCodesLikelihood, CodesLikelihood
from noiseflow.evaluate.statistics.intervals import LEVEL, Estimate, bootstrap_ratio

__all__ = ["CodesMetric"]

Sums = NDArray[np.float64]


class CodesMetric(Metric):
    """Sums of the integers' NLL per intensity bin, group, plane and model."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        shape = (SIGNAL_BINS, setup.survey.groups)
        planes = len(setup.survey.plane_names)
        self.nll = {name: np.zeros(shape) for name in setup.codes}
        self.by_plane = {name: np.zeros((planes, shape[1])) for name, kind in setup.codes.items() if kind == "exact"}
        self.pixels, self.patches, self.signal = (np.zeros(shape) for _ in range(3))
        self.bin = signal_bins(setup.survey)

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        at = batch.looked_at
        place, group = (self.bin[batch.number[at]], batch.group[at]), batch.group[at]
        np.add.at(self.patches, place, 1)
        np.add.at(self.pixels, place, math.prod(batch.clean.shape[1:]))
        brightness = self.setup.survey.brightness[batch.number[at]]
        np.add.at(self.signal, place, brightness * batch.scale_dn[at].mean(1))
        for name, nll in batch.codes.items():
            np.add.at(self.nll[name], place, nll.total)
            if nll.per_plane is not None:
                for sums, values in zip(self.by_plane[name], nll.per_plane.T, strict=True):
                    np.add.at(sums, group, values)

    def score(self) -> CodesLikelihood:
        """NLL and differences over all, per camera and ISO, per camera, per intensity and per plane."""
        survey = self.setup.survey
        every, bins = np.ones(survey.groups, np.bool_), np.ones(SIGNAL_BINS, np.bool_)
        planes = survey.plane_names if len(survey.plane_names) > 1 else ()
        return CodesLikelihood(
            kinds=self.setup.codes,
            coarse=survey.coarse,
            sigma_dn=survey.smallest_sigma_dn,
            group_is=survey.group_is,
            cells=tuple(self._cell(cell.camera, cell.iso, "", bins, groups) for cell, groups in survey.scopes()),
            cameras=tuple(self._cell(camera, None, "all ISOs", bins, groups) for camera, groups in survey.by_camera()),
            signals=tuple(
                self._cell(None, None, f"intensity {bin_}", np.arange(SIGNAL_BINS) == bin_, every)
                for bin_ in np.flatnonzero(self.patches.sum(1))
            ),
            planes=tuple(self._plane(index, name) for index, name in enumerate(planes)),
        )

    def _cell(
        self, camera: str | None, iso: float | None, part: str, bins: NDArray[np.bool_], groups: NDArray[np.bool_]
    ) -> CellCodesLikelihood:
        def of(sums: Sums) -> Sums:
            chosen: Sums = sums[bins][:, groups].sum(0)
            return chosen

        nll, patches = {name: of(sums) for name, sums in self.nll.items()}, of(self.patches)
        return self._estimates(camera, iso, part, nll, of(self.pixels), patches, float(of(self.signal).sum()))

    def _plane(self, index: int, name: str) -> CellCodesLikelihood:
        nll = {model: sums[index] for model, sums in self.by_plane.items()}
        pixels = self.pixels.sum(0) / len(self.setup.survey.plane_names)
        signal = float(self.signal.sum())
        return self._estimates(None, None, f"plane {name}", nll, pixels, self.patches.sum(0), signal)

    def _estimates(
        self,
        camera: str | None,
        iso: float | None,
        part: str,
        nll: Mapping[str, Sums],
        pixels: Sums,
        patches: Sums,
        signal: float,
    ) -> CellCodesLikelihood:
        def mean(sums: Sums) -> Estimate:
            return bootstrap_ratio(numerator=sums, denominator=pixels, level=LEVEL)

        tested = self.setup.models[0]
        others = [name for name in nll if name != tested and tested in nll]
        return CellCodesLikelihood(
            camera=camera,
            iso=iso,
            part=part,
            signal_dn=signal / max(float(patches.sum()), 1.0),
            patches=int(patches.sum()),
            groups=int((patches > 0).sum()),
            nats_per_pixel={name: mean(sums) for name, sums in nll.items()},
            behind={name: mean(nll[name] - nll[tested]) for name in others},
        )

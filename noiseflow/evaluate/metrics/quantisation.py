"""Quantisation: whether samples stand on the camera's codes as the data does, and whether it matters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup

__all__ = ["Quantisation", "QuantisationCell", "QuantisationMetric"]

NEAR = 0.02
"""Part of a step that counts as on a code: float32 at 14 bit errs by 0.001."""

ON = 0.99


@dataclass(frozen=True)
class QuantisationCell:
    """One camera at one ISO.

    Parameters
    ----------
    camera, iso
    step : int
        Largest step, in codes, on whose multiples all of the real noisy values stand; 0 if
        they are no whole codes.
    sigma_dn : float
        Smallest σ of the real noise in it, over the signals, DN.
    on_codes : mapping of str to float
        Part of the values within 0.02 of a step of such a multiple, per source; 0.04 is chance.
    """

    camera: str | None
    iso: float | None
    step: int
    sigma_dn: float
    on_codes: Mapping[str, float]


@dataclass(frozen=True)
class Quantisation(Score):
    """Codes of data and samples."""

    cells: tuple[QuantisationCell, ...]


class QuantisationMetric(Metric):
    """Per camera and ISO: greatest common divisor of the codes, and values on them."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        cells = len(setup.survey.cells)
        self.start = np.zeros(cells, np.int64)
        self.step = np.full(cells, -1)
        self.fractional = np.zeros(cells)
        self.on = {name: np.zeros(cells) for name in setup.sources}
        self.values = np.zeros(cells)
        self.sigma = np.full(cells, math.inf)

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        for cell in np.unique(batch.cell[batch.close]):
            chosen = np.flatnonzero(batch.close & (batch.cell == cell))
            values = {name: self._noisy_dn(batch, name, chosen) for name in batch.noise}
            codes = np.rint(values[DATA])
            self.fractional[cell] += float((np.abs(values[DATA] - codes) > NEAR).sum())
            self.values[cell] += codes.size
            if self.step[cell] < 0:
                self.start[cell], self.step[cell] = int(codes.flat[0]), 0
            distinct = np.unique(codes.astype(np.int64)) - self.start[cell]
            self.step[cell] = np.gcd(self.step[cell], np.gcd.reduce(distinct))
            signal = batch.signal_dn[chosen] / torch.from_numpy(batch.scale_dn[chosen])[:, :, None, None]
            sigma = self.setup.survey.curve.at(signal.float(), batch.cell[chosen]).numpy()
            smallest = sigma * batch.scale_dn[chosen][:, :, None, None]
            self.sigma[cell] = min(self.sigma[cell], float(smallest.min()))
            step = max(int(self.step[cell]), 1)
            for name, value in values.items():
                offset = (value - self.start[cell]) / step
                self.on[name][cell] += float((np.abs(offset - np.rint(offset)) <= NEAR).sum())

    def _noisy_dn(self, batch: ScoredBatch, name: str, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noisy values in DN: clean + noise + black."""
        scale, black, code = (
            values[chosen][:, :, None, None] for values in (batch.scale_dn, batch.black_dn, batch.code)
        )
        noisy: NDArray[np.float64] = (
            batch.clean[chosen].double().numpy() * scale + black + batch.noise[name][chosen].double().numpy() / code
        )
        return noisy

    def score(self) -> Quantisation:
        """Codes of each camera at each ISO."""
        cells = []
        for index, cell in enumerate(self.setup.survey.cells):
            n = self.values[index]
            if not n:
                continue
            whole = self.fractional[index] <= (1 - ON) * n
            cells.append(
                QuantisationCell(
                    camera=cell.camera,
                    iso=cell.iso,
                    step=max(int(self.step[index]), 1) if whole else 0,
                    sigma_dn=float(self.sigma[index]),
                    on_codes={name: float(on[index] / n) for name, on in self.on.items()},
                )
            )
        return Quantisation(tuple(cells))

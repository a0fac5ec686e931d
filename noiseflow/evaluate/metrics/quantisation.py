"""Quantisation: whether samples stand on the camera's codes as the data does, and whether it matters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate
from noiseflow.evaluate.presentation.formatting import cell_name, number, percent

__all__ = ["CellCodes", "Quantisation", "QuantisationMetric"]

NEAR = 0.02
"""Part of a step that counts as on a code: float32 at 14 bit errs by 0.001."""

ON = 0.99
MARGIN = 0.02
"""Part that rounding may add to the variance of the noise."""


@dataclass(frozen=True)
class CellCodes:
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

    @property
    def coarse(self) -> bool:
        """Whether rounding to the step adds more than `MARGIN` to the smallest variance."""
        return self.step**2 / 12 > MARGIN * self.sigma_dn**2


@dataclass(frozen=True)
class Quantisation(Score):
    """Codes of data and samples."""

    title: ClassVar[str] = "Quantisation"
    method: ClassVar[str] = (
        "On the closely looked at patches, noisy values in DN. The step is the largest number of codes on whose "
        "multiples (from the smallest value on) all of the data’s values stand. Samples are on codes if "
        f"{percent(ON)} are within {NEAR:g} of a step of one. Those that are not are flagged where a step is coarse: "
        f"where step²/12, which rounding adds to the variance, is above {percent(MARGIN)} of it in the darkest of the "
        "data. All other measures add a uniform ±½ code to data and samples alike, and so are blind to codes."
    )

    cells: tuple[CellCodes, ...]

    def findings(self, tested: str) -> Sequence[Finding]:
        """Whether samples are on codes, and whether it matters."""
        on = [cell for cell in self.cells if cell.step]
        if not on:
            text = "The data is not on whole codes, and nothing is asked of the samples."
            return [Finding("good", "quantisation", text)]
        off = [cell for cell in on if cell.on_codes[tested] < ON]
        if not off:
            return [Finding("good", "quantisation", "The samples stand on the camera’s codes, as the data does.")]
        worst = min(off, key=lambda cell: cell.sigma_dn / cell.step)
        where = f" ({cell_name(worst.camera, worst.iso)})" if len(self.cells) > 1 else ""
        numbers = (
            f"{percent(worst.on_codes[DATA])} of the data and {percent(worst.on_codes[tested])} of the samples stand "
            f"on codes, {worst.step} DN apart; σ is {number(worst.sigma_dn, 2)} DN in the dark{where}"
        )
        if worst.coarse:
            text = f"Quantisation is missing: {numbers}. Round samples to codes (`noiseflow sample` does)."
            return [Finding("bad", "quantisation", text)]
        text = f"The samples are not rounded to codes, too fine to matter: {numbers}."
        return [Finding("good", "quantisation", text)]

    def table(self) -> Sequence[TableRow]:
        """Nothing: the words say it."""
        return []

    def records(self) -> Sequence[Record]:
        """Step, σ and part on codes, per camera and ISO."""
        records = []
        for cell in self.cells:
            where = (cell.camera, cell.iso, "")
            records.append(Record("code_step", "DN", DATA, *where, cell.step))
            records.append(Record("smallest_sigma", "DN", DATA, *where, cell.sigma_dn))
            records += [Record("on_codes", "1", name, *where, part) for name, part in cell.on_codes.items()]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """No figure."""
        return []


class QuantisationMetric(Metric):
    """Per camera and ISO: greatest common divisor of the codes, and values on them."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
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
                CellCodes(
                    camera=cell.camera,
                    iso=cell.iso,
                    step=max(int(self.step[index]), 1) if whole else 0,
                    sigma_dn=float(self.sigma[index]),
                    on_codes={name: float(on[index] / n) for name, on in self.on.items()},
                )
            )
        return Quantisation(tuple(cells))

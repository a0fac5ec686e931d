"""The distribution of the noise at each intensity: divergences, and the data's place among the samples' quantiles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.metrics.split_half_divergence import (
    BLOCKS,
    FLOOR_SPREADS,
    PARTS,
    Divergence,
    divergences,
    parts_and_blocks,
)
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import significant
from noiseflow.evaluate.statistics.histogram_bins import fine_index, widening_edges, widening_index

__all__ = ["Conditional", "ConditionalMetric", "SignalBin"]

SIGNAL_BINS = 8
WIDTH = 0.1
"""Width of a bin of the residual at 0, in σ; farther out r it is `WIDTH` · √(1 + r²)."""

FEWEST = 10_000
"""Values of a bin that is judged."""

LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class SignalBin:
    """One intensity bin, all cameras and ISOs together.

    Parameters
    ----------
    low, high : float
        Edges as parts of each camera's and ISO's range of √signal.
    signal_dn : float
        Mean clean signal, DN above black.
    values : int
    kl, js, wasserstein : Divergence
        Of the residuals: nats, nats, σ.
    below : mapping of str to tuple of float
        Per model, part of the real residuals below each quantile (`Conditional.levels`) of
        the sampled ones: the levels themselves if the conditional quantiles are right.
    """

    low: float
    high: float
    signal_dn: float
    values: int
    kl: Divergence
    js: Divergence
    wasserstein: Divergence
    below: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Conditional(Score):
    """Divergence on intensity bins, then averaged over the pixels.

    Parameters
    ----------
    levels : tuple of float
        Of the quantiles.
    bins : tuple of SignalBin
        From dark to bright.
    kl, js, wasserstein : mapping of str to float
        Averages over the bins by their number of values, per model; the floor's under
        ``"data"``.
    """

    title: ClassVar[str] = "Distribution by intensity"
    method: ClassVar[str] = (
        "Residuals are the noise over the real noise’s own σ at that signal, camera and ISO (variance of the data at "
        f"64 knots, linear in between). They are counted in {SIGNAL_BINS} bins of signal, even in its square root from "
        f"the darkest to the brightest of each camera and ISO, and in bins of the residual of {WIDTH} σ at 0, wider "
        "farther out (even in asinh), to 200 σ. Divergence, floor and interval as for the whole; then averaged over "
        "the bins by their number of values. A bin "
        f"of {FEWEST:,} values or more is off if its KL is above the floor’s mean plus {FLOOR_SPREADS * 2:g} standard "
        "deviations over the ways to halve, and above its interval’s reach of the floor. Conditional quantiles: "
        "part of the data below each quantile of the samples in the same bin."
    )

    levels: tuple[float, ...]
    bins: tuple[SignalBin, ...]
    kl: Mapping[str, float]
    js: Mapping[str, float]
    wasserstein: Mapping[str, float]

    def judged(self) -> list[SignalBin]:
        """Bins with enough values and a floor."""
        return [bin_ for bin_ in self.bins if bin_.values >= FEWEST and bin_.kl.floor is not None]

    def off(self, model: str) -> list[SignalBin]:
        """Of these, the bins where the samples differ."""
        return [bin_ for bin_ in self.judged() if _is_off(bin_.kl, model)]

    def findings(self, tested: str) -> Sequence[Finding]:
        """In how many bins the samples differ, and where most."""
        judged, off = self.judged(), self.off(tested)
        if not judged:
            text = f"No intensity bin holds {FEWEST:,} values: the distribution by intensity is not judged."
            return [Finding("open", "conditional", text)]
        numbers = f"KL {significant(self.kl[tested])} nats on average, floor {significant(self.kl[DATA])}"
        if not off:
            text = f"At every intensity the samples are distributed as the data: {numbers}."
            return [Finding("good", "conditional", text)]
        worst = max(off, key=lambda bin_: bin_.kl.models[tested].value / max(bin_.kl.floor or 0.0, 1e-12))
        text = (
            f"The distribution of the samples differs in {len(off)} of {len(judged)} intensity bins, most about "
            f"{worst.signal_dn:.0f} DN: KL {significant(worst.kl.models[tested].value)} nats, floor "
            f"{significant(worst.kl.floor)} ({numbers})."
        )
        return [Finding("bad", "conditional", text)]

    def table(self) -> Sequence[TableRow]:
        """Averages over the bins, beside the floor."""
        if not self.kl:
            return []
        return [
            TableRow(
                name,
                unit,
                "at the floor",
                {
                    model: f"floor {significant(value)}" if model == DATA else significant(value)
                    for model, value in values.items()
                },
            )
            for name, unit, values in (
                ("KL by intensity", "nats, mean over bins", self.kl),
                ("Wasserstein-1 by intensity", "σ, mean over bins", self.wasserstein),
            )
        ]

    def records(self) -> Sequence[Record]:
        """Averages, each bin, and the quantiles."""
        records = [
            Record(f"conditional_{measure}", unit, name, None, None, "", value)
            for measure, unit, values in (
                ("kl", "nats", self.kl),
                ("js", "nats", self.js),
                ("wasserstein", "σ", self.wasserstein),
            )
            for name, value in values.items()
        ]
        for number, bin_ in enumerate(self.bins):
            where = (None, None, f"intensity {number}")
            records.append(Record("conditional_bin_signal", "DN", DATA, *where, bin_.signal_dn))
            for measure, unit, of in (
                ("kl", "nats", bin_.kl),
                ("js", "nats", bin_.js),
                ("wasserstein", "σ", bin_.wasserstein),
            ):
                if of.floor is not None:
                    records.append(Record(f"conditional_bin_{measure}_floor", unit, DATA, *where, of.floor))
                for name, value in of.models.items():
                    records.append(Record.of(value, f"conditional_bin_{measure}", unit, name, *where))
            for name, parts in bin_.below.items():
                records += [
                    Record(f"below_quantile_{level:g}", "1", name, *where, part)
                    for level, part in zip(self.levels, parts, strict=True)
                ]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Divergence against signal, and conditional quantiles of the model under test."""
        bins = self.judged()
        if not bins:
            return []
        places, models = [bin_.signal_dn for bin_ in bins], [name for name in pens if name != DATA]
        with canvas() as figure:
            ax = axes(figure, "signal above black, DN", "KL (real ‖ sampled), nats")
            ax.fill_between(
                places, 1e-9, [bin_.kl.floor_high or 0.0 for bin_ in bins], color="#d0d7de", label="floor", linewidth=0
            )
            for name in models:
                pen = pens[name]
                ax.plot(
                    places,
                    [bin_.kl.models[name].value for bin_ in bins],
                    color=pen.colour,
                    marker=pen.marker,
                    linestyle=pen.dash,
                    markersize=4,
                    linewidth=1.2,
                    label=name,
                )
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.5 * min(max(bin_.kl.floor or 0.0, 1e-8) for bin_ in bins))
            legend(figure)
            first = plate(
                figure,
                title="Divergence by intensity",
                alt="KL divergence of the residuals against signal, one line per model, and the floor",
                caption="KL of the residuals (noise over the data’s σ at that signal) in each bin of signal, nats. "
                "Good: in the grey area, where the data is from itself.",
            )
        tested = models[0]
        with canvas() as figure:
            ax = axes(figure, "signal above black, DN", "data below the quantile − level, %")
            ax.axhline(0, color="#57606a", linewidth=0.8)
            shades = ("#08306b", "#2171b5", "#6baed6", "#57606a", "#fd8d3c", "#d94801", "#7f2704")
            shown = [index for index, level in enumerate(self.levels) if 0.01 <= level <= 0.99]
            for shade, index in zip(shades, shown, strict=True):
                level = self.levels[index]
                ax.plot(
                    places,
                    [100 * (bin_.below[tested][index] - level) for bin_ in bins],
                    color=shade,
                    marker=".",
                    linewidth=1.2,
                    label=f"{100 * level:g} %",
                )
            figure.legend(loc="outside upper center", ncols=4, columnspacing=1.0, handlelength=1.4)
            second = plate(
                figure,
                title=f"Conditional quantiles of {tested}",
                alt="How far the part of the data below each sampled quantile is off, against signal",
                caption="Part of the data below each quantile of the samples at the same signal, minus the quantile’s "
                "level, per cent. Good: all lines at 0. Above 0 on the left tail (1 %, 5 %) and below on the right: "
                "the samples are too narrow.",
            )
        return [first, second]


class ConditionalMetric(Metric):
    """Counts of residuals per intensity bin, block of scenes, part of the rows and source."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        cells = setup.survey.cells
        self.roots = np.array([[math.sqrt(max(x, 0)) for x in (cell.signal_low, cell.signal_high)] for cell in cells])
        self.edges = widening_edges(WIDTH)
        self.bin_of = widening_index(self.edges)
        self.bins = len(self.edges) - 1
        shape = (SIGNAL_BINS, BLOCKS, PARTS, self.bins)
        self.counts = {name: np.zeros(shape, np.int64) for name in setup.sources}
        self.signal, self.values = np.zeros(SIGNAL_BINS), np.zeros(SIGNAL_BINS)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        low, high = torch.from_numpy(self.roots[batch.cell].astype(np.float32)).T[:, :, None, None, None]
        step = ((high - low) / SIGNAL_BINS).clamp(min=1e-9)
        signal = batch.signal_dn.float()
        bin_ = ((signal.clamp(min=0).sqrt() - low) / step).clamp_(0, SIGNAL_BINS - 1).to(torch.int32)
        self.values += torch.bincount(bin_.flatten(), minlength=SIGNAL_BINS).double().numpy()
        self.signal += torch.bincount(bin_.flatten(), signal.flatten(), minlength=SIGNAL_BINS).double().numpy()
        place = (bin_ * (BLOCKS * PARTS) + parts_and_blocks(batch)).mul_(self.bins)
        for name, residual in batch.residual.items():
            index = self.bin_of[fine_index(residual)]
            counts = self.counts[name]
            counts += torch.bincount(index.add_(place).flatten(), minlength=counts.size).reshape(counts.shape).numpy()

    def score(self) -> Conditional:
        """Divergences and quantiles of each bin, and their averages."""
        widths, bins, models = np.diff(self.edges), [], self.setup.models
        for number in np.flatnonzero(self.values):
            counts = {name: count[number] for name, count in self.counts.items()}
            kl, js, wasserstein = divergences(counts, models, widths)
            total = {name: count.sum((0, 1)) for name, count in counts.items()}
            bins.append(
                SignalBin(
                    low=float(number / SIGNAL_BINS),
                    high=float((number + 1) / SIGNAL_BINS),
                    signal_dn=float(self.signal[number] / self.values[number]),
                    values=int(self.values[number]),
                    kl=kl,
                    js=js,
                    wasserstein=wasserstein,
                    below={name: _below(total[DATA], total[name], self.edges) for name in models},
                )
            )
        known = [bin_ for bin_ in bins if bin_.kl.floor is not None]
        weights = np.array([bin_.values for bin_ in known], np.float64)

        def averages(kind: str) -> dict[str, float]:
            if not known:
                return {}
            each: list[Divergence] = [getattr(bin_, kind) for bin_ in known]
            floor = float(np.average([of.floor or 0.0 for of in each], weights=weights))
            return {
                DATA: floor,
                **{name: float(np.average([of.models[name].value for of in each], weights=weights)) for name in models},
            }

        return Conditional(LEVELS, tuple(bins), averages("kl"), averages("js"), averages("wasserstein"))


def _is_off(kl: Divergence, model: str) -> bool:
    estimate, floor = kl.models[model], kl.floor or 0.0
    high = floor + 2 * ((kl.floor_high or floor) - floor)
    return estimate.value > high and (estimate.low is None or estimate.low > floor)


def _below(real: NDArray[np.int64], sampled: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    """Part of the real values below the sampled quantiles; within a bin linear."""
    parts = [np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]) for counts in (real, sampled)]
    quantiles = np.interp(LEVELS, parts[1], edges)
    return tuple(float(part) for part in np.interp(quantiles, edges, parts[0]))

"""What is said of the distribution of the noise: divergence beside its floor, moments, histograms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from noiseflow.evaluate.metric import DATA, Finding, Record, Score, TableRow
from noiseflow.evaluate.metrics.split_half_divergence import (
    BLOCKS,
    FLOOR_SPREADS,
    PARTS,
    PSEUDO_COUNT,
    Divergence,
    beside_floor,
)
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, evenly, legend, plate
from noiseflow.evaluate.presentation.formatting import cell_labels, cell_name, percent, plus_minus, significant
from noiseflow.evaluate.statistics.intervals import LEVEL, Estimate

__all__ = ["BINS_PER_SIGMA", "MOST_BINS", "VARIANCE_MARGIN", "CellMarginal", "Histogram", "Marginal"]

BINS_PER_SIGMA = 10
MOST_BINS = 2000
VARIANCE_MARGIN = 0.02
MOST_CELLS_DRAWN = 3


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width; the outermost two are open.

    Parameters
    ----------
    low_dn, width_dn : float
        Lower edge of the first bin and width of each, noise in DN.
    counts : mapping of str to tuple of int
        Per source.
    """

    low_dn: float
    width_dn: float
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class CellMarginal:
    """Marginal distribution over one camera at one ISO, or over all.

    Parameters
    ----------
    camera, iso
        None for all of the data.
    values : int
        Values in each half of the data: the sample size of every divergence here.
    floor, floor_high : float or None
        KL of one half of the data to the other, nats: mean over the ways to halve it, and
        that plus `FLOOR_SPREADS` standard deviations.  None if the data cannot be halved.
    kl : mapping of str to (float or None)
        KL of one half of the data to the samples for the other half, per model.
    kl_interval : mapping of str to Estimate
        The same with its interval.
    js, wasserstein : Divergence
        Jensen–Shannon, nats, and Wasserstein-1, in the real noise's σ.
    mean_dn, variance_dn2, skewness : mapping of str to Estimate
        Per source.
    variance_ratio : mapping of str to Estimate
        Sampled over real variance, per model.
    histogram : Histogram
    """

    camera: str | None
    iso: float | None
    values: int
    floor: float | None
    floor_high: float | None
    kl: Mapping[str, float | None]
    kl_interval: Mapping[str, Estimate]
    js: Divergence
    wasserstein: Divergence
    mean_dn: Mapping[str, Estimate]
    variance_dn2: Mapping[str, Estimate]
    skewness: Mapping[str, Estimate]
    variance_ratio: Mapping[str, Estimate]
    histogram: Histogram


@dataclass(frozen=True)
class Marginal(Score):
    """Marginal divergence and moments.

    Parameters
    ----------
    cells : tuple of CellMarginal
        All of the data, then each camera at each ISO if there are several.
    pseudo_count : float
        Added to every bin.
    """

    title: ClassVar[str] = "Distribution of the noise"
    method: ClassVar[str] = (
        f"KL(real ‖ sampled) and Jensen–Shannon in nats, Wasserstein-1 in the real noise’s σ, over bins of "
        f"σ/{BINS_PER_SIGMA} (σ of the real noise; at most {MOST_BINS} bins) "
        "from the smallest to the largest real value, the two outermost open, so that nothing is dropped; "
        f"{PSEUDO_COUNT} is added to every bin. Real and sampled noise are both blurred by a uniform ±½ code first, "
        "so that the steps of the integers are not held against a continuous density. "
        f"The floor is what the same estimator gives for the data against itself: pixel rows of each frame are dealt "
        f"to {PARTS} parts in turn, one half of the parts is compared with the other, averaged over all ways to halve; "
        "the reported KL compares one half of the data with the samples for the other half, so sizes and conditions "
        "are the floor’s. What is common to a whole frame is not in the floor. The ± of a divergence is from leaving "
        f"out one of {BLOCKS} blocks of scenes after the other (jackknife, {percent(LEVEL)}). "
        f"Above the floor means above its mean plus {FLOOR_SPREADS:g} standard deviations over the ways to halve. "
        f"The variance agrees if the {percent(LEVEL)} interval of sampled/real lies within 1 ± {VARIANCE_MARGIN:g}, "
        "and is off if it lies outside. The sign of the skewness is judged if the intervals of both exclude 0."
    )

    cells: tuple[CellMarginal, ...]
    pseudo_count: float

    def findings(self, tested: str) -> Sequence[Finding]:
        """Divergence against its floor, variance, and the sign of the skewness."""
        return [self._divergence(tested), self._variance(tested), *self._skewness(tested)]

    def _divergence(self, tested: str) -> Finding:
        whole = self.cells[0]
        kl, floor, high = whole.kl[tested], whole.floor, whole.floor_high
        if kl is None or floor is None or high is None:
            return Finding("open", "kl", "The marginal KL has no floor: the patches are too few to halve.")
        numbers = f"KL {significant(kl)} nats, floor {significant(floor)} (up to {significant(high)})"
        off = [cell for cell in self.cells[1:] if _above_floor(cell, tested)]
        where = ""
        if off:
            worst = max(off, key=lambda cell: (cell.kl[tested] or 0.0) / (cell.floor or 1.0))
            where = (
                f" It is above the floor in {len(off)} of {len(self.cells) - 1} camera–ISO pairs, most at "
                f"{cell_name(worst.camera, worst.iso)}: {significant(worst.kl[tested])}."
            )
        if kl > high:
            text = f"The histogram of the samples differs from the data’s: {numbers}, {kl / floor:.3g} × the floor."
            return Finding("bad", "kl", text + where)
        if off:
            return Finding("bad", "kl", f"Over all data the histogram of the samples agrees: {numbers}." + where)
        return Finding("good", "kl", f"The histogram of the samples agrees with the data’s: {numbers}.")

    def _variance(self, tested: str) -> Finding:
        ratio = self.cells[0].variance_ratio[tested]
        text = f"The variance of the samples is {_in_percent(ratio)} of the data’s"
        off = [cell for cell in self.cells[1:] if _outside(cell.variance_ratio[tested], VARIANCE_MARGIN)]
        where = ""
        if off:
            worst = max(off, key=lambda cell: abs(math.log(max(cell.variance_ratio[tested].value, 1e-9))))
            where = (
                f" It is off in {len(off)} of {len(self.cells) - 1} camera–ISO pairs, most at "
                f"{cell_name(worst.camera, worst.iso)}: {_in_percent(worst.variance_ratio[tested])}."
            )
        if _outside(ratio, VARIANCE_MARGIN):
            size = "large" if ratio.value > 1 else "small"
            return Finding("bad", "variance", f"{text}: too {size}.{where}")
        if off:
            return Finding("bad", "variance", f"{text} over all data.{where}")
        if ratio.above(1 - VARIANCE_MARGIN) and ratio.below(1 + VARIANCE_MARGIN):
            return Finding("good", "variance", f"{text}, within {percent(VARIANCE_MARGIN)}.")
        return Finding("open", "variance", f"{text}. Whether that is within {percent(VARIANCE_MARGIN)} is not settled.")

    def _skewness(self, tested: str) -> Sequence[Finding]:
        real, sampled = self.cells[0].skewness[DATA], self.cells[0].skewness[tested]
        if (real.above(0) and sampled.below(0)) or (real.below(0) and sampled.above(0)):
            text = (
                f"The skewness of the samples has the wrong sign: {plus_minus(sampled, 2)} against "
                f"{plus_minus(real, 2)} in the data. Is the noise mirrored (clean − noisy)?"
            )
            return [Finding("bad", "skewness", text)]
        return []

    def table(self) -> Sequence[TableRow]:
        """KL beside its floor, and the variance ratio."""
        whole = self.cells[0]
        ratios = {name: plus_minus(value, 3) for name, value in whole.variance_ratio.items()}
        skewness = {name: plus_minus(value, 2) for name, value in whole.skewness.items()}
        kl = Divergence(whole.floor, whole.floor_high, whole.kl_interval)
        return [
            TableRow("KL (real ‖ sampled)", "nats, marginal", "at the floor", beside_floor(kl)),
            TableRow("Jensen–Shannon", "nats, marginal", "at the floor", beside_floor(whole.js)),
            TableRow("Wasserstein-1", "σ of the noise, marginal", "at the floor", beside_floor(whole.wasserstein)),
            TableRow("Variance, sampled / real", "ratio", "1", {DATA: "1", **ratios}),
            TableRow("Skewness", "third moment / σ³", "as in the data", skewness),
        ]

    def records(self) -> Sequence[Record]:
        """Divergences, floors and moments."""
        records = []
        for cell in self.cells:
            where = (cell.camera, cell.iso, "")
            if cell.floor is not None:
                records.append(Record("kl_floor", "nats", DATA, *where, cell.floor, high=cell.floor_high))
            records += [Record.of(value, "kl", "nats", name, *where) for name, value in cell.kl_interval.items()]
            for measure, unit, of in (("js", "nats", cell.js), ("wasserstein", "σ", cell.wasserstein)):
                if of.floor is not None:
                    records.append(Record(f"{measure}_floor", unit, DATA, *where, of.floor, high=of.floor_high))
                records += [Record.of(value, measure, unit, name, *where) for name, value in of.models.items()]
            for measure, unit, values in (
                ("mean", "DN", cell.mean_dn),
                ("variance", "DN²", cell.variance_dn2),
                ("skewness", "1", cell.skewness),
                ("variance_ratio", "1", cell.variance_ratio),
            ):
                records += [Record.of(value, measure, unit, name, *where) for name, value in values.items()]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Histograms with a log axis: all of the data, or some of the cells."""
        cells = self.cells[1:] or self.cells
        names = cell_labels([(cell.camera, cell.iso) for cell in cells]) if len(cells) > 1 else [""]
        return [_draw(cells[index], names[index], pens) for index in evenly(range(len(cells)), MOST_CELLS_DRAWN)]


def _above_floor(cell: CellMarginal, name: str) -> bool:
    kl = cell.kl[name]
    return kl is not None and cell.floor_high is not None and kl > cell.floor_high


def _outside(ratio: Estimate, margin: float) -> bool:
    return ratio.above(1 + margin) or ratio.below(1 - margin)


def _in_percent(ratio: Estimate) -> str:
    return f"{plus_minus(ratio.scaled(100.0), 1)} %"


def _draw(cell: CellMarginal, name: str, pens: Mapping[str, Pen]) -> Plate:
    histogram = cell.histogram
    bins = len(next(iter(histogram.counts.values())))
    edges = histogram.low_dn + histogram.width_dn * np.arange(bins + 1)
    with canvas() as figure:
        ax = axes(figure, "noise, DN", "density, 1/DN")
        smallest = math.inf
        for source, counts in histogram.counts.items():
            density = np.array(counts, np.float64) / (sum(counts) * histogram.width_dn)
            smallest = min(smallest, 1 / (sum(counts) * histogram.width_dn))
            pen = pens[source]
            if source == DATA:
                ax.stairs(density, edges, fill=True, color="#d0d7de", label="data")
            ax.stairs(
                density,
                edges,
                color=pen.colour,
                linestyle=pen.dash,
                linewidth=1.0 if source == DATA else 1.3,
                label=None if source == DATA else source,
            )
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5 * smallest)
        legend(figure)
        return plate(
            figure,
            title="Histogram of the noise" + (f", {name}" if name else ""),
            alt=f"Histogram of real and sampled noise in DN, log axis {name}",
            caption=f"Density of the noise, log axis, bins of {histogram.width_dn:.3g} DN. Good: the lines follow the "
            "grey area into both tails. The outermost bins also hold all beyond them.",
        )

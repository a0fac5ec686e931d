"""Sentences and figures of the distribution of the noise, over all pixels and by intensity."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.distribution import (
    BINS_PER_SIGMA,
    MOST_BINS,
    SIGNAL_BINS,
    WIDTH,
    Conditional,
    Marginal,
    MarginalCell,
    SignalBin,
)
from noiseflow.evaluate.presentation.figures import (
    GREY,
    LIGHT_GREY,
    Pen,
    Plate,
    axes,
    canvas,
    evenly,
    legend,
    line,
    plate,
    shown,
)
from noiseflow.evaluate.presentation.formatting import cell_labels, cell_name, percent, plus_minus, significant
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.divergence import BLOCKS, FLOOR_SPREADS, PARTS, PSEUDO_COUNT, Divergence
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval

__all__ = ["ConditionalPresenter", "MarginalPresenter"]

VARIANCE_MARGIN = 0.02
"""Largest deviation of sampled/real variance from 1 that is not flagged."""

FEWEST_IN_BIN = 10_000
"""Fewest values in a bin of intensity for a verdict."""

MOST_CELLS_DRAWN = 3
"""Largest number of histograms drawn."""

SHADES = ("#08306b", "#2171b5", "#6baed6", "#57606a", "#fd8d3c", "#d94801", "#7f2704")
"""Colours of the conditional quantiles, from low to high."""


class MarginalPresenter(Presenter[Marginal]):
    """Presents `Marginal`."""

    title = "Distribution of the noise"

    method = (
        f"KL(real ‖ sampled) and Jensen–Shannon in nats, Wasserstein-1 in the real noise’s σ, over bins of "
        f"σ/{BINS_PER_SIGMA} (σ of the real noise; at most {MOST_BINS} bins) "
        "from the smallest to the largest real value; the two outermost also count everything beyond. "
        f"{PSEUDO_COUNT} is added to every bin. A uniform ±½ code is first added to real and sampled noise alike, "
        "which hides the steps of the integers from comparisons with a continuous density. "
        "The floor is the same estimator between two halves of the data: the pixel rows of each frame are assigned "
        f"to {PARTS} parts in turn, half of the parts are compared with the others, and the result is averaged over "
        "all ways to halve. The reported KL compares one half of the data with the samples for the other half, so "
        "sizes and conditions match the floor. Anything common to a whole frame does not raise the floor. The ± of a "
        f"divergence is a jackknife over {BLOCKS} blocks of scenes ({percent(LEVEL)}). "
        f"Above the floor means above its mean plus {FLOOR_SPREADS:g} standard deviations over the ways to halve. "
        f"The variance agrees if the {percent(LEVEL)} interval of sampled/real is within 1 ± {VARIANCE_MARGIN:g}, "
        "and is off if it is outside. The sign of the skewness is compared if the intervals of both exclude 0."
    )

    def findings(self, score: Marginal, tested: str) -> Sequence[Finding]:
        """Return the verdicts on divergence, variance, and the sign of the skewness."""
        return [self._divergence(score, tested), self._variance(score, tested), *self._skewness(score, tested)]

    def _divergence(self, score: Marginal, tested: str) -> Finding:
        whole = score.cells[0]
        kl, floor, high = whole.kl[tested], whole.floor, whole.floor_high
        if kl is None or floor is None or high is None:
            return Finding("open", "kl", "The marginal KL has no floor: there are too few patches to halve.")
        numbers = f"KL {significant(kl)} nats, floor {significant(floor)} (up to {significant(high)})"
        off = [cell for cell in score.cells[1:] if _above_floor(cell, tested)]
        where = ""
        if off:
            worst = max(off, key=lambda cell: (cell.kl[tested] or 0.0) / (cell.floor or 1.0))
            where = (
                f" It is above the floor in {len(off)} of {len(score.cells) - 1} camera–ISO pairs, most at "
                f"{cell_name(worst.camera, worst.iso)}: {significant(worst.kl[tested])}."
            )
        if kl > high:
            text = f"The histogram of the samples differs from the data’s: {numbers}, {kl / floor:.3g} × the floor."
            return Finding("bad", "kl", text + where)
        if off:
            return Finding("bad", "kl", f"Over all data the histogram of the samples agrees: {numbers}." + where)
        return Finding("good", "kl", f"The histogram of the samples agrees with the data’s: {numbers}.")

    def _variance(self, score: Marginal, tested: str) -> Finding:
        ratio = score.cells[0].variance_ratio[tested]
        text = f"The variance of the samples is {_in_percent(ratio)} of the data’s"
        off = [cell for cell in score.cells[1:] if _outside(cell.variance_ratio[tested], VARIANCE_MARGIN)]
        where = ""
        if off:
            worst = max(off, key=lambda cell: abs(math.log(max(cell.variance_ratio[tested].value, 1e-9))))
            where = (
                f" It is off in {len(off)} of {len(score.cells) - 1} camera–ISO pairs, most at "
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

    def _skewness(self, score: Marginal, tested: str) -> Sequence[Finding]:
        real, sampled = score.cells[0].skewness[DATA], score.cells[0].skewness[tested]
        if (real.above(0) and sampled.below(0)) or (real.below(0) and sampled.above(0)):
            text = (
                f"The skewness of the samples has the wrong sign: {plus_minus(sampled, 2)} against "
                f"{plus_minus(real, 2)} in the data. Is the noise mirrored (clean − noisy)?"
            )
            return [Finding("bad", "skewness", text)]
        return []

    def table(self, score: Marginal) -> Sequence[TableRow]:
        """Return the divergences with their floors, variance ratio and skewness."""
        whole = score.cells[0]
        ratios = {name: plus_minus(value.within(0.0), 3) for name, value in whole.variance_ratio.items()}
        skewness = {name: plus_minus(value, 2) for name, value in whole.skewness.items()}
        kl = Divergence(whole.floor, whole.floor_high, whole.kl_interval)
        return [
            TableRow("KL (real ‖ sampled)", "nats, marginal", "at the floor", _beside_floor(kl)),
            TableRow("Jensen–Shannon", "nats, marginal", "at the floor", _beside_floor(whole.js)),
            TableRow("Wasserstein-1", "σ of the noise, marginal", "at the floor", _beside_floor(whole.wasserstein)),
            TableRow("Variance, sampled / real", "ratio", "1", {DATA: "1", **ratios}),
            TableRow("Skewness", "third moment / σ³", "as in the data", skewness),
        ]

    def records(self, score: Marginal) -> Sequence[Record]:
        """Return divergences, floors and moments."""
        records = []
        for cell in score.cells:
            where = camera, iso, part = cell.camera, cell.iso, ""
            if cell.floor is not None:
                records.append(Record("kl_floor", "nats", DATA, *where, cell.floor, high=cell.floor_high))
            records += [
                Record("kl", "nats", name, camera, iso, part, *value.numbers)
                for name, value in cell.kl_interval.items()
            ]
            for measure, unit, of in (("js", "nats", cell.js), ("wasserstein", "σ", cell.wasserstein)):
                if of.floor is not None:
                    records.append(Record(f"{measure}_floor", unit, DATA, *where, of.floor, high=of.floor_high))
                records += [
                    Record(measure, unit, name, camera, iso, part, *value.numbers) for name, value in of.models.items()
                ]
            for measure, unit, values in (
                ("mean", "DN", cell.mean_dn),
                ("variance", "DN²", cell.variance_dn2),
                ("skewness", "1", cell.skewness),
                ("variance_ratio", "1", cell.variance_ratio),
            ):
                records += [
                    Record(measure, unit, name, camera, iso, part, *value.numbers) for name, value in values.items()
                ]
        return records

    def plates(self, score: Marginal, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw histograms with a log axis, of all data or of some of the cells."""
        cells = score.cells[1:] or score.cells
        names = cell_labels([(cell.camera, cell.iso) for cell in cells]) if len(cells) > 1 else [""]
        return [_draw(cells[index], names[index], pens) for index in evenly(range(len(cells)), MOST_CELLS_DRAWN)]


class ConditionalPresenter(Presenter[Conditional]):
    """Presents `Conditional`."""

    title = "Distribution by intensity"

    method = (
        "Residuals are the noise divided by the real noise’s σ at that signal, camera and ISO (variance of the data "
        f"at 64 knots, linear in between). They are counted in {SIGNAL_BINS} bins of signal, equally spaced in its "
        "square root from the darkest to the brightest of each camera and ISO, and in bins of the residual, "
        f"{WIDTH} σ wide at 0 and wider farther out (equal in asinh), to 200 σ. Divergence, floor and interval are as "
        f"for all pixels, averaged over the bins by their number of values. A bin of at least {FEWEST_IN_BIN:,} values "
        f"is off if its KL is above the floor’s mean plus {FLOOR_SPREADS * 2:g} standard deviations over the ways to "
        "halve, and its interval is above the floor. Conditional quantiles: fraction of the data below each quantile "
        "of the samples in the same bin."
    )

    def _with_enough(self, score: Conditional) -> list[SignalBin]:
        """Return the bins with enough values and a floor."""
        return [bin_ for bin_ in score.bins if bin_.values >= FEWEST_IN_BIN and bin_.kl.floor is not None]

    def _off(self, score: Conditional, model: str) -> list[SignalBin]:
        """Return those of these bins in which the samples differ."""
        return [bin_ for bin_ in self._with_enough(score) if _is_off(bin_.kl, model)]

    def findings(self, score: Conditional, tested: str) -> Sequence[Finding]:
        """Return in how many bins the samples differ, and where most."""
        enough, off = self._with_enough(score), self._off(score, tested)
        if not enough:
            text = f"No intensity bin has {FEWEST_IN_BIN:,} values: no verdict on the distribution by intensity."
            return [Finding("open", "conditional", text)]
        numbers = f"KL {significant(score.kl[tested])} nats on average, floor {significant(score.kl[DATA])}"
        if not off:
            text = f"At every intensity the samples are distributed like the data: {numbers}."
            return [Finding("good", "conditional", text)]
        worst = max(off, key=lambda bin_: bin_.kl.models[tested].value / max(bin_.kl.floor or 0.0, 1e-12))
        text = (
            f"The distribution of the samples differs in {len(off)} of {len(enough)} intensity bins, most about "
            f"{worst.signal_dn:.0f} DN: KL {significant(worst.kl.models[tested].value)} nats, floor "
            f"{significant(worst.kl.floor)} ({numbers})."
        )
        return [Finding("bad", "conditional", text)]

    def table(self, score: Conditional) -> Sequence[TableRow]:
        """Return the averages over the bins, with the floor."""
        if not score.kl:
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
                ("KL by intensity", "nats, mean over bins", score.kl),
                ("Wasserstein-1 by intensity", "σ, mean over bins", score.wasserstein),
            )
        ]

    def records(self, score: Conditional) -> Sequence[Record]:
        """Return the averages, each bin, and the quantiles."""
        records = [
            Record(f"conditional_{measure}", unit, name, None, None, "", value)
            for measure, unit, values in (
                ("kl", "nats", score.kl),
                ("js", "nats", score.js),
                ("wasserstein", "σ", score.wasserstein),
            )
            for name, value in values.items()
        ]
        for number, bin_ in enumerate(score.bins):
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
                    records.append(
                        Record(f"conditional_bin_{measure}", unit, name, None, None, where[2], *value.numbers)
                    )
            for name, parts in bin_.below.items():
                records += [
                    Record(f"below_quantile_{level:g}", "1", name, *where, part)
                    for level, part in zip(score.levels, parts, strict=True)
                ]
        return records

    def plates(self, score: Conditional, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the divergence against signal, and conditional quantiles of the model under test."""
        bins = self._with_enough(score)
        if not bins:
            return []
        return [
            _divergence_by_signal(bins, pens),
            _quantiles_by_signal(score, bins, next(name for name in pens if name != DATA)),
        ]


def _divergence_by_signal(bins: Sequence[SignalBin], pens: Mapping[str, Pen]) -> Plate:
    places = [bin_.signal_dn for bin_ in bins]
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "KL (real ‖ sampled), nats")
        floors = [bin_.kl.floor_high or 0.0 for bin_ in bins]
        ax.fill_between(places, 1e-9, floors, color=LIGHT_GREY, label="floor", linewidth=0)
        for name, pen in pens.items():
            if name != DATA:
                line(ax, places, [bin_.kl.models[name].value for bin_ in bins], pen, name)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5 * min(max(bin_.kl.floor or 0.0, 1e-8) for bin_ in bins))
        legend(figure)
        return plate(
            figure,
            title="Divergence by intensity",
            alt="KL divergence of the residuals against signal, one line per model, and the floor",
            caption="KL of the residuals (noise divided by the data’s σ at that signal) in each bin of signal, nats. "
            "Good: in the grey area, the KL between two halves of the data.",
        )


def _quantiles_by_signal(score: Conditional, bins: Sequence[SignalBin], tested: str) -> Plate:
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "data below the quantile − level, %")
        ax.axhline(0, color=GREY, linewidth=0.8)
        shown = [index for index, level in enumerate(score.levels) if 0.01 <= level <= 0.99]
        for shade, index in zip(SHADES, shown, strict=True):
            level = score.levels[index]
            off = [100 * (bin_.below[tested][index] - level) for bin_ in bins]
            line(ax, [bin_.signal_dn for bin_ in bins], off, Pen(shade, ".", "-"), f"{100 * level:g} %")
        legend(figure, columns=4)
        return plate(
            figure,
            title=f"Conditional quantiles of {tested}",
            alt="Error of the fraction of the data below each sampled quantile, against signal",
            caption="Fraction of the data below each quantile of the samples at the same signal, minus the quantile’s "
            "level, per cent. Good: all lines at 0. If the low quantiles (1 %, 5 %) are above 0 and the high ones "
            "below, the samples are too narrow.",
        )


def _above_floor(cell: MarginalCell, name: str) -> bool:
    kl = cell.kl[name]
    return kl is not None and cell.floor_high is not None and kl > cell.floor_high


def _outside(ratio: Interval, margin: float) -> bool:
    return ratio.above(1 + margin) or ratio.below(1 - margin)


def _in_percent(ratio: Interval) -> str:
    return f"{plus_minus(ratio.within(0.0).scaled(100.0), 1)} %"


def _draw(cell: MarginalCell, name: str, pens: Mapping[str, Pen]) -> Plate:
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
                ax.stairs(density, edges, fill=True, color=LIGHT_GREY, label="data")
            ax.stairs(
                density,
                edges,
                color=pen.colour,
                linestyle=pen.dash,
                linewidth=1.0 if source == DATA else 1.3,
                label=None if source == DATA else shown(source),
            )
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5 * smallest)
        legend(figure)
        return plate(
            figure,
            title="Histogram of the noise" + (f", {name}" if name else ""),
            alt=f"Histogram of real and sampled noise in DN, log axis {name}",
            caption=f"Density of the noise, log axis, bins of {histogram.width_dn:.3g} DN. Good: the lines follow the "
            "grey area into both tails. The outermost bins also count everything beyond.",
        )


def _beside_floor(divergence: Divergence) -> dict[str, str]:
    """Return the cells of a table: the floor in the data's column, and each model's value with its ±."""
    floor = "–" if divergence.floor is None else f"floor {significant(divergence.floor)}"
    return {DATA: floor, **{name: plus_minus(value.within(0.0), 6) for name, value in divergence.models.items()}}


def _is_off(kl: Divergence, model: str) -> bool:
    estimate, floor = kl.models[model], kl.floor or 0.0
    high = floor + 2 * ((kl.floor_high or floor) - floor)
    return estimate.value > high and (estimate.low is None or estimate.low > floor)

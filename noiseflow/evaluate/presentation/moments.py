"""Sentences and figures of the variance against the signal, and of the tails."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from noiseflow.core.text import counted
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.moments import BINS, THRESHOLDS, Beyond, Bin, MeanVariance, Tails, TransferCurve
from noiseflow.evaluate.presentation.figures import (
    LIGHT_GREY,
    Pen,
    Plate,
    axes,
    bars,
    canvas,
    evenly,
    legend,
    line,
    plate,
)
from noiseflow.evaluate.presentation.formatting import cell_labels, cell_name, number, percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MeanVariancePresenter", "TailsPresenter"]

VARIANCE_MARGIN = 0.02
"""Largest deviation of sampled/real variance from 1 that is not flagged."""

FEWEST_IN_BIN = 10_000
"""Fewest values in a bin of intensity for a verdict."""

FEWEST_DRAWN = 100
"""Fewest values in a bin that is drawn."""

MOST_CURVES_DRAWN = 3
"""Largest number of curves drawn."""

TAIL_MARGIN = 0.25
"""Largest difference of the fractions beyond a threshold that is not flagged, relative to that of the data."""

TAIL_UNSURE = 2.0
"""Factor between data and samples from which a difference that is not significant is called not settled."""

FEWEST_BEYOND = 100
"""Fewest pixels beyond a threshold, in data and samples together, for a verdict."""


class MeanVariancePresenter(Presenter[MeanVariance]):
    """Presents `MeanVariance`."""

    title = "Variance against signal"

    method = (
        f"The pixels of all planes are divided into {BINS} bins of clean signal in DN, equally spaced in its square "
        "root from the darkest to the brightest of each camera and ISO. If the clean signal is an estimate, a pixel "
        "is binned by the mean of its patch and plane: its own estimate has an error, and binning by it would change "
        "the noise in each bin. Standard errors are as if pixels were "
        "independent, √((kurtosis − 1)/n) of the variance. A bin of "
        f"at least {FEWEST_IN_BIN:,} values is off if sampled/real is outside 1 ± {VARIANCE_MARGIN:g} by more than its "
        f"{percent(LEVEL)} interval, corrected for the number of bins (Bonferroni)."
    )

    def _with_enough(self, score: MeanVariance) -> list[tuple[TransferCurve, Bin]]:
        """Return the bins with enough values."""
        return [
            (curve, bin_)
            for curve in score.curves
            for bin_ in curve.bins
            if bin_.count >= FEWEST_IN_BIN and bin_.moments[DATA].variance > 0
        ]

    def _off(self, score: MeanVariance, model: str) -> list[tuple[TransferCurve, Bin]]:
        """Return those of these bins in which the sampled variance is off."""
        enough = self._with_enough(score)
        reach = float(ndtri(1 - (1 - LEVEL) / 2 / max(len(enough), 1)))
        return [(curve, bin_) for curve, bin_ in enough if _excess(bin_, model) > reach * _ratio(bin_, model)[1]]

    def findings(self, score: MeanVariance, tested: str) -> Sequence[Finding]:
        """Return in how many bins the sampled variance is off, and where most."""
        enough, off = self._with_enough(score), self._off(score, tested)
        if not enough:
            text = f"No intensity bin has {FEWEST_IN_BIN:,} values: no verdict on the variance by intensity."
            return [Finding("open", "mean_variance", text)]
        bins = f"{counted(len(enough), 'intensity bin')} of at least {FEWEST_IN_BIN:,} values"
        if not off:
            largest = max(abs(_ratio(bin_, tested)[0] - 1) for _, bin_ in enough)
            text = f"The sampled variance follows the signal in all {bins}: off by at most {percent(largest, 1)}"
            text += "." if largest <= VARIANCE_MARGIN else ", within the errors of the bins."
            return [Finding("good", "mean_variance", text)]
        curve, worst = max(off, key=lambda pair: abs(math.log(max(_ratio(pair[1], tested)[0], 1e-9))))
        ratio, error = _ratio(worst, tested)
        where = f" ({cell_name(curve.camera, curve.iso)})" if len(score.curves) > 1 else ""
        text = (
            f"The sampled variance is off in {len(off)} of {bins}, most at {worst.clean:.0f} DN{where}: "
            f"{number(100 * ratio, 1)} ± {number(196 * error, 1)} % of the data’s."
        )
        return [Finding("bad", "mean_variance", text)]

    def table(self, score: MeanVariance) -> Sequence[TableRow]:
        """Return the number of bins that are off, per model."""
        enough = self._with_enough(score)
        if not enough:
            return []
        models = [name for name in enough[0][1].moments if name != DATA]
        off = {name: f"{len(self._off(score, name))} of {len(enough)}" for name in models}
        return [
            TableRow("Intensity bins off", f"variance outside {percent(VARIANCE_MARGIN)}", "none", {DATA: "", **off})
        ]

    def records(self, score: MeanVariance) -> Sequence[Record]:
        """Return each bin of each curve."""
        records = []
        for curve in score.curves:
            for bin_ in curve.bins:
                where = (curve.camera, curve.iso, f"{bin_.low:.6g}–{bin_.high:.6g} DN")
                records.append(Record("bin_count", "1", DATA, *where, bin_.count))
                records.append(Record("bin_clean", "DN", DATA, *where, bin_.clean))
                for name, moments in bin_.moments.items():
                    records += [
                        Record("bin_mean", "DN", name, *where, moments.mean),
                        Record("bin_variance", "DN²", name, *where, moments.variance, moments.variance_error),
                        Record("bin_kurtosis", "1", name, *where, moments.kurtosis),
                    ]
        return records

    def plates(self, score: MeanVariance, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the photon-transfer curves and the ratios of some of the cells."""
        drawn: list[Plate] = []
        labels = cell_labels([(curve.camera, curve.iso) for curve in score.curves])
        for index in evenly(range(len(score.curves)), MOST_CURVES_DRAWN):
            curve = score.curves[index]
            name = f", {labels[index]}" if len(score.curves) > 1 else ""
            drawn += [_transfer(curve, name, pens), _ratios(curve, name, pens)]
        return drawn


class TailsPresenter(Presenter[Tails]):
    """Presents `Tails`."""

    title = "Tails"

    method = (
        "Residuals are the noise divided by the real noise’s σ at that signal. The metric counts the pixels beyond "
        f"±{', '.join(f'{threshold:g}' for threshold in THRESHOLDS)} σ. The verdict uses thresholds "
        f"with at least {FEWEST_BEYOND} pixels: tails are too light or too heavy if data and samples differ by more "
        f"than {percent(TAIL_MARGIN)} of the data’s fraction, and the {percent(VERDICT, 1)} interval of the difference "
        "(over scenes, corrected for the number of thresholds) excludes 0. If it includes 0 but they differ by more "
        f"than a factor of {TAIL_UNSURE:g}, the verdict is open."
    )

    def _with_enough(self, score: Tails, model: str) -> list[Beyond]:
        """Return the thresholds beyond which there are enough pixels."""
        return [each for each in score.beyond if each.pixels[DATA] + each.pixels[model] >= FEWEST_BEYOND]

    def findings(self, score: Tails, tested: str) -> Sequence[Finding]:
        """Return whether tails are missing or too heavy, at the threshold where they differ most."""
        enough = self._with_enough(score, tested)
        if not enough:
            text = f"No verdict on the tails: fewer than {FEWEST_BEYOND} pixels are beyond {THRESHOLDS[0]:g} σ."
            return [Finding("open", "tails", text)]
        if all(each.missing[tested].low is None for each in enough):
            text = f"Too few scenes for a verdict on the tails: {_numbers(enough[-1], tested)}."
            return [Finding("open", "tails", text)]
        off = [each for each in enough if _off(each, tested)]
        unsure = [each for each in enough if abs(_log_ratio(each, tested)) > math.log(TAIL_UNSURE)]
        if not off and unsure:
            worst = max(unsure, key=lambda each: abs(_log_ratio(each, tested)))
            text = f"Too few scenes to decide whether the tails match the data: {_numbers(worst, tested)}."
            return [Finding("open", "tails", text)]
        if not off:
            text = f"The tails of the samples match the data up to {enough[-1].threshold:g} σ: "
            return [Finding("good", "tails", text + f"{_numbers(enough[-1], tested)}.")]
        worst = max(off, key=lambda each: abs(_log_ratio(each, tested)))
        ratio = _log_ratio(worst, tested)
        word = "missing" if ratio < -math.log(3) else "too light" if ratio < 0 else "too heavy"
        text = (
            f"Tails are {word}: {_numbers(worst, tested)}; kurtosis {_kurtosis(score, DATA)} in the data, "
            f"{_kurtosis(score, tested)} in the samples."
        )
        return [Finding("bad", "tails", text)]

    def table(self, score: Tails) -> Sequence[TableRow]:
        """Return the kurtosis, and the fraction beyond 4 σ."""
        beyond = next(each for each in score.beyond if each.threshold == 4.0)
        parts = {name: f"{1e6 * part.value:,.0f}" for name, part in beyond.part.items()}
        kurtosis = {name: _kurtosis(score, name) for name in score.kurtosis}
        return [
            TableRow("Kurtosis", "of residuals; Gaussian: 3", "as in the data", kurtosis),
            TableRow("Beyond 4 σ", "pixels per million; Gaussian: 63", "as in the data", parts),
        ]

    def records(self, score: Tails) -> Sequence[Record]:
        """Return kurtosis, fractions beyond each threshold, and quantiles."""
        records = [
            Record("kurtosis", "1", name, None, None, "", *value.numbers) for name, value in score.kurtosis.items()
        ]
        for each in score.beyond:
            part = f"beyond {each.threshold:g} σ"
            records += [
                Record("tail_part", "1", name, None, None, part, *value.numbers) for name, value in each.part.items()
            ]
            records += [
                Record("tail_missing", "1", name, None, None, part, *value.numbers)
                for name, value in each.missing.items()
            ]
        for name, values in score.quantiles.items():
            records += [
                Record("residual_quantile", "σ", name, None, None, f"{level:g}", value)
                for level, value in zip(score.levels, values, strict=True)
            ]
        return records

    def plates(self, score: Tails, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the quantiles of the samples against those of the data."""
        real = np.array(score.quantiles[DATA])
        # Beyond the outermost ten pixels, quantiles are chance.
        sure = np.minimum(np.array(score.levels), 1 - np.array(score.levels)) * score.values >= 10
        if sure.sum() < 2:
            return []
        with canvas(height=3.8) as figure:
            ax = axes(figure, "quantile of the data, σ", "quantile of the samples, σ")
            ends = [float(real[sure].min()), float(real[sure].max())]
            ax.plot(ends, ends, color=pens[DATA].colour, linewidth=0.8)
            for name, pen in pens.items():
                if name != DATA:
                    line(ax, real[sure], np.array(score.quantiles[name])[sure], pen, name)
            margin = 0.15 * (ends[1] - ends[0])
            ax.set_xlim(ends[0] - margin, ends[1] + margin)
            ax.set_ylim(ends[0] - 2 * margin, ends[1] + 2 * margin)
            legend(figure)
            return [
                plate(
                    figure,
                    title="Quantiles of samples against data (QQ)",
                    alt="Quantiles of the samples' residuals against those of the data",
                    caption="Quantiles of the residuals (noise divided by the data’s σ at that signal), from 0.001 % "
                    "to 99.999 %, or to the outermost ten pixels. Good: on the line; if the ends are flatter, tails "
                    "are missing.",
                )
            ]


def _ratio(bin_: Bin, model: str) -> tuple[float, float]:
    """Return sampled over real variance, and its standard error."""
    real, sampled = bin_.moments[DATA], bin_.moments[model]
    if not real.variance > 0:
        return math.nan, math.nan
    relative = sampled.variance_error / max(sampled.variance, 1e-300), real.variance_error / real.variance
    ratio = sampled.variance / real.variance
    return ratio, ratio * math.hypot(*relative)


def _excess(bin_: Bin, model: str) -> float:
    """Return how far the ratio is outside the margin; 0 within it."""
    return max(abs(_ratio(bin_, model)[0] - 1) - VARIANCE_MARGIN, 0.0)


def _drawable(curve: TransferCurve) -> list[Bin]:
    return [bin_ for bin_ in curve.bins if bin_.count >= FEWEST_DRAWN] or list(curve.bins)


def _transfer(curve: TransferCurve, name: str, pens: Mapping[str, Pen]) -> Plate:
    bins = _drawable(curve)
    clean = [bin_.clean for bin_ in bins]
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "noise variance, DN²")
        for source in bins[0].moments:
            if source != DATA:
                line(ax, clean, [bin_.moments[source].variance for bin_ in bins], pens[source], source)
        real = [_of_bin(bin_.moments[DATA].variance, bin_.moments[DATA].variance_error) for bin_ in bins]
        bars(ax, clean, real, pens[DATA], DATA, joined=False)
        _signal_axis(ax, clean)
        ax.set_yscale("log")
        legend(figure)
        return plate(
            figure,
            title=f"Photon-transfer curve{name}",
            alt=f"Noise variance in DN squared against signal in DN, log-log, real and sampled{name}",
            caption="Variance of the noise against the clean signal. Good: the lines pass through the data’s circles, "
            f"flat in the dark (read noise), then with slope 1 (shot noise). Bars: 95 % interval of each bin; bins of "
            f"at least {FEWEST_DRAWN} values.",
        )


def _ratios(curve: TransferCurve, name: str, pens: Mapping[str, Pen]) -> Plate:
    bins = _drawable(curve)
    models = [source for source in bins[0].moments if source != DATA]
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "variance, sampled / real")
        ax.axhspan(1 - VARIANCE_MARGIN, 1 + VARIANCE_MARGIN, color=LIGHT_GREY, linewidth=0)
        ax.axhline(1, color=pens[DATA].colour, linewidth=0.8)
        for model in models:
            ratios = [_of_bin(*_ratio(bin_, model)) for bin_ in bins]
            shown = ratios if model == models[0] else [ratio.without_interval for ratio in ratios]
            bars(ax, [bin_.clean for bin_ in bins], shown, pens[model], model)
        _signal_axis(ax, [bin_.clean for bin_ in bins])
        # Fit the axis to the model under test: a baseline that is far off would flatten it.
        errors = [abs(_ratio(bin_, models[0])[0] - 1) for bin_ in bins]
        reach = max(0.1, 1.5 * max(filter(math.isfinite, errors), default=0.0))
        ax.set_ylim(max(1 - reach, 0.0), 1 + reach)
        legend(figure)
        return plate(
            figure,
            title=f"Sampled over real variance{name}",
            alt=f"Ratio of sampled to real variance against signal in DN{name}",
            caption=f"Good: within the grey band, 1 ± {VARIANCE_MARGIN:g}. Bars: 95 % interval of each bin, similar "
            "for all models and drawn for the one under test; the axis is scaled to that model and cuts off others.",
        )


def _of_bin(value: float, error: float) -> Interval:
    """Return a number of one bin with its 95 % interval, as if pixels were independent."""
    return Interval(value, error, value - 1.96 * error, value + 1.96 * error, 1)


def _signal_axis(ax: "Axes", clean: Sequence[float]) -> None:
    """Use a logarithmic axis, which becomes linear below 1 DN if the signal is that low."""
    if min(clean) > 1:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.5)


def _kurtosis(score: Tails, name: str) -> str:
    return plus_minus(score.kurtosis[name].within(1.0), 2)


def _log_ratio(each: Beyond, model: str) -> float:
    return math.log(max(each.pixels[model], 0.5) / max(each.pixels[DATA], 0.5))


def _off(each: Beyond, model: str) -> bool:
    missing = each.missing[model]
    large = abs(missing.value) > TAIL_MARGIN * each.part[DATA].value
    return large and (missing.above(0) or missing.below(0))


def _numbers(each: Beyond, model: str) -> str:
    def one_in(name: str) -> str:
        part = each.part[name].value
        return f"1 pixel in {1 / part:,.0f}" if part > 0 else "no pixel"

    return f"{one_in(DATA)} is beyond {each.threshold:g} σ in the data, {one_in(model)} in the samples"

"""Words and figures of calibration, correlation in time, quantisation, the two-sample test and the published KL."""

from collections.abc import Mapping, Sequence

import numpy as np

from noiseflow.evaluate.data_summary import CLOSE_VALUES, FEWEST_SCENES, MOST_PAIRS
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.legacy_kl import FLOOR_SIGMA, FLOOR_VALUES, MOST_PATCHES, LegacyKl
from noiseflow.evaluate.metrics.sample_checks import (
    BINS,
    LEVELS,
    NEAR,
    ON,
    Coverage,
    PitCalibration,
    Quantisation,
    QuantisationCell,
    Temporal,
)
from noiseflow.evaluate.metrics.two_sample import BANDS, FEWEST, FILTERS, FOLDS, SIZE, UNITS, TwoSample
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, dots, legend, names_down, plate, shown
from noiseflow.evaluate.presentation.formatting import cell_name, number, percent, plus_minus, significant
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval

__all__ = [
    "LegacyKlPresenter",
    "PitCalibrationPresenter",
    "QuantisationPresenter",
    "TemporalPresenter",
    "TwoSamplePresenter",
]

TIME_MARGIN = 0.01
"""Correlation of successive frames that passes as none."""

TIME_WIDE = 0.05
"""Largest reach of the interval from 0 at which frames are called independent."""

ENOUGH = f"score {FEWEST_SCENES} scenes or more"

CALIBRATION_MARGIN = 0.01
"""Error of a quantile that passes as none."""

ROUNDING_MARGIN = 0.02
"""Part that rounding may add to the variance of the noise."""

ACCURACY_MARGIN = 0.01
"""Accuracy above ½ that passes as chance."""

MOST_ACCURACY = 0.1
"""Largest reach of the interval above ½ at which real and sampled are called alike."""


class PitCalibrationPresenter(Presenter[PitCalibration]):
    """Words and figures of `PitCalibration`."""

    title = "Calibration of the density"

    method = (
        "The latent z that a model makes of the real noise (a flow’s z; of a Gaussian, noise ÷ σ) is standard normal "
        "if its density is right, and Φ(z) then uniform (probability integral transform). On a million values at "
        "the most, ±½ code added, so that integers do not make a comb of it. "
        f"The density is off where the part of the data below one of {len(LEVELS)} of its own quantiles differs from "
        f"the quantile’s level by more than {percent(CALIBRATION_MARGIN)} and the {percent(VERDICT, 1)} interval over "
        "scenes, wider for their number, excludes it. Models without a latent (those that only sample, the oracle) are "
        "left out; the distribution by intensity shows conditional quantiles of their samples."
    )

    def findings(self, score: PitCalibration, tested: str) -> Sequence[Finding]:
        """Whether the density's own quantiles hold."""
        if tested not in score.models:
            return []
        coverage = score.models[tested]
        shown = max(_off(coverage) or [_worst(coverage)], key=lambda i: abs(coverage.below[i].value - LEVELS[i]))
        level, below = LEVELS[shown], coverage.below[shown]
        part = plus_minus(_in_percent(below), 1)
        numbers = f"{part} % of the data is below the density’s {100 * level:g} % quantile"
        if below.low is None:
            return [Finding("open", "calibration", f"Too few scenes for a verdict on calibration: {numbers}.")]
        if _off(coverage):
            return [Finding("bad", "calibration", f"The density is not calibrated: {numbers}.")]
        return [Finding("good", "calibration", f"The density’s own quantiles hold; at worst {numbers}.")]

    def table(self, score: PitCalibration) -> Sequence[TableRow]:
        """Largest deviation from the levels."""
        if not score.models:
            return []
        worst = {
            name: f"{number(100 * abs(coverage.below[_worst(coverage)].value - LEVELS[_worst(coverage)]), 2)} %"
            for name, coverage in score.models.items()
        }
        return [TableRow("Calibration", "largest error of the latent’s quantiles", "0", {DATA: "", **worst})]

    def records(self, score: PitCalibration) -> Sequence[Record]:
        """Parts below each quantile, and the histograms."""
        records = []
        for name, coverage in score.models.items():
            records += [
                Record("latent_below", "1", name, None, None, f"{level:g}", *below.numbers)
                for level, below in zip(LEVELS, coverage.below, strict=True)
            ]
            records += [
                Record("latent_pit", "1", name, None, None, f"{index / BINS:g}–{(index + 1) / BINS:g}", height)
                for index, height in enumerate(coverage.histogram)
            ]
        return records

    def plates(self, score: PitCalibration, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Histograms of Φ(z)."""
        if not score.models:
            return []
        edges = np.linspace(0, 1, BINS + 1)
        with canvas() as figure:
            ax = axes(figure, "Φ(z), z the latent of the real noise", "density")
            ax.axhline(1, color=pens[DATA].colour, linewidth=0.8)
            for name, coverage in score.models.items():
                pen = pens[name]
                ax.stairs(
                    coverage.histogram,
                    edges,
                    color=pen.colour,
                    linestyle=pen.dash,
                    linewidth=1.3,
                    label=shown(name),
                )
            tested = next(iter(score.models.values()))
            reach = max(0.1, 1.3 * max(abs(height - 1) for height in tested.histogram))
            ax.set_ylim(max(1 - reach, 0), 1 + reach)
            legend(figure)
            return [
                plate(
                    figure,
                    title="Probability integral transform (PIT)",
                    alt="Histogram of the probability integral transform of the real noise under each model",
                    caption="Real noise through each model’s own distribution function. Good: flat at 1. A hollow: the "
                    "model is too wide; horns: too narrow; horns with a bump between them: tails are missing. The axis "
                    "fits the first model.",
                )
            ]


class TemporalPresenter(Presenter[Temporal]):
    """Words and figures of `Temporal`."""

    title = "Correlation in time"

    method = (
        f"On at most {MOST_PAIRS} places: correlation of the real noise (its patch’s mean removed) of two successive "
        "frames of a scene. Frames whose clean signal is the mean of the n − 1 others correlate by −1/(n − 1) though "
        "independent; that is taken off. What is the same in all frames of a burst is in its clean signal and not "
        "seen. Models draw each frame by itself; the data contradicts that where the correlation differs from 0 by "
        f"more than {TIME_MARGIN:g} and the {percent(VERDICT, 1)} interval over scenes excludes 0."
    )

    def findings(self, score: Temporal, tested: str) -> Sequence[Finding]:
        """Whether frames are independent, as the models take them."""
        if score.excess is None:
            return []
        numbers = f"correlation of successive frames {_correlation(score.excess)} over {score.pairs} pairs of patches"
        if score.excess.low is None:
            return [Finding("open", "temporal", f"Too few scenes for a verdict on correlation in time: {numbers}.")]
        if abs(score.excess.value) > TIME_MARGIN and (score.excess.above(0) or score.excess.below(0)):
            text = f"Noise correlates in time, which {tested} does not: {numbers}."
            return [Finding("bad", "temporal", text)]
        if not (score.excess.above(-TIME_WIDE) and score.excess.below(TIME_WIDE)):
            text = f"Too few scenes to decide whether noise correlates in time: {numbers}; {ENOUGH}."
            return [Finding("open", "temporal", text)]
        return [Finding("good", "temporal", f"Frames are independent, as the samples are: {numbers}.")]

    def table(self, score: Temporal) -> Sequence[TableRow]:
        """The correlation."""
        if score.excess is None:
            return []
        return [TableRow("Correlation in time", "successive frames", "0", {DATA: _correlation(score.excess)})]

    def records(self, score: Temporal) -> Sequence[Record]:
        """The correlation."""
        if score.excess is None:
            return []
        return [Record("temporal_correlation", "1", DATA, None, None, "lag 1 frame", *score.excess.numbers)]

    def plates(self, score: Temporal, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """No figure."""
        return []


class QuantisationPresenter(Presenter[Quantisation]):
    """Words and figures of `Quantisation`."""

    title = "Quantisation"

    method = (
        "On the closely looked at patches, noisy values in DN. The step is the largest number of codes on whose "
        "multiples (from the smallest value on) all of the data’s values stand. Samples are on codes if "
        f"{percent(ON)} are within {NEAR:g} of a step of one. Those that are not are flagged where a step is coarse: "
        f"where step²/12, which rounding adds to the variance, is above {percent(ROUNDING_MARGIN)} of it in the "
        "darkest data. All other measures add a uniform ±½ code to data and samples alike, and so are blind to codes."
    )

    def findings(self, score: Quantisation, tested: str) -> Sequence[Finding]:
        """Whether samples are on codes, and whether it matters."""
        on = [cell for cell in score.cells if cell.step]
        if not on:
            text = "The data is not on whole codes: no requirement on the samples."
            return [Finding("good", "quantisation", text)]
        off = [cell for cell in on if cell.on_codes[tested] < ON]
        if not off:
            return [Finding("good", "quantisation", "The samples stand on the camera’s codes, as the data does.")]
        worst = min(off, key=lambda cell: cell.sigma_dn / cell.step)
        where = f" ({cell_name(worst.camera, worst.iso)})" if len(score.cells) > 1 else ""
        numbers = (
            f"{percent(worst.on_codes[DATA])} of the data and {percent(worst.on_codes[tested])} of the samples stand "
            f"on codes, {worst.step} DN apart; σ is {number(worst.sigma_dn, 2)} DN in the dark{where}"
        )
        if _coarse(worst):
            text = f"Quantisation is missing: {numbers}. Round samples to codes (`noiseflow sample` does)."
            return [Finding("bad", "quantisation", text)]
        text = f"The samples are not rounded to codes, too fine to matter: {numbers}."
        return [Finding("good", "quantisation", text)]

    def table(self, score: Quantisation) -> Sequence[TableRow]:
        """Nothing: the words say it."""
        return []

    def records(self, score: Quantisation) -> Sequence[Record]:
        """Step, σ and part on codes, per camera and ISO."""
        records = []
        for cell in score.cells:
            where = (cell.camera, cell.iso, "")
            records.append(Record("code_step", "DN", DATA, *where, cell.step))
            records.append(Record("smallest_sigma", "DN", DATA, *where, cell.sigma_dn))
            records += [Record("on_codes", "1", name, *where, part) for name, part in cell.on_codes.items()]
        return records

    def plates(self, score: Quantisation, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """No figure."""
        return []


class TwoSamplePresenter(Presenter[TwoSample]):
    """Words and figures of `TwoSample`."""

    title = "Two-sample test"

    method = (
        f"On at most {CLOSE_VALUES:,} values of each source, cut to {SIZE} × {SIZE} pixels of all planes: residuals "
        "(noise over the real noise’s σ at that signal, ±½ code added). A discriminant is trained on moments, tails, "
        f"neighbours’, rows’, columns’ and planes’ products, the power spectrum in {BANDS} × {BANDS} bands and the "
        f"responses of {FILTERS} random filters, each also times the signal; on these alone, or on {UNITS} random "
        "hinge functions of pairs of them as well, whichever does better within the training scenes. It is tried on "
        f"scenes it has not seen ({FOLDS} folds of scenes; of patches where there are fewer scenes). Chance is 50 %. "
        f"Real and sampled differ where the {percent(VERDICT, 1)} interval over scenes is above 50 % and the accuracy "
        f"above {percent(0.5 + ACCURACY_MARGIN)}. Larger pieces are easier to tell apart: compare at one size only."
    )

    def findings(self, score: TwoSample, tested: str) -> Sequence[Finding]:
        """Whether real and sampled can be told apart."""
        if not score.accuracy:
            text = f"The two-sample test wants {FEWEST} pieces of {SIZE} × {SIZE} pixels; there are {score.pieces}."
            return [Finding("open", "two_sample", text)]
        accuracy = score.accuracy[tested]
        size = " × ".join(map(str, score.shape[1:]))
        numbers = f"{plus_minus(_in_percent(accuracy), 1)} % right on held-out pieces of {size} pixels, 50 % is chance"
        if accuracy.low is None:
            return [
                Finding(
                    "open", "two_sample", f"Too few scenes for an interval of the two-sample test: {numbers}; {ENOUGH}."
                )
            ]
        if accuracy.above(0.5) and accuracy.value > 0.5 + ACCURACY_MARGIN:
            text = f"A small classifier tells real from sampled: {numbers}."
            return [Finding("bad", "two_sample", text)]
        if not accuracy.below(0.5 + MOST_ACCURACY):
            few = f"{accuracy.groups} scenes or frames cannot decide whether real and sampled differ"
            text = f"{few}: {numbers}; {ENOUGH}."
            return [Finding("open", "two_sample", text)]
        return [Finding("good", "two_sample", f"A small classifier cannot tell real from sampled: {numbers}.")]

    def table(self, score: TwoSample) -> Sequence[TableRow]:
        """Accuracies."""
        if not score.accuracy:
            return []
        cells = {name: f"{plus_minus(_in_percent(value), 1)}" for name, value in score.accuracy.items()}
        return [TableRow("Two-sample test", "held-out accuracy, %", "50", {DATA: "", **cells})]

    def records(self, score: TwoSample) -> Sequence[Record]:
        """Accuracies."""
        return [
            Record("two_sample_accuracy", "1", name, None, None, "", *value.numbers)
            for name, value in score.accuracy.items()
        ]

    def plates(self, score: TwoSample, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Accuracies with their intervals."""
        if not score.accuracy:
            return []
        names = list(score.accuracy)
        with canvas(height=1.1 + 0.3 * len(names)) as figure:
            ax = axes(figure, "held-out accuracy, %", "")
            ax.axvline(50, color=pens[DATA].colour, linewidth=0.8)
            for place, (name, value) in enumerate(score.accuracy.items()):
                dots(ax, [_in_percent(value)], [place], pens[name], name)
            names_down(ax, names)
            ax.set_xlim(min(45, *(100 * value.value - 3 for value in score.accuracy.values())), 102)
            return [
                plate(
                    figure,
                    title="Two-sample test",
                    alt="Held-out accuracy of a classifier of real against sampled pieces, per model",
                    caption="How often a small classifier is right whether a piece is real or sampled. Good: 50 %, "
                    f"nobody can tell. Bars: {percent(VERDICT, 1)} intervals over scenes.",
                )
            ]


def _in_percent(part: Interval) -> Interval:
    return part.within(0.0, 1.0).scaled(100.0)


def _correlation(value: Interval) -> str:
    return plus_minus(value.within(-1.0, 1.0), 3)


class LegacyKlPresenter(Presenter[LegacyKl]):
    """Words and figures of `LegacyKl`."""

    title = "Published KL (legacy)"

    method = (
        "As in the published code, for comparison with papers only. Per patch: 64 bins of width 0.2/64 from −0.1 to "
        "0.1 and two open ones, bins that either histogram leaves empty dropped, forward KL, mean over patches (at "
        f"most {MOST_PATCHES}). Unit: 1,000 bins from 0 to 1, which see no negative noise. Warning: both mislead. The "
        "bins that differ most are empty on one side and are dropped, and two samples of the same distribution "
        f"do not score 0: the floor is that of two samples of one Gaussian, {FLOOR_VALUES:,} values each, "
        f"σ = {FLOOR_SIGMA:g}, as in the published figure, and with this data’s own σ and size of patch."
    )

    def findings(self, score: LegacyKl, tested: str) -> Sequence[Finding]:
        """A warning."""
        text = (
            f"Warning: the published KL of {tested} is {significant(score.per_patch[tested])}; the same estimator "
            f"gives {significant(score.floor_here)} for two samples of one Gaussian of this data’s σ and patch size, "
            f"and {significant(score.floor)} for {FLOOR_VALUES:,} values at σ = {FLOOR_SIGMA:g} (95 % of pairs "
            f"{significant(score.floor_range[0])} to {significant(score.floor_range[1])}, the published 0.008 among "
            "them). It drops the bins that differ most: rely on the other measures."
        )
        return [Finding("open", "legacy_kl", text)]

    def table(self, score: LegacyKl) -> Sequence[TableRow]:
        """Both estimators, the floor beside."""
        floor = f"floor {significant(score.floor_here)}"
        per_patch = {name: significant(value) for name, value in score.per_patch.items()}
        unit = {name: significant(value) for name, value in score.unit.items()}
        good = f"{significant(score.floor)} for identical Gaussians at σ = {FLOOR_SIGMA:g}"
        return [
            TableRow("Published KL, per patch", "nats, legacy", good, {DATA: floor, **per_patch}),
            TableRow("Published KL, [0, 1] only", "nats, legacy", "unknown", {DATA: "", **unit}),
        ]

    def records(self, score: LegacyKl) -> Sequence[Record]:
        """Both estimators and the floors."""
        where = (None, None, "")
        records = [
            Record("legacy_kl_floor", "nats", DATA, None, None, "σ 0.02, 4096 values", score.floor),
            Record("legacy_kl_floor", "nats", DATA, None, None, "this data", score.floor_here),
        ]
        for measure, values in (("legacy_kl_patch", score.per_patch), ("legacy_kl_unit", score.unit)):
            records += [Record(measure, "nats", name, *where, value) for name, value in values.items()]
        return records

    def plates(self, score: LegacyKl, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """No figure."""
        return []


def _worst(coverage: Coverage) -> int:
    """Index of the level that is farthest off."""
    return max(range(len(LEVELS)), key=lambda index: abs(coverage.below[index].value - LEVELS[index]))


def _off(coverage: Coverage) -> list[int]:
    """Indices of the levels that are off by significantly more than the margin."""
    return [
        index
        for index, (level, below) in enumerate(zip(LEVELS, coverage.below, strict=True))
        if abs(below.value - level) > CALIBRATION_MARGIN and (below.above(level) or below.below(level))
    ]


def _coarse(cell: QuantisationCell) -> bool:
    """Whether rounding to the step adds more than `ROUNDING_MARGIN` to the smallest variance."""
    return cell.step**2 / 12 > ROUNDING_MARGIN * cell.sigma_dn**2

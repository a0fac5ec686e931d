"""Sentences and figures of calibration, correlation in time, quantisation, two-sample test and published KL."""

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
"""Largest correlation of successive frames that is not flagged."""

TIME_WIDE = 0.05
"""Largest distance of the interval's ends from 0 at which frames count as independent."""

ENOUGH = f"score at least {FEWEST_SCENES} scenes"

CALIBRATION_MARGIN = 0.01
"""Largest error of a quantile that is not flagged."""

ROUNDING_MARGIN = 0.02
"""Largest fraction of the noise variance that rounding may add."""

ACCURACY_MARGIN = 0.01
"""Largest accuracy above ½ that counts as chance."""

MOST_ACCURACY = 0.1
"""Largest upper end of the interval, above ½, at which real and sampled noise count as indistinguishable."""


class PitCalibrationPresenter(Presenter[PitCalibration]):
    """Presents `PitCalibration`."""

    title = "Calibration of the density"

    method = (
        "The latent z of the real noise (a flow’s z, or noise ÷ σ of a Gaussian) is standard normal "
        "if the model’s density is right, and Φ(z) is then uniform (probability integral transform). It is computed "
        "on at most a million values, with ±½ code added, which hides the steps of the integers. "
        f"The density is off if the fraction of the data below one of {len(LEVELS)} of its quantiles differs from "
        f"the quantile’s level by more than {percent(CALIBRATION_MARGIN)}, and the {percent(VERDICT, 1)} interval over "
        "scenes, corrected for their number, excludes the level. Models without a latent (those that only sample, and "
        "the oracle) are left out; the distribution by intensity shows conditional quantiles of their samples."
    )

    def findings(self, score: PitCalibration, tested: str) -> Sequence[Finding]:
        """Return whether the quantiles of the model's density are right."""
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
        return [
            Finding("good", "calibration", f"No quantile of the density is significantly off: at worst, {numbers}.")
        ]

    def table(self, score: PitCalibration) -> Sequence[TableRow]:
        """Return the largest deviation from the levels."""
        if not score.models:
            return []
        worst = {
            name: f"{number(100 * abs(coverage.below[_worst(coverage)].value - LEVELS[_worst(coverage)]), 2)} %"
            for name, coverage in score.models.items()
        }
        return [TableRow("Calibration", "largest error of the latent’s quantiles", "0", {DATA: "", **worst})]

    def records(self, score: PitCalibration) -> Sequence[Record]:
        """Return the fractions below each quantile, and the histograms."""
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
        """Draw the histograms of Φ(z)."""
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
                    caption="Distribution function of each model at the real noise. Good: flat at 1. Low at both ends: "
                    "the model is too wide; high at both ends: too narrow; high at both ends with a bump between: "
                    "tails are missing. The axis is scaled to the first model.",
                )
            ]


class TemporalPresenter(Presenter[Temporal]):
    """Presents `Temporal`."""

    title = "Correlation in time"

    method = (
        f"Correlation of the real noise (minus its patch’s mean) in at most {MOST_PAIRS} pairs of patches at the same "
        "place in successive frames. Independent frames whose clean signal is the mean of the n − 1 others correlate "
        "by −1/(n − 1), which is subtracted. Fixed pattern of a burst is in its clean signal and cannot be detected. "
        "Models sample each frame independently; the data contradicts that if the correlation differs from 0 by "
        f"more than {TIME_MARGIN:g} and the {percent(VERDICT, 1)} interval over scenes excludes 0."
    )

    def findings(self, score: Temporal, tested: str) -> Sequence[Finding]:
        """Return whether frames are independent, as the models assume."""
        if score.excess is None:
            return []
        numbers = f"correlation of successive frames {_correlation(score.excess)} over {score.pairs} pairs of patches"
        if score.excess.low is None:
            return [Finding("open", "temporal", f"Too few scenes for a verdict on correlation in time: {numbers}.")]
        if abs(score.excess.value) > TIME_MARGIN and (score.excess.above(0) or score.excess.below(0)):
            text = f"The noise correlates in time, unlike the samples of {tested}: {numbers}."
            return [Finding("bad", "temporal", text)]
        if not (score.excess.above(-TIME_WIDE) and score.excess.below(TIME_WIDE)):
            text = f"Too few scenes to decide whether the noise correlates in time: {numbers}; {ENOUGH}."
            return [Finding("open", "temporal", text)]
        return [Finding("good", "temporal", f"Frames are independent, like the samples: {numbers}.")]

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
    """Presents `Quantisation`."""

    title = "Quantisation"

    method = (
        "Noisy values in DN, of a subset of the patches. The step is the greatest common divisor of the differences "
        "of the data’s values, which are then whole numbers of steps apart. Samples are on codes if "
        f"{percent(ON)} are within {NEAR:g} steps of one. Others are flagged if the step is coarse, that is, "
        f"if step²/12, the variance of rounding, is above {percent(ROUNDING_MARGIN)} of the noise variance in the "
        "dark. All other checks add a uniform ±½ code to data and samples alike, and cannot detect codes."
    )

    def findings(self, score: Quantisation, tested: str) -> Sequence[Finding]:
        """Return whether samples are on codes, and whether it matters."""
        on = [cell for cell in score.cells if cell.step]
        if not on:
            text = "The data is not on whole codes, so the samples need not be."
            return [Finding("good", "quantisation", text)]
        off = [cell for cell in on if cell.on_codes[tested] < ON]
        if not off:
            return [Finding("good", "quantisation", "The samples are on the camera’s codes, like the data.")]
        worst = min(off, key=lambda cell: cell.sigma_dn / cell.step)
        where = f" ({cell_name(worst.camera, worst.iso)})" if len(score.cells) > 1 else ""
        numbers = (
            f"{percent(worst.on_codes[DATA])} of the data and {percent(worst.on_codes[tested])} of the samples are "
            f"on codes, {worst.step} DN apart; σ is {number(worst.sigma_dn, 2)} DN in the dark{where}"
        )
        if _coarse(worst):
            text = f"Quantisation is missing: {numbers}. Round samples to codes (`noiseflow sample` does)."
            return [Finding("bad", "quantisation", text)]
        text = f"The samples are not rounded to codes, but the codes are too fine for this to matter: {numbers}."
        return [Finding("good", "quantisation", text)]

    def table(self, score: Quantisation) -> Sequence[TableRow]:
        """Return no row, as the sentence says all."""
        return []

    def records(self, score: Quantisation) -> Sequence[Record]:
        """Return step, σ and fraction on codes, per camera and ISO."""
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
    """Presents `TwoSample`."""

    title = "Two-sample test"

    method = (
        f"On at most {CLOSE_VALUES:,} values of each source, cut to {SIZE} × {SIZE} pixels of all planes: residuals "
        "(noise over the real noise’s σ at that signal, ±½ code added). A discriminant is trained on moments, tails, "
        f"products of neighbours, rows, columns and planes, the power spectrum in {BANDS} × {BANDS} bands and the "
        f"responses of {FILTERS} random filters, each also times the root of the signal. {UNITS} random hinge "
        "functions of pairs of these are added if that is better within the training scenes. The discriminant is "
        f"tested on other scenes ({FOLDS} folds of scenes, or of patches if there are few scenes). Chance is 50 %. "
        f"Real and sampled differ if the {percent(VERDICT, 1)} interval over scenes is above 50 % and the accuracy "
        f"above {percent(0.5 + ACCURACY_MARGIN)}. Larger pieces are easier to distinguish: compare at one size only."
    )

    def findings(self, score: TwoSample, tested: str) -> Sequence[Finding]:
        """Return whether real and sampled noise can be distinguished."""
        if not score.accuracy:
            text = f"The two-sample test needs {FEWEST} pieces of {SIZE} × {SIZE} pixels; there are {score.pieces}."
            return [Finding("open", "two_sample", text)]
        accuracy = score.accuracy[tested]
        size = " × ".join(map(str, score.shape[1:]))
        numbers = f"{plus_minus(_in_percent(accuracy), 1)} % right on held-out pieces of {size} pixels; chance is 50 %"
        if accuracy.low is None:
            return [
                Finding(
                    "open", "two_sample", f"Too few scenes for an interval of the two-sample test: {numbers}; {ENOUGH}."
                )
            ]
        if accuracy.above(0.5) and accuracy.value > 0.5 + ACCURACY_MARGIN:
            text = f"A small classifier can distinguish real from sampled noise: {numbers}."
            return [Finding("bad", "two_sample", text)]
        if not accuracy.below(0.5 + MOST_ACCURACY):
            few = f"{accuracy.groups} scenes or frames cannot decide whether real and sampled differ"
            text = f"{few}: {numbers}; {ENOUGH}."
            return [Finding("open", "two_sample", text)]
        text = f"A small classifier cannot distinguish real from sampled noise: {numbers}."
        return [Finding("good", "two_sample", text)]

    def table(self, score: TwoSample) -> Sequence[TableRow]:
        """Return the accuracies."""
        if not score.accuracy:
            return []
        cells = {name: f"{plus_minus(_in_percent(value), 1)}" for name, value in score.accuracy.items()}
        return [TableRow("Two-sample test", "held-out accuracy, %", "50", {DATA: "", **cells})]

    def records(self, score: TwoSample) -> Sequence[Record]:
        """Return the accuracies."""
        return [
            Record("two_sample_accuracy", "1", name, None, None, "", *value.numbers)
            for name, value in score.accuracy.items()
        ]

    def plates(self, score: TwoSample, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the accuracies with their intervals."""
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
                    caption="How often a small classifier correctly says whether a piece is real or sampled. Good: "
                    f"50 %, which is chance. Bars: {percent(VERDICT, 1)} intervals over scenes.",
                )
            ]


def _in_percent(part: Interval) -> Interval:
    return part.within(0.0, 1.0).scaled(100.0)


def _correlation(value: Interval) -> str:
    return plus_minus(value.within(-1.0, 1.0), 3)


class LegacyKlPresenter(Presenter[LegacyKl]):
    """Presents `LegacyKl`."""

    title = "Published KL (legacy)"

    method = (
        "As in the published code, for comparison with papers only. Per patch: forward KL with 64 bins of width 0.2/64 "
        "from −0.1 to 0.1 and two open ones, without bins that are empty in either histogram, averaged over at most "
        f"{MOST_PATCHES} patches. Unit: 1,000 bins from 0 to 1, which ignore negative noise. Warning: both mislead. "
        "The bins that differ most are empty on one side and are dropped, and two samples from one distribution "
        f"do not score 0. The floor is that of two samples from one Gaussian, {FLOOR_VALUES:,} values each, "
        f"σ = {FLOOR_SIGMA:g}, as in the published figure, and also with the σ and patch size of this data."
    )

    def findings(self, score: LegacyKl, tested: str) -> Sequence[Finding]:
        """Return a warning."""
        text = (
            f"Warning: the published KL of {tested} is {significant(score.per_patch[tested])}; the same estimator "
            f"gives {significant(score.floor_here)} for two samples of one Gaussian with this data’s σ and patch size, "
            f"and {significant(score.floor)} for {FLOOR_VALUES:,} values at σ = {FLOOR_SIGMA:g} (95 % of pairs: "
            f"{significant(score.floor_range[0])} to {significant(score.floor_range[1])}; the published value is "
            "0.008). It drops the bins that differ most: rely on the other measures."
        )
        return [Finding("open", "legacy_kl", text)]

    def table(self, score: LegacyKl) -> Sequence[TableRow]:
        """Return both estimators with the floor."""
        floor = f"floor {significant(score.floor_here)}"
        per_patch = {name: significant(value) for name, value in score.per_patch.items()}
        unit = {name: significant(value) for name, value in score.unit.items()}
        good = f"{significant(score.floor)} for identical Gaussians at σ = {FLOOR_SIGMA:g}"
        return [
            TableRow("Published KL, per patch", "nats, legacy", good, {DATA: floor, **per_patch}),
            TableRow("Published KL, [0, 1] only", "nats, legacy", "unknown", {DATA: "", **unit}),
        ]

    def records(self, score: LegacyKl) -> Sequence[Record]:
        """Return both estimators and the floors."""
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
    """Return the index of the level with the largest error."""
    return max(range(len(LEVELS)), key=lambda index: abs(coverage.below[index].value - LEVELS[index]))


def _off(coverage: Coverage) -> list[int]:
    """Return the indices of the levels with significant errors above the margin."""
    return [
        index
        for index, (level, below) in enumerate(zip(LEVELS, coverage.below, strict=True))
        if abs(below.value - level) > CALIBRATION_MARGIN and (below.above(level) or below.below(level))
    ]


def _coarse(cell: QuantisationCell) -> bool:
    """Return whether rounding to the step adds more than `ROUNDING_MARGIN` to the smallest variance."""
    return cell.step**2 / 12 > ROUNDING_MARGIN * cell.sigma_dn**2

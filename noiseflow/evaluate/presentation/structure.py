"""Sentences and figures of row noise and of spatial structure."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import CLOSE_VALUES
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.row_noise import SIGNAL_BINS, RowNoise, RowRatio
from noiseflow.evaluate.metrics.structure import LARGEST_LAG, MATCH, Compared, Structure, frequencies_of
from noiseflow.evaluate.presentation.figures import (
    GREY,
    Pen,
    Plate,
    across,
    axes,
    bars,
    canvas,
    legend,
    names_down,
    plate,
    shown,
)
from noiseflow.evaluate.presentation.formatting import cell_labels, percent, plus_minus, times
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RowNoisePresenter", "StructurePresenter"]

ROW_MARGIN = 0.05
"""Largest excess of the row ratio over 1 that is not row noise, and largest relative difference that is not flagged."""

CORRELATION_MARGIN = 0.01
"""Largest difference of correlations that is not flagged."""

PLANE_MARGIN = 0.02
"""Largest difference of a plane's share of the variance that is not flagged."""

COLUMN_MARGIN = 0.05
"""Largest relative difference of the column ratio that is not flagged."""


class RowNoisePresenter(Presenter[RowNoise]):
    """Presents `RowNoise`."""

    title = "Row noise"

    method = (
        "For each patch and plane: variance of the row means × width ÷ variance of the pixels, each about the patch’s "
        "own mean, averaged over patches. It is 1 for independent pixels at any signal, and about 1 + width · "
        "(row variance ÷ pixel variance) with row noise; it grows with the width, so wider frames show more. "
        f"There are {SIGNAL_BINS} bins of intensity, equally spaced in the square root of the patch’s mean signal. The "
        f"data has row noise if the interval is above {1 + ROW_MARGIN:g}. The samples are off if the paired difference "
        f"excludes 0 and is above {percent(ROW_MARGIN)} of the data’s ratio. Intervals are {percent(LEVEL)} over "
        "scenes or frames; those of the intensity bins are corrected for their number (Bonferroni)."
    )

    def findings(self, score: RowNoise, tested: str) -> Sequence[Finding]:
        """Return whether there is row noise in the data, and in the samples as well."""
        shown = max(
            (ratio for ratio in score.signals if ratio.ratio[DATA].above(1 + ROW_MARGIN)),
            key=lambda ratio: ratio.ratio[DATA].value,
            default=score.whole,
        )
        real, sampled, missing = shown.ratio[DATA], shown.ratio[tested], shown.missing[tested]
        where = "" if shown is score.whole else f" at {shown.signal_dn:.0f} DN"
        numbers = (
            f"the variance of row means is {times(real.value)} that of independent pixels in the data{where}, "
            f"{times(sampled.value)} in the samples (rows of {score.width})"
        )
        if missing.low is None:
            return [Finding("open", "row_noise", f"Too few frames for a verdict on row noise: {numbers}.")]
        enough = abs(missing.value) > ROW_MARGIN * real.value
        if missing.above(0) and enough:
            gone = sampled.value - 1 < 0.25 * (real.value - 1)
            return [Finding("bad", "row_noise", f"Row noise is {'missing' if gone else 'too weak'}: {numbers}.")]
        if missing.below(0) and enough:
            return [Finding("bad", "row_noise", f"Row noise is too strong: {numbers}.")]
        if real.above(1 + ROW_MARGIN):
            return [Finding("good", "row_noise", f"The samples have the row noise of the data: {numbers}.")]
        if real.below(1 + ROW_MARGIN):
            return [Finding("good", "row_noise", f"Neither the data nor the samples have row noise: {numbers}.")]
        return [Finding("open", "row_noise", f"Whether there is row noise is not settled: {numbers}.")]

    def table(self, score: RowNoise) -> Sequence[TableRow]:
        """Return the ratios over all patches, and in the darkest bin."""
        unit = f"× independent pixels, {score.width} wide"
        rows = [TableRow("Row means’ variance", unit, "as in the data", _each(score.whole))]
        if len(score.signals) > 1:
            dark = score.signals[0]
            rows.append(TableRow("… in the dark", f"{unit}, {dark.signal_dn:.0f} DN", "as in the data", _each(dark)))
        return rows

    def records(self, score: RowNoise) -> Sequence[Record]:
        """Return all ratios and differences."""
        return [
            Record(measure, "1", name, ratio.camera, ratio.iso, ratio.part, *value.numbers)
            for ratio in (score.whole, *score.planes, *score.signals, *score.cells)
            for measure, values in (("row_ratio", ratio.ratio), ("row_ratio_missing", ratio.missing))
            for name, value in values.items()
        ]

    def plates(self, score: RowNoise, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the ratio against signal, and per plane and cell."""
        caption = (
            "Variance of row means × width ÷ pixel variance: 1 for independent pixels. Good: the models agree with the "
            f"data. Bars: intervals over scenes or frames ({percent(LEVEL)}, corrected for the number of bins)."
        )
        with canvas() as figure:
            ax = axes(figure, "mean signal of a patch, DN above black", "row means’ variance, × independent")
            ax.axhline(1, color=GREY, linewidth=0.8)
            for name, pen in pens.items():
                values = [ratio.ratio[name].within(0.0) for ratio in score.signals]
                bars(ax, [ratio.signal_dn for ratio in score.signals], values, pen, name)
            _fit(ax, [ratio.ratio[name] for ratio in score.signals for name in pens])
            legend(figure)
            alt = "Row noise ratio against signal"
            first = plate(figure, title="Row noise against signal", alt=alt, caption=caption)
        return [first, _rows_by_plane(score, pens)]


def _correlation(value: Interval) -> str:
    return plus_minus(value.within(-1.0, 1.0), 3)


class StructurePresenter(Presenter[Structure]):
    """Presents `Structure`."""

    title = "Spatial structure"

    method = (
        f"Residuals (noise over the real noise’s σ at that signal) minus the patch’s mean, on at most {CLOSE_VALUES:,} "
        "values of each source, spread evenly over the scenes. Autocorrelation is measured after removing row and "
        "column means, so that row noise is not counted, at lags of one and two pixels of a plane. Spatial "
        "correlation and that between planes are off if data and samples differ by more than "
        f"{CORRELATION_MARGIN:g}, a plane’s share of the variance if it differs by more than "
        f"{percent(PLANE_MARGIN)}, and columns if the ratio of "
        f"their means’ variance differs by more than {percent(COLUMN_MARGIN)}, if the {percent(VERDICT, 1)} interval "
        "over scenes, corrected for the number of comparisons, excludes 0. The planes are in the wrong order if "
        f"another order leaves less than {percent(MATCH)} of the misfit of the scenes’ variances by plane (squared "
        "differences of log variance), and the interval of the difference excludes 0."
    )

    def findings(self, score: Structure, tested: str) -> Sequence[Finding]:
        """Return the verdicts on spatial correlation, columns and planes."""
        return [self._neighbours(score, tested), self._columns(score, tested), *self._planes(score, tested)]

    def _neighbours(self, score: Structure, tested: str) -> Finding:
        off = [lag for lag in score.lags if _off(lag, tested, CORRELATION_MARGIN)]
        shown = max(off or score.lags, key=lambda lag: abs(lag.missing[tested].value))
        real, sampled = shown.of[DATA], shown.of[tested]
        numbers = (
            f"pixels {shown.part} apart correlate by {_correlation(real)} in the data, {_correlation(sampled)} in "
            "the samples"
        )
        if shown.missing[tested].low is None:
            return Finding("open", "correlation", f"Too few scenes for a verdict on spatial correlation: {numbers}.")
        if not off:
            text = f"Neighbouring pixels correlate in the samples as in the data: at the worst lag, {numbers}."
            return Finding("good", "correlation", text)
        gone = abs(sampled.value) < 0.25 * abs(real.value)
        word = "missing" if gone else "too weak" if abs(sampled.value) < abs(real.value) else "too strong"
        return Finding("bad", "correlation", f"Spatial correlation is {word}: {numbers}.")

    def _columns(self, score: Structure, tested: str) -> Finding:
        real, sampled, missing = score.columns.of[DATA], score.columns.of[tested], score.columns.missing[tested]
        numbers = (
            f"the variance of column means is {times(real.value)} that of independent pixels in the data, "
            f"{times(sampled.value)} in the samples"
        )
        if missing.low is None:
            return Finding("open", "columns", f"Too few scenes for a verdict on column noise: {numbers}.")
        if not _off(score.columns, tested, COLUMN_MARGIN * max(real.value, 1.0)):
            return Finding("good", "columns", f"Columns vary in the samples as in the data: {numbers}.")
        gone = sampled.value - 1 < 0.25 * (real.value - 1)
        word = "too strong" if missing.value < 0 else "missing" if gone else "too weak"
        return Finding("bad", "columns", f"Column noise is {word}: {numbers}.")

    def _planes(self, score: Structure, tested: str) -> Sequence[Finding]:
        if not score.planes:
            return []
        if score.planes[0].missing[tested].low is None:
            return [Finding("open", "planes", "Too few scenes for a verdict on the planes.")]
        order = score.order[tested]
        if order is not None:
            text = f"The planes are in the wrong order: by variance, the samples match the data in the order {order}."
            return [Finding("bad", "planes", text)]
        shares = [plane for plane in score.planes if _off(plane, tested, PLANE_MARGIN)]
        pairs = [pair for pair in score.pairs if _off(pair, tested, CORRELATION_MARGIN)]
        faults = []
        if shares:
            worst = max(shares, key=lambda plane: abs(plane.missing[tested].value))
            faults.append(
                f"plane {worst.part} has {percent(worst.of[DATA].value, 1)} of the mean variance in the data, "
                f"{percent(worst.of[tested].value, 1)} in the samples"
            )
        if pairs:
            worst = max(pairs, key=lambda pair: abs(pair.missing[tested].value))
            faults.append(
                f"planes {worst.part} correlate by {_correlation(worst.of[DATA])} in the data, "
                f"{_correlation(worst.of[tested])} in the samples"
            )
        if faults:
            return [Finding("bad", "planes", f"The planes of the samples are off: {'; '.join(faults)}.")]
        text = "Variances and correlations of the planes agree between samples and data."
        return [Finding("good", "planes", text)]

    def table(self, score: Structure) -> Sequence[TableRow]:
        """Return the correlation of nearest neighbours, columns and planes."""
        rows = [
            TableRow(
                f"Correlation, {lag.part}",
                "pixels of a plane, row and column means removed",
                "as in the data",
                {name: _correlation(value) for name, value in lag.of.items()},
            )
            for lag in score.lags[:2]
        ]
        cells = {name: plus_minus(value.within(0.0), 2) for name, value in score.columns.of.items()}
        rows.append(TableRow("Column means’ variance", "× independent pixels", "as in the data", cells))
        if score.pairs:
            shown = max(score.pairs, key=lambda pair: abs(pair.of[DATA].value))
            cells = {name: _correlation(value) for name, value in shown.of.items()}
            rows.append(TableRow(f"Correlation of planes {shown.part}", "at the same place", "as in the data", cells))
        return rows

    def records(self, score: Structure) -> Sequence[Record]:
        """Return all compared quantities, and the spectra."""
        records = [
            Record(f"{measure}{suffix}", "1", name, None, None, each.part, *value.numbers)
            for measure, many in (
                ("autocorrelation", score.lags),
                ("column_ratio", (score.columns,)),
                ("plane_correlation", score.pairs),
                ("plane_share", score.planes),
            )
            for each in many
            for suffix, values in (("", each.of), ("_missing", each.missing))
            for name, value in values.items()
        ]
        for measure, spectra in (
            ("row_spectrum", score.rows_spectrum),
            ("column_spectrum", score.columns_spectrum),
            ("radial_spectrum", score.radial_spectrum),
        ):
            for name, spectrum in spectra.items():
                records += [
                    Record(measure, "× independent", name, None, None, f"{frequency:.4g} cycles/pixel", power)
                    for frequency, power in zip(frequencies_of(len(spectrum)), spectrum, strict=True)
                ]
        return records

    def plates(self, score: Structure, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw autocorrelation maps, spectra, and the correlation of planes."""
        tested = next(name for name in pens if name != DATA)
        drawn = [self._maps(score, tested), self._spectra(score, pens)]
        return [*drawn, self._pairs(score, pens)] if score.pairs else drawn

    def _maps(self, score: Structure, tested: str) -> Plate:
        maps = {name: np.array(score.autocorrelation[name]) for name in (DATA, tested)}
        reach = LARGEST_LAG + 0.5
        largest = max(0.02, *(float(np.abs(np.where(_not_centre(image), image, 0.0)).max()) for image in maps.values()))
        with canvas(height=2.9) as figure:
            left, right = figure.subplots(1, 2, sharey=True)
            for ax, (name, image) in zip((left, right), maps.items(), strict=True):
                colour = ax.imshow(
                    image, cmap="RdBu_r", vmin=-largest, vmax=largest, extent=(-reach, reach, reach, -reach)
                )
                ax.set_title(shown(name), fontsize=9)
                ax.set_xlabel("columns")
            left.set_ylabel("rows")
            figure.colorbar(colour, ax=(left, right), shrink=0.85, aspect=14, pad=0.02).set_label("correlation")
            return plate(
                figure,
                title="Autocorrelation",
                alt=f"Maps of the autocorrelation of the residuals of the data and of {tested}",
                caption="Correlation of pixels by their distance in rows and columns of a plane (the centre, 1, is off "
                "the scale). Good: the two maps are the same. A dark horizontal line is row noise; a spot around the "
                "centre is correlation of neighbours.",
                pixels=True,
            )

    def _spectra(self, score: Structure, pens: Mapping[str, Pen]) -> Plate:
        kinds = (
            ("row means", score.rows_spectrum),
            ("column means", score.columns_spectrum),
            ("all directions", score.radial_spectrum),
        )
        with canvas(height=4.6) as figure:
            panels = figure.subplots(3, 1, sharex=True)
            for ax, (title, spectra) in zip(panels, kinds, strict=True):
                ax.axhline(1, color=GREY, linewidth=0.8)
                for name, pen in pens.items():
                    frequencies = frequencies_of(len(spectra[name]))
                    ax.plot(
                        frequencies,
                        spectra[name],
                        color=pen.colour,
                        linestyle=pen.dash,
                        linewidth=1.2,
                        label=shown(name),
                    )
                ax.set_ylabel("power, × white", fontsize=8)
                ax.set_title(title, fontsize=9, loc="left", pad=2)
                ax.grid(True)
                highest = max(max(spectrum) for spectrum in spectra.values())
                ax.set_ylim(0, 1.15 * max(highest, 1.2))
            panels[-1].set_xlabel("frequency, cycles per pixel of a plane")
            legend(figure)
            return plate(
                figure,
                title="Spectra",
                alt="Power spectra of row means, of column means and of all frequencies by distance from zero",
                caption="Power of the residuals against frequency; 1 for independent pixels. Good: each model on the "
                "data’s line. High row means: row noise; a peak: banding; a fall to the right: smoothing.",
            )

    def _pairs(self, score: Structure, pens: Mapping[str, Pen]) -> Plate:
        with canvas(height=max(2.4, 1.2 + 0.13 * len(score.pairs) * len(pens))) as figure:
            ax = axes(figure, "correlation at the same place", "")
            ax.axvline(0, color=GREY, linewidth=0.8)
            across(ax, {name: [pair.of[name].within(-1.0, 1.0) for pair in score.pairs] for name in pens}, pens)
            names_down(ax, [pair.part for pair in score.pairs])
            legend(figure)
            return plate(
                figure,
                title="Correlation between planes",
                alt="Correlation of the residuals of each two planes, real and sampled",
                caption="Correlation of the residuals of two planes at the same place, after removing the mean of each "
                f"patch and plane. Good: the models agree with the data. Bars: {percent(LEVEL)} intervals over scenes.",
            )


def _rows_by_plane(score: RowNoise, pens: Mapping[str, Pen]) -> Plate:
    several = len(score.cells) > 1
    parts = [*score.planes, *(score.cells if several else ())][:16]
    labels = cell_labels([(part.camera, part.iso) for part in parts])
    with canvas(height=max(2.4, 1.2 + 0.13 * len(parts) * len(pens))) as figure:
        ax = axes(figure, "row means’ variance, × independent", "")
        ax.axvline(1, color=GREY, linewidth=0.8)
        across(ax, {name: [part.ratio[name].within(0.0) for part in parts] for name in pens}, pens)
        names_down(ax, [part.part or label for part, label in zip(parts, labels, strict=True)])
        legend(figure)
        return plate(
            figure,
            title="Row noise by plane",
            alt="Row noise ratio of each plane, real and sampled",
            caption=f"The same over all signals, by plane{' and by camera and ISO' if several else ''}."
            " Good: the models agree with the data.",
        )


def _each(ratio: RowRatio) -> dict[str, str]:
    return {name: plus_minus(value.within(0.0), 2) for name, value in ratio.ratio.items()}


def _fit(ax: "Axes", values: Sequence[Interval]) -> None:
    """Scale the axis to show all values; the bars of bins with few frames may be cut off."""
    heights = [value.value for value in values if math.isfinite(value.value)]
    low, high = min(heights, default=1.0), max(heights, default=1.0)
    reach = max(high - low, 0.2)
    ax.set_ylim(max(low - 0.6 * reach, 0.0), high + 0.8 * reach)


def _off(compared: Compared, model: str, margin: float) -> bool:
    """Return whether the difference is above a margin and its interval excludes 0."""
    missing = compared.missing[model]
    return abs(missing.value) > margin and (missing.above(0) or missing.below(0))


def _not_centre(image: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.ones(image.shape, np.bool_)
    mask[image.shape[0] // 2, image.shape[1] // 2] = False
    return mask

"""What is said of structure in space: correlations, columns, planes, spectra."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import CLOSE_VALUES
from noiseflow.evaluate.metric import DATA, Finding, Record, Score, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import percent, plus_minus, times
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Estimate
from noiseflow.evaluate.statistics.spectra import frequencies_of

__all__ = ["LARGEST_LAG", "MATCH", "Compared", "Structure"]

LARGEST_LAG = 6
MARGIN = 0.01
"""Difference of correlations that passes as none."""

PLANE_MARGIN = 0.02
COLUMN_MARGIN = 0.05
MATCH = 0.25
"""The planes are in another order if that order leaves less than this of the misfit."""


@dataclass(frozen=True)
class Compared:
    """One number of the structure, real and sampled.

    Parameters
    ----------
    part : str
        Lag, pair of planes, or plane.
    of : mapping of str to Estimate
        Per source.
    missing : mapping of str to Estimate
        Of the data minus of the samples, paired by group, per model; the interval is wider
        for the number of parts.
    """

    part: str
    of: Mapping[str, Estimate]
    missing: Mapping[str, Estimate]

    def off(self, model: str, margin: float) -> bool:
        """Whether the difference is above a margin and its interval excludes 0."""
        missing = self.missing[model]
        return abs(missing.value) > margin and (missing.above(0) or missing.below(0))


@dataclass(frozen=True)
class Structure(Score):
    """Correlations and spectra of the residuals.

    Parameters
    ----------
    values : int
        Of each source that were looked at.
    of_values : int
        That there are.
    lags : tuple of Compared
        Autocorrelation at the judged lags (rows, columns), rows' and columns' means removed.
    columns : Compared
        Variance of column means × height ÷ pixel variance, row means removed: 1 for independent
        pixels.
    pairs : tuple of Compared
        Correlation between each two planes at the same place.
    planes : tuple of Compared
        Variance of each plane's residuals ÷ mean over planes.
    order : mapping of str to (str or None)
        Order of the samples' planes in which they fit the data's, if that is another one.
    autocorrelation : mapping of str to tuple of tuple of float
        Map of lags −6 … 6 by −6 … 6, row noise left in, per source.
    rows_spectrum, columns_spectrum, radial_spectrum : mapping of str to tuple of float
        Power against frequency, cycles/pixel of a plane, 1 for independent pixels: of row
        means, of column means, and of all frequencies at one distance from 0.
    """

    title: ClassVar[str] = "Structure in space"
    method: ClassVar[str] = (
        f"On at most {CLOSE_VALUES:,} values of each source, evenly over the scenes, residuals (noise over the real "
        "noise’s σ at that signal) minus the patch’s mean. Autocorrelation is judged with row and column means "
        "removed, so that row noise does not pass for it, at lags of one and two pixels of a plane; spatial "
        f"correlation and that between planes are off where data and samples differ by more than {MARGIN:g}, a plane’s "
        f"share of the variance where it differs by more than {percent(PLANE_MARGIN)}, columns where the ratio of "
        f"their means’ variance differs by more than {percent(COLUMN_MARGIN)}, and the {percent(VERDICT, 1)} interval "
        "over scenes, wider for the number of comparisons, excludes 0. Planes are said to be in the wrong order if the "
        f"scenes’ variances by plane fit in another order with less than {percent(MATCH)} of the misfit (log variance, "
        "squared), the interval of the difference excluding 0."
    )

    values: int
    of_values: int
    lags: tuple[Compared, ...]
    columns: Compared
    pairs: tuple[Compared, ...]
    planes: tuple[Compared, ...]
    order: Mapping[str, str | None]
    autocorrelation: Mapping[str, tuple[tuple[float, ...], ...]]
    rows_spectrum: Mapping[str, tuple[float, ...]]
    columns_spectrum: Mapping[str, tuple[float, ...]]
    radial_spectrum: Mapping[str, tuple[float, ...]]

    def findings(self, tested: str) -> Sequence[Finding]:
        """Spatial correlation, columns, planes."""
        return [self._correlation(tested), self._columns(tested), *self._planes(tested)]

    def _correlation(self, tested: str) -> Finding:
        off = [lag for lag in self.lags if lag.off(tested, MARGIN)]
        shown = max(off or self.lags, key=lambda lag: abs(lag.missing[tested].value))
        real, sampled = shown.of[DATA], shown.of[tested]
        numbers = (
            f"pixels {shown.part} apart correlate by {plus_minus(real, 3)} in the data, {plus_minus(sampled, 3)} in "
            "the samples"
        )
        if shown.missing[tested].low is None:
            return Finding("open", "correlation", f"Spatial correlation is not judged, for want of scenes: {numbers}.")
        if not off:
            text = f"Neighbouring pixels correlate in the samples as in the data: at the most {numbers}."
            return Finding("good", "correlation", text)
        gone = abs(sampled.value) < 0.25 * abs(real.value)
        word = "missing" if gone else "too weak" if abs(sampled.value) < abs(real.value) else "too strong"
        return Finding("bad", "correlation", f"Spatial correlation is {word}: {numbers}.")

    def _columns(self, tested: str) -> Finding:
        real, sampled, missing = self.columns.of[DATA], self.columns.of[tested], self.columns.missing[tested]
        numbers = (
            f"the variance of column means is {times(real.value)} that of independent pixels in the data, "
            f"{times(sampled.value)} in the samples"
        )
        if missing.low is None:
            return Finding("open", "columns", f"Column noise is not judged, for want of scenes: {numbers}.")
        if not self.columns.off(tested, COLUMN_MARGIN * max(real.value, 1.0)):
            return Finding("good", "columns", f"Columns vary in the samples as in the data: {numbers}.")
        gone = sampled.value - 1 < 0.25 * (real.value - 1)
        word = "too strong" if missing.value < 0 else "missing" if gone else "too weak"
        return Finding("bad", "columns", f"Column noise is {word}: {numbers}.")

    def _planes(self, tested: str) -> Sequence[Finding]:
        if not self.planes:
            return []
        if self.planes[0].missing[tested].low is None:
            return [Finding("open", "planes", "The planes are not judged, for want of scenes.")]
        order = self.order[tested]
        if order is not None:
            text = (
                f"The planes are in the wrong order: by their variance the samples’ planes fit the data’s as {order}."
            )
            return [Finding("bad", "planes", text)]
        shares = [plane for plane in self.planes if plane.off(tested, PLANE_MARGIN)]
        pairs = [pair for pair in self.pairs if pair.off(tested, MARGIN)]
        said = []
        if shares:
            worst = max(shares, key=lambda plane: abs(plane.missing[tested].value))
            said.append(
                f"of the mean variance plane {worst.part} has {percent(worst.of[DATA].value, 1)} in the data, "
                f"{percent(worst.of[tested].value, 1)} in the samples"
            )
        if pairs:
            worst = max(pairs, key=lambda pair: abs(pair.missing[tested].value))
            said.append(
                f"planes {worst.part} correlate by {plus_minus(worst.of[DATA], 3)} in the data, "
                f"{plus_minus(worst.of[tested], 3)} in the samples"
            )
        if said:
            return [Finding("bad", "planes", f"The planes of the samples are off: {'; '.join(said)}.")]
        text = "The planes share the variance and go together in the samples as in the data."
        return [Finding("good", "planes", text)]

    def table(self) -> Sequence[TableRow]:
        """Nearest neighbours, columns, planes."""
        rows = [
            TableRow(
                f"Correlation, {lag.part}",
                "pixels of a plane, row and column means removed",
                "as in the data",
                {name: plus_minus(value, 3) for name, value in lag.of.items()},
            )
            for lag in self.lags[:2]
        ]
        cells = {name: plus_minus(value, 2) for name, value in self.columns.of.items()}
        rows.append(TableRow("Column means’ variance", "× independent pixels", "as in the data", cells))
        if self.pairs:
            shown = max(self.pairs, key=lambda pair: abs(pair.of[DATA].value))
            cells = {name: plus_minus(value, 3) for name, value in shown.of.items()}
            rows.append(TableRow(f"Correlation of planes {shown.part}", "at the same place", "as in the data", cells))
        return rows

    def records(self) -> Sequence[Record]:
        """All that is compared, and the spectra."""
        records = [
            Record.of(value, f"{measure}{suffix}", "1", name, None, None, each.part)
            for measure, many in (
                ("autocorrelation", self.lags),
                ("column_ratio", (self.columns,)),
                ("plane_correlation", self.pairs),
                ("plane_share", self.planes),
            )
            for each in many
            for suffix, values in (("", each.of), ("_missing", each.missing))
            for name, value in values.items()
        ]
        for measure, spectra in (
            ("row_spectrum", self.rows_spectrum),
            ("column_spectrum", self.columns_spectrum),
            ("radial_spectrum", self.radial_spectrum),
        ):
            for name, spectrum in spectra.items():
                records += [
                    Record(measure, "× independent", name, None, None, f"{frequency:.4g} cycles/pixel", power)
                    for frequency, power in zip(frequencies_of(len(spectrum)), spectrum, strict=True)
                ]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Autocorrelation maps, spectra, correlation of planes."""
        tested = next(name for name in pens if name != DATA)
        drawn = [self._maps(tested), self._spectra(pens)]
        return [*drawn, self._pairs(pens)] if self.pairs else drawn

    def _maps(self, tested: str) -> Plate:
        maps = {name: np.array(self.autocorrelation[name]) for name in (DATA, tested)}
        reach = LARGEST_LAG + 0.5
        largest = max(0.02, *(float(np.abs(np.where(_not_centre(image), image, 0.0)).max()) for image in maps.values()))
        with canvas(height=2.9) as figure:
            left, right = figure.subplots(1, 2, sharey=True)
            for ax, (name, image) in zip((left, right), maps.items(), strict=True):
                colour = ax.imshow(
                    image, cmap="RdBu_r", vmin=-largest, vmax=largest, extent=(-reach, reach, reach, -reach)
                )
                ax.set_title(name, fontsize=9)
                ax.set_xlabel("columns")
            left.set_ylabel("rows")
            figure.colorbar(colour, ax=(left, right), shrink=0.85, aspect=14, pad=0.02).set_label("correlation")
            return plate(
                figure,
                title="Autocorrelation",
                alt=f"Maps of the autocorrelation of the residuals of the data and of {tested}",
                caption="Correlation of pixels so many rows and columns of a plane apart (the middle, 1, is beyond the "
                "scale). Good: the two maps are the same. A dark horizontal line is row noise, a spot about the middle "
                "correlation of neighbours.",
                pixels=True,
            )

    def _spectra(self, pens: Mapping[str, Pen]) -> Plate:
        kinds = (
            ("row means", self.rows_spectrum),
            ("column means", self.columns_spectrum),
            ("all directions", self.radial_spectrum),
        )
        with canvas(height=4.6) as figure:
            panels = figure.subplots(3, 1, sharex=True)
            for ax, (title, spectra) in zip(panels, kinds, strict=True):
                ax.axhline(1, color="#57606a", linewidth=0.8)
                for name, pen in pens.items():
                    frequencies = frequencies_of(len(spectra[name]))
                    ax.plot(frequencies, spectra[name], color=pen.colour, linestyle=pen.dash, linewidth=1.2, label=name)
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
                "data’s line. Row means high: row noise; a peak: banding; a fall to the right: smoothing.",
            )

    def _pairs(self, pens: Mapping[str, Pen]) -> Plate:
        with canvas(height=max(2.4, 1.2 + 0.13 * len(self.pairs) * len(pens))) as figure:
            ax = axes(figure, "correlation at the same place", "")
            ax.axvline(0, color="#57606a", linewidth=0.8)
            for index, (name, pen) in enumerate(pens.items()):
                shift = 0.7 * ((index + 0.5) / len(pens) - 0.5)
                ax.errorbar(
                    [pair.of[name].value for pair in self.pairs],
                    [place + shift for place in range(len(self.pairs))],
                    xerr=[pair.of[name].half_width or 0.0 for pair in self.pairs],
                    color=pen.colour,
                    marker="o" if name == DATA else pen.marker,
                    markerfacecolor="none" if name == DATA else pen.colour,
                    linestyle="none",
                    markersize=4.5,
                    capsize=2,
                    label=name,
                )
            ax.set_yticks(range(len(self.pairs)), [pair.part for pair in self.pairs])
            ax.set_ylim(len(self.pairs) - 0.4, -0.6)
            ax.grid(False, axis="y")
            legend(figure)
            return plate(
                figure,
                title="Correlation between planes",
                alt="Correlation of the residuals of each two planes, real and sampled",
                caption="Correlation of the residuals of two planes at the same place, mean of each patch and plane "
                f"removed. Good: the models level with the data. Bars: {percent(LEVEL)} intervals over scenes.",
            )


def _not_centre(image: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.ones(image.shape, np.bool_)
    mask[image.shape[0] // 2, image.shape[1] // 2] = False
    return mask

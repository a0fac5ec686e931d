"""Row noise: how much more the means of rows vary than independent pixels would let them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import cell_labels, percent, plus_minus, times
from noiseflow.evaluate.statistics.intervals import LEVEL, Estimate, ratio_of_sums

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RowNoise", "RowNoiseMetric", "RowRatio", "row_ratio"]

SIGNAL_BINS = 6
MARGIN = 0.05


@dataclass(frozen=True)
class RowRatio:
    """Row ratio of each source over some of the patches.

    Parameters
    ----------
    camera, iso
        None where all are meant.
    part : str
        Which planes or intensities.
    signal_dn : float
        Mean clean signal of these patches, DN above black.
    patches : int
    ratio : mapping of str to Estimate
        1 for independent pixels; per source.
    missing : mapping of str to Estimate
        Ratio of the data minus that of the samples, paired by frame, per model.
    """

    camera: str | None
    iso: float | None
    part: str
    signal_dn: float
    patches: int
    ratio: Mapping[str, Estimate]
    missing: Mapping[str, Estimate]


@dataclass(frozen=True)
class RowNoise(Score):
    """Row noise, real and sampled.

    Parameters
    ----------
    width : int
        Pixels of a row in a patch.
    whole : RowRatio
    planes, signals, cells : tuple of RowRatio
        Each plane; each intensity bin that holds a patch, from dark to bright; each camera
        at each ISO.
    """

    title: ClassVar[str] = "Row noise"
    method: ClassVar[str] = (
        "For each patch and plane: variance of the row means × width ÷ variance of the pixels, each about the patch’s "
        "own mean, averaged over patches. It is 1 for independent pixels, whatever the signal, and about 1 + width · "
        "(row variance ÷ pixel variance) with row noise: it grows with the width, so wider frames show more. "
        f"Intensity bins: {SIGNAL_BINS}, even in the square root of the patch’s mean signal. Row noise is said to be "
        f"in the data where the interval is above {1 + MARGIN:g}; the samples are off where the paired difference "
        f"excludes 0 and is above {percent(MARGIN)} of the data’s. Intervals are {percent(LEVEL)} over frames, those "
        "of the intensity bins wider for their number (Bonferroni)."
    )

    width: int
    whole: RowRatio
    planes: tuple[RowRatio, ...]
    signals: tuple[RowRatio, ...]
    cells: tuple[RowRatio, ...]

    def findings(self, tested: str) -> Sequence[Finding]:
        """Whether row noise is in the data, and in the samples as well."""
        shown = max(
            (ratio for ratio in self.signals if ratio.ratio[DATA].above(1 + MARGIN)),
            key=lambda ratio: ratio.ratio[DATA].value,
            default=self.whole,
        )
        real, sampled, missing = shown.ratio[DATA], shown.ratio[tested], shown.missing[tested]
        where = "" if shown is self.whole else f" at {shown.signal_dn:.0f} DN"
        numbers = (
            f"the variance of row means is {times(real.value)} that of independent pixels in the data{where}, "
            f"{times(sampled.value)} in the samples (rows of {self.width})"
        )
        if missing.low is None:
            return [Finding("open", "row_noise", f"Row noise is not judged, for want of frames: {numbers}.")]
        enough = abs(missing.value) > MARGIN * real.value
        if missing.above(0) and enough:
            gone = sampled.value - 1 < 0.25 * (real.value - 1)
            return [Finding("bad", "row_noise", f"Row noise is {'missing' if gone else 'too weak'}: {numbers}.")]
        if missing.below(0) and enough:
            return [Finding("bad", "row_noise", f"Row noise is too strong: {numbers}.")]
        if real.above(1 + MARGIN):
            return [Finding("good", "row_noise", f"Row noise is in the samples as in the data: {numbers}.")]
        if real.below(1 + MARGIN):
            return [Finding("good", "row_noise", f"No row noise, neither in the data nor in the samples: {numbers}.")]
        return [Finding("open", "row_noise", f"Whether there is row noise is not settled: {numbers}.")]

    def table(self) -> Sequence[TableRow]:
        """Over all, and in the darkest bin."""
        unit = f"× independent pixels, {self.width} wide"
        rows = [TableRow("Row means’ variance", unit, "as in the data", _each(self.whole))]
        if len(self.signals) > 1:
            dark = self.signals[0]
            rows.append(TableRow("… in the dark", f"{unit}, {dark.signal_dn:.0f} DN", "as in the data", _each(dark)))
        return rows

    def records(self) -> Sequence[Record]:
        """All ratios and differences."""
        return [
            Record.of(value, measure, "1", name, ratio.camera, ratio.iso, ratio.part)
            for ratio in (self.whole, *self.planes, *self.signals, *self.cells)
            for measure, values in (("row_ratio", ratio.ratio), ("row_ratio_missing", ratio.missing))
            for name, value in values.items()
        ]

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Ratio against signal, and per plane and cell."""
        caption = (
            "Variance of row means × width ÷ pixel variance: 1 for independent pixels. Good: the models at the data’s "
            f"height. Bars: intervals over frames ({percent(LEVEL)}, wider for the number of bins)."
        )
        places = [ratio.signal_dn for ratio in self.signals]
        with canvas() as figure:
            ax = axes(figure, "mean signal of a patch, DN above black", "row means’ variance, × independent")
            ax.axhline(1, color="#57606a", linewidth=0.8)
            for name, pen in pens.items():
                _draw(ax, places, [ratio.ratio[name] for ratio in self.signals], name, pen, line=True)
            _fit(ax, [ratio.ratio[name] for ratio in self.signals for name in pens])
            legend(figure)
            first = plate(
                figure, title="Row noise against signal", alt="Row noise ratio against signal", caption=caption
            )
        parts = [*self.planes, *(cell for cell in self.cells if len(self.cells) > 1)][:16]
        labels = cell_labels([(part.camera, part.iso) for part in parts])
        with canvas(height=max(2.4, 1.2 + 0.13 * len(parts) * len(pens))) as figure:
            ax = axes(figure, "row means’ variance, × independent", "")
            ax.axvline(1, color="#57606a", linewidth=0.8)
            for index, (name, pen) in enumerate(pens.items()):
                shift = 0.7 * ((index + 0.5) / len(pens) - 0.5)
                _draw_across(
                    ax, [place + shift for place in range(len(parts))], [p.ratio[name] for p in parts], name, pen
                )
            ax.set_yticks(range(len(parts)), [part.part or label for part, label in zip(parts, labels, strict=True)])
            ax.set_ylim(len(parts) - 0.4, -0.6)
            ax.grid(False, axis="y")
            legend(figure)
            second = plate(
                figure,
                title="Row noise by plane",
                alt="Row noise ratio of each plane, real and sampled",
                caption=f"The same over all signals, by plane{' and by camera and ISO' if len(self.cells) > 1 else ''}."
                " Good: the models level with the data.",
            )
        return [first, second]


class RowNoiseMetric(Metric):
    """Sums of the patches' row ratios per intensity bin, frame and plane."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        survey = setup.survey
        planes, _, self.width = survey.patch_shape
        shape = (SIGNAL_BINS, survey.groups, planes)
        self.sums = {name: np.zeros(shape) for name in setup.sources}
        self.counts = np.zeros(shape)
        self.signal = np.zeros((2, SIGNAL_BINS, survey.groups))
        self.low = math.sqrt(max(float(survey.brightness.min()), 0.0))
        self.step = max((math.sqrt(max(float(survey.brightness.max()), 0.0)) - self.low) / SIGNAL_BINS, 1e-12)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        brightness = batch.clean.double().mean((1, 2, 3)).numpy()
        index = np.floor((np.sqrt(np.maximum(brightness, 0)) - self.low) / self.step)
        place = (index.clip(0, SIGNAL_BINS - 1).astype(np.int64), batch.group)
        ratios = {name: row_ratio(noise).numpy() for name, noise in batch.noise.items()}
        # A plane without any noise, clipped throughout, has no ratio; pairs stay pairs.
        valid = np.logical_and.reduce([np.isfinite(ratio) for ratio in ratios.values()])
        np.add.at(self.counts, place, valid.astype(np.float64))
        np.add.at(self.signal[0], place, brightness * batch.scale_dn.mean(1))
        np.add.at(self.signal[1], place, 1.0)
        for name, ratio in ratios.items():
            np.add.at(self.sums[name], place, np.where(valid, ratio, 0.0))

    def score(self) -> RowNoise:
        """Ratios over all, per plane, intensity, and camera and ISO."""
        survey = self.setup.survey
        every, all_bins = np.ones(survey.groups, np.bool_), np.ones(SIGNAL_BINS, np.bool_)
        all_planes = list(range(survey.patch_shape[0]))
        filled = np.flatnonzero(self.counts.sum((1, 2)))
        strict = 1 - (1 - LEVEL) / max(len(filled), 1)
        return RowNoise(
            width=self.width,
            whole=self._ratio(None, None, "", all_bins, every, all_planes, LEVEL),
            planes=tuple(
                self._ratio(None, None, f"plane {name}", all_bins, every, [plane], LEVEL)
                for plane, name in enumerate(survey.plane_names)
            ),
            signals=tuple(
                self._ratio(None, None, f"intensity {bin_}", np.arange(SIGNAL_BINS) == bin_, every, all_planes, strict)
                for bin_ in filled
            ),
            cells=tuple(
                self._ratio(cell.camera, cell.iso, "", all_bins, survey.cell_of_group == index, all_planes, LEVEL)
                for index, cell in enumerate(survey.cells)
            ),
        )

    def _ratio(
        self,
        camera: str | None,
        iso: float | None,
        part: str,
        bins: NDArray[np.bool_],
        groups: NDArray[np.bool_],
        planes: list[int],
        level: float,
    ) -> RowRatio:
        def of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
            chosen: NDArray[np.float64] = sums[bins][:, groups][:, :, planes].sum((0, 2))
            return chosen

        count, sums = of(self.counts), {name: of(sums) for name, sums in self.sums.items()}
        signal, patches = self.signal[:, bins][:, :, groups].sum((1, 2))
        return RowRatio(
            camera=camera,
            iso=iso,
            part=part,
            signal_dn=float(signal / patches),
            patches=int(patches),
            ratio={name: ratio_of_sums(numerator=x, denominator=count, level=level) for name, x in sums.items()},
            missing={
                name: ratio_of_sums(numerator=sums[DATA] - sums[name], denominator=count, level=level)
                for name in self.setup.models
            },
        )


def row_ratio(noise: Tensor) -> Tensor:
    """Variance of row means × width ÷ variance of pixels, of each patch and plane.

    Both variances are unbiased and about the mean of the plane, so that the expectation is 1
    for independent pixels, also where the variance changes from row to row.

    Parameters
    ----------
    noise : Tensor, shape (B, C, h, w)
        h and w at least 2.

    Returns
    -------
    Tensor of float64, shape (B, C)
        NaN where the pixels do not vary.
    """
    noise = noise.double()
    pixels = noise.flatten(2).var(2)
    ratio = noise.mean(3).var(2) * noise.shape[3] / pixels
    return torch.where(pixels > 0, ratio, math.nan)


def _each(ratio: RowRatio) -> dict[str, str]:
    return {name: plus_minus(value, 2) for name, value in ratio.ratio.items()}


def _draw(ax: "Axes", places: Sequence[float], values: Sequence[Estimate], name: str, pen: Pen, line: bool) -> None:
    ax.errorbar(
        places,
        [value.value for value in values],
        [value.half_width or 0.0 for value in values],
        color=pen.colour,
        marker="o" if name == DATA else pen.marker,
        markerfacecolor="none" if name == DATA else pen.colour,
        linestyle=pen.dash if line else "none",
        markersize=4.5,
        linewidth=1.2,
        capsize=2,
        label=name,
    )


def _draw_across(ax: "Axes", places: Sequence[float], values: Sequence[Estimate], name: str, pen: Pen) -> None:
    ax.errorbar(
        [value.value for value in values],
        places,
        xerr=[value.half_width or 0.0 for value in values],
        color=pen.colour,
        marker="o" if name == DATA else pen.marker,
        markerfacecolor="none" if name == DATA else pen.colour,
        linestyle="none",
        markersize=4.5,
        capsize=2,
        label=name,
    )


def _fit(ax: "Axes", values: Sequence[Estimate]) -> None:
    """Show all values; cut the bars of bins with so few frames that nothing is known."""
    heights = [value.value for value in values if math.isfinite(value.value)]
    low, high = min(heights, default=1.0), max(heights, default=1.0)
    reach = max(high - low, 0.2)
    ax.set_ylim(max(low - 0.6 * reach, 0.0), high + 0.8 * reach)

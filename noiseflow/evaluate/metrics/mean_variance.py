"""Mean and variance per intensity: the photon-transfer curve, real and sampled."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from noiseflow.evaluate.data_summary import Cell
from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, evenly, legend, plate
from noiseflow.evaluate.presentation.formatting import cell_labels, cell_name, count, number, percent
from noiseflow.evaluate.statistics.intervals import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bin", "Curve", "MeanVariance", "MeanVarianceMetric"]

BINS = 24
FEWEST = 10_000
"""Values that a bin needs to be judged."""

FEWEST_DRAWN = 100
MARGIN = 0.02
MOST_CELLS_DRAWN = 3


@dataclass(frozen=True)
class Moments:
    """Central moments of one source's noise in one bin.

    Parameters
    ----------
    mean : float
        DN.
    variance, variance_error : float
        DN², and its standard error, √((kurtosis − 1)/n) of it, as if pixels were
        independent.
    kurtosis : float
        Fourth standardised moment: 3 for a Gaussian.
    """

    mean: float
    variance: float
    variance_error: float
    kurtosis: float


@dataclass(frozen=True)
class Bin:
    """One intensity bin.

    Parameters
    ----------
    low, high : float
        Edges, clean signal in DN above black.
    count : int
    clean : float
        Mean clean signal, DN above black.
    moments : mapping of str to Moments
        Per source.
    """

    low: float
    high: float
    count: int
    clean: float
    moments: Mapping[str, Moments]

    def ratio(self, model: str) -> tuple[float, float]:
        """Sampled over real variance, and its standard error."""
        real, sampled = self.moments[DATA], self.moments[model]
        if not real.variance > 0:
            return math.nan, math.nan
        relative = sampled.variance_error / max(sampled.variance, 1e-300), real.variance_error / real.variance
        ratio = sampled.variance / real.variance
        return ratio, ratio * math.hypot(*relative)


@dataclass(frozen=True)
class Curve:
    """The bins of one camera at one ISO; those without a value are left out."""

    camera: str | None
    iso: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class MeanVariance(Score):
    """Photon-transfer curves."""

    title: ClassVar[str] = "Variance against signal"
    method: ClassVar[str] = (
        f"Pixels are sorted into {BINS} bins of clean signal, even in its square root from the darkest to the "
        "brightest of each camera and ISO, all planes together, in DN. Where the clean signal is an estimate, a pixel "
        "is sorted by the mean of its patch and plane: its own estimate errs, and sorting by that would change the "
        "noise in each bin. Standard errors are as if pixels were "
        "independent, √((kurtosis − 1)/n) of the variance. A bin of "
        f"{FEWEST:,} values or more is off if sampled/real is outside 1 ± {MARGIN:g} by more than its "
        f"{percent(LEVEL)} interval, taken wider for the number of bins (Bonferroni)."
    )

    curves: tuple[Curve, ...]

    def judged(self) -> list[tuple[Curve, Bin]]:
        """The bins with enough values."""
        return [
            (curve, bin_)
            for curve in self.curves
            for bin_ in curve.bins
            if bin_.count >= FEWEST and bin_.moments[DATA].variance > 0
        ]

    def off(self, model: str) -> list[tuple[Curve, Bin]]:
        """Of these, the bins where the sampled variance is off."""
        judged = self.judged()
        reach = float(ndtri(1 - (1 - LEVEL) / 2 / max(len(judged), 1)))
        return [(curve, bin_) for curve, bin_ in judged if _excess(bin_, model) > reach * bin_.ratio(model)[1]]

    def findings(self, tested: str) -> Sequence[Finding]:
        """In how many bins the sampled variance is off, and where most."""
        judged, off = self.judged(), self.off(tested)
        if not judged:
            text = f"No intensity bin holds {FEWEST:,} values: the variance by intensity is not judged."
            return [Finding("open", "mean_variance", text)]
        bins = f"{count(len(judged), 'intensity bin')} of at least {FEWEST:,} values"
        if not off:
            largest = max(abs(bin_.ratio(tested)[0] - 1) for _, bin_ in judged)
            text = f"The sampled variance follows the signal in all {bins}: off by {percent(largest, 1)} at most"
            text += "." if largest <= MARGIN else ", no more than the bins’ own errors explain."
            return [Finding("good", "mean_variance", text)]
        curve, worst = max(off, key=lambda pair: abs(math.log(max(pair[1].ratio(tested)[0], 1e-9))))
        ratio, error = worst.ratio(tested)
        where = f" ({cell_name(curve.camera, curve.iso)})" if len(self.curves) > 1 else ""
        text = (
            f"The sampled variance is off in {len(off)} of {bins}, most at {worst.clean:.0f} DN{where}: "
            f"{number(100 * ratio, 1)} ± {number(196 * error, 1)} % of the data’s."
        )
        return [Finding("bad", "mean_variance", text)]

    def table(self) -> Sequence[TableRow]:
        """Bins that are off, per model."""
        judged = self.judged()
        if not judged:
            return []
        models = [name for name in judged[0][1].moments if name != DATA]
        off = {name: f"{len(self.off(name))} of {len(judged)}" for name in models}
        return [TableRow("Intensity bins off", f"variance outside {percent(MARGIN)}", "none", {DATA: "", **off})]

    def records(self) -> Sequence[Record]:
        """Each bin of each curve."""
        records = []
        for curve in self.curves:
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

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Photon-transfer curve and ratio of some of the cells."""
        drawn: list[Plate] = []
        labels = cell_labels([(curve.camera, curve.iso) for curve in self.curves])
        for index in evenly(range(len(self.curves)), MOST_CELLS_DRAWN):
            curve = self.curves[index]
            name = f", {labels[index]}" if len(self.curves) > 1 else ""
            drawn += [_transfer(curve, name, pens), _ratios(curve, name, pens)]
        return drawn


class MeanVarianceMetric(Metric):
    """Power sums in DN per cell, bin and source."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        cells = setup.survey.cells
        self.roots = np.array([[math.sqrt(max(x, 0)) for x in (cell.signal_low, cell.signal_high)] for cell in cells])
        self.sums = {name: np.zeros((4, len(cells) * BINS)) for name in setup.sources}
        self.clean, self.counts = np.zeros(len(cells) * BINS), np.zeros(len(cells) * BINS)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        scale = torch.from_numpy(batch.scale_dn)[:, :, None, None]
        signal = batch.signal_dn
        low, high = torch.from_numpy(self.roots[batch.cell]).T[:, :, None, None, None]
        step = ((high - low) / BINS).clamp(min=1e-12)
        index = ((signal.clamp(min=0).sqrt() - low) / step).floor().clamp(0, BINS - 1).long()
        place = (index + torch.from_numpy(batch.cell * BINS)[:, None, None, None]).flatten()
        self.counts += _sums(place, None, len(self.counts))
        self.clean += _sums(place, signal, len(self.counts))
        for name, noise in batch.noise.items():
            values = noise.double() * scale
            power = values
            for sums in self.sums[name]:
                sums += _sums(place, power, len(self.counts))
                power = power * values

    def score(self) -> MeanVariance:
        """The curve of each camera and ISO."""
        return MeanVariance(tuple(self._curve(index, cell) for index, cell in enumerate(self.setup.survey.cells)))

    def _curve(self, index: int, cell: Cell) -> Curve:
        edges = np.linspace(self.roots[index, 0], self.roots[index, 1], BINS + 1) ** 2
        bins = []
        for bin_ in range(BINS):
            place = index * BINS + bin_
            n = self.counts[place]
            if n:
                moments = {name: _moments(sums[:, place] / n, n) for name, sums in self.sums.items()}
                low, high = float(edges[bin_]), float(edges[bin_ + 1])
                bins.append(Bin(low, high, int(n), float(self.clean[place] / n), moments))
        return Curve(cell.camera, cell.iso, tuple(bins))


def _sums(place: torch.Tensor, values: torch.Tensor | None, size: int) -> NDArray[np.float64]:
    weights = None if values is None else values.flatten()
    sums: NDArray[np.float64] = torch.bincount(place, weights, minlength=size).double().numpy()
    return sums


def _moments(raw: NDArray[np.float64], n: float) -> Moments:
    """Central moments from the raw ones, E x … E x⁴."""
    m1, m2, m3, m4 = (float(moment) for moment in raw)
    variance = max(m2 - m1**2, 0.0)
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    kurtosis = fourth / variance**2 if variance > 0 else math.nan
    error = variance * math.sqrt(max(kurtosis - 1, 0) / n) if variance > 0 else 0.0
    return Moments(m1, variance, error, kurtosis)


def _excess(bin_: Bin, model: str) -> float:
    """How far the ratio is outside the margin; 0 within it."""
    return max(abs(bin_.ratio(model)[0] - 1) - MARGIN, 0.0)


def _drawable(curve: Curve) -> list[Bin]:
    return [bin_ for bin_ in curve.bins if bin_.count >= FEWEST_DRAWN] or list(curve.bins)


def _transfer(curve: Curve, name: str, pens: Mapping[str, Pen]) -> Plate:
    bins = _drawable(curve)
    clean = [bin_.clean for bin_ in bins]
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "noise variance, DN²")
        for source in bins[0].moments:
            moments, pen = [bin_.moments[source] for bin_ in bins], pens[source]
            if source == DATA:
                continue
            ax.plot(
                clean,
                [m.variance for m in moments],
                color=pen.colour,
                linestyle=pen.dash,
                marker=pen.marker,
                markersize=3.5,
                linewidth=1.2,
                label=source,
            )
        real = [bin_.moments[DATA] for bin_ in bins]
        ax.errorbar(
            clean,
            [m.variance for m in real],
            [1.96 * m.variance_error for m in real],
            color=pens[DATA].colour,
            linestyle="none",
            marker="o",
            markersize=4,
            markerfacecolor="none",
            capsize=2,
            zorder=5,
            label=DATA,
        )
        _signal_axis(ax, clean)
        ax.set_yscale("log")
        legend(figure)
        return plate(
            figure,
            title=f"Photon-transfer curve{name}",
            alt=f"Noise variance in DN squared against signal in DN, log-log, real and sampled{name}",
            caption="Variance of the noise against the clean signal. Good: the lines run through the data’s circles, "
            f"flat in the dark (read noise), then of slope 1 (photons). Bars: 95 % of each bin; bins of at least "
            f"{FEWEST_DRAWN} values.",
        )


def _ratios(curve: Curve, name: str, pens: Mapping[str, Pen]) -> Plate:
    bins = _drawable(curve)
    models = [source for source in bins[0].moments if source != DATA]
    with canvas() as figure:
        ax = axes(figure, "signal above black, DN", "variance, sampled / real")
        ax.axhspan(1 - MARGIN, 1 + MARGIN, color="#d0d7de", linewidth=0)
        ax.axhline(1, color=pens[DATA].colour, linewidth=0.8)
        for model in models:
            ratios = [bin_.ratio(model) for bin_ in bins]
            pen = pens[model]
            ax.errorbar(
                [bin_.clean for bin_ in bins],
                [r for r, _ in ratios],
                [1.96 * e for _, e in ratios] if model == models[0] else None,
                color=pen.colour,
                marker=pen.marker,
                linestyle=pen.dash,
                markersize=3.5,
                linewidth=1,
                capsize=1.5,
                label=model,
            )
        _signal_axis(ax, [bin_.clean for bin_ in bins])
        # A baseline that is far off must not press the others into a line.
        shown = [r for r, _ in (bin_.ratio(models[0]) for bin_ in bins) if math.isfinite(r)]
        reach = max(0.1, 1.5 * max((abs(r - 1) for r in shown), default=0.0))
        ax.set_ylim(max(1 - reach, 0.0), 1 + reach)
        legend(figure)
        return plate(
            figure,
            title=f"Sampled over real variance{name}",
            alt=f"Ratio of sampled to real variance against signal in DN{name}",
            caption=f"Good: within the grey band, 1 ± {MARGIN:g}. Bars: 95 % of each bin, alike for all "
            "models and drawn for the one under test; the axis fits that one, and what is farther off is cut.",
        )


def _signal_axis(ax: "Axes", clean: Sequence[float]) -> None:
    """Log where it can be; down to black below one code."""
    if min(clean) > 1:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.5)

"""What the figures of a report draw, by the numbers of its scores."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import StepPatch

from noiseflow.evaluate import Evaluation
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.distribution import MarginalCell
from noiseflow.evaluate.metrics.moments import TransferCurve
from noiseflow.evaluate.metrics.row_noise import RowRatio
from noiseflow.evaluate.metrics.structure import frequencies_of
from noiseflow.evaluate.presentation import present
from noiseflow.evaluate.presentation.figures import draw_examples, evenly, pens_for
from noiseflow.evaluate.presentation.formatting import cell_labels
from noiseflow.evaluate.presentation.moments import FEWEST_DRAWN, VARIANCE_MARGIN
from noiseflow.evaluate.statistics.intervals import Interval

OTHERS = ("nlf", "codes")
ALL = ("mine", *OTHERS)


@dataclass(frozen=True)
class Drawn:
    """A figure: its panels, with the data of each."""

    title: str
    panels: Sequence[Any]

    @property
    def ax(self) -> Any:
        return self.panels[0]

    @property
    def bars(self) -> dict[str, ErrorbarContainer]:
        return {each.get_label(): each for each in self.ax.containers if isinstance(each, ErrorbarContainer)}

    def line(self, name: str) -> tuple[Any, Any]:
        (found,) = (each for each in self.ax.lines if each.get_label() == name)
        return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)

    def steps(self, name: str | None) -> list[Any]:
        return [each.get_data() for each in self.ax.patches if isinstance(each, StepPatch) and each.get_label() == name]

    def at(self, axis: str) -> list[float]:
        """Places of the lines that cross the panel."""
        data = [(line.get_xdata(), line.get_ydata()) for line in self.ax.lines]
        # A line across has its ends at 0 and 1 of the panel.
        across = {"x": lambda x, y: list(y) == [0, 1], "y": lambda x, y: list(x) == [0, 1]}[axis]
        return [float((x if axis == "x" else y)[0]) for x, y in data if len(x) == 2 and across(x, y)]


@pytest.fixture(scope="module")
def figures(whole: Evaluation) -> Iterator[dict[str, Drawn]]:
    """All figures by their titles, not written."""
    kept: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *a, **k: kept.append(figure))
        plates = [
            each
            for section in present.sections(whole.scores, pens_for(DATA, whole.models))
            for each in section["plates"]
        ]
        plates += draw_examples(whole.examples, whole.tested)
        yield {each.title: Drawn(each.title, figure.axes) for each, figure in zip(plates, kept, strict=True)}


def assert_bars(
    bars: ErrorbarContainer,
    places: Sequence[float] | None,
    values: Sequence[Interval],
    axis: str = "y",
    scale: float = 1,
) -> None:
    """Middles and ends are those of the intervals; places, if they are the reader's, are theirs."""
    line, _, segments = bars
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    across, along = (x, y) if axis == "y" else (y, x)
    assert along == pytest.approx([scale * value.value for value in values], nan_ok=True)
    if places is not None:
        assert across == pytest.approx(list(places))
    known = [value for value in values if value.low is not None]
    assert bool(segments) == bool(known)
    if known:
        ends = [segment[:, "xy".index(axis)] for segment in segments[0].get_segments()]
        assert len(ends) == len(values)
        for (low, high), value in zip(ends, values, strict=True):
            bottom = value.value if value.low is None else min(value.low, value.value)
            top = value.value if value.high is None else max(value.high, value.value)
            assert (low, high) == pytest.approx((scale * bottom, scale * top))


def rows_of(bars: dict[str, ErrorbarContainer], names: Sequence[str]) -> None:
    """Each source is within its row, and the sources of a row stand apart, in their order."""
    places = np.array([bars[name][0].get_ydata() for name in names])
    assert (np.abs(places - np.arange(places.shape[1])) < 0.5).all()
    assert (np.diff(places, axis=0) > 0).all()


def labels_down(ax: Any) -> list[str]:
    """Labels from the top of the panel to its bottom."""
    low, high = ax.get_ylim()
    assert low > max(ax.get_yticks())
    assert high < min(ax.get_yticks())
    return [each.get_text() for each in ax.get_yticklabels()]


def clipped(values: Sequence[Interval], least: float, most: float = math.inf) -> list[Interval]:
    """Intervals with their ends inside what the measure can be."""
    return [
        Interval(each.value, each.standard_error, max(each.low, least), min(each.high, most), each.groups)
        if each.low is not None and each.high is not None and max(each.low, least) <= min(each.high, most)
        else each
        for each in values
    ]


# Likelihood -----------------------------------------------------------------------------------------------------


def test_nll_by_iso(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["likelihood"]
    assert [title for title in figures if title.startswith("NLL by ISO")] == ["NLL by ISO, One", "NLL by ISO, Two"]
    for camera in ("One", "Two"):
        drawn = figures[f"NLL by ISO, {camera}"]
        cells = [cell for cell in score.cells if cell.camera == camera]
        for name in ALL:
            # A bar of two or three scenes would be huge; these have four.
            assert_bars(drawn.bars[name], (100, 400), [cell.nats_per_pixel_dn[name] for cell in cells])
        assert [each.get_text() for each in drawn.ax.get_xticklabels()] == ["100", "400"]
        assert drawn.ax.get_xscale() == "log"


def test_differences_in_likelihood(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["likelihood"]
    drawn = figures["Likelihood against the model under test"]
    assert set(drawn.bars) == set(OTHERS)
    for name in OTHERS:
        assert_bars(drawn.bars[name], None, [cell.behind[name] for cell in score.cells], "x")
    rows_of(drawn.bars, OTHERS)
    assert labels_down(drawn.ax) == cell_labels([(cell.camera, cell.iso) for cell in score.cells])
    assert drawn.at("x") == [0]
    by_signal = figures["Likelihood by intensity"]
    for name in OTHERS:
        assert_bars(
            by_signal.bars[name], [part.signal_dn for part in score.signals], [p.behind[name] for p in score.signals]
        )
    assert by_signal.at("y") == [0]
    # Logarithmic beyond 0.1 nats, and every end is on the axis.
    for panel, scale, cells in (
        (drawn.ax, drawn.ax.get_xscale(), score.cells),
        (by_signal.ax, by_signal.ax.get_yscale(), score.signals),
    ):
        largest = max(abs(value.value) for cell in cells for value in cell.behind.values())
        assert scale == ("symlog" if largest > 0.1 else "linear")
        assert panel.get_title() == ""
    low, high = drawn.ax.get_xlim()
    ends = [end for cell in score.cells for value in cell.behind.values() for end in (value.low, value.high)]
    assert low < min(ends) < max(ends) < high


def test_codes(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["codes"]
    drawn = figures["Likelihood of the integers by intensity"]
    for name, kind in score.kinds.items():
        values = [part.nats_per_pixel[name] for part in score.signals]
        bars = drawn.bars[f"{name} (≤)" if kind == "bound" else name]
        assert not bars[2]
        assert bars[0].get_ydata() == pytest.approx([each.value for each in values])
        assert bars[0].get_xdata() == pytest.approx([part.signal_dn for part in score.signals])
    by_plane = figures["Likelihood of the integers by plane"]
    exact = [name for name, kind in score.kinds.items() if kind == "exact"]
    assert set(by_plane.bars) == set(exact) != set()
    for name in exact:
        assert_bars(by_plane.bars[name], range(4), [plane.nats_per_pixel[name] for plane in score.planes])
    assert [each.get_text() for each in by_plane.ax.get_xticklabels()] == ["R", "G1", "G2", "B"]


# Distributions --------------------------------------------------------------------------------------------------


def test_calibration(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    """Columns of the same width from 0 to 1, of area 1; the axis is centred on 1 and shows all of the first model."""
    score: Any = whole.scores["calibration"]
    drawn = figures["Probability integral transform (PIT)"]
    for name, coverage in score.models.items():
        ((values, edges, _),) = drawn.steps(name)
        assert values == pytest.approx(coverage.histogram)
        assert values.mean() == pytest.approx(1, abs=1e-6)
        assert edges == pytest.approx(np.linspace(0, 1, len(values) + 1))
    assert drawn.at("y") == [1]
    low, high = drawn.ax.get_ylim()
    first = next(iter(score.models.values())).histogram
    assert low <= min(first) <= max(first) <= high
    assert 1 - low == pytest.approx(min(high - 1, 1))


def test_histograms(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    """Densities: of area 1 over all bins."""
    score: Any = whole.scores["marginal"]
    cells: Sequence[MarginalCell] = score.cells[1:]
    names = cell_labels([(cell.camera, cell.iso) for cell in cells])
    titles = [title for title in figures if title.startswith("Histogram of the noise")]
    assert titles == [f"Histogram of the noise, {names[index]}" for index in evenly(range(4), 3)]
    for title in titles:
        cell = cells[names.index(title.removeprefix("Histogram of the noise, "))]
        drawn, kept = figures[title], cell.histogram
        for name in ALL:
            ((values, edges, _),) = drawn.steps(name)
            counts = np.array(kept.counts[name])
            assert np.diff(edges) == pytest.approx(np.full(len(counts), kept.width_dn))
            assert (edges[0], edges[-1]) == pytest.approx((kept.low_dn, kept.low_dn + len(counts) * kept.width_dn))
            assert values == pytest.approx(counts / counts.sum() / kept.width_dn)
            assert float(values @ np.diff(edges)) == pytest.approx(1)
        ((filled, _, _),) = drawn.steps("data")
        counts = np.array(kept.counts[DATA])
        assert filled == pytest.approx(counts / counts.sum() / kept.width_dn)
        # A single value is on the axis.
        least = min(1 / sum(each) for each in kept.counts.values()) / kept.width_dn
        assert drawn.ax.get_yscale() == "log"
        assert 0.1 * least < drawn.ax.get_ylim()[0] < least


def test_by_intensity(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["conditional"]
    bins = [each for each in score.bins if each.values >= 10_000 and each.kl.floor is not None]
    assert len(bins) > 3
    places = [each.signal_dn for each in bins]
    drawn = figures["Divergence by intensity"]
    for name in ALL:
        x, y = drawn.line(name)
        assert x == pytest.approx(places)
        assert y == pytest.approx([each.kl.models[name].value for each in bins])
    (floor,) = drawn.ax.collections
    top = {float(x): float(y) for x, y in floor.get_paths()[0].vertices if y > 1e-8}
    assert [top[x] for x in places] == pytest.approx([each.kl.floor_high for each in bins])
    floors = [each.kl.floor for each in bins]
    assert 0.2 * min(floors) < drawn.ax.get_ylim()[0] < min(floors)
    quantiles = figures["Conditional quantiles of mine"]
    levels = {f"{100 * level:g} %": index for index, level in enumerate(score.levels)}
    named = [line.get_label() for line in quantiles.ax.lines if line.get_label() in levels]
    assert [score.levels[levels[name]] for name in named] == [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    for name in named:
        index = levels[name]
        x, y = quantiles.line(name)
        assert x == pytest.approx(places)
        assert y == pytest.approx([100 * (each.below["mine"][index] - score.levels[index]) for each in bins])
    assert quantiles.at("y") == [0]


# Moments --------------------------------------------------------------------------------------------------------


def test_photon_transfer(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    """Variances with ± 1.96 standard errors; ratios of independent errors; the axis is for the first model."""
    score: Any = whole.scores["mean_variance"]
    curves: Sequence[TransferCurve] = score.curves
    names = cell_labels([(curve.camera, curve.iso) for curve in curves])
    shown = [index for index, name in enumerate(names) if f"Photon-transfer curve, {name}" in figures]
    assert shown == evenly(range(len(curves)), 3)
    for index in shown:
        bins = [each for each in curves[index].bins if each.count >= FEWEST_DRAWN]
        clean = [each.clean for each in bins]
        drawn = figures[f"Photon-transfer curve, {names[index]}"]
        for name in ALL:
            x, y = drawn.line(name)
            assert x == pytest.approx(clean)
            assert y == pytest.approx([each.moments[name].variance for each in bins])
        real = [each.moments[DATA] for each in bins]
        assert_bars(drawn.bars[DATA], clean, [about(each.variance, each.variance_error) for each in real])
        assert (drawn.ax.get_xscale(), drawn.ax.get_yscale()) == ("log", "log")
        ratios = figures[f"Sampled over real variance, {names[index]}"]
        largest = 0.0
        for name in ALL:
            sampled = [each.moments[name] for each in bins]
            of = [one.variance / other.variance for one, other in zip(sampled, real, strict=True)]
            errors = [
                math.hypot(one.variance_error / other.variance, ratio * other.variance_error / other.variance)
                for ratio, one, other in zip(of, sampled, real, strict=True)
            ]
            values = [about(ratio, error) for ratio, error in zip(of, errors, strict=True)]
            if name == "mine":
                largest = max(abs(each - 1) for each in of)
            assert_bars(ratios.bars[name], clean, values if name == "mine" else [e.without_interval for e in values])
        assert ratios.at("y") == [1]
        (band,) = ratios.ax.patches
        ends = (
            band.get_path().vertices[:, 1]
            if not hasattr(band, "get_y")
            else (band.get_y(), band.get_y() + band.get_height())
        )
        assert (min(ends), max(ends)) == pytest.approx((1 - VARIANCE_MARGIN, 1 + VARIANCE_MARGIN))
        low, high = ratios.ax.get_ylim()
        assert high - 1 >= max(largest, 0.1 - 1e-9)
        assert low == pytest.approx(max(2 - high, 0))


def about(value: float, error: float) -> Interval:
    """A number with its 95 % interval."""
    return Interval(value, error, value - 1.96 * error, value + 1.96 * error, 1)


def test_quantiles_against_quantiles(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    """Those with ten values beyond them; the diagonal is the truth."""
    score: Any = whole.scores["tails"]
    levels = np.array(score.levels)
    sure = np.minimum(levels, 1 - levels) * score.values >= 10
    assert 2 < sure.sum() < len(sure)
    drawn = figures["Quantiles of samples against data (QQ)"]
    real = np.array(score.quantiles[DATA])[sure]
    for name in ALL:
        x, y = drawn.line(name)
        assert x == pytest.approx(real)
        assert y == pytest.approx(np.array(score.quantiles[name])[sure])
    first = drawn.ax.lines[0]
    assert list(first.get_xdata()) == list(first.get_ydata()) == pytest.approx([real.min(), real.max()])
    for low, high in (drawn.ax.get_xlim(), drawn.ax.get_ylim()):
        assert low < real.min() < real.max() < high


# Structure ------------------------------------------------------------------------------------------------------


def test_row_noise(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["row_noise"]
    drawn = figures["Row noise against signal"]
    for name in (DATA, *ALL):
        values = clipped([ratio.ratio[name] for ratio in score.signals], 0)
        assert_bars(drawn.bars[name], [ratio.signal_dn for ratio in score.signals], values)
    assert drawn.at("y") == [1]
    heights = [ratio.ratio[name].value for ratio in score.signals for name in (DATA, *ALL)]
    low, high = drawn.ax.get_ylim()
    assert 0 <= low < min(heights) < max(heights) < high < max(heights) + 2 * (max(heights) - low)
    parts: Sequence[RowRatio] = [*score.planes, *score.cells]
    by_plane = figures["Row noise by plane"]
    for name in (DATA, *ALL):
        assert_bars(by_plane.bars[name], None, clipped([part.ratio[name] for part in parts], 0), "x")
    rows_of(by_plane.bars, (DATA, *ALL))
    cells = cell_labels([(part.camera, part.iso) for part in score.cells])
    assert labels_down(by_plane.ax) == [*(part.part for part in score.planes), *cells]
    assert by_plane.at("x") == [1]


def test_structure(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    score: Any = whole.scores["structure"]
    maps = figures["Autocorrelation"]
    for panel, name in zip(maps.panels[:2], (DATA, "mine"), strict=True):
        (image,) = panel.images
        assert np.asarray(image.get_array()) == pytest.approx(np.array(score.autocorrelation[name]))
        # A pixel of lag (y, x) is drawn about that place.
        side = len(score.autocorrelation[name]) / 2
        assert image.get_extent() == [-side, side, side, -side]
        assert panel.get_title() == name
    images = [np.array(score.autocorrelation[name]) for name in (DATA, "mine")]
    beside = [np.abs(np.delete(each.flatten(), each.size // 2)).max() for each in images]
    assert maps.panels[0].images[0].get_clim() == pytest.approx((-max(0.02, *beside), max(0.02, *beside)))
    assert maps.panels[1].images[0].get_clim() == maps.panels[0].images[0].get_clim()
    spectra = figures["Spectra"]
    for panel, kept in zip(
        spectra.panels, (score.rows_spectrum, score.columns_spectrum, score.radial_spectrum), strict=True
    ):
        lines = {line.get_label(): line for line in panel.lines}
        for name in (DATA, *ALL):
            assert lines[name].get_xdata() == pytest.approx(frequencies_of(len(kept[name])))
            assert lines[name].get_ydata() == pytest.approx(kept[name])
        assert Drawn("", [panel]).at("y") == [1]
        assert panel.get_ylim()[0] == 0
        assert panel.get_ylim()[1] > max(max(each) for each in kept.values())
    pairs = figures["Correlation between planes"]
    for name in (DATA, *ALL):
        assert_bars(pairs.bars[name], None, clipped([pair.of[name] for pair in score.pairs], -1, 1), "x")
    assert labels_down(pairs.ax) == ["R–G1", "R–G2", "R–B", "G1–G2", "G1–B", "G2–B"]
    assert pairs.at("x") == [0]


# Tests, denoisers and examples ----------------------------------------------------------------------------------


def test_accuracies_and_costs(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    accuracy: Any = whole.scores["two_sample"]
    drawn = figures["Two-sample test"]
    for place, name in enumerate(ALL):
        assert_bars(drawn.bars[name], [place], clipped([accuracy.accuracy[name]], 0, 1), "x", 100)
    assert labels_down(drawn.ax) == list(ALL)
    assert drawn.at("x") == [50]
    low, high = drawn.ax.get_xlim()
    assert low <= min(45, *(100 * value.value for value in accuracy.accuracy.values()))
    assert high > 100
    score: Any = whole.scores["denoising"]
    values = {DATA: score.floor, **score.cost}
    costs = figures["Cost of a denoiser"]
    for place, (name, value) in enumerate(values.items()):
        assert_bars(costs.bars[name], [place], [value], "x")
    assert labels_down(costs.ax) == list(values)
    assert costs.at("x") == [0]


def test_examples(whole: Evaluation, figures: dict[str, Drawn]) -> None:
    """Pictures of one plane in DN, noise on one scale of ± 3 σ of the real one, colours above."""
    for example in whole.examples:
        clean, real, sampled = np.array(example.clean), *(np.array(example.noise[n]) for n in (DATA, "mine"))
        (drawn,) = (each for title, each in figures.items() if title.startswith(f"{example.name.capitalize()}: "))
        assert drawn.title.endswith(f": {clean.mean():.0f} DN, σ {real.std():.3g} DN")
        images = [panel.images[0] for panel in drawn.panels if panel.images]
        colours, pictures, noises = images[:3], images[3:6], images[6:8]
        for image, name in zip(colours, ("clean", DATA, "mine"), strict=True):
            assert np.asarray(image.get_array()).tolist() == np.array(example.srgb[name]).tolist()
        noisy = clean + real * math.sqrt(1.1)
        for image, values in zip(pictures, (clean, noisy, clean + sampled), strict=True):
            assert np.asarray(image.get_array()) == pytest.approx(values)
            assert image.get_clim() == pytest.approx(tuple(np.quantile([clean, noisy], (0.005, 0.995))))
        for image, values in zip(noises, (real, sampled), strict=True):
            assert np.asarray(image.get_array()) == pytest.approx(values)
            assert image.get_clim() == pytest.approx((-3 * real.std(), 3 * real.std()))

"""What is made of a picture's cells: error bars, planes, black levels, traces of processing, and the refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import dctn

from noiseflow.calibrate.measurement import Measurement, root
from noiseflow.calibrate.single_frame import estimate, processing
from noiseflow.calibrate.single_frame.blocks import Blocks, block_energies
from noiseflow.calibrate.single_frame.cells import Cells, Chosen, line_of
from noiseflow.calibrate.single_frame.estimate import (
    LineErrors,
    _by_plane,
    _clipped,
    _plane,
    _why_no_gain,
    _why_nothing,
    line_errors,
)
from noiseflow.calibrate.single_frame.processing import Traces, _curved_codes, code_step, traces_of
from noiseflow.calibrate.single_frame.variance_line import VarianceLine

RNG = np.random.default_rng(4)
LEVELS = np.array([100.0, 300, 600, 1000, 1500, 2100])


def cells_of(gains: tuple[float, ...], noise: float = 0.0, excess: float = 0.0) -> Cells:
    """Six cells of 36 regions a plane; variances scatter by `noise` from region to region."""
    rng = np.random.default_rng(0)
    x = np.tile(LEVELS, len(gains))[:, None]
    plane = np.repeat(np.arange(len(gains)), 6)
    count = rng.integers(4, 9, (len(x), 36)).astype(float)
    variance = (20 + np.array(gains)[plane][:, None] * x) * (1 + noise * rng.normal(size=count.shape))
    return Cells(plane.astype(np.intp), count, count * x, count * variance, count * variance * (1 + excess))


def test_the_error_of_a_line_is_the_jackknife_s_the_fit_s_and_the_doubt_about_texture() -> None:
    for noise, excess in ((0.3, 0.0), (0.01, 0.4)):
        cells = cells_of((0.5,), noise, excess)
        line = line_of(cells)
        assert line is not None
        left = [each for each in (line_of(cells, region) for region in range(36)) if each is not None]
        jackknife = [np.sqrt(35 * np.var([getattr(each, name) for each in left])) for name in ("gain", "floor")]
        fit = [line.covariance[1, 1] ** 0.5, line.covariance[0, 0] ** 0.5]
        bare = line_of(cells, leak=0.0)
        assert bare is not None
        doubt = [abs(bare.gain - line.gain) / 2, abs(bare.floor - line.floor) / 2]
        found = line_errors(cells, line)
        gain, floor = (np.hypot(max(a, b), c) for a, b, c in zip(jackknife, fit, doubt, strict=True))
        assert found.gain == pytest.approx(np.hypot(gain, 0.007 * line.gain))
        assert found.floor == pytest.approx(floor)
        assert found.texture == pytest.approx(doubt[0])
        assert found.freedom == 3
        # Each of the two is the larger in one case: the comparison could fail.
        assert (jackknife[0] > fit[0]) == (noise == 0.3)
    few = Cells(*(each[:3] for each in (cells.plane, cells.count, cells.signal, cells.high, cells.middle)))
    assert line_errors(few, line) == LineErrors(np.inf, np.inf, 0.0, 1)


@pytest.mark.parametrize(("chi2", "apart"), [(16.2, False), (16.4, True)])
def test_planes_keep_their_own_lines_where_gains_differ_surely(
    chi2: float, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of((0.5, 0.52, 0.48, 0.6))
    own = [each for each in (line_of(cells.of_plane(k)) for k in range(4)) if each is not None]
    gains = np.array([each.gain for each in own])
    # Errors in proportion to 1, 2, 1, 2, of a size that gives this χ² about the weighted mean.
    relative = np.array([1.0, 2, 1, 2])
    mean = np.average(gains, weights=1 / relative**2)
    errors = relative * (float((((gains - mean) / relative) ** 2).sum()) / chi2) ** 0.5
    given = {gain: LineErrors(error, 0.1, 0.0, 3) for gain, error in zip(gains, errors, strict=True)}
    monkeypatch.setattr(estimate, "line_errors", lambda _, line: given[line.gain])
    common = (own[0], LineErrors(0.03, 0.1, 0.0, 9))
    found = _by_plane(cells, *common, 4)
    if apart:
        assert [(each.gain, error) for each, error in found] == list(given.items())
    else:
        assert all(each == common for each in found)
    # A plane without cells of its own, or one that is known too badly, leaves all with the common line.
    assert all(each == common for each in _by_plane(cells, *common, 5))
    given[gains[3]] = LineErrors(0.121 * gains[3], 0.1, 0.0, 3)
    assert all(each == common for each in _by_plane(cells, *common, 4))


def blocks_of(mean: np.ndarray) -> Blocks:
    none = np.full(len(mean), 25.0)
    return Blocks((1, len(mean)), 8, mean, none, none, none)


ROWS = Measurement(2.0, 0.3, (1.4, 2.6), "DN")


@pytest.mark.parametrize("rows", [None, ROWS])
def test_a_plane_s_read_noise_and_the_black_levels_that_the_picture_allows(rows: Measurement | None) -> None:
    """(1/12 − floor)/K − 2 σ/K ≤ δ ≤ darkest + noise of the least of N block means + two rows' share."""
    line, errors = VarianceLine(9.0, 0.5, 0.0, np.zeros((2, 2)), 1.0), LineErrors(0.01, 0.4, 0.0, 7)
    mean = np.linspace(3.0, 900.0, 200)
    read, level, said = _plane((line), errors, blocks_of(mean), 512.0, rows)
    row = 2.0 if rows else 0.0
    noise = np.sqrt(9 + 0.5 * 3) / 8
    high = 3 + noise * (np.sqrt(2 * np.log(200)) + 2) + 2 * row / np.sqrt(8)
    low = (1 / 12 - 9 - 2 * 0.4) / 0.5
    assert said == ""
    assert level.value == 512.0
    assert level.interval == pytest.approx((512 + low, 512 + high))
    assert level.standard_error == pytest.approx((high - low) / 4)
    assert read == root(9.0 + row**2, float(np.hypot(0.4, 2 * 2.0 * 0.3 if rows else 0.0)), "DN", 7)
    # A floor below rounding is rounding.
    least, _, _ = _plane(replace(line, floor=0.01), errors, blocks_of(mean), 512.0, None)
    assert least == root(1 / 12, 0.4, "DN", 7)


@pytest.mark.parametrize(("floor", "darkest", "said"), [(-0.70, 3.0, False), (-0.74, 3.0, True), (9.0, -2.0, True)])
def test_a_black_level_that_cannot_be_is_said_with_where_it_lies(floor: float, darkest: float, said: bool) -> None:
    """−0.72 = 1/12 − 2·0.4."""
    line, errors = VarianceLine(floor, 0.5, 0.0, np.zeros((2, 2)), 1.0), LineErrors(0.01, 0.4, 0.0, 7)
    mean = np.linspace(darkest, 900.0, 200)
    read, level, words = _plane(line, errors, blocks_of(mean), 64.0, None)
    assert (read is None) == bool(words) == said
    if said:
        noise = np.sqrt(max(float(line.at(np.array([max(darkest, 0)]))[0]), 0.01)) / 8
        high = darkest + noise * (np.sqrt(2 * np.log(200)) + 2)
        low = (1 / 12 - floor - 0.8) / 0.5
        ends = (64 + low, 64 + max(high, low))
        assert level.interval == pytest.approx(ends)
        assert level.value == pytest.approx((ends[0] + ends[1]) / 2)
        assert level.standard_error == pytest.approx((ends[1] - ends[0]) / 4)
        assert f"between {ends[0]:.1f} and {ends[1]:.1f} DN" in words


def test_why_a_picture_says_nothing() -> None:
    top = [1000.0]
    bright = np.full(100, 500.0)
    for clipped, words in ((50, "plain areas"), (51, "51 % of it is clipped")):
        mean = np.linspace(0, 900, 100)
        mean[:clipped] = 971.0
        assert _clipped([blocks_of(mean)], top) == pytest.approx(clipped / 100)
        assert words in _why_nothing([blocks_of(mean)], top)
    assert _clipped([blocks_of(np.full(4, 970.0))], top) == 0
    # Of one level within twelve standard deviations of a block's mean, 5/8 DN.
    for width, one in ((7.4, True), (7.6, False)):
        mean = np.repeat([500.0, 500.0 + width], 50)
        assert ("one level of signal" in _why_nothing([blocks_of(mean)], top)) == one
    assert "only K ≤ 0.05 DN/e- is known" in _why_nothing([blocks_of(bright)], top)
    assert "is known" not in _why_nothing([blocks_of(-bright)], top)


@pytest.mark.parametrize(
    ("line", "errors", "width", "words"),
    [
        ((9.0, 0.5), (0.1, 0.02), 0.24, "only K ≤ 0.5 DN/e- is known"),
        ((9.0, 0.5), (0.1, 0.02), 0.26, "would be 20 %, because its flat parts have too few levels"),
        ((9.0, 0.5), (0.1, 0.06), 0.9, "texture is everywhere"),
        ((9.0, 0.0), (0.1, 0.06), 0.9, "does not rise with its signal"),
        ((9.0, 0.5), (np.inf, 0.0), 0.9, "does not rise with its signal"),
    ],
)
def test_why_a_picture_has_no_gain(
    line: tuple[float, float], errors: tuple[float, float], width: float, words: str
) -> None:
    count = np.array([[30.0], [10.0], [30.0], [10.0]])
    x = 100 * (1 + np.array([[-1.0], [3.0], [-1.0], [3.0]]) * width / 1.5)
    cells = Cells(np.zeros(4, np.intp), count, count * x, count * 50.0, count * 50.0)
    given = VarianceLine(*line, 0.0, np.zeros((2, 2)), 1.0)
    assert words in _why_no_gain(cells, given, LineErrors(errors[0], 1.0, errors[1], 3))


WHOLE = Traces(0.95, 0.05, 0.01, 0.05)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (replace(WHOLE, step_part=0.1), None),
        (replace(WHOLE, step_part=0.1001), "gaps"),
        (replace(WHOLE, phase=0.03), None),
        (replace(WHOLE, phase=0.0301), "in frequency"),
        (replace(WHOLE, outer=0.87), None),
        (replace(WHOLE, outer=0.8699), "87 % of the energy"),
        (replace(WHOLE, correlation=0.08), None),
        (replace(WHOLE, correlation=0.0801), "correlated by 0.08"),
        (replace(WHOLE, curved_codes=200), "only 200 different codes"),
    ],
)
def test_each_trace_has_its_limit(seen: Traces, said: str | None) -> None:
    assert (seen.reason() or "") == "" if said is None else said in (seen.reason() or "")


def traces_by_loops(planes: list[np.ndarray], blocks: list[Blocks], index: np.ndarray, line: VarianceLine) -> Traces:
    """Of blocks side by side."""

    def tables(plane: np.ndarray, numbers: np.ndarray, row: int = 0, column: int = 0) -> np.ndarray:
        places = [(n // 20 * 8 + row, n % 20 * 8 + column) for n in numbers]
        made = dctn(np.array([plane[y : y + 8, x : x + 8] for y, x in places]).astype(float), axes=(1, 2), norm="ortho")
        return np.stack([made[:, i, j] for i, j in high], 1)

    high = [(i, j) for i in range(1, 8) for j in range(1, 8) if i + j >= 7]
    power, steps, phases = np.zeros(len(high)), [], []
    for plane, each in zip(planes, blocks, strict=True):
        power += (tables(plane, index) ** 2 / line.at(each.mean[index])[:, None]).sum(0)
        parts = []
        for group in np.array_split(index[np.argsort(each.mean[index])], 8):
            codes = np.unique([plane[n // 20 * 8 : n // 20 * 8 + 8, n % 20 * 8 : n % 20 * 8 + 8] for n in group])
            step = np.median(np.diff(codes)) if len(codes) > 1 else 1.0
            parts.append((step**2 - 1) / 12 / np.median(line.at(each.mean[group])))
        steps.append(np.median(parts))
        inside = np.array([n for n in index if n // 20 * 8 + 16 <= plane.shape[0] and n % 20 * 8 + 16 <= 160])
        ratios = []
        for row in range(8):
            for column in range(8):
                rows = tables(plane, inside, row, column)
                rows /= np.sqrt((rows**2).mean(1, keepdims=True))
                ratios.append(np.mean(np.abs(rows).mean(0) ** 2 / (rows**2).mean(0)))
        phases.append(np.abs(np.array(ratios) - np.median(ratios)).max())
    far = np.array([i + j >= 10 for i, j in high])
    outer = power[far].mean() / power[~far].mean()
    worst = 0.0
    for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)) if len(planes) == 4 else ():
        one, other = (tables(planes[k], index) for k in (a, b))
        sizes = (one**2).mean(1) * (other**2).mean(1)
        worst = max(worst, abs(np.mean(one * other / np.sqrt(sizes)[:, None])))
    return Traces(float(outer), float(worst), float(max(phases)), float(max(steps)))


@pytest.mark.parametrize(("count", "shared", "step"), [(4, 0.5, 1), (1, 0.0, 3)])
def test_traces_are_those_of_loops_over_the_blocks(count: int, shared: float, step: int) -> None:
    common = RNG.normal(0, 6, (40, 160))
    planes = []
    for _ in range(count):
        noise = np.sqrt(1 - shared) * RNG.normal(0, 6, (40, 160)) + np.sqrt(shared) * common
        planes.append((step * np.rint((300 + 2 * np.arange(160) + noise) / step)).astype(np.uint16))
    blocks = []
    for plane in planes:
        made = block_energies(plane, 0.0)
        kept = (np.arange(0, 9, 2)[:, None] * 39 + np.arange(0, 39, 2)).ravel()
        blocks.append(Blocks((5, 20), 8, *(getattr(made, name)[kept] for name in ("mean", "high", "middle", "active"))))
    index = np.flatnonzero(np.arange(100) % 7 > 0)
    line = VarianceLine(20.0, 0.05, 0.0, np.zeros((2, 2)), 0.0)
    chosen = [Chosen(index, np.zeros(len(index), np.intp))] * count
    found, expected = traces_of(planes, blocks, chosen, line), traces_by_loops(planes, blocks, index, line)
    for name in ("outer", "correlation", "phase", "step_part"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-3), name
    # Fewer than 40 blocks in both, or 60 for the grid, say nothing.
    for kept, correlation, phase in ((40, True, False), (39, False, False)):
        few = [Chosen(index[:kept], np.zeros(kept, np.intp))] * count
        seen = traces_of(planes, blocks, few, line)
        assert (seen.correlation > 0) == (correlation and count == 4)
        assert (seen.phase > 0) == phase
    none = Chosen(np.zeros(0, np.intp), np.zeros(0, np.intp))
    if count == 4:
        left = traces_of(planes, blocks, [none, *chosen[1:]], line)
        assert left.outer != found.outer


@pytest.mark.parametrize("noise", [0.5, 2.0, 300.0])
@pytest.mark.parametrize("gain", [1, 1.5, 4])
def test_codes_of_a_linear_camera_are_not_taken_for_those_of_a_tone_curve(noise: float, gain: float) -> None:
    """Few pixels, few codes, and two hundred hot pixels; a gain in numbers leaves gaps."""
    light = np.where(np.arange(64) < 40, 20.0, np.geomspace(20, 120, 64)) * np.ones((64, 1))
    light[:, 5:8] += 40 * RNG.random((64, 3)) ** 2
    codes = np.rint(gain * np.rint(200 + light + noise * RNG.standard_normal((64, 64)))).clip(0)
    assert _curved_codes(codes.astype(np.uint16)) == 0


def test_codes_of_eight_bits_behind_a_tone_curve_are_counted() -> None:
    """Noise of several codes, so that neither their gaps nor the blocks of a JPEG show."""
    light = np.linspace(0.002, 0.3, 160) + 0.03 * RNG.standard_normal((160, 160))
    shown = np.rint(255 * light.clip(0, 1) ** (1 / 2.2))
    codes = np.rint(512 + 15871 * (shown / 255) ** 2.2).astype(np.uint16)
    assert _curved_codes(codes) == len(np.unique(codes))
    assert _curved_codes(codes.astype(np.float32)) == 0
    assert _curved_codes(codes + np.arange(160, dtype=np.uint16)[:, None]) == 0


def test_the_step_of_codes_is_the_median_of_their_distances() -> None:
    assert code_step(np.array([1, 1, 4, 6, 12])) == 3
    assert code_step(np.array([5, 5])) == 1.0
    assert code_step(np.array([2, 9])) == 7


def test_many_blocks_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every k-th, so that the places are of the whole picture."""
    seen: list[int] = []
    real = processing.coefficients_at

    def counted(plane: np.ndarray, blocks: Blocks, index: np.ndarray) -> np.ndarray:
        seen.append(len(index))
        return np.asarray(real(plane, blocks, index))

    monkeypatch.setattr(processing, "MOST", 30)
    monkeypatch.setattr(processing, "coefficients_at", counted)
    plane = RNG.integers(100, 140, (64, 64)).astype(np.uint16)
    blocks = block_energies(plane, 0.0)
    chosen = Chosen(np.arange(100), np.zeros(100, np.intp))
    traces_of([plane], [blocks], [chosen], VarianceLine(100.0, 0.0, 0.0, np.zeros((2, 2)), 0.0))
    assert seen == [34]
    assert estimate.LEAST_SIDE == 64

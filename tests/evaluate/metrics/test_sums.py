"""Metrics fed with a few patches by hand: what they report against plain numpy over the same values."""

import math
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.moments import MeanVarianceMetric, TailsMetric
from noiseflow.evaluate.metrics.proper_scores import neighbours, per_patch
from noiseflow.evaluate.metrics.row_noise import RowNoiseMetric, row_ratio
from noiseflow.evaluate.metrics.sample_checks import PitCalibrationMetric, QuantisationMetric, TemporalMetric
from noiseflow.evaluate.metrics.structure import StructureMetric, normalised, power_of, radial
from noiseflow.evaluate.statistics.intervals import Interval, ratio_of_sums

GROUPS, EACH, SHAPE = 9, 2, (4, 6, 8)
NAMES = ("R", "G1", "G2", "B")
COUNT = GROUPS * EACH
GROUP = np.arange(COUNT) // EACH
CLOSE = np.arange(COUNT) % 7 != 3


def noise(seed: int, scale: tuple[float, ...] = (1.0, 1.2, 0.9, 1.5)) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(COUNT, *SHAPE)) + 0.4 * rng.normal(size=(COUNT, 4, 6, 1))
    values[..., 1:] += 0.3 * values[..., :-1]
    values += 0.3 * rng.normal(size=(COUNT, 1, 6, 8))
    return torch.from_numpy(values * np.array(scale)[:, None, None])


REAL, SAMPLED = noise(1), noise(2, (1.5, 1.2, 0.9, 1.0))


def cell(low: float, high: float, camera: str = "A", iso: float = 100.0) -> Any:
    return SimpleNamespace(camera=camera, iso=iso, signal_low=low, signal_high=high, scale_dn=1000.0)


def setup(**more: Any) -> Any:
    cells = (cell(0.0, 576.0), cell(0.0, 2304.0, iso=200.0))
    facts = {
        "groups": GROUPS,
        "patch_shape": SHAPE,
        "plane_names": NAMES,
        "rows": np.arange(COUNT),
        "close": CLOSE,
        "cells": cells,
        "cell_of_group": np.arange(GROUPS) % 2,
    }
    return SimpleNamespace(
        survey=SimpleNamespace(**(facts | more)), sources=(DATA, "m"), models=("m",), seed=0, densities={}
    )


def batch(part: slice, **more: Any) -> Any:
    taken = {DATA: REAL[part], "m": SAMPLED[part]}
    return SimpleNamespace(**({"residual": taken, "noise": taken, "close": CLOSE[part], "group": GROUP[part]} | more))


def fed(metric: Any, **more: Any) -> Any:
    for part in (slice(0, 8), slice(8, COUNT)):
        metric.update(batch(part, **{name: value[part] for name, value in more.items()}))
    return metric.score()


def same(found: Interval, expected: Interval, tolerance: float = 1e-6) -> None:
    assert found.value == pytest.approx(expected.value, rel=tolerance, abs=1e-9)
    assert (found.low is None) == (expected.low is None)
    if expected.low is not None:
        ends = pytest.approx((expected.low, expected.high), rel=tolerance, abs=1e-9)
        assert (found.low, found.high) == ends
    assert found.groups == expected.groups


PATCHES = np.bincount(GROUP[CLOSE], minlength=GROUPS).astype(float)
USED = {DATA: REAL[CLOSE].numpy(), "m": SAMPLED[CLOSE].numpy()}


def by_group(values: np.ndarray) -> np.ndarray:
    return np.array([values[GROUP[CLOSE] == g].sum(0) for g in range(GROUPS)])


def level_of(parts: int) -> float:
    """One chance in 200 shared by all parts."""
    return 1 - 0.005 / parts


def test_structure_is_of_centred_patches_with_paired_intervals() -> None:
    found = fed(StructureMetric(setup()))
    assert (found.values, found.of_values) == (int(CLOSE.sum()) * 192, COUNT * 192)
    centred = {name: values - values.mean((2, 3), keepdims=True) for name, values in USED.items()}
    # Planes together, and each of them over their mean.
    moments = {name: np.einsum("bchw,bdhw->bcd", values, values) for name, values in centred.items()}
    for compared, (a, b) in zip(found.pairs, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], strict=True):
        assert compared.part == f"{NAMES[a]}–{NAMES[b]}"
        each = {}
        for name, products in moments.items():
            total = products.sum(0)
            each[name] = by_group(products[:, a, b]) * CLOSE.sum() / math.sqrt(total[a, a] * total[b, b])
            same(compared.of[name], ratio_of_sums(numerator=each[name], denominator=PATCHES, level=0.95))
        missing = ratio_of_sums(numerator=each[DATA] - each["m"], denominator=PATCHES, level=level_of(10))
        same(compared.missing["m"], missing)
    for plane, compared in enumerate(found.planes):
        assert compared.part == NAMES[plane]
        for name, products in moments.items():
            share = np.einsum("bcc->bc", products)
            expected = by_group(share[:, plane]) / share.mean()
            same(compared.of[name], ratio_of_sums(numerator=expected, denominator=PATCHES, level=0.95))
    # Columns: their ratio once rows are taken off, by patch and plane.
    ratios = {}
    for name, values in centred.items():
        still = values - values.mean(3, keepdims=True)
        columns = still.mean(2).var(2, ddof=1) * 6 / still.reshape(*still.shape[:2], -1).var(2, ddof=1)
        ratios[name] = by_group(columns.mean(1))
        same(found.columns.of[name], ratio_of_sums(numerator=ratios[name], denominator=PATCHES, level=0.95))
    missing = ratio_of_sums(numerator=ratios[DATA] - ratios["m"], denominator=PATCHES, level=0.995)
    same(found.columns.missing["m"], missing)
    # Lags: products less what white noise shows, over the variance of all.
    words = ("1 column", "1 row", "1 row and 1 column", "1 row and 1 column (back)", "2 columns", "2 rows")
    assert tuple(each.part for each in found.lags) == words
    for compared, (dy, dx) in zip(found.lags, ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)), strict=True):
        each = {}
        for name, values in centred.items():
            inner = values - values.mean(3, keepdims=True) - values.mean(2, keepdims=True)
            one = inner[:, :, : 6 - dy, max(-dx, 0) : 8 - max(dx, 0)]
            other = inner[:, :, dy:, max(dx, 0) : 8 - max(-dx, 0)]
            white = (-1 / 7 if dx else 1) * (-1 / 5 if dy else 1)
            variance = (inner**2).mean((1, 2, 3))
            each[name] = by_group((one * other).mean((1, 2, 3)) - white * variance) / variance.mean()
            same(compared.of[name], ratio_of_sums(numerator=each[name], denominator=PATCHES, level=0.95))
        missing = ratio_of_sums(numerator=each[DATA] - each["m"], denominator=PATCHES, level=level_of(6))
        same(compared.missing["m"], missing)
    power = normalised(power_of(torch.from_numpy(centred[DATA])), 8)
    assert found.rows_spectrum[DATA] == pytest.approx(power[1:4, 0], rel=1e-5)
    assert found.columns_spectrum[DATA] == pytest.approx(power[0, 1:], rel=1e-5)
    assert found.radial_spectrum[DATA] == pytest.approx(radial(power, 8), rel=1e-5)
    centre = found.autocorrelation[DATA]
    assert (len(centre), len(centre[0]), centre[5][5]) == (11, 11, 1.0)


def shares(*sampled: float) -> Any:
    """Structure of samples whose planes have these variances in every group, to 1, 2, 3 and 4 of the data."""
    metric = StructureMetric(setup())
    metric.patches[:] = 1
    wiggle = 1 + 0.01 * np.random.default_rng(0).normal(size=(2, GROUPS, 4))
    for name, variances, each in ((DATA, (1.0, 2.0, 3.0, 4.0), wiggle[0]), ("m", sampled, wiggle[1])):
        metric.planes[name] = np.einsum("gc,cd->gcd", np.array(variances) * each, np.eye(4))
    return metric


@pytest.mark.parametrize(
    ("sampled", "order"),
    [
        ((1.0, 2.0, 3.0, 4.0), None),
        ((2.0, 1.0, 3.0, 4.0), "G1, R, G2, B"),
        ((2.0, 3.0, 1.0, 4.0), "G2, R, G1, B"),
        # Another order fits better, but leaves more than a quarter of the misfit.
        ((2.0, 1.0, 6.0, 8.0), None),
        ((0.0, 1.0, 3.0, 4.0), None),
    ],
)
def test_planes_are_in_another_order_if_that_fits_far_better(sampled: tuple[float, ...], order: str | None) -> None:
    metric = shares(*sampled)
    logs = [math.log(max(each, 1e-9)) for each in sampled]
    best = min(permutations(range(4)), key=lambda p: sum((math.log(k + 1) - logs[p[k]]) ** 2 for k in range(4)))
    assert order in (None, ", ".join(NAMES[plane] for plane in best))
    assert metric._order({name: np.einsum("gcc->gc", sums) for name, sums in metric.planes.items()}, "m") == order


def test_row_noise_is_a_ratio_of_variances_by_plane_signal_and_camera() -> None:
    brightness = np.repeat(np.linspace(0.0, 0.36, GROUPS), EACH)
    brightness[1] = -0.02
    scale = np.full((COUNT, 4), 1000.0) + 8 * np.arange(COUNT)[:, None]
    clean = torch.from_numpy(brightness)[:, None, None, None].expand(COUNT, *SHAPE)
    found = fed(RowNoiseMetric(setup(brightness=brightness)), clean=clean, scale_dn=scale)
    ratio = {}
    for name, values in ((DATA, REAL.numpy()), ("m", SAMPLED.numpy())):
        ratio[name] = values.mean(3).var(2, ddof=1) * 8 / values.reshape(COUNT, 4, -1).var(2, ddof=1)
    assert row_ratio(REAL).numpy() == pytest.approx(ratio[DATA])

    def check(row: Any, chosen: np.ndarray, planes: list[int], level: float) -> None:
        count = np.bincount(GROUP[chosen], minlength=GROUPS) * float(len(planes))
        sums = {
            name: np.bincount(GROUP[chosen], each[chosen][:, planes].sum(1), GROUPS) for name, each in ratio.items()
        }
        for name, total in sums.items():
            same(row.ratio[name], ratio_of_sums(numerator=total, denominator=count, level=level))
        missing = ratio_of_sums(numerator=sums[DATA] - sums["m"], denominator=count, level=level)
        same(row.missing["m"], missing)
        assert row.patches == chosen.sum()
        assert row.signal_dn == pytest.approx((brightness * scale.mean(1))[chosen].mean())

    every = np.ones(COUNT, bool)
    assert found.width == 8
    check(found.whole, every, [0, 1, 2, 3], 0.95)
    for plane, row in enumerate(found.planes):
        assert row.part == f"plane {NAMES[plane]}"
        check(row, every, [plane], 0.95)
    # Six steps of 0.1 in the root of the signal; the brightest belongs to the last.
    bins = np.minimum(np.floor(np.sqrt(np.maximum(brightness, 0)) / 0.1 + 1e-9), 5)
    for number, row in zip(np.unique(bins), found.signals, strict=True):
        assert row.part == f"intensity {number:.0f}"
        check(row, bins == number, [0, 1, 2, 3], 1 - 0.05 / len(np.unique(bins)))
    for index, row in enumerate(found.cells):
        assert (row.camera, row.iso) == ("A", 100.0 * (index + 1))
        check(row, index == GROUP % 2, [0, 1, 2, 3], 0.95)
    still = torch.zeros(1, 1, 4, 4)
    assert math.isnan(float(row_ratio(still)))


def test_a_transfer_curve_has_the_moments_of_its_bins() -> None:
    rng = np.random.default_rng(3)
    signal = torch.from_numpy(rng.uniform(-20, 576, (COUNT, *SHAPE)))
    signal[GROUP % 2 == 1] *= 4
    scale = np.full((COUNT, 4), 1000.0) * np.array([1.0, 1.1, 0.9, 1.0])
    found = fed(MeanVarianceMetric(setup()), signal_dn=signal, scale_dn=scale, cell=GROUP % 2)
    for index, curve in enumerate(found.curves):
        chosen = index == GROUP % 2
        top = (24.0, 48.0)[index]
        root = np.sqrt(np.maximum(signal[chosen].numpy(), 0)) * 24 / top
        values = (REAL.numpy() * scale[:, :, None, None])[chosen]
        assert len(curve.bins) == 24
        for number, each in enumerate(curve.bins):
            inside = np.minimum(np.floor(root), 23) == number
            x = values[inside]
            assert each.count == len(x)
            assert (each.low, each.high) == pytest.approx(((number * top / 24) ** 2, ((number + 1) * top / 24) ** 2))
            assert each.clean == pytest.approx(signal[chosen].numpy()[inside].mean())
            moments = each.moments[DATA]
            kurtosis = ((x - x.mean()) ** 4).mean() / x.var() ** 2
            assert (moments.mean, moments.variance, moments.kurtosis) == pytest.approx((x.mean(), x.var(), kurtosis))
            assert moments.variance_error == pytest.approx(x.var() * math.sqrt((kurtosis - 1) / len(x)))


def test_tails_are_counted_beyond_each_threshold() -> None:
    metric = TailsMetric(setup())
    values = REAL.float().numpy()
    values[3, 0, 0, :6] = [3.1, -4.1, 5.1, -6.1, 8.1, 150.0]
    taken = {DATA: torch.from_numpy(values), "m": SAMPLED.float()}
    metric.update(SimpleNamespace(residual=taken, group=GROUP, clean=REAL))
    found = metric.score()
    n = np.full(GROUPS, EACH * 192.0)
    assert found.values == COUNT * 192
    groups = values.reshape(GROUPS, -1).astype(float)
    assert [each.threshold for each in found.beyond] == [3, 4, 5, 6, 8]
    for each in found.beyond:
        beyond = {name: (abs(v.numpy().reshape(GROUPS, -1)) > each.threshold).sum(1) for name, v in taken.items()}
        assert each.pixels == {name: int(count.sum()) for name, count in beyond.items()}
        same(each.part[DATA], ratio_of_sums(numerator=beyond[DATA].astype(float), denominator=n, level=0.95))
        apart = (beyond[DATA] - beyond["m"]).astype(float)
        same(each.missing["m"], ratio_of_sums(numerator=apart, denominator=n, level=level_of(5)))
    m2, m4 = (groups**2).mean(), (groups**4).mean()
    linear = ((groups**4).sum(1) - 2 * m4 / m2 * ((groups**2).sum(1) - m2 * n)) / m2**2
    same(found.kurtosis[DATA], ratio_of_sums(numerator=linear, denominator=n, level=0.95), 1e-5)
    assert found.kurtosis[DATA].value == pytest.approx(m4 / m2**2, rel=1e-5)
    levels = ndtr(np.linspace(ndtri(1e-5), -ndtri(1e-5), 35))
    assert found.levels == pytest.approx(levels)
    quantiles = np.quantile(SAMPLED.numpy(), levels[10:-10])
    assert found.quantiles["m"][10:-10] == pytest.approx(quantiles, abs=0.03)


def test_a_latent_s_quantiles_are_parts_below_them() -> None:
    z = torch.from_numpy(np.random.default_rng(0).normal(0.2, 1.1, (COUNT, *SHAPE)))
    z[0, 0, 0, 0] = torch.nan
    metric = PitCalibrationMetric(setup())
    metric.update(SimpleNamespace(latent={"m": z}, latent_group=GROUP))
    found = metric.score().models["m"]
    u = np.nan_to_num(ndtr(z.numpy()))
    assert found.values == COUNT * 192
    histogram = np.histogram(u, 40, (0, 1))[0] / u.size * 40
    assert found.histogram == pytest.approx(histogram)
    for level, below in zip((0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975), found.below, strict=True):
        part = (u.reshape(GROUPS, -1) < level).sum(1).astype(float)
        same(below, ratio_of_sums(numerator=part, denominator=np.full(GROUPS, EACH * 192.0), level=level_of(7)))
    assert PitCalibrationMetric(setup()).score().models == {}


def test_frames_correlate_beyond_what_their_clean_estimate_makes() -> None:
    pairs = np.array([[0, 1], [1, 5], [9, 12]])
    v = np.linspace(0, 0.3, COUNT)
    more = {"number": np.arange(COUNT), "clean_variance": v}
    found = fed(TemporalMetric(setup(pairs=pairs)), **more)
    centred = REAL.numpy() - REAL.numpy().mean((2, 3), keepdims=True)
    products, squares = np.zeros(GROUPS), np.zeros(GROUPS)
    for a, b in pairs:
        square = ((centred[a] ** 2).sum() + (centred[b] ** 2).sum()) / 2
        products[GROUP[b]] += (centred[a] * centred[b]).sum() + v[b] * square
        squares[GROUP[b]] += square
    assert found.pairs == 3
    assert found.expected == pytest.approx(-v[[1, 5, 12]].mean())
    assert found.excess is not None
    same(found.excess, ratio_of_sums(numerator=products, denominator=squares, level=0.995))
    none = fed(TemporalMetric(setup(pairs=np.zeros((0, 2), int))), **more)
    assert (none.pairs, none.excess) == (0, None)
    assert math.isnan(none.expected)


@pytest.mark.parametrize(("part", "step"), [(0.0, 4), (0.0099, 4), (0.0101, 0)])
def test_codes_stand_on_multiples_of_the_largest_step(part: float, step: int) -> None:
    rng = np.random.default_rng(0)
    black, scale = np.full((COUNT, 4), 64.0), np.full((COUNT, 4), 1000.0)
    clean = torch.full((COUNT, *SHAPE), 0.1, dtype=torch.float64)
    codes = 2 + 4 * rng.integers(30, 50, (COUNT, *SHAPE))
    real = codes.astype(float)
    flat = real.reshape(-1)
    flat[rng.permutation(flat.size)[: round(part * flat.size)]] += 0.3
    sampled = codes + np.where(rng.random(codes.shape) < 0.25, 0.019 * 4, 0.021 * 4)
    taken = {name: torch.from_numpy((x - 164) / 1000) for name, x in ((DATA, real), ("m", sampled))}
    sigma = torch.linspace(0.004, 0.005, COUNT)[:, None, None, None].expand(COUNT, *SHAPE)
    curve = SimpleNamespace(at=lambda signal, cell: 0.01 * signal)
    metric = QuantisationMetric(setup(cells=(cell(0.0, 1.0), cell(0.0, 1.0, iso=200.0)), curve=curve))
    metric.update(
        SimpleNamespace(
            noise=taken,
            close=np.ones(COUNT, bool),
            cell=np.zeros(COUNT, int),
            clean=clean,
            scale_dn=scale,
            black_dn=black,
            code=np.full((COUNT, 4), 1e-3),
            signal_dn=1000 * sigma,
        )
    )
    (found,) = metric.score().cells
    assert found.step == step
    assert found.sigma_dn == pytest.approx(0.04)
    assert found.on_codes[DATA] == pytest.approx(1 - part, abs=1e-3)
    assert found.on_codes["m"] == pytest.approx(0.25, abs=0.02)


def test_partners_are_the_next_in_a_ring_of_like_signal_of_other_groups() -> None:
    brightness = np.array([0.1, 0.4, 0.2, 0.3, 0.9, 0.8])
    cells, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    found = neighbours(brightness, cells, groups)
    # The ring 0, 2, 3, 1: next but one and so on, of another group only.
    assert found[:3, :4].tolist() == [[2, -1, -1, 1], [3, 2, 1, 0], [-1, 3, 0, -1]]
    assert (found[3:] == -1).all()
    assert found.shape == (16, 6)
    # One group alone has its own.
    assert found[0, 4:].tolist() == [5, 4]
    many = neighbours(np.arange(40.0), np.zeros(40, int), np.arange(40))
    assert many[:, 0].tolist() == list(range(1, 17))


def test_scores_of_a_patch_are_means_over_its_partners() -> None:
    real, sampled = (torch.from_numpy(np.random.default_rng(k).normal(size=(3, 10))) for k in (0, 1))
    partners = np.array([[1, 2, -1], [2, -1, -1]])
    found = per_patch(real, sampled, partners)
    y, x = real.numpy(), sampled.numpy()
    for row, others in ((0, [1, 2]), (1, [2])):
        for place, distance in ((0, lambda d: abs(d).mean()), (1, lambda d: math.sqrt((d**2).mean()))):
            own = [distance(x[row] - y[row]) - distance(x[row] - x[k]) / 2 for k in others]
            excess = [
                distance(x[row] - y[k]) + distance(x[k] - y[row]) - distance(x[row] - x[k]) - distance(y[row] - y[k])
                for k in others
            ]
            assert found[place, row] == pytest.approx(np.mean(own))
            assert found[2 + place, row] == pytest.approx(np.mean(excess) / 2)
    assert np.isnan(found[:, 2]).all()

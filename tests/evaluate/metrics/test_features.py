"""Features of judges, costs of denoisers, curves of noise and facts of patches, each by loops over few values."""

import math
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from noiseflow.evaluate.data_summary import _clipped, _close, _pairs
from noiseflow.evaluate.judges import rows as rows_judge, spectrum as spectrum_judge
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics import denoising
from noiseflow.evaluate.metrics.denoising import DenoisingMetric, _features, _scenes
from noiseflow.evaluate.metrics.two_sample import (
    UNITS,
    _bent,
    _discriminant,
    _folds,
    _hits,
    _pieces,
    features,
)
from noiseflow.evaluate.statistics.intervals import ratio_of_sums
from noiseflow.evaluate.statistics.noise_curve import NoiseCurve, add_to_knots, curve_through

RNG = np.random.default_rng(2)
NOISE = RNG.normal(size=(3, 2, 6, 10)) + 0.5 * RNG.normal(size=(3, 2, 6, 1))
LIGHT = np.array([0.25, 0.01, -0.1])


def log(values: Any) -> np.ndarray:
    return np.log(np.maximum(values, 1e-6))


def with_light(found: np.ndarray) -> np.ndarray:
    return np.concatenate([found, found * np.sqrt(np.maximum(LIGHT, 0))[:, None]], 1)


def test_a_classifier_s_features_are_moments_correlations_filters_and_spectra() -> None:
    noise = NOISE.copy()
    noise[0, 0, 0, :3] = [9.0, -9.0, 3.0]
    filters = RNG.normal(size=(2, 2, 3, 3))
    found = features(torch.from_numpy(noise), torch.from_numpy(LIGHT), torch.from_numpy(filters)).numpy()
    near = noise.clip(-8, 8)
    variance = (noise**2).mean((2, 3))
    whole = variance.mean(1)
    columns = [
        np.log(variance),
        noise.mean((2, 3)),
        (near**3).mean((2, 3)),
        np.log(abs(near).mean((2, 3))),
        np.log((near**4).mean((2, 3))),
        (abs(near) > 2.5).mean((1, 2, 3))[:, None],
        (abs(near) > 4.0).mean((1, 2, 3))[:, None],
    ]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        products = [noise[:, :, y, x] * noise[:, :, y + dy, x + dx] for y in range(6 - dy) for x in range(10 - dx)]
        columns.append((np.mean(products, 0).mean(1) / whole)[:, None])
    for axis, length in ((3, 10), (2, 6)):
        ratio = noise.mean(axis).var(2, ddof=1) * length / noise.reshape(3, 2, -1).var(2, ddof=1)
        columns.append(np.log(ratio.mean(1))[:, None])
    columns.append(((noise[:, 0] * noise[:, 1]).mean((1, 2)) / whole)[:, None])
    filtered = np.zeros((3, 2, 4, 8))
    for y in range(4):
        for x in range(8):
            filtered[:, :, y, x] = np.einsum("bchw,fchw->bf", near[:, :, y : y + 3, x : x + 3], filters)
    columns.append(abs(filtered).mean((2, 3)))
    power = (abs(np.fft.fft2(noise)) ** 2).mean(1) / 60
    bands: dict[tuple[int, int], list[np.ndarray]] = {}
    for y in range(6):
        for x in range(10):
            place = min(int(10 * min(y, 6 - y) / 6), 4), min(int(10 * min(x, 10 - x) / 10 + 1e-9), 4)
            bands.setdefault(place, []).append(power[:, y, x])
    relative = [np.mean(bands[place], 0) / power.mean((1, 2)) for place in sorted(bands)]
    columns.append(np.log(np.maximum(np.stack(relative, 1), 1e-6)))
    assert found == pytest.approx(with_light(np.concatenate(columns, 1)), rel=1e-6)


def test_pieces_are_cut_without_overlap() -> None:
    patches = torch.arange(2 * 1 * 5 * 7.0).reshape(2, 1, 5, 7)
    found = _pieces(patches, (1, 2, 3))
    assert found.shape == (8, 1, 2, 3)
    assert found[5].flatten().tolist() == patches[1, 0, :2, 3:6].flatten().tolist()
    assert found[2].flatten().tolist() == patches[0, 0, 2:4, :3].flatten().tolist()


def test_folds_hold_whole_groups_out_or_blocks_where_groups_are_few() -> None:
    group = np.array([3, 3, 5, 7, 8, 9, 11, 12, 14, 14])
    folds = list(_folds(group, 4))
    assert [np.unique(group[test]).tolist() for _, test in folds] == [[3, 9], [5, 11], [7, 12], [8, 14]]
    assert all((train == ~test).all() for train, test in folds)
    # Seven groups are too few for four folds.
    few = list(_folds(np.array([0, 1, 2, 3, 4, 5, 6, 6]), 4))
    assert [np.flatnonzero(test).tolist() for _, test in few] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_discriminant_is_fisher_s_on_pooled_correlations_with_a_ridge() -> None:
    real, sampled = RNG.normal(size=(40, 3)) * [1, 2, 30] + [0.5, 0, 0], RNG.normal(size=(50, 3)) * [1, 3, 30]
    direction, boundary = _discriminant(real, sampled, 0.1)
    within = (np.cov(real.T) + np.cov(sampled.T)) / 2
    size = np.sqrt(np.diag(within))
    pooled = within / np.outer(size, size) + 0.1 * np.eye(3)
    gap = real.mean(0) - sampled.mean(0)
    expected = np.linalg.inv(pooled) @ (gap / size) / size
    assert direction == pytest.approx(expected)
    assert boundary == pytest.approx(expected @ (real.mean(0) + sampled.mean(0)) / 2)
    test = np.arange(40) % 2 == 0
    hits = _hits(real, sampled[:40], ~test, test, False)
    middle = (real[~test].mean(0) + sampled[:40][~test].mean(0)) / 2
    scale = np.sqrt((real[~test].var(0) + sampled[:40][~test].var(0)) / 2)
    one, other = ((each[:40] - middle) / scale for each in (real, sampled))
    direction, boundary = _discriminant(one[~test], other[~test], 1e-3)
    assert hits.tolist() == ((one[test] @ direction > boundary) * 1.0 + (other[test] @ direction < boundary)).tolist()
    # On the boundary, half each.
    alike = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    train = np.array([True, True, False, False])
    assert _hits(alike, alike[[1, 0, 3, 2]], train, ~train, False).tolist() == [1.0, 1.0]


def test_half_of_the_hinges_are_of_one_feature_from_both_sides() -> None:
    rows = RNG.normal(size=(5, 3))
    found = _bent(rows)
    generator = np.random.default_rng(0)
    first, second = generator.integers(3, size=(2, UNITS))
    angle, threshold = generator.uniform(0, 2 * np.pi, UNITS), generator.uniform(-1, 2, UNITS)
    for unit in range(UNITS):
        if unit < UNITS // 2:
            value = rows[:, unit // 2 % 3] * (1 if unit % 2 == 0 else -1)
        else:
            value = rows[:, first[unit]] * math.cos(angle[unit]) + rows[:, second[unit]] * math.sin(angle[unit])
        assert found[:, unit] == pytest.approx(np.maximum(value - threshold[unit], 0), abs=1e-9)


def lines(noise: np.ndarray) -> np.ndarray:
    """Features of rows of noise of variance 1."""
    height, width = noise.shape[2:]
    means = noise.mean(3) * math.sqrt(width)
    means = means - means.mean(2, keepdims=True)
    together = means.mean(1)
    columns = [log((means**2).mean(2)), log((together**2).mean(1))[:, None]]
    columns += [(means[:, :, lag:] * means[:, :, :-lag]).mean(2) for lag in (1, 2, 4) if lag < height]
    columns.append(log((means**4).mean((1, 2)))[:, None])
    spectrum = abs(np.fft.rfft(together, axis=1)[:, 1:]) ** 2 / height
    parts = np.array_split(np.arange(spectrum.shape[1]), 8)
    columns.append(log(np.stack([spectrum[:, part].mean(1) if len(part) else 0 * spectrum[:, 0] for part in parts], 1)))
    spread = noise.var(3)
    columns += [log(spread.var(2)), log(spread.mean(1).var(1))[:, None]]
    columns.append(np.stack([noise[..., :2].mean((1, 2, 3)), noise[..., -2:].mean((1, 2, 3))], 1))
    return np.concatenate(columns, 1)


def test_the_judge_of_lines_sees_their_means_variances_and_spectra() -> None:
    noise = RNG.normal(size=(3, 2, 18, 20)) * np.array([1.0, 2.0])[:, None, None]
    found = rows_judge.seen(torch.from_numpy(noise), torch.from_numpy(LIGHT)).numpy()
    variance = noise.var((2, 3)).mean(1)
    scaled = noise / np.sqrt(variance)[:, None, None, None]
    expected = np.concatenate([lines(scaled), lines(scaled.swapaxes(2, 3)), np.log(variance)[:, None]], 1)
    assert found == pytest.approx(with_light(expected), rel=1e-6)


def test_the_judge_of_spectra_sees_bands_axes_and_cross_spectra() -> None:
    noise = RNG.normal(size=(3, 3, 26, 30))
    noise[:, 1] += 0.5 * noise[:, 0]
    found = spectrum_judge.seen(torch.from_numpy(noise), torch.from_numpy(LIGHT)).numpy()
    variance = noise.var((1, 2, 3))
    waves = np.fft.rfft2(noise - noise.mean((2, 3), keepdims=True)) / math.sqrt(26 * 30)
    power = (abs(waves) ** 2).mean(1) / variance[:, None, None]

    def in_bands(values: np.ndarray, place: Any, count: int) -> np.ndarray:
        bands: list[list[np.ndarray]] = [[] for _ in range(count)]
        for y in range(26):
            for x in range(16):
                bands[place(min(y, 26 - y) / 26, x / 30)].append(values[:, y, x])
        return np.stack([np.mean(band, 0) for band in bands if band], 1)

    found_bands = in_bands(power, lambda v, h: min(int(12 * v + 1e-6), 5) * 6 + min(int(12 * h + 1e-6), 5), 36)
    columns = [log(found_bands)]
    for axis in (power[:, 1:14, 0], power[:, 0, 1:]):
        parts = np.array_split(axis, 12, axis=1)
        columns.append(log(np.stack([part.mean(1) for part in parts], 1)))
    for a, b in combinations(range(3), 2):
        cross = (waves[:, a] * waves[:, b].conj()).real / variance[:, None, None]
        columns.append(in_bands(cross, lambda v, h: min(int(6 * math.hypot(v, h) + 1e-9), 2), 3))
    columns.append(np.log(variance)[:, None])
    assert found == pytest.approx(with_light(np.concatenate(columns, 1)), rel=1e-4, abs=1e-9)


def test_windows_have_all_planes_and_the_means_of_their_rows_and_columns() -> None:
    patches = torch.from_numpy(RNG.normal(size=(2, 2, 7, 9)))
    for most, step in ((100, 1), (35, 1), (34, 2), (8, 3)):
        found = _features(patches, 3, most).numpy()
        places = [(y, x) for y in range(0, 5, step) for x in range(0, 7, step)]
        assert found.shape == (2, len(places), 18 + 12)
        values = patches.numpy()
        for k, (y, x) in enumerate(places):
            window = values[:, :, y : y + 3, x : x + 3].reshape(2, -1)
            of_row, of_column = values.mean(3)[:, :, y : y + 3], values.mean(2)[:, :, x : x + 3]
            expected = np.concatenate([window, of_row.reshape(2, -1), of_column.reshape(2, -1)], 1)
            assert found[:, k] == pytest.approx(expected)


def test_scenes_are_smooth_shading_with_a_tint_of_a_fifth() -> None:
    shape = (2, 6, 8)
    moments, target, power = (each.numpy() for each in _scenes(shape, 3))
    draws = torch.Generator().manual_seed(0)
    white = torch.randn(64, 12, 16, generator=draws).numpy()
    tint = torch.randn(64, 2, 1, 1, generator=draws).numpy()
    radius = np.hypot(np.fft.fftfreq(12)[:, None], np.fft.fftfreq(16))
    radius[0, 0] = np.inf
    texture = np.fft.ifft2(np.fft.fft2(white) / radius**2).real[:, None, :6, :8]
    patches = texture * (1 + 0.2 * tint)
    patches /= patches.std(ddof=1)
    seen = _features(torch.from_numpy(patches).float(), 3, 512).numpy().reshape(-1, 30).astype(float)
    clean = seen[:, [4, 13]]
    assert moments == pytest.approx(seen.T @ seen / len(seen), rel=1e-3, abs=1e-4)
    assert target == pytest.approx(seen.T @ clean / len(seen), rel=1e-3, abs=1e-4)
    assert power == pytest.approx((clean**2).mean(0), rel=1e-3)


def test_the_cost_is_of_weights_of_other_scenes_on_the_third_that_is_left() -> None:
    groups, shape = 7, (1, 6, 6)
    close = np.arange(21) % 5 != 0
    setup: Any = SimpleNamespace(
        survey=SimpleNamespace(patch_shape=shape, close=close, groups=groups), models=("m",), sources=(DATA, "m")
    )
    rng = np.random.default_rng(0)
    real = rng.normal(size=(21, *shape)) + 0.8 * rng.normal(size=(21, 1, 6, 1))
    sampled = rng.normal(size=(21, *shape))
    group = np.arange(21) // 3
    metric = DenoisingMetric(setup)
    for part in (slice(0, 9), slice(9, 21)):
        taken = {DATA: torch.from_numpy(real[part]).float(), "m": torch.from_numpy(sampled[part]).float()}
        batch: Any = SimpleNamespace(residual=taken, close=close[part], group=group[part])
        metric.update(batch)
    found = metric.score()
    # Windows of five pixels a side, four to a patch.
    assert (found.side, found.windows, found.groups) == (5, 4 * int(close.sum()), 7)
    scenes, target, rest = (each.double().numpy() for each in _scenes(shape, 5))
    rows = {
        name: _features(torch.from_numpy(x[close]).float(), 5, 10**6).double().numpy()
        for name, x in ((DATA, real), ("m", sampled))
    }
    errors = {name: np.zeros(groups) for name in (DATA, "m", "floor")}
    for tested in range(3):
        for name in errors:
            trained = (tested + (2 if name == "floor" else 1)) % 3
            of = rows["m" if name == "m" else DATA][group[close] % 3 == trained].reshape(-1, 35)
            normal = scenes + of.T @ of / len(of) + denoising.RIDGE * np.eye(35)
            w = np.linalg.solve(normal, target)[:, 0]
            missed = rest[0] - 2 * w @ target[:, 0] + w @ scenes @ w
            for k, patch in enumerate(rows[DATA]):
                if group[close][k] % 3 == tested:
                    errors[name][group[close][k]] += ((patch @ w) ** 2 + missed).sum()
    for interval, name in ((found.cost["m"], "m"), (found.floor, "floor")):
        ratio = ratio_of_sums(numerator=errors[name], denominator=errors[DATA], level=0.995)
        assert interval is not None
        assert interval.value == pytest.approx(10 * math.log10(ratio.value), abs=2e-3)
        assert ratio.standard_error is not None
        error = 10 / math.log(10) * ratio.standard_error / ratio.value
        assert interval.standard_error == pytest.approx(error, rel=0.01)
    setup.survey.groups, setup.survey.close = 2, np.ones(6, bool)
    few = DenoisingMetric(setup)
    few.update(
        SimpleNamespace(  # type: ignore[arg-type]
            residual={name: torch.from_numpy(real[:6]).float() for name in (DATA, "m")},
            close=np.ones(6, bool),
            group=np.arange(6) // 3,
        )
    )
    assert (few.score().cost, few.score().floor, few.score().windows) == ({}, None, 24)


def test_knots_hold_squares_and_signals_and_the_curve_is_read_at_the_root() -> None:
    signal = torch.from_numpy(RNG.uniform(-0.05, 1.05, (4, 1, 5, 6)))
    noise = torch.from_numpy(RNG.normal(size=(4, 2, 5, 6)))
    of = np.array([0, 1, 0, 1])
    knots = np.zeros((3, 128))
    add_to_knots(knots, noise, signal, of)
    expected = np.zeros((3, 128))
    for b in range(4):
        for c in range(2):
            for s, n in zip(signal[b, 0].flatten().tolist(), noise[b, c].flatten().tolist(), strict=True):
                place = of[b] * 64 + min(int(math.sqrt(max(s, 0)) * 64), 63)
                expected[:, place] += [1, n**2, s]
    assert knots == pytest.approx(expected, rel=1e-5, abs=1e-6)
    table = NoiseCurve(torch.arange(2 * 2048.0).reshape(2, 2048))
    at = table.at(torch.tensor([-1.0, 0.25, 1.0, 2.0])[:, None, None, None], np.array([0, 1, 0, 1])).flatten()
    assert at.tolist() == [0, 2048 + round(0.5 * 2047), 2047, 4095]


def test_neighbouring_knots_are_put_together_until_they_hold_a_thousand() -> None:
    count = np.zeros(64)
    count[[0, 5, 9, 20, 40, 63]] = [400, 700, 1000, 300, 900, 400]
    where = (np.arange(64) + 0.5) ** 2 / 4096
    variance = 1 + where
    found = curve_through(np.stack([count, count * variance, count * where])[:, None]).sigma.numpy()[0]
    # 0 and 5; 9; what is left holds 1,600, and so stays whole.
    groups = [[0, 5], [9], [20, 40, 63]]
    at = [np.average(where[group], weights=count[group]) for group in groups]
    value = [np.average(variance[group], weights=count[group]) for group in groups]
    signal = (np.arange(2048) / 2047) ** 2
    assert found == pytest.approx(np.sqrt(np.interp(signal, at, value)), rel=1e-6)
    few = curve_through(np.stack([count, count * variance, count * where])[:, None, :9]).sigma.numpy()[0]
    assert few == pytest.approx(np.full(2048, math.sqrt(np.average(variance[[0, 5]], weights=[400, 700]))), rel=1e-6)
    still = curve_through(np.stack([count, 0 * count, count * where])[:, None]).sigma
    assert float(still.max()) == pytest.approx(1e-10)


def test_clipped_pixels_are_within_half_a_code_of_either_end() -> None:
    table = np.zeros(1, [("white", "f4"), ("black", "f4", (1,)), ("clean_variance", "f4")])
    table["white"], table["black"], table["clean_variance"] = 1100.0, 100.0, 0.21
    codes = np.array([0.0, 0.4, 0.6, 500.0, 1099.4, 1099.6, 1100.0, 1200.0])
    clean = torch.full((1, 1, 2, 4), 0.3)
    noise = (torch.from_numpy((codes - 100) / 1000).reshape(1, 1, 2, 4).float() - clean) / 1.1
    read: Any = SimpleNamespace(table=table, noise=noise, clean=clean)
    assert _clipped(read).tolist() == [5 / 8]


def test_close_patches_are_of_all_groups_evenly() -> None:
    group = np.repeat([0, 1, 2, 3], [10, 2, 5, 1])
    for most, expected in ((4, [1, 1, 1, 1]), (7, [2, 2, 2, 1]), (10, [4, 2, 3, 1]), (18, [10, 2, 5, 1]), (99, None)):
        chosen = _close(group, most, 3)
        assert np.bincount(group[chosen]).sum() == min(most, 18)
        if expected and most in (4, 7, 18):
            assert np.bincount(group[chosen]).tolist() == expected
    assert _close(group, 5, 3).tolist() == _close(group, 5, 3).tolist()
    assert any(_close(group, 5, 3).tolist() != _close(group, 5, seed).tolist() for seed in range(5))


def test_pairs_are_of_one_place_in_successive_frames_evenly_of_all() -> None:
    kinds = [(name, "i8") for name in ("camera", "scene", "frame", "y", "x")]
    table = np.zeros(7, [("iso", "f4"), *kinds])
    table["frame"] = [2, 0, 1, 3, 0, 1, 5]
    table["x"][4:6], table["iso"][4:6] = 16, [100.0, 200.0]
    assert _pairs(table).tolist() == [[1, 2], [2, 0], [0, 3]]
    many = np.zeros(1100, table.dtype)
    many["frame"] = np.arange(1100)
    found = _pairs(many)
    assert len(found) == 512
    assert found[:, 0].tolist() == np.linspace(0, 1098, 512).round().astype(int).tolist()

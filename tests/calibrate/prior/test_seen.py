"""What frames say of a camera, its posterior and its profile: every number against its formula."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from noiseflow.calibrate.measurement import Measurement, from_error
from noiseflow.calibrate.prior import few_shot as few_shot_module
from noiseflow.calibrate.prior.curve import DUAL_ISOS, CameraCurve, curve_at
from noiseflow.calibrate.prior.few_shot import (
    _best,
    _lit,
    _of_draws,
    _share,
    draws_at,
    profile_of_curves,
    sample_camera,
    shipped_prior,
)
from noiseflow.calibrate.prior.frames import _glow, _relative, _rows, _tail, dark_noise, is_dark, pair_noise
from noiseflow.calibrate.prior.learning import START
from noiseflow.calibrate.prior.posterior import Posterior, posterior_of
from noiseflow.calibrate.single_frame.blocks import Blocks, block_energies
from noiseflow.calibrate.single_frame.cells import Chosen, evenly, gather, line_of
from noiseflow.calibrate.single_frame.estimate import line_errors
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage
from noiseflow.simulate.physics import tukey_lambda_variance

SIZE, BLACK, WHITE = (256, 320), 500.0, 10500.0


def image(codes: np.ndarray, **more: object) -> RawImage:
    made = RawImage(codes.astype(np.uint16), "RGGB", (BLACK,) * 4, WHITE, model="A")
    return replace(made, **({"iso": 400.0, "source": "a.dng"} | more))


def codes(sigma: float = 6.0, rows: float = 0.0, seed: int = 0, level: float = BLACK) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(level + sigma * rng.normal(size=SIZE) + rows * rng.normal(size=(SIZE[0], 1)))


@pytest.mark.parametrize(("level", "dark"), [(549.0, True), (550.0, False), (551.0, False)])
def test_a_dark_has_its_median_within_half_a_percent_of_the_range(level: float, dark: bool) -> None:
    assert is_dark(image(np.full(SIZE, level))) == dark


def test_a_deviation_without_rounding_keeps_the_error_of_its_square() -> None:
    found = _relative(from_error(2.0, 0.1, "DN"), 1 / 12)
    root = math.sqrt(4 - 1 / 12)
    assert found == pytest.approx((root, 2 * 0.1 / root**2))
    assert _relative(None, 0.0) is None
    assert _relative(Measurement(2.0, 0.1, (0.0, 2.2), "DN"), 0.0) is None
    assert _relative(Measurement(2.0, 0.1, (1e-9, 2.2), "DN"), 0.0) is not None
    assert _relative(Measurement(0.5, 0.1, (0.3, 0.6), "DN"), 0.25) is None


@pytest.mark.parametrize("rows", [0.0, 3.0])
def test_a_dark_s_numbers_are_means_over_its_planes(rows: float) -> None:
    taken = image(codes(rows=rows))
    found = dark_noise(taken)
    pixel, errors, offsets, tails = [], [], [], []
    for plane in taken.planes():
        high = block_energies(plane, BLACK).high
        high = high[high < 3 * np.median(high)]
        pixel.append(high.mean())
        # Blocks overlap by half: half of them count.
        errors.append(high.std() / math.sqrt(0.5 * len(high)))
        offsets.append(_rows(plane.astype(float), pixel[-1]))
        tails.append(_tail(plane, math.sqrt(pixel[-1])))
    row = np.mean([each for each, _ in offsets])
    row_error = np.mean([each for _, each in offsets]) / 2
    total = np.mean(pixel) - 1 / 12 + max(row, 0)
    error = math.hypot(np.mean(errors) / 2, row_error) / (2 * total)
    assert found.iso == 400
    assert found.gain is None
    assert found.read == pytest.approx((math.sqrt(total), math.hypot(error, 0.005)))
    assert found.tail == pytest.approx((np.mean(tails), 0.02))
    if rows:
        assert found.row == pytest.approx((math.sqrt(row), row_error / (2 * row)))
    else:
        assert found.row is None


def test_the_shape_of_quiet_noise_is_not_told_and_clipped_or_small_darks_are_refused() -> None:
    assert dark_noise(image(codes(0.95))).tail is None
    assert dark_noise(image(codes(1.05))).tail is not None
    clipped = codes()
    clipped[:4, :] = 0
    with pytest.raises(DataError, match="clipped at code 0"):
        dark_noise(image(clipped))
    clipped[2:4, :] = BLACK
    assert dark_noise(image(clipped)).read is not None
    with pytest.raises(DataError, match="126×256 pixels"):
        dark_noise(image(codes()[:, :126]))
    assert dark_noise(image(codes()[:128, :128])).read is not None
    with pytest.raises(DataError, match="no more than rounding"):
        dark_noise(image(np.full(SIZE, BLACK)))


def test_rows_are_by_second_differences_of_their_means() -> None:
    rng = np.random.default_rng(1)
    plane = 40 * np.linspace(0, 1, 90)[:, None] + 2 * rng.normal(size=(90, 1)) + 5 * rng.normal(size=(90, 64))
    plane[40] += 900
    means = plane.mean(1)
    squares = np.array([(means[k] - 2 * means[k + 1] + means[k + 2]) ** 2 / 6 for k in range(88)])
    kept = squares[squares < 25 * np.median(squares)]
    assert len(kept) < 88
    assert _rows(plane, 25.0) == pytest.approx((kept.mean() - 25 / 64, kept.mean() * math.sqrt(2 * 1.94 / len(kept))))


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.14, 0.5])
def test_a_shape_is_that_of_its_l_moments(shape: float) -> None:
    """τ₄ = (λ − 1)(λ − 2)/((λ + 3)(λ + 4)), of exact quantiles, each row the same values in another order."""
    p = (np.arange(1, 4001) - 0.5) / 4000
    q = np.log(p / (1 - p)) if not shape else (p**shape - (1 - p) ** shape) / shape
    plane = np.stack([np.random.default_rng(k).permutation(q) for k in range(5)]) + np.arange(5)[:, None] * 50
    plane[0, 7] += 1e6
    plane[0, 8] -= 1e6
    assert _tail(plane, float(q.std())) == pytest.approx(shape, abs=0.02)


def test_hot_pixels_that_move_the_means_of_their_rows_do_not_change_a_shape() -> None:
    """L-moments are of differences: 1 % of the pixels at 300 σ move all others of a row by 3 σ."""
    p = (np.arange(1, 2001) - 0.5) / 2000
    q = math.sqrt(3) / math.pi * np.log(p / (1 - p))
    plane = np.stack([np.random.default_rng(k).permutation(q) for k in range(5)])
    hot = np.concatenate([plane, np.full((5, 20), 300.0)], 1)
    assert _tail(hot, 1.0) == pytest.approx(_tail(plane, 1.0), abs=1e-9)


@pytest.mark.parametrize(
    ("high", "all_", "said"), [(19.9, 0.0, False), (20.1, 0.0, True), (0.0, 99.9, False), (0.0, -100.1, True)]
)
def test_a_dark_with_light_is_one_whose_parts_differ_by_two_deviations_or_that_lies_ten_from_black(
    high: float, all_: float, said: bool
) -> None:
    means = np.full((9, 13), all_)
    means[:3, :4] += high
    blocks = Blocks((9, 13), 8, means.ravel(), *[np.ones(117)] * 3)
    if said:
        with pytest.raises(DataError, match="light or glow"):
            _glow("a", blocks, 100.0)
    else:
        _glow("a", blocks, 100.0)


def pair(seed: int, offset: float = 0.0) -> RawImage:
    """A staircase of eight levels."""
    level = 200 + 900 * (np.arange(SIZE[1]) // 40) + np.zeros((SIZE[0], 1)) + offset
    noise = np.sqrt(36 + 0.8 * level) * np.random.default_rng(seed).normal(size=SIZE)
    return image(np.rint(BLACK + level + noise), source=f"{seed}.dng")


def test_a_pair_s_line_goes_through_the_energies_of_its_difference() -> None:
    first, second = pair(1), pair(2)
    found = pair_noise(first, second)
    blocks, chosen = [], []
    for a, b in zip(first.planes(), second.planes(), strict=True):
        apart = block_energies((a.astype(np.float32) - b.astype(np.float32)) / np.float32(math.sqrt(2)), 0.0)
        both = block_energies((a.astype(np.float32) + b.astype(np.float32)) / 2, BLACK)
        blocks.append(replace(apart, mean=both.mean))
        margin = 4 * math.sqrt(np.median(apart.high) + 1)
        index = np.flatnonzero((both.mean + margin < WHITE - BLACK) & (both.mean + BLACK > margin))
        chosen.append(Chosen(index, evenly(both.mean[index])))
    cells = gather(blocks, chosen)
    line = line_of(cells)
    assert line is not None
    errors = line_errors(cells, line)
    assert found.gain == pytest.approx((line.gain, errors.gain / line.gain), rel=1e-3)
    assert found.gain[0] == pytest.approx(0.8, rel=0.05)
    floor = line.floor - 1 / 12
    expected = (math.sqrt(floor), errors.floor / (2 * floor)) if floor > 2 * errors.floor else None
    assert (found.read is None) == (expected is None)
    if expected:
        assert found.read == pytest.approx(expected, rel=0.02)
    # The light of the second is another by more than a pixel's noise.
    with pytest.raises(DataError, match="the light changed"):
        pair_noise(first, pair(2, 130.0))
    flat = [image(codes(6.0, seed=k, level=BLACK + 900)) for k in (1, 2)]
    with pytest.raises(DataError, match="too few levels of signal"):
        pair_noise(*flat)
    blown = [image(np.full(SIZE, WHITE)) for _ in range(2)]
    with pytest.raises(DataError, match="neither clipped nor black"):
        pair_noise(*blown)


def test_frames_of_one_setting_go_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot_module, "pair_noise", lambda a, b: (a.source, b.source))
    monkeypatch.setattr(few_shot_module, "picture_noise", lambda a: a.source)
    made = [
        image(codes(), source=str(k), iso=iso, exposure_s=time)
        for k, (iso, time) in enumerate([(100.0, 0.1), (200.0, 0.1), (100.0, 0.1), (100.0, 0.2), (100.0, 0.1)])
    ]
    assert _lit(made) == [("0", "2"), "1", "3", "4"]


def test_the_surest_number_counts() -> None:
    assert _best([None, (3.0, 0.2), (2.0, 0.1), None]) == (2.0, 0.1)
    assert _best([None]) is None


def test_evidence_is_that_of_a_normal_law_where_the_curve_is_a_line_of_its_parameters() -> None:
    """Full well and rows are linear in the parameters; without a read noise all is Gaussian."""
    isos = np.array([200.0, 1600.0])
    values, errors = np.full((2, 4), np.nan), np.full((2, 4), np.nan)
    values[:, [0, 2, 3]] = [[10.1, -1.8, 0.05], [8.0, -2.2, -0.1]]
    errors[:, [0, 2, 3]] = [[0.02, 0.1, 0.03], [0.03, 0.2, 0.02]]
    found = posterior_of(CameraCurve("", isos, values, errors), START)
    design, data, variance = [], [], []
    for k, stops in enumerate(np.log(isos / 100)):
        rows = {0: [1, -stops, 0, 0, 0, 0, 0, 0], 2: [0, 0, 0, 0, 1, 0, stops - math.log(8), 0], 3: [0] * 5 + [1, 0, 0]}
        for j, row in rows.items():
            design.append(row)
            data.append(values[k, j])
            variance.append(errors[k, j] ** 2 + START.scatter[j] ** 2)
    a, noise = np.array(design, float), np.diag(variance)
    gain = START.covariance @ a.T @ np.linalg.inv(a @ START.covariance @ a.T + noise)
    mean = START.mean + gain @ (np.array(data) - a @ START.mean)
    covariance = START.covariance - gain @ a @ START.covariance
    evidence = multivariate_normal.logpdf(data, a @ START.mean, a @ START.covariance @ a.T + noise)
    assert found.log_evidence == pytest.approx(evidence, abs=1e-4)
    assert found.weights == pytest.approx(START.dual)
    for k in range(len(DUAL_ISOS)):
        assert found.means[k] == pytest.approx(mean, abs=1e-5)
        assert found.covariances[k] == pytest.approx(covariance, abs=1e-6)


def exact(covariance: float = 0.0) -> Posterior:
    means = np.tile(START.mean, (len(DUAL_ISOS), 1))
    return Posterior(START.dual, means, np.tile(covariance * np.eye(8), (len(DUAL_ISOS), 1, 1)), 0.0)


def test_draws_of_a_measured_iso_are_weighed_by_the_scatter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot_module, "posterior_of", lambda *_: exact())
    isos = np.array([100.0, 400.0])
    curve = CameraCurve("", isos[1:], np.array([[9.0, np.nan, -1.0, 0.0]]), np.array([[0.04, np.nan, 0.1, 0.05]]))
    draws = draws_at(curve, START, isos, np.random.default_rng(0))
    assert draws.shape == (4000, 2, 4)
    prior = curve_at(START.mean, isos, None)
    for j in (0, 2, 3):
        scatter, error = START.scatter[j] ** 2, curve.errors[0, j] ** 2
        mean = (prior[1, j] / scatter + curve.values[0, j] / error) / (1 / scatter + 1 / error)
        width = (1 / (1 / scatter + 1 / error)) ** 0.5
        # 4,000 draws: the mean to 1.6 % of the width, the width to 1.1 %; four of each.
        assert draws[:, 1, j].mean() == pytest.approx(mean, abs=0.065 * width)
        assert draws[:, 1, j].std() == pytest.approx(width, rel=0.045)
        assert draws[:, 0, j].std() == pytest.approx(START.scatter[j], rel=0.045)
    assert _share(curve, draws, isos, 400.0) == pytest.approx(1 - draws[:, 1, 0].var() / 0.04**2, abs=6e-4)
    assert _share(replace(curve, errors=np.full((1, 4), 0.001)), draws, isos, 400.0) == 0.0
    assert _share(replace(curve, errors=np.full((1, 4), np.nan)), draws, isos, 400.0) is None


def test_a_profile_s_numbers_are_of_the_draws() -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([rng.normal(mean, 0.05, (300, 1)) for mean in (9.0, 1.0, -0.3, -0.3)], 2)
    draws[0, 0, 3], draws[1, 0, 2] = 0.9, 2.0
    found = profile_of_curves(image(codes()), draws, np.array([400.0]), None, {})
    full, read, row, tail = draws[:, 0].T
    gain = 10_000 / np.exp(full)
    noise = np.exp(read) * gain
    rows = np.minimum(np.exp(row), 0.95) * noise
    shape = np.clip(tail, -0.35, 0.3)
    unit = np.sqrt([tukey_lambda_variance(float(each)) for each in shape])
    expected = {
        "gain_dn_per_e": gain,
        "read_noise_dn": np.sqrt(noise**2 + 1 / 12),
        "read_noise_e": np.exp(read),
        "row_noise_dn": rows,
        "tukey_shape": shape,
        "tukey_scale_dn": np.sqrt(noise**2 - rows**2) / unit,
        "saturation_e": np.exp(full),
    }
    assert [each.plane for each in found.settings] == ["R", "G1", "G2", "B"]
    for name, values in expected.items():
        one = found.settings[1].estimates[name]
        low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
        assert one.value == pytest.approx(middle, rel=1e-4), name
        assert one.interval == pytest.approx((low, high), rel=1e-3), name
        assert one.standard_error == pytest.approx((high - low) / 3.92, rel=1e-2), name
    assert found.settings[0].estimates["black_dn"] == Measurement(500.0, 0.0, (500.0, 500.0), "DN")
    assert found.cautions == ()
    assert _of_draws(np.arange(1001.0), "DN") == Measurement(500.0, 950 / 3.92, (25.0, 975.0), "DN")


def test_a_sampled_camera_is_a_draw_of_the_prior_with_its_scatter() -> None:
    generator, prior = np.random.default_rng(5), shipped_prior()
    parameters, dual = prior.sample(generator)
    isos = np.array([100.0, 800.0])
    curve = curve_at(parameters, isos, dual)
    curve = curve + prior.scatter * generator.standard_normal(curve.shape)
    found = sample_camera(5, [800.0, 100.0])
    assert (found.camera, tuple(found.isos)) == ("sampled camera 5", (100.0, 800.0))
    for row, iso in zip(curve, isos, strict=True):
        gain = found.at(iso, "G1").estimates["gain_dn_per_e"]
        assert gain.value == pytest.approx((16383 - 512) / math.exp(row[0]))
        assert gain.interval == (gain.value, gain.value)
    assert found.settings[0].estimates["black_dn"].value == 512.0

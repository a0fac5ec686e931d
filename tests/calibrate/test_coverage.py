"""Intervals that cover the truth as often as they say, on simulated sensors; faults that are named."""

import numpy as np
import pytest

from noiseflow.calibrate.estimators.likelihood import likelihood_gain
from noiseflow.calibrate.estimators.tukey_lambda import read_noise_shape, tukey_quantile
from noiseflow.calibrate.estimators.variance import root_of
from noiseflow.calibrate.measurements.burst import burst_noise
from noiseflow.calibrate.measurements.curve import Curve, linear_range
from noiseflow.calibrate.measurements.dark_current import dark_series
from noiseflow.calibrate.measurements.nonuniformity import photo_response
from noiseflow.calibrate.measurements.photon_transfer import emva_gain
from noiseflow.calibrate.stack import components, stack_frames
from noiseflow.core.errors import DataError

K, READ, ROW, BLACK, PRNU = 1.5, 4.0, 1.0, 100.0, 0.01
SIZE = (40, 48)
TRIALS = 200
SIGNALS = np.array([50.0, 150, 300, 500, 700, 1000])


def expose(rng, signal, frames, response):
    electrons = rng.poisson(np.broadcast_to(signal * response / K, (frames, *SIZE)))
    noise = READ * rng.standard_normal((frames, *SIZE)) + ROW * rng.standard_normal((frames, SIZE[0], 1))
    return np.rint(BLACK + K * electrons + noise).astype(np.uint16)


def trial(seed):
    rng = np.random.default_rng(seed)
    response = 1 + PRNU * rng.standard_normal(SIZE)
    times = np.arange(6.0)
    rate = 0.5
    darks = [stack_frames(expose(rng, rate * t, 2, np.ones(SIZE))) for t in times]
    flats = [stack_frames(expose(rng, s, 2, response)) for s in SIGNALS]
    dark_parts, parts = [components(s) for s in darks], [components(s) for s in flats]
    total, error = (np.array([getattr(p, name) for p in parts]) for name in ("total", "total_error"))
    dark = np.array([p.total for p in dark_parts])
    dark_error = np.array([p.total_error for p in dark_parts])
    level = np.array([s.level for s in flats]) - BLACK
    # The darks of this fit are at the shortest exposure: the flats' own.
    rest = np.full(6, dark[0]), np.full(6, dark_error[0])
    curve = Curve(SIGNALS, level, total, error, *rest, np.zeros(6), shared_dark=True)
    levels = np.array([s.level for s in darks])
    spread = np.array([np.sqrt(p.total / (2 * s.mean.size)) for p, s in zip(dark_parts, darks, strict=True)])
    row_error = np.sqrt(ROW**2 / (2 * SIZE[0]))
    series = dark_series(times, levels, np.hypot(spread, row_error), dark, dark_error)
    bright_stack, dark_stack = (
        stack_frames(expose(rng, 700.0, 8, response)),
        stack_frames(expose(rng, 0.0, 8, np.ones(SIZE))),
    )
    likelihood = likelihood_gain(curve)
    part = components(dark_stack)
    sigma = (READ**2 + ROW**2 + 1 / 12) ** 0.5
    return {
        "gain": emva_gain(curve).gain.covers(K),
        "gain by likelihood": likelihood.gain.covers(K),
        "read noise by likelihood": likelihood.read_noise.covers(sigma),
        "read noise": series.noise.covers(sigma),
        "black": series.black.covers(BLACK),
        "dark current": series.current.covers(rate),
        "row noise": root_of(part.row_parts, "DN").covers(ROW),
        "prnu": photo_response(bright_stack, dark_stack).total.covers(PRNU * 700.0),
    }


def test_95_percent_intervals_cover_the_truth():
    results = [trial(seed) for seed in range(TRIALS)]
    covered = {name: np.mean([result[name] for result in results]) for name in results[0]}
    # The 92–98 %: beyond it by chance 3.5 % a side and parameter, so the seeds are fixed.
    assert all(0.92 <= part <= 0.98 for part in covered.values()), covered


def test_tukey_lambda_recovers_shape_and_scale():
    rng = np.random.default_rng(5)
    for shape in (-0.1, 0.1):
        values = 3.0 * tukey_quantile(rng.uniform(size=(20, 256 * 256)), shape) + 100
        codes = np.rint(values).astype(np.float32)
        found = read_noise_shape(codes, codes.mean(1), np.zeros_like(codes), rng)
        assert found.shape.value == pytest.approx(shape, rel=0.03)
        assert found.scale.value == pytest.approx(3.0, rel=0.03)


def scene_burst(rng, shift=0, frames=6, flicker=0.0):
    y, x = np.mgrid[:200, :200]
    scene = 200 + 3 * x + 150 * ((x // 25 + y // 25) % 2)
    made = []
    for index in range(frames):
        light = 1 + flicker * (index % 2)
        moved = np.roll(scene, shift * index, axis=1) * light
        made.append(
            np.rint(100 + K * rng.poisson(moved / K) + READ * rng.standard_normal(scene.shape)).astype(np.uint16)
        )
    return made


def test_burst_gives_gain_and_read_noise():
    burst = burst_noise(scene_burst(np.random.default_rng(0)), 100.0, 16383.0)
    # Five standard errors of this estimate, and no wider than 5 %.
    assert burst.gain.value == pytest.approx(K, abs=min(5 * burst.gain.standard_error, 0.05 * K))
    assert not burst.cautions


@pytest.mark.parametrize("black", [0.0, 50.0])
def test_a_black_level_that_is_too_low_is_said(black):
    """Its read variance comes out below 0, and nothing was said but a read noise of 0."""
    burst = burst_noise(scene_burst(np.random.default_rng(0)), black, 16383.0)
    (words,) = burst.cautions
    assert float(words.split(" at ")[1].split(" DN")[0]) == pytest.approx(100 - black - READ**2 / K, abs=8)


def test_moved_tripod_is_named():
    with pytest.raises(DataError, match="moved"):
        burst_noise(scene_burst(np.random.default_rng(0), shift=1), 100.0, 16383.0)


def test_flicker_in_a_burst_is_taken_out_and_named():
    burst = burst_noise(scene_burst(np.random.default_rng(0), flicker=0.05), 100.0, 16383.0)
    assert burst.gain.value == pytest.approx(K, rel=0.05)
    assert any("flicker" in caution for caution in burst.cautions)


def test_nonlinear_curve_widens_the_error_bar():
    n, signal = 12, np.linspace(100, 3000, 12)
    quiet = np.full(n, 1e-3)
    straight = Curve(signal, signal, K * signal + 16, 0.002 * K * signal, np.full(n, 16.0), quiet, np.zeros(n))
    bent = Curve(
        signal, signal, K * signal * (1 - signal / 2e4) + 16, 0.002 * K * signal, np.full(n, 16.0), quiet, np.zeros(n)
    )
    a, b = emva_gain(straight), emva_gain(bent)
    assert b.misfit > 3 > a.misfit
    assert b.gain.standard_error > 2 * a.gain.standard_error


@pytest.mark.parametrize("levels", [10, 18])
def test_intervals_hold_where_the_response_bends(levels):
    """Response y·(1 − 0.05·(y/ymax)³): 0.885 of the intervals held with a curve of the third degree at 12 levels."""
    gain, read, top, relative = 0.1, 2.0, 3000.0, 0.002
    light = np.linspace(0.02, 1, levels) * top
    light = light[light < 0.7 * top]
    signal, slope = light * (1 - 0.05 * (light / top) ** 3), 1 - 0.2 * (light / top) ** 3
    variance, same = gain * light * slope**2 + read**2, np.ones(len(light))
    held = []
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        seen = variance * (1 + relative * rng.standard_normal(len(light)))
        dark = read**2 * (1 + relative * rng.standard_normal())
        errors = relative * variance, dark * same, relative * read**2 * same
        fit = likelihood_gain(Curve(light, signal, seen, *errors, 0 * same, shared_dark=True))
        held.append((fit.gain_at_zero.covers(gain), fit.read_noise.covers(read)))
    assert all(0.92 <= part <= 0.98 for part in np.mean(held, 0)), np.mean(held, 0)


def test_saturation_is_the_peak_of_the_variance():
    signal = np.array([100.0, 500, 1000, 1500, 2000, 2400, 2400])
    variance = np.array([100.0, 500, 1000, 1500, 2000, 300, 0])
    clipped = np.array([0, 0, 0, 0, 0, 0.9, 1.0])
    z = np.zeros(7)
    chosen, peak = linear_range(Curve(signal, signal, variance, z + 1, z, z, clipped))
    assert peak == 4
    assert chosen.tolist() == [True, True, True, False, False, False, False]


def test_frames_of_two_sizes_are_named():
    with pytest.raises(DataError, match="two cameras"):
        stack_frames([np.zeros((4, 4), np.uint16), np.zeros((4, 6), np.uint16)])


def test_one_frame_has_no_temporal_noise():
    with pytest.raises(DataError, match="two frames"):
        components(stack_frames([np.zeros((4, 4), np.uint16)]))

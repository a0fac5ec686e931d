"""What is said of flats, and what is taken off them: by numbers on both sides of each limit."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noiseflow.calibrate.kinds import darks, flats
from noiseflow.calibrate.kinds.flats import (
    _digital,
    _flicker,
    _flickering_rows,
    _gain,
    _lights,
    _nearest,
    _performance,
    _range,
    _steadiness,
    _unevenness,
    present,
)
from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer
from noiseflow.calibrate.single_frame import cells, estimate, processing
from noiseflow.core.errors import DataError


def noise(pixel: float = 0.0, row: float = 0.0, column: float = 0.0, row_error: float = 0.0) -> Any:
    return SimpleNamespace(
        pixel=pixel, row=row, column=column, total=pixel + row + column, total_error=0.0, row_error=row_error
    )


def stack(means: tuple[float, ...] = (100.0, 100.0), spatial: float = 0.0, clipped: float = 0.0) -> Any:
    """Frames of these means; a pattern of two values, `spatial` to each side."""
    board = np.where((np.arange(40)[:, None] + np.arange(50)) % 2, spatial, -spatial)
    frame_means = np.array(means)
    return SimpleNamespace(
        frame_means=frame_means,
        level=float(frame_means.mean()),
        frames=len(means),
        clipped=clipped,
        mean=(frame_means.mean() + board).astype(np.float32),
    )


def found() -> Any:
    evidence = SimpleNamespace(likelihood=None, deviations=None, general=None)
    return SimpleNamespace(cautions=[], facts={}, estimates={}, absent={}, evidence=evidence, covariance=None)


TAKE: Any = SimpleNamespace(black=20.0, where="ISO 100, plane R", darks=[1], light_known=True)


@pytest.mark.parametrize(
    ("means", "words"),
    [
        # 1 % and 30 % of the signal, here 100 DN.
        ((119.51, 120.49), ""),
        ((119.49, 120.51), "differ by 1.0 %: flickering light"),
        ((105.1, 134.9), "differ by 29.8 %: flickering light"),
        ((104.9, 135.1), "differ by 30.2 %: they are not of one setting"),
        # At 10 DN or less nothing is said.
        ((25.0, 35.0), ""),
        ((25.1, 35.1), "one setting"),
    ],
)
def test_frames_of_one_exposure_that_differ_are_said(means: tuple[float, ...], words: str) -> None:
    made = found()
    _steadiness(SimpleNamespace(exposure_s=0.01), stack(means), noise(), TAKE, made)  # type: ignore[arg-type]
    assert len(made.cautions) == bool(words)
    assert all(words in each and "exposure 0.01 s" in each for each in made.cautions)


@pytest.mark.parametrize(
    ("spatial", "clipped", "words"),
    [(29.9, 0.0, ""), (30.1, 0.0, "vary by 30 % over the frame"), (60.0, 0.00099, "60 %"), (60.0, 0.001, "")],
)
def test_a_flat_that_is_a_picture_is_said(spatial: float, clipped: float, words: str) -> None:
    made = found()
    group: Any = SimpleNamespace(exposure_s=0.5)
    _steadiness(group, stack((120.0, 120.0), spatial, clipped), noise(), TAKE, made)
    assert len(made.cautions) == bool(words)
    assert all(words in each for each in made.cautions)


def test_unevenness_is_what_is_surely_there_beyond_temporal_noise() -> None:
    part = noise(pixel=60.0, row=9.0, column=4.0)
    made = stack((100.0,) * 4, 20.0)
    temporal = 73.0 / 4
    lines = 9 / 4 * math.sqrt(2 / 40) + 4 / 4 * math.sqrt(2 / 50)
    error = math.hypot(temporal * math.sqrt(2 / 2000), lines)
    assert _unevenness(made, part) == pytest.approx(math.sqrt(400 - temporal - 4 * error), rel=1e-6)
    assert _unevenness(stack((100.0,) * 4, 4.0), part) == 0.0
    # A component that came out negative counts as none.
    assert _unevenness(made, noise(pixel=73.0, row=-9.0, column=9.0)) == pytest.approx(
        math.sqrt(400 - temporal - 4 * math.hypot(temporal * math.sqrt(2 / 2000), 9 / 4 * math.sqrt(2 / 50)))
    )


@pytest.mark.parametrize("dark", [None, SimpleNamespace(noise=noise(row=3.0, row_error=0.6))])
def test_rows_that_flicker_stand_five_errors_above_the_dark_s(dark: Any) -> None:
    made = stack((100.0,) * 5)
    before = 3.0 if dark else 0.0
    counting = (before + 200.0 / 50) * math.sqrt(2 / (40 * 4))
    limit = 5 * math.hypot(counting, 0.6 if dark else 0.0)
    for part, taken in ((1.001, True), (0.999, False)):
        excess = part * limit
        seen = _flickering_rows(noise(pixel=200.0, row=before + excess), made, dark)
        assert seen == (pytest.approx(excess) if taken else 0.0)
    large = noise(pixel=200.0, row=before + 10 * limit)
    assert _flickering_rows(large, stack((100.0,) * 5, clipped=0.001), dark) == 0.0
    assert _flickering_rows(large, stack((100.0,) * 5, clipped=0.0009), dark) > 0
    negative = SimpleNamespace(noise=noise(row=-3.0, row_error=0.0))
    assert _flickering_rows(noise(pixel=200.0, row=10.0), made, negative) == 10.0  # type: ignore[arg-type]


@pytest.mark.parametrize(("part", "taken"), [(0.0099, False), (0.0101, True)])
def test_flicker_is_taken_off_at_all_levels_or_none(part: float, taken: bool) -> None:
    table = np.zeros((4, 8))
    table[:, 2], table[3, 6] = [100.0, 200.0, 300.0, 400.0], 0.001
    rows = np.array([0.5, part * 200.0, 15.0, 300.0])
    pairs: Any = [SimpleNamespace(exposure_s=each) for each in (1, 2, 3, 4)]
    made = found()
    assert _flicker(pairs, table, rows, made).tolist() == (rows.tolist() if taken else [0.0] * 4)
    assert len(made.cautions) == taken
    if taken:
        assert "by 17.3 DN at exposure 4 s" in made.cautions[0]
    table[:, 6] = 0.001
    assert not _flicker(pairs, table, rows, found()).any()


def test_lights_of_one_time_are_counted() -> None:
    made = found()
    series: Any = [SimpleNamespace(exposure_s=t, light=n) for t, n in ((1, 0), (1, 1), (2, 0), (3, 1), (3, 2), (3, 0))]
    _lights(series, made)
    assert [each.split(": ")[0] for each in made.cautions] == [
        "the frames of exposure 1 s have 2 levels",
        "the frames of exposure 3 s have 3 levels",
    ]


def test_the_dark_is_the_nearest_in_time() -> None:
    made: Any = [SimpleNamespace(exposure_s=each) for each in (0.1, 1.0, 5.0)]
    assert _nearest(made, SimpleNamespace(exposure_s=0.7)).exposure_s == 1.0  # type: ignore[arg-type,union-attr]
    assert _nearest([], SimpleNamespace(exposure_s=0.7)) is None  # type: ignore[arg-type]


def curve(count: int, clipped: float = 0.0) -> Curve:
    x = 100.0 * np.arange(1, count + 1)
    none = np.zeros(count)
    return Curve(x / 1e4, x, 0.5 * x + 9, none, none + 9, none, np.full(count, clipped))


@pytest.mark.parametrize(("count", "said"), [(5, False), (4, True), (1, True)])
def test_few_levels_are_said_and_what_cannot_be_is_refused(count: int, said: bool) -> None:
    made = found()
    chosen, saturation = _range(curve(count), TAKE, made)
    assert chosen.all()
    assert saturation is None
    assert "does not reach saturation" in made.cautions[0]
    assert [f"only {count} level{'s' * (count > 1)} of light" in each for each in made.cautions[1:]] == [True] * said
    assert made.facts == {"levels_used": count, "range_used_dn": [100.0, 100.0 * count]}
    _range(curve(3, 0.0009), TAKE, found())
    with pytest.raises(DataError, match="saturated"):
        _range(curve(3, 0.001), TAKE, found())
    bare: Any = SimpleNamespace(where="here", darks=[])
    with pytest.raises(DataError, match=r"one exposure.* and no darks"):
        _range(curve(1), bare, found())
    assert _range(curve(2), bare, found())[0].all()


@pytest.mark.parametrize(("misfit", "said"), [(3.0, False), (3.01, True), (math.nan, False)])
def test_scatter_beyond_counting_and_a_bend_are_said(misfit: float, said: bool, monkeypatch: Any) -> None:
    gain = from_error(0.5, 0.01, "DN/e-")
    bent = PhotonTransfer(
        gain, 9.0, np.diag([1e-4, 0.04]), np.zeros(1), 1.0, from_error(0.52, 0.01, "DN/e-"), 0.02, (1.0,)
    )
    monkeypatch.setattr(flats, "likelihood_gain", lambda _: bent)
    monkeypatch.setattr(flats, "emva_gain", lambda _: PhotonTransfer(gain, 9.0, np.eye(2), np.zeros(1), misfit))
    made = found()
    assert _gain(curve(5), TAKE, made).gain == gain
    assert ("photon_transfer_chi2_per_dof" in made.facts) == math.isfinite(misfit)
    assert any("χ²" in each for each in made.cautions) == said
    assert made.facts["variance_scatter_percent"] == pytest.approx(2.0)
    assert "K is 0.52 DN/e- at zero signal and 0.5 on average" in made.cautions[-1]
    assert made.covariance == ((1e-4, 0.0), (0.0, 0.04))
    assert made.estimates["read_noise_likelihood_dn"].value == pytest.approx(3.0)


def test_the_general_model_starts_from_the_slope_at_no_signal_of_a_curve_that_bends(monkeypatch: Any) -> None:
    seen: list[float] = []
    monkeypatch.setattr(flats, "general_model", lambda *taken, **_: seen.append(taken[2]) or "no")
    gain = from_error(0.5, 0.01, "DN/e-")
    for bend, start in (((1.0,), 0.52), ((), 0.5)):
        made = found()
        made.estimates = {"read_noise_dn": from_error(3.0, 0.1, "DN"), "gain_dn_per_e": gain}
        made.estimates["saturation_e"] = from_error(10_000.0, 100.0, "e-")
        made.evidence.likelihood = SimpleNamespace(bend=bend, gain_at_zero=from_error(0.52, 0.01, "DN/e-"))
        _performance(curve(5), None, from_error(5000.0, 50.0, "DN"), TAKE, made)
        assert seen.pop() == start
        assert made.estimates["snr_max_db"].value == pytest.approx(40.0)
        assert made.absent == {"general_snr_max_db": "no"}
        assert "dynamic_range_db" in made.estimates


@pytest.mark.parametrize(("factor", "said"), [(1.05, False), (1.06, True)])
def test_digital_gain_is_looked_for_in_the_darker_flats(factor: float, said: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(flats, "digital_gain", lambda sample: sample)
    top = 1000.0

    def one(level: float, sample: float | None, frames: int = 2, clipped: float = 0.0) -> Any:
        return SimpleNamespace(stacks=[SimpleNamespace(level=level, sample=sample, frames=frames, clipped=clipped)])

    lights = [
        one(519.0, factor),
        one(400.0, factor),
        one(300.0, None),
        one(520.0, 9.0),
        one(100.0, 9.0, frames=1),
        one(100.0, 9.0, clipped=1e-6),
    ]
    take: Any = SimpleNamespace(black=20.0, index=0, lights=lights)
    made = found()
    _digital(take, SimpleNamespace(signal=np.array([top])), made)  # type: ignore[arg-type]
    assert made.facts["digital_gain"] == factor
    assert len(made.cautions) == said
    take.lights = lights[2:]
    made = found()
    _digital(take, SimpleNamespace(signal=np.array([top])), made)  # type: ignore[arg-type]
    assert made.facts == {}


@pytest.mark.parametrize(
    ("lights", "dark", "can"),
    [
        ([1.0], False, False),
        ([1.0, 1.0], False, False),
        ([1.0, 2.0], False, True),
        ([1.0], True, True),
        ([], True, False),
    ],
)
def test_flats_need_darks_or_two_exposures(lights: list[float], dark: bool, can: bool) -> None:
    take: Any = SimpleNamespace(lights=[SimpleNamespace(exposure=e) for e in lights], darks_taken=[1] * dark)
    assert present(take) == can


def dark(level: float, means: tuple[float, ...], exposure: float = 1.0, total: float = 16.0) -> Any:
    frames = np.array(means) + level
    made = SimpleNamespace(frame_means=frames, frames=len(means), level=float(frames.mean()))
    return SimpleNamespace(
        exposure_s=exposure, level=made.level, level_error=0.01, stack=made, noise=noise(pixel=total)
    )


@pytest.mark.parametrize(
    ("shading", "levels", "jump", "words"),
    [
        # Five times σ = 4 DN, or 0.2 % of a white of 12,000.
        (23.9, (500.0, 500.0), 0.0, []),
        (24.1, (500.0, 500.0), 0.0, ["vary by 24.1 DN over the frame"]),
        (0.0, (500.0, 739.0), 0.0, []),
        (0.0, (500.0, 741.0), 0.0, ["differ by 241.0 DN between exposures"]),
        (0.0, (500.0, 500.0), 23.0, []),
        (0.0, (500.0, 500.0), 25.0, ["of one exposure differ by 25.0 DN"]),
    ],
)
def test_light_in_the_darks_is_said(shading: float, levels: tuple[float, float], jump: float, words: list[str]) -> None:
    made = found()
    made.facts["dark_shading_range_dn"] = shading
    taken = [dark(level, (-jump / 2, jump / 2)) for level in levels]
    take: Any = SimpleNamespace(frames=SimpleNamespace(white=12_000.0), darks=taken)
    darks._leaks(take, taken[0], made)
    assert len(made.cautions) == len(words)
    assert all(word in each for word, each in zip(words, made.cautions, strict=True))
    # Of a noise of 8 DN shading of 39 is within five.
    loud = found()
    loud.facts["dark_shading_range_dn"] = 39.0
    darks._leaks(take, dark(500.0, (0.0, 0.0), total=64.0), loud)
    assert not any("over the frame" in each for each in loud.cautions)


def test_the_drift_of_all_exposures_is_in_the_error_of_each_level(monkeypatch: Any) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(darks, "dark_series", lambda *taken: seen.extend(taken))
    taken = [dark(500.0, (-0.3, 0.3), 1.0), dark(501.0, (0.1, -0.2, 0.1), 2.0), dark(502.0, (0.0,) * 400, 3.0)]
    darks._series(taken)
    drift = (0.3**2 * 2 + 0.1**2 * 2 + 0.2**2) / (1 + 2 + 399)
    times, levels, errors, totals, _ = seen
    assert times.tolist() == [1.0, 2.0, 3.0]
    assert levels == pytest.approx([500.0, 501.0, 502.0])
    assert errors == pytest.approx([max(0.01, math.sqrt(drift / n)) for n in (2, 3, 400)])
    assert totals.tolist() == [16.0] * 3


@pytest.mark.parametrize(
    ("module", "limits"),
    [
        (flats, {"FLICKER": 0.01, "MIXED": 0.3, "DIGITAL": 1.05, "UNEVEN": 0.3}),
        (estimate, {"LARGEST_ERROR": 0.12, "LEAST_ERROR": 0.007, "UNEQUAL": 16.3, "ROUNDING": 1 / 12}),
        (cells, {"FLAT": 1.3, "BLOWN": 3.0, "UNCLIPPED": 4.0, "LEAK": 0.09, "LEAST_BLOCKS": 12}),
        (processing, {"LEAST_OUTER": 0.87, "MOST_CORRELATION": 0.08, "MOST_PHASE": 0.03, "MOST_STEP": 0.1}),
    ],
)
def test_limits_are_those_that_the_documents_state(module: Any, limits: dict[str, float]) -> None:
    """A limit that moves moves refusals and cautions without a word."""
    assert {name: getattr(module, name) for name in limits} == limits

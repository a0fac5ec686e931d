"""A burst's mean goes to clean plus the fixed pattern, which is the same in each of its frames."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import BLACK, WHITE, frame
from model_table import CAMERAS, spec_of

from noiseflow.augment import FixedPattern, pattern_from_profile, sample_burst, sample_frame
from noiseflow.augment.frames.windows import Window
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import DataError
from noiseflow.models import build

PATTERN = FixedPattern(
    3,
    0.02,
    0.01,
    0.01,
    dsnu_dn=2.0,
    dsnu_row_dn=1.0,
    dsnu_column_dn=1.0,
    shading_dn=6.0,
    hot_fraction=0.01,
    hot_dn=40.0,
)
SPAN = WHITE - BLACK


@pytest.mark.parametrize("cfa", ["RGGB", "MONO"])
def test_the_mean_of_a_burst_is_clean_plus_the_fixed_pattern(cfa: str) -> None:
    model = build(spec_of("nlf", "bayer" if cfa == "RGGB" else "mono")).eval()
    clean = frame(np.full((60, 80), 400, np.uint16), cfa)
    frames = 100
    how = {"iso": 400.0, "camera": CAMERAS[0], "pattern": PATTERN, "seed": 1}
    drawn = np.stack([noisy.signal for noisy in sample_burst(model, clean, frames, **how)]).astype(np.float64)
    window = Window(0, 0, *drawn.shape[2:])
    signal = torch.full((1, *drawn.shape[1:]), 400 - BLACK, dtype=torch.float32)
    dark = PATTERN.dark(signal, window, drawn.shape[2:])
    expected = ((PATTERN.exposed(signal, window) + dark) / SPAN)[0].double().numpy()
    sigma = np.sqrt(1e-3 * PATTERN.exposed(signal, window)[0].numpy() / SPAN + 1e-6)
    z = (drawn.mean(0) - expected) / (sigma / math.sqrt(frames))
    # 4,800 pixels: their mean z² is 1 ± 0.02 and no z is beyond 5.5; four standard errors.
    assert (z**2).mean() == pytest.approx(1, abs=4 * math.sqrt(2 / z.size))
    assert np.abs(z).max() < 5.5
    # Without the pattern the mean would be off by many standard errors.
    assert (((drawn.mean(0) - (400 - BLACK) / SPAN) / (sigma / math.sqrt(frames))) ** 2).mean() > 5
    # What is left of each frame is independent from one to the next.
    residual = drawn - expected
    assert abs((residual[1:] * residual[:-1]).mean() / (residual**2).mean()) < 4 / math.sqrt(residual[1:].size)


def test_the_pattern_is_the_camera_s_and_not_the_frame_s() -> None:
    model, clean = build(spec_of("nlf", "bayer")).eval(), frame(np.full((20, 30), 400, np.uint16))
    how = {"iso": 400.0, "camera": "A", "temperature": 0.0}
    one, two = (noisy.signal for noisy in sample_burst(model, clean, 2, pattern=PATTERN, **how))
    assert np.array_equal(one, two)
    other = sample_frame(model, clean, pattern=replace(PATTERN, seed=4), **how).signal
    assert not np.array_equal(one, other)
    fresh = list(sample_burst(model, clean, 2, iso=400.0, camera="A"))
    assert not np.array_equal(fresh[0].signal, fresh[1].signal)
    assert np.array_equal(fresh[1].signal, sample_frame(model, clean, iso=400.0, camera="A", frame=1).signal)


def test_its_parts_have_their_sigmas_and_share_their_lines() -> None:
    window, like = Window(0, 0, 300, 400), torch.full((1, 4, 300, 400), 1000.0, dtype=torch.float64)
    only = {
        "prnu": FixedPattern(1, prnu=0.02).exposed(like, window) / 1000 - 1,
        "row": FixedPattern(1, prnu_row=0.02).exposed(like, window) / 1000 - 1,
        "column": FixedPattern(1, dsnu_column_dn=0.02).dark(like, window, (300, 400)),
    }
    for name, independent in (("prnu", 480_000), ("row", 600), ("column", 800)):
        assert float(only[name].std()) == pytest.approx(0.02, rel=4 / math.sqrt(2 * independent)), name
    assert torch.equal(only["row"][0, 0], only["row"][0, 1])
    assert not torch.equal(only["row"][0, 0], only["row"][0, 2])
    assert torch.equal(only["column"][0, 0], only["column"][0, 2])
    assert not torch.equal(only["column"][0, 0], only["column"][0, 1])
    shading = FixedPattern(1, shading_dn=5.0).dark(like, window, (300, 400))
    assert float(shading.max() - shading.min()) == pytest.approx(5, rel=0.02)
    assert float((shading[..., 1:] - shading[..., :-1]).abs().max()) < 0.1
    hot = FixedPattern(1, hot_fraction=1e-3, hot_dn=50.0).exposed(like, window) - like
    assert abs(int((hot > 0).sum()) - 480) < 4 * math.sqrt(480)
    assert float(hot[hot > 0].min()) >= 50
    assert float(hot[hot > 0].mean()) == pytest.approx(100, rel=4 / math.sqrt(480))


def test_a_part_of_the_frame_has_its_part_of_the_pattern() -> None:
    like = torch.full((1, 4, 30, 40), 100.0, dtype=torch.float64)
    whole, part = Window(0, 0, 30, 40), Window(11, 7, 9, 20)
    for make in (PATTERN.exposed, lambda like, window: PATTERN.dark(like, window, (30, 40))):
        tile = make(part.of(like, whole), part)
        torch.testing.assert_close(tile, part.of(make(like, whole), whole), rtol=1e-12, atol=1e-12)


def told(value: float, unit: str) -> Measurement:
    return Measurement(value, 0.0, (value, value), unit)


def test_a_profile_says_the_pattern() -> None:
    def setting(iso: float, factor: float) -> Setting:
        estimates = {
            "prnu_dn": told(8.0, "DN"),
            "prnu_percent": told(0.8, "%"),
            "prnu_pixel_dn": told(6.0, "DN"),
            "prnu_row_dn": told(2.0, "DN"),
            "dsnu_dn": told(3.0 * factor, "DN"),
            "dsnu_pixel_dn": told(2.0 * factor, "DN"),
        }
        facts = {"dark_shading_range_dn": 4.0, "hot_pixels_per_million": 50.0, "hot_above_dn": 30.0}
        return Setting(iso, "Y", estimates, (), facts)

    profile = Profile("toy", "mono", 255.0, (setting(100.0, 1.0), setting(400.0, 2.0)))
    pattern = pattern_from_profile(profile, 200.0, seed=9)
    expected = FixedPattern(9, 0.006, 0.002, 0.0, 3.0, 0.0, 0.0, 4.0, 5e-5, 30.0)
    assert vars(pattern) == pytest.approx(vars(expected))
    bare = Profile("toy", "mono", 255.0, (Setting(100.0, "Y", {}),))
    with pytest.raises(DataError, match="no PRNU or DSNU; calibrate"):
        pattern_from_profile(bare, 100.0)


def test_patterns_that_no_sensor_has() -> None:
    for values in ({"prnu": -1.0}, {"dsnu_dn": math.nan}, {"hot_fraction": 2.0}):
        with pytest.raises(DataError, match="fixed pattern"):
            FixedPattern(0, **values)
    with pytest.raises(DataError, match="frames: expected 1"):
        list(sample_burst(build(spec_of("nlf", "bayer")), frame(np.full((4, 4), 100, np.uint16)), 0))

"""Darks that are clipped at 0 are censored observations."""

import numpy as np
import pytest

from noiseflow.calibrate.estimators.censored import censored_dark
from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import stack_frames
from noiseflow.core.errors import DataError

K, SIZE = 0.5, (96, 128)


@pytest.mark.parametrize("noise", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("black", [0.0, 1.0, 4.0])
def test_intervals_hold_level_and_noise_before_the_clip(black, noise):
    held = []
    for seed in range(100):
        x = np.random.default_rng(seed).normal(black, noise, 20_000)
        found = censored_dark(np.maximum(np.rint(x), 0))
        held.append(
            (
                abs(found.level - black) < 1.96 * found.level_error,
                abs(found.variance - noise**2) < 1.96 * found.variance_error,
            )
        )
    # 87 of 100 or fewer at 95 %: 0.2 % by chance for one of the 18.
    assert (np.mean(held, axis=0) > 0.87).all()


def expose(rng, signal, frames, black, noise, white):
    x = black + K * rng.poisson(signal / K, (frames, *SIZE)) + noise * rng.standard_normal((frames, *SIZE))
    return np.clip(np.rint(x), 0, white).astype(np.uint16)


@pytest.mark.parametrize(
    ("black", "noise", "bits"), [(0, 2.0, 8), (0, 8.0, 12), (1, 0.5, 8), (2, 2.0, 10), (4, 8.0, 10)]
)
def test_gain_read_noise_and_black_of_a_camera_clipped_at_black(black, noise, bits):
    rng, white = np.random.default_rng(1), 2.0**bits - 1
    groups = [
        Group(100.0, t, t, dark, [stack_frames(expose(rng, level, 4, black, noise, white), white)], [""] * 4)
        for t, level, dark in [(0.001, 0.0, True), *((s, s * 0.6 * white, False) for s in np.linspace(0.1, 1, 10))]
    ]
    profile = calibrate_frames(Frames("Clipped", "mono", (0.0,), white, groups)).profile
    (setting,) = profile.settings
    assert any("clipped at code 0" in caution for caution in setting.cautions)
    assert "clipped" in setting.absent["row_noise_dn"]
    gain, read, level = (setting.estimates[name] for name in ("gain_dn_per_e", "read_noise_dn", "black_dn"))
    # 2 %, or four standard errors where the frames do not say it better.
    assert gain.value == pytest.approx(K, rel=0.02, abs=4 * gain.standard_error)
    assert read.value == pytest.approx((noise**2 + 1 / 12) ** 0.5, rel=0.02, abs=4 * read.standard_error)
    assert level.value == pytest.approx(black, rel=0.02, abs=4 * level.standard_error)


def test_darks_of_which_all_is_clipped_say_nothing():
    with pytest.raises(DataError, match="all at the black clip"):
        censored_dark(np.zeros(1000))

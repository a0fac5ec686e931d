"""Every figure of an EMVA 1288 report against the closed form of a simulated linear camera, pixels to profile."""

import math

import numpy as np
import pytest

from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.measured import Calibration
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import stack_frames

K, NOISE, BLACK, WHITE, PRNU, DSNU = 0.8, 4.0, 100.0, 4095.0, 0.01, 1.5
SIZE, PAIR, LONG = (96, 128), 2, 16
FULL_E = (WHITE - BLACK) / K
LIGHT_E = FULL_E * np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 1.1, 1.2])
"""Electrons of each exposure; the last below saturation has the largest variance."""

DARK = math.sqrt(NOISE**2 + 1 / 12)
THRESHOLD_E = math.sqrt((DARK / K) ** 2 + 0.25) + 0.5


@pytest.fixture(scope="module")
def found() -> Calibration:
    rng = np.random.default_rng(1288)
    response, offset = 1 + PRNU * rng.standard_normal(SIZE), DSNU * rng.standard_normal(SIZE)

    def group(electrons: float, frames: int, exposure_s: float) -> Group:
        light = rng.poisson(np.broadcast_to(electrons * response, (frames, *SIZE)))
        values = BLACK + K * light + offset + NOISE * rng.standard_normal(light.shape)
        codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
        stack = stack_frames(list(codes), WHITE)
        return Group(100.0, exposure_s, exposure_s, electrons == 0, [stack], [""] * frames)

    lights = [group(e, LONG if e == LIGHT_E[9] else PAIR, 1e-3 * e) for e in LIGHT_E]
    return calibrate_frames(Frames("Linear", "mono", (BLACK,), WHITE, [group(0.0, LONG, 1e-4), *lights]))


@pytest.mark.parametrize(
    ("name", "truth", "within"),
    [
        ("gain_dn_per_e", K, 0.02),
        ("gain_likelihood_dn_per_e", K, 0.02),
        ("black_dn", BLACK, 0.001),
        ("read_noise_dn", DARK, 0.01),
        ("read_noise_e", NOISE / K, 0.02),
        ("sensitivity_threshold_e", THRESHOLD_E, 0.02),
        ("saturation_e", LIGHT_E[-3], 0.02),
        ("saturation_dn", K * LIGHT_E[-3], 0.005),
        ("dynamic_range_db", 20 * math.log10(LIGHT_E[-3] / THRESHOLD_E), 0.003),
        ("snr_max_db", 10 * math.log10(LIGHT_E[-3]), 0.003),
        ("prnu_percent", 100 * PRNU, 0.03),
        ("dsnu_dn", DSNU, 0.03),
    ],
)
def test_estimates(found: Calibration, name: str, truth: float, within: float) -> None:
    (setting,) = found.profile.settings
    measured = setting.estimates[name]
    assert measured.value == pytest.approx(truth, rel=within)
    # The error bar explains the departure, and is no excuse for one.
    assert abs(measured.value - truth) < 4 * measured.standard_error + 1e-4 * truth
    assert measured.standard_error < within * truth


def test_general_model(found: Calibration) -> None:
    """A straight response has the linear model's figures in the general one too."""
    (setting,) = found.profile.settings
    facts = setting.facts
    assert facts["general_threshold_e"] == pytest.approx(THRESHOLD_E, rel=0.02)
    assert facts["general_dynamic_range_db"] == pytest.approx(20 * math.log10(LIGHT_E[-3] / THRESHOLD_E), abs=0.2)
    # At a level, and the characteristic curve ends at 95 % of saturation.
    best = LIGHT_E[-4] / math.sqrt(LIGHT_E[-4] + (DARK / K) ** 2)
    assert facts["general_snr_max_db"] == pytest.approx(20 * math.log10(best), abs=0.2)
    assert facts["linearity_error_percent"] < 0.3
    general = found.evidence[(100.0, "Y")].general
    assert general is not None
    seen = np.isfinite(general.snr)
    order = np.argsort(general.electrons)
    np.testing.assert_allclose(general.electrons[order], LIGHT_E, rtol=0.02)
    light = general.electrons[seen]
    assert len(light) >= 12
    # σ of 12,288 pixels of two frames: 0.7 %.
    np.testing.assert_allclose(general.snr[seen], light / np.sqrt(light + (DARK / K) ** 2), rtol=0.03)

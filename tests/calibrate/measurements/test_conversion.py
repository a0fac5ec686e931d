"""Dual conversion gain, digital gain, labelled ISOs: each found where it is and not elsewhere."""

import numpy as np
import pytest

from noiseflow.calibrate import calibrate
from noiseflow.calibrate.measurements.conversion import conversion_steps, digital_gain
from noiseflow.calibrate.profiles.published import shipped_profile


def tables(shared_data, camera):
    return [path for kind in ("flat", "dark") if (path := shared_data / "ptc" / f"Nikon_{camera}_{kind}.csv").exists()]


def test_the_z6_switches_its_conversion_gain_below_800(shared_data):
    profile = calibrate(tables(shared_data, "Z6_2")).profile
    (step,) = conversion_steps(profile.settings)
    # 640 has darks only: 6.41 DN there, 2.58 at 800.
    assert (step.below, step.above) == (640.0, 800.0)
    assert step.factor == pytest.approx(2.58272 / 6.407994, rel=1e-4)
    assert any("dual gain" in caution for caution in profile.cautions)
    assert not any("only the label" in caution for caution in profile.cautions)


def test_the_d5100_names_isos_that_it_does_not_amplify(shared_data):
    profile = calibrate(tables(shared_data, "D5100")).profile
    (note,) = [caution for caution in profile.cautions if "only the label" in caution]
    assert "from ISO 1600 on" in note


def test_the_a7s2_switches_between_1600_and_2000():
    settings = [setting for setting in shipped_profile("Sony A7S2").settings if setting.plane == "G1"]
    assert [(step.below, step.above) for step in conversion_steps(settings) if step.factor < 0.5] == [(1600.0, 2000.0)]


def test_a_single_chain_has_no_step():
    settings = [setting for setting in shipped_profile("CRVD IMX385").settings if setting.plane == "G1"]
    assert not conversion_steps(settings)


@pytest.mark.parametrize("factor", [1.25, 1.6, 2.0, 4.0])
def test_multiplied_codes_have_gaps(factor):
    analog = np.random.default_rng(0).normal(400, 12, 200_000).round()
    assert digital_gain(analog) == 1.0
    assert digital_gain((factor * analog).round()) == pytest.approx(factor, rel=0.1)


def test_too_few_codes_say_nothing():
    assert digital_gain(np.full(1000, 7)) is None
    assert digital_gain(np.random.default_rng(0).normal(500, 100, 2000).round()) is None


@pytest.mark.parametrize(("width", "each", "said"), [(5, 1000, False), (6, 1000, True), (6, 50, True), (6, 49, False)])
def test_six_codes_of_fifty_pixels_are_enough(width, each, said):
    """Between the quantiles of 10 and 90 %: a little less than a tenth lies beyond each end."""
    inside = np.repeat(np.arange(100, 100 + width), each)
    beyond = int(0.09 * inside.size / 0.82)
    codes = np.concatenate([np.full(beyond, 50), inside, np.full(beyond, 200)])
    assert (digital_gain(codes) is not None) == said

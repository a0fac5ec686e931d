"""What the light at a pixel says of its noise: against scipy's Poisson distribution."""

from dataclasses import replace

import numpy as np
import torch
from scipy import stats
from transform_table import CAMERAS, ISOS, conditions

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.signal_model import FLOOR, Light

GAIN, READ = 0.02, 0.0005
"""β₁ and β₂, as the normalised signal of one electron and the read noise's variance."""


def light_at(*levels: float, gain: float = GAIN, read: float = READ) -> Light:
    clean = torch.tensor(levels, dtype=torch.float64).reshape(1, 1, 1, -1)
    beta1, beta2 = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (gain, read))
    return Light(clean, beta1, beta2)


def test_variance_skewness_and_kurtosis_are_those_of_poisson_and_normal_noise() -> None:
    electrons = np.array([0.3, 1.0, 7.0, 50.0])
    light = light_at(*(GAIN * electrons))
    _, variance, skew, excess = stats.poisson.stats(electrons, moments="mvsk")
    shot = GAIN**2 * variance
    # Cumulants add, and of normal read noise there are two.
    total = shot + READ
    for found, expected in (
        (light.variance(), total),
        (light.read_share(), READ / total),
        (light.shot_moments()[0], skew * (shot / total) ** 1.5),
        (light.shot_moments()[1], excess * (shot / total) ** 2),
    ):
        np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-12)


def test_below_black_the_variance_has_a_floor_and_there_is_no_shot_noise() -> None:
    light = light_at(-1.0, -READ / GAIN, 0.0)
    np.testing.assert_allclose(light.variance().flatten().numpy(), [FLOOR * READ, FLOOR * READ, READ])
    assert not any(moment.any() for moment in light.shot_moments())


def test_told_light_serves_only_the_clean_signal_that_it_is_of() -> None:
    head = ShotReadScale(4, CAMERAS, ISOS, tells=True).double()
    cond = head.told(conditions(2, 4, 3, 5))
    assert head.light(cond) is cond.light
    other = replace(cond, clean=cond.clean + 0.1)
    assert torch.equal(head.light(other).clean, other.clean)
    torch.testing.assert_close(head.variance(other), head.variance(replace(other, light=None)))
    silent = ShotReadScale(4, CAMERAS, ISOS).double()
    assert silent.told(cond) is cond

"""Noise parameters of a pixel: against scipy's Poisson distribution, and on their way to the layers."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from transform_table import CAMERAS, ISOS, conditions

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.combinators import Reversed, Squeezed
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.shot_read_noise import FLOOR

GAIN, READ = 0.02, 0.0005
"""β₁ and β₂, as the normalised signal of one electron and the read noise's variance."""


def light_at(*levels: float, gain: float = GAIN, read: float = READ) -> NoiseParameters:
    clean = torch.tensor(levels, dtype=torch.float64).reshape(1, 1, 1, -1)
    beta1, beta2 = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (gain, read))
    return NoiseParameters(clean, beta1, beta2)


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


def test_a_head_computes_its_parameters_of_the_clean_signal_that_it_gets() -> None:
    head = ShotReadScale(4, CAMERAS, ISOS, shares_features=True).double()
    cond = conditions(2, 4, 3, 5)
    noise = head.shared_features(cond, None)
    assert noise is not None
    assert head.noise_parameters(cond, noise) is noise
    other = replace(cond, clean=cond.clean + 0.1)
    assert torch.equal(head.noise_parameters(other).clean, other.clean)
    silent = ShotReadScale(4, CAMERAS, ISOS).double()
    assert silent.shared_features(cond, None) is None
    assert silent.noise_parameters(cond, noise) is not noise


def test_a_layer_that_needs_noise_parameters_says_so() -> None:
    cond = conditions(2, 4, 3, 5)
    with pytest.raises(ModelError, match="SinhArcsinh: expected the noise parameters of a head"):
        Flow([SinhArcsinh(CAMERAS, ISOS)])(cond.clean, cond)


@pytest.mark.parametrize("around", [lambda tails: Reversed(tails), lambda tails: Squeezed([tails])])
def test_combinators_pass_the_noise_parameters_of_the_pixels_that_they_pass(around: Callable[..., Transform]) -> None:
    cond = conditions(2, 4, 4, 6)
    head = ShotReadScale(4, CAMERAS, ISOS, shares_features=True).double()
    for parameter in (head.plane_beta1, head.plane_beta2):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    tails = CubicTails(CAMERAS, ISOS, by_read_share=True).double()
    torch.nn.init.constant_(tails.kurtosis, 2.0)
    noise = head.shared_features(cond, None)
    x = torch.randn(cond.clean.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(around(tails)(x, cond, noise)[0], tails(x, cond, noise)[0])


def test_a_neighbour_filter_starts_at_the_filter_that_made_the_noise() -> None:
    """Of 250,000 pixels made by a known recursion; a weight is known to 1/√250,000."""
    made = NeighbourFilter(1, 1, (100.0,), "plane").double()
    with torch.no_grad():
        made.weights.copy_(0.08 * torch.randn(made.weights.shape, generator=torch.Generator().manual_seed(1)))
        made.log_scale.fill_(math.log(0.7))
    white = torch.randn(1, 1, 500, 500, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    cond = Conditions(torch.zeros_like(white), 100.0, 0).resolve(("A",))
    found = NeighbourFilter(1, 1, (100.0,), "plane").double()
    noise = made.inverse(white, cond).detach()
    found.start_from(noise, cond)
    assert float((found.weights - made.weights).detach().abs().max()) < 5 / 500
    assert float(found.log_scale.detach()) == pytest.approx(math.log(0.7), abs=5 / 500)
    assert float(found(noise, cond)[0].detach().square().mean()) == pytest.approx(1.0, abs=0.01)

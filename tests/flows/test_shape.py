"""Skew and tails: the moments they promise, and the physics they stand for."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from noiseflow.flows import Conditions
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.ops.tails_and_skew import (
    Shape,
    shape_by_moments,
    shape_from,
    sinh_arcsinh,
    sinh_arcsinh_inverse,
    spreads_by_shape,
)
from noiseflow.simulate.physics import tukey_lambda_variance

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def line(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float64))[None, None, None]


def at(values: Tensor, iso: float = 100.0) -> Conditions:
    return Conditions(torch.zeros_like(values), iso).resolve(("A",))


def shape_at(skew: float, excess: float, like: Tensor) -> Shape:
    tables = (torch.from_numpy(table) for table in (shape_by_moments(), spreads_by_shape()))
    return shape_from(torch.full_like(like, skew), torch.full_like(like, excess), *tables)


def moments(values: NDArray[np.float64]) -> list[float]:
    mean = float(WEIGHTS @ values)
    variance = float(WEIGHTS @ (values - mean) ** 2)
    third, fourth = (float(WEIGHTS @ (values - mean) ** power) for power in (3, 4))
    return [mean, variance, third / variance**1.5, fourth / variance**2 - 3]


@pytest.mark.parametrize(
    ("skew", "excess"), [(0.0, 0.0), (0.1, 0.01), (0.5, 0.4), (-0.5, 0.4), (0.9, 1.0), (0.2, 1.0), (0.0, -0.2)]
)
def test_skewed_values_have_the_moments_that_are_asked_for(skew: float, excess: float) -> None:
    nodes = line(NODES)
    values = sinh_arcsinh_inverse(nodes, shape_at(skew, excess, nodes)).numpy().ravel()
    mean, variance, third, fourth = moments(values)
    assert mean == pytest.approx(0, abs=1e-4)
    assert variance == pytest.approx(1, abs=1e-3)
    assert third == pytest.approx(skew, abs=0.03)
    assert fourth == pytest.approx(excess, abs=0.05)


def test_no_skew_is_the_identity() -> None:
    x = line(np.linspace(-50, 50, 101))
    z, log_slope = sinh_arcsinh(x, shape_at(0.0, 0.0, x))
    torch.testing.assert_close(z, x, rtol=1e-9, atol=1e-9)
    assert float(log_slope.sum()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("excess", [0.05, 1.2, 3.0, 8.0])
def test_tails_have_the_kurtosis_that_is_asked_for(excess: float) -> None:
    tails = CubicTails(1, (100.0, 400.0)).double()
    with torch.no_grad():
        tails.kurtosis.copy_(torch.tensor([[excess - 0.05, excess + 0.05]]))
    nodes = line(NODES)
    mean, variance, third, fourth = moments(tails.inverse(nodes, at(nodes, 200.0)).detach().numpy().ravel())
    assert (mean, third) == pytest.approx((0, 0), abs=1e-9)
    assert variance == pytest.approx(1, abs=1e-9)
    assert fourth == pytest.approx(excess, rel=0.005)


def read_density(x: NDArray[np.float64], sigma: float, shape: float | None) -> NDArray[np.float64]:
    if shape is None:
        return np.asarray(stats.norm.pdf(x, scale=sigma))
    u = 0.5 * (1 + np.tanh(np.linspace(-15, 15, 40001)))
    quantile = (u**shape - (1 - u) ** shape) / shape
    scale = sigma / np.sqrt(tukey_lambda_variance(shape))
    density = 1 / (u ** (shape - 1) + (1 - u) ** (shape - 1))
    return np.interp(x / scale, quantile, density, 0, 0) / scale


@pytest.mark.parametrize("shape", [None, -0.075, -0.01, 0.147])
@pytest.mark.parametrize("electrons", [0.0, 0.3, 1.0, 5.0, 30.0])
def test_few_photo_electrons_and_read_noise_are_within_two_thousandths_of_a_nat(
    electrons: float, shape: float | None
) -> None:
    """Against the sum over Poisson counts of the read noise's density, at 1.1 e⁻ of read noise."""
    sigma = 1.1
    deviation = np.sqrt(electrons + sigma**2)
    x = np.linspace(-14 * deviation, 16 * deviation, 30001)
    counts = np.arange(0, int(electrons + 12 * np.sqrt(electrons) + 20))
    truth = sum(stats.poisson.pmf(n, electrons) * read_density(x - n + electrons, sigma, shape) for n in counts)
    share = sigma**2 / deviation**2
    step = x[1] - x[0]
    fourth = step * (x**4 * read_density(x, sigma, shape)).sum() / sigma**4 - 3
    heavy = max(fourth, 0) * share**2
    skew = electrons / deviation**3 / (1 + heavy / 3)
    excess = electrons / deviation**4 / (1 + 4 * heavy / 3) + min(fourth, 0) * share**2
    tails = CubicTails(1, (100.0,), by_read_share=True).double()
    torch.nn.init.constant_(tails.kurtosis, fourth)
    scaled = line(x / deviation).requires_grad_()
    y, _ = sinh_arcsinh(scaled, shape_at(skew, excess, scaled.detach()))
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    noise = NoiseParameters(torch.ones_like(y).detach(), (1 - share) * one, share * one)
    z, _ = tails(y, at(scaled), noise)
    (slope,) = torch.autograd.grad(z.sum(), scaled)
    log_density = stats.norm.logpdf(z.detach().numpy()) + np.log(slope.numpy()) - np.log(deviation)
    there = truth > 1e-300
    divergence = step * (truth[there] * (np.log(truth[there]) - log_density.ravel()[there])).sum()
    assert divergence < 0.002
    gaussian = step * (truth[there] * (np.log(truth[there]) - stats.norm.logpdf(x, scale=deviation)[there])).sum()
    assert divergence < max(0.35 * gaussian, 2e-4)


@pytest.mark.parametrize("far", [0.0, 15.0, 20.0])
def test_values_too_far_for_a_cubic_are_seen_as_tails_that_it_leaves(far: float) -> None:
    """One in a thousand jumps: the cubic's start leaves them out, and finds no excess among the others."""
    draws = torch.Generator().manual_seed(10)
    x = torch.randn((8, 4, 64, 64), generator=draws)
    x += far * (torch.rand(x.shape, generator=draws) < 1e-3) * torch.randn(x.shape, generator=draws).sign()
    x /= x.std()
    tails = CubicTails(1, (100.0,), by_read_share=True)
    noise = NoiseParameters(torch.zeros_like(x), torch.zeros(8, 4, 1, 1), torch.ones(8, 4, 1, 1))
    tails.start_from(x, at(x), noise)
    assert float(tails.kurtosis.detach()) < 0.1
    assert tails.leaves_tails(x, at(x), noise) == (far > 0)

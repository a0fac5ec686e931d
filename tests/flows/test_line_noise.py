"""Row noise against the closed form of a multivariate normal, and its start by moments."""

import math

import pytest
import torch
from transform_table import conditions, generator, noise_like

from noiseflow.flows import Flow
from noiseflow.flows.line_noise import LineNoise


@pytest.mark.parametrize("width", [3, 32])
def test_density_is_that_of_unit_noise_with_a_common_offset(width: int) -> None:
    cond = conditions(2, 4, 2, width)
    flow = Flow([LineNoise(4, 3, (100.0,), start=0.2)]).double()
    x = noise_like(cond)
    lines = torch.stack([x[:, :2].transpose(1, 2).flatten(2), x[:, 2:].transpose(1, 2).flatten(2)], 1)
    covariance = torch.eye(2 * width, dtype=torch.float64) + 0.2
    normal = torch.distributions.MultivariateNormal(torch.zeros(2 * width, dtype=torch.float64), covariance)
    torch.testing.assert_close(flow.log_prob(x, cond), normal.log_prob(lines).sum((1, 2)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [16, 128])
def test_start_finds_the_offset_s_variance_at_any_width(width: int) -> None:
    """Lines number 1600, so r + 1/n is known to √(2/1600) = 3.5 %; five of these are allowed."""
    cond = conditions(5, 1, 320, width)
    offset = math.sqrt(0.3) * torch.randn(5, 1, 320, 1, generator=generator(9), dtype=torch.float64)
    layer = LineNoise(1, 3, (100.0,)).double()
    layer.start_from(noise_like(cond) + offset, cond)
    assert abs(float(layer.log_variance.detach()[0, 0].exp()) - 0.3) < 5 * 0.0354 * (0.3 + 1 / width)

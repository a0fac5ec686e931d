"""Row noise against the closed form of a multivariate normal, and its start by moments."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal
from transform_table import conditions, generator, noise_like

from noiseflow.flows import Conditions, Flow
from noiseflow.flows.camera.line_noise import NONE, SURE, LineNoise, _moment
from noiseflow.flows.signal_model import NoiseParameters


@pytest.mark.parametrize("width", [3, 32])
def test_density_is_that_of_unit_noise_with_a_common_offset(width: int) -> None:
    cond = conditions(2, 4, 2, width)
    flow = Flow([LineNoise(4, 3, (100.0,), start=0.2)]).double()
    x = noise_like(cond)
    lines = torch.stack([x[:, :2].transpose(1, 2).flatten(2), x[:, 2:].transpose(1, 2).flatten(2)], 1)
    covariance = torch.eye(2 * width, dtype=torch.float64) + 0.2
    normal = torch.distributions.MultivariateNormal(torch.zeros(2 * width, dtype=torch.float64), covariance)
    torch.testing.assert_close(flow.log_prob(x, cond), normal.log_prob(lines).sum((1, 2)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("planes", [1, 4])
def test_masked_pixels_have_no_share_of_an_offset(planes: int) -> None:
    """Against the normal of each line's observed pixels alone; offsets are those of readings, whatever the signal."""
    layer = LineNoise(planes, 3, (100.0,), start=0.2).double()
    cond = conditions(2, planes, 3, 5)
    observed = torch.rand(2, planes, 3, 5, generator=generator(4)) > 0.3
    x = noise_like(cond).masked_fill(~observed, 0.0)
    z, log_det = layer(x, replace(cond, observed=observed))
    found = log_det - 0.5 * (z.square() + math.log(2 * math.pi)).masked_fill(~observed, 0.0).sum((1, 2, 3))
    side = math.isqrt(planes)
    for element in range(2):
        expected = 0.0
        for first in range(0, planes, side):
            for row in range(3):
                seen = observed[element, first : first + side, row].flatten()
                values = x[element, first : first + side, row].flatten()[seen]
                covariance = torch.eye(len(values), dtype=torch.float64) + 0.2
                expected += float(MultivariateNormal(torch.zeros_like(values), covariance).log_prob(values))
        assert float(found[element].detach()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("width", [16, 128])
def test_start_finds_the_offset_s_variance_at_any_width(width: int) -> None:
    """Lines number 1600 a camera, so r + 1/n is known to √(2/1600) = 3.5 %; five of these are allowed."""
    wanted = {0: 0.3, 2: 0.05}
    cond = Conditions(torch.rand(10, 1, 320, width, dtype=torch.float64), 100.0, torch.tensor([0, 2] * 5)).resolve(
        "ABC"
    )
    offset = torch.randn(10, 1, 320, 1, generator=generator(9), dtype=torch.float64)
    offset *= torch.tensor([0.3, 0.05] * 5).sqrt()[:, None, None, None]
    layer = LineNoise(1, 3, (100.0,)).double()
    layer.start_from(noise_like(cond) + offset, cond)
    for camera, r in wanted.items():
        assert abs(float(layer.log_variance.detach()[camera, 0].exp()) - r) < 5 * 0.0354 * (r + 1 / width)


def test_start_finds_no_offset_where_there_is_none() -> None:
    """At 3200 lines in all; five standard errors make one false alarm in three million."""
    cond = Conditions(torch.rand(10, 1, 320, 64, dtype=torch.float64), 100.0, 0).resolve("ABC")
    layer = LineNoise(1, 3, (100.0,)).double()
    layer.start_from(noise_like(cond), cond)
    assert float(layer.log_variance.detach()[0, 0].exp()) == pytest.approx(NONE)


def test_an_iso_that_was_not_seen_is_read_off_the_others() -> None:
    cond = Conditions(torch.rand(10, 1, 320, 64, dtype=torch.float64), torch.tensor([100.0, 1600.0] * 5), 0).resolve(
        "A"
    )
    offset = torch.randn(10, 1, 320, 1, generator=generator(9), dtype=torch.float64)
    offset *= torch.tensor([0.2, 0.8] * 5).sqrt()[:, None, None, None]
    layer = LineNoise(1, 1, (100.0, 400.0, 1600.0)).double()
    layer.start_from(noise_like(cond) + offset, cond)
    assert float(layer.log_variance.detach()[0, 1].exp()) == pytest.approx(0.4, rel=0.2)


def test_rows_cut_into_patches_of_one_band_start_as_whole_rows() -> None:
    """The sums of a row's parts are the row's: exactly, wherever it is cut and in whatever order the parts come."""
    cond = Conditions(
        torch.rand(6, 4, 20, 48, generator=generator(8), dtype=torch.float64), 100.0, torch.tensor([0, 1] * 3)
    ).resolve("AB")
    offset = torch.randn(6, 1, 20, 1, generator=generator(9), dtype=torch.float64)
    x = noise_like(cond) + 0.6 * offset
    whole, cut, apart = (LineNoise(4, 2, (100.0,), in_read_noise=True).double() for _ in range(3))
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    whole.start_from(x, cond, NoiseParameters(cond.clean, one, one))
    order = torch.randperm(18, generator=generator(3))
    parts, clean = (torch.cat(each.split(16, 3))[order] for each in (x, cond.clean))
    of_part = Conditions(clean, 100.0, cond.camera.repeat(3)[order]).resolve("AB")
    noise = NoiseParameters(clean, one, one)
    cut.start_from(parts, of_part, noise, (torch.arange(6) * 7 + 2).repeat(3)[order])
    # Neighbours on both sides of a cut are not left out.
    torch.testing.assert_close(cut.log_variance, whole.log_variance, rtol=0, atol=0.01)
    apart.start_from(parts, of_part, noise)
    assert (apart.log_variance - whole.log_variance).abs().min() > 1e-4


@pytest.mark.parametrize("expected", [0.01, 0.5, 1.0, 300.0])
def test_the_moment_of_equal_lines_is_their_mean_and_its_error_that_of_the_law(expected: float) -> None:
    """Each line's estimate has the variance 2(1/|d|² + r)²; what expects nothing tells nothing."""
    lines, norm = 400, torch.full((401,), 50.0, dtype=torch.float64)
    weight = torch.full((401,), expected, dtype=torch.float64)
    weight[0] = 0.0
    for r, sure in ((0.2, True), (SURE * 0.02 * math.sqrt(2 / lines), False)):
        products = weight * r
        products[0] = 1e6
        found, most = _moment(products, weight, norm)
        error = math.sqrt(2 / lines) * (1 / 50 + r)
        assert found == pytest.approx(r if sure else 0.0)
        assert most == pytest.approx(r + SURE * error, rel=1e-6)
    assert _moment(products[:1], weight[:1], norm[:1]) == (0.0, math.inf)

"""Models of Quad Bayer and X-Trans planes: density, round trip, and line noise along the rows of the sensor."""

import math

import pytest
import torch
from model_table import CAMERAS, TRAINED, generator, randomised_model

from noiseflow import Conditions
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.models import ModelSpec, build
from noiseflow.raw.bayer import plane_names


@pytest.mark.parametrize("layout", ["quad", "xtrans"])
@pytest.mark.parametrize("name", TRAINED)
@torch.no_grad()
def test_every_trained_model_takes_large_cells(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    planes = len(plane_names(layout))
    clean = torch.rand(2, planes, 4, 4, generator=generator(), dtype=torch.float64)
    cond = Conditions(clean, torch.tensor([100.0, 800.0]), CAMERAS[:2])
    noise = model.sample(cond, generator=generator(1))
    assert noise.shape == clean.shape
    both = model.log_prob(noise, cond)
    alone = model.log_prob(noise[1:], Conditions(clean[1:], 800.0, CAMERAS[1]))
    assert torch.isfinite(both).all()
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("layout", ["quad", "xtrans"])
def test_a_fit_looks_for_components_that_take_large_cells(layout: str) -> None:
    """The start of `physics_flow` failed on every such store, as it tried a filter that knows no such mosaic."""
    planes = len(plane_names(layout))
    clean = torch.rand(16, planes, 6, 6, generator=generator())
    cond = Conditions(clean, torch.full((16,), 100.0), torch.zeros(16, dtype=torch.long))
    noise = torch.randn(clean.shape, generator=generator(1)) * (1e-4 * clean + 1e-6).sqrt()
    model = build(ModelSpec("physics_flow", cameras=("A",), isos=(100.0,), layout=layout))
    model.start_from_patches(noise, cond, torch.arange(16) // 2)
    assert "neighbours: none" in model.found
    assert torch.isfinite(model.log_prob(noise, Conditions(clean, 100.0, "A"))).all()


@pytest.mark.parametrize(("planes", "side"), [(16, 4), (36, 6)])
@pytest.mark.parametrize("axis", ["row", "column"])
@torch.no_grad()
def test_line_noise_is_shared_by_the_pixels_of_a_sensor_line(planes: int, side: int, axis: str) -> None:
    layer = LineNoise(planes, 1, (100.0,), axis, start=0.3).double()
    x = torch.randn(1, planes, 2, 3, generator=generator(), dtype=torch.float64)
    cond = Conditions(torch.zeros_like(x), 100.0, 0).resolve("A")
    z, log_det = layer(x, cond)
    # The mosaic of the cells: row and column of each pixel of each plane.
    mosaic = x.reshape(side, side, 2, 3).permute(2, 0, 3, 1).reshape(2 * side, 3 * side)
    lines = mosaic if axis == "row" else mosaic.T
    covariance = torch.eye(lines.shape[1]).double() + 0.3
    normal = torch.distributions.MultivariateNormal(torch.zeros(lines.shape[1]).double(), covariance)
    density = log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum((1, 2, 3))
    assert float(density) == pytest.approx(float(normal.log_prob(lines).sum()), rel=1e-9)
    torch.testing.assert_close(layer.inverse(z, cond), x)

"""The default model starts exactly as its physics, and stays small."""

import pytest
import torch
from model_table import generator, spec_of

from noiseflow.flows import Conditions, Flow
from noiseflow.flows.line_noise import LineNoise
from noiseflow.flows.shape import SinhArcsinh
from noiseflow.flows.shot_read import ShotReadScale
from noiseflow.flows.tails import CubicTails
from noiseflow.models import build


@pytest.mark.parametrize("layout", ["bayer", "mono"])
def test_starts_exactly_as_the_physics(layout: str) -> None:
    model = build(spec_of("physics_flow", layout)).double().eval()
    clean = torch.rand(2, model.planes, 6, 8, generator=generator(1), dtype=torch.float64)
    cond = model.checked(Conditions(clean, 800.0, "B"))
    noise = model.sample(cond, generator(2))
    # A rotation within the residual leaves the density alone as long as it is the identity.
    physics = (ShotReadScale, LineNoise, SinhArcsinh, CubicTails)
    head = Flow(transform for transform in model.flow.transforms if isinstance(transform, physics))
    torch.testing.assert_close(model.log_prob(noise, cond), head.log_prob(noise, cond), rtol=1e-9, atol=1e-9)
    assert [type(transform) for transform in head.transforms] == list(physics)


def test_is_below_20000_parameters() -> None:
    assert sum(parameter.numel() for parameter in build(spec_of("physics_flow", "bayer")).parameters()) < 20_000

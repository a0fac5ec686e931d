"""Gradients of exact code probabilities: computed in the model's precision, as good as those in float64."""

import copy

import pytest
import torch
from model_table import generator, randomised_model
from torch import Tensor

from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.conditions import Resolved
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import exact_codes, marginal_codes


def conditions(clean: Tensor) -> Resolved:
    count = len(clean)
    return Resolved(clean, torch.full((count,), 100.0, dtype=clean.dtype), torch.zeros(count, dtype=torch.long))


def gradients(model: NoiseModel, codes: Tensor, clean: Tensor, levels: Levels) -> tuple[float, Tensor]:
    exact = exact_codes(model)
    cond = conditions(clean)
    found = (
        marginal_codes(model, codes, cond, levels) if exact is None else exact.log_prob_of_codes(codes, cond, levels)
    )
    assert found is not None
    total = found.sum()
    trained = [each for each in model.parameters() if each.requires_grad]
    of_parameters = torch.autograd.grad(total, trained, allow_unused=True)
    return float(total.detach()), torch.cat([each.flatten().double() for each in of_parameters if each is not None])


def test_they_equal_those_of_float64() -> None:
    model = randomised_model("physics_flow", "bayer")
    for rows in (each for each in model.modules() if isinstance(each, LineNoise)):
        # Probabilities of single codes are exact beside faint rows that are not trained.
        rows.requires_grad_(False)
        for parameter in rows.parameters():
            parameter.fill_(-12.0)
    levels = Levels(torch.full((2, 4), 16.0), torch.full((2,), 255.0))
    clean = torch.rand(2, 4, 16, 16, generator=generator(3)) * 0.8
    codes = levels.codes(0.02 * torch.randn(clean.shape, generator=generator(4)), clean)
    true, double = gradients(model, codes, clean.double(), levels)
    value, single = gradients(copy.deepcopy(model).float(), codes, clean, levels)
    assert value != true
    assert value == pytest.approx(true, rel=1e-5)
    assert float((single - double).norm() / double.norm()) < 1e-4


def test_intervals_that_float32_does_not_resolve_are_computed_in_float64() -> None:
    model = build(ModelSpec("nlf"))
    levels = Levels(torch.zeros(1, 4), torch.tensor([65535.0]))
    codes, clean = torch.full((1, 4, 8, 8), 60_000.0), torch.full((1, 4, 8, 8), 1e-3)
    codes[..., 0] = 65.0
    value, _ = gradients(model, codes, clean, levels)
    with torch.no_grad():
        exact = exact_codes(model)
        assert exact is not None
        true = exact.log_prob_of_codes(codes, conditions(clean), levels).sum()
    assert value == float(true)

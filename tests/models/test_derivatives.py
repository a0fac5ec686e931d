"""Derivatives of every density and sample by noise and clean signal, first and second order, against differences."""

import pytest
import torch
from model_table import TRAINED, generator, randomised_model
from torch import Tensor

from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel

STEP = 2e-5


def setting(name: str, **options: object) -> tuple[NoiseModel, Conditions, Tensor]:
    """A model with random weights, conditions of mixed cameras and ISOs, and noise of the model's own."""
    model = randomised_model(name, "bayer", spread=0.1, **options)
    clean = 0.02 + 0.9 * torch.rand(2, model.planes, 4, 4, generator=generator(1), dtype=torch.float64)
    cond = Conditions(clean, torch.tensor([130.0, 900.0], dtype=torch.float64), torch.tensor([0, 2]))
    return model, cond, model.sample(cond, generator(2))


def along(values: Tensor, seed: int) -> Tensor:
    """A direction of the size of the values, so that differences are of the same order for noise and signal."""
    return values.abs().mean() * torch.randn(values.shape, generator=generator(seed), dtype=values.dtype)


def difference(function, at: Tensor, direction: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """(f(x + hd) − f(x − hd))/2h without its third-order error: Richardson on two steps."""
    coarse, fine = (
        (function(at + step * direction) - function(at - step * direction)) / (2 * step) for step in (STEP, STEP / 2)
    )
    return (4 * fine - coarse) / 3


CASES = [(name, {}) for name in TRAINED] + [
    ("physics_flow", {"couplings": 3, "column_noise": True, "row_flicker": True})
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("by", ["noise", "clean"])
def test_first_and_second_derivatives_of_the_density(name: str, options: dict[str, object], by: str) -> None:
    model, cond, noise = setting(name, **options)

    def log_prob(values: Tensor) -> Tensor:
        if by == "noise":
            return model.log_prob(values, cond).sum()
        return model.log_prob(noise, Conditions(values, cond.iso, cond.camera)).sum()

    def gradient(values: Tensor, graph: bool = False) -> Tensor:
        values = values if values.requires_grad else values.detach().requires_grad_()
        return torch.autograd.grad(log_prob(values), values, create_graph=graph, materialize_grads=True)[0]

    at = noise if by == "noise" else cond.clean
    one, two = along(at, 3), along(at, 4)
    with torch.no_grad():
        expected = difference(log_prob, at, one)
    assert float((gradient(at) * one).sum()) == pytest.approx(float(expected), rel=1e-6, abs=1e-7)
    point = at.clone().requires_grad_()
    slope = (gradient(point, graph=True) * one).sum()
    second = torch.autograd.grad(slope, point, materialize_grads=True)[0]
    expected = (difference(gradient, at, two) * one).sum()
    assert float((second * two).sum()) == pytest.approx(float(expected), rel=1e-6, abs=1e-7)
    # The Hessian is symmetric.
    other = torch.autograd.grad((gradient(point, graph=True) * two).sum(), point, materialize_grads=True)[0]
    assert float((second * two).sum()) == pytest.approx(float((other * one).sum()), rel=1e-8, abs=1e-9)

"""Derivatives of every density and sample by noise and clean signal, first and second order, against differences."""

import pytest
import torch
from model_table import TRAINED, generator, randomised_model
from torch import Tensor

from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import ModelError
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, from_profile

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
    ("physics_flow", {"couplings": 3, "column_noise": True, "row_flicker": True}),
    ("physics_flow", {"telegraph": True, "bend": True, "row_memory": True}),
    ("physics_flow", {"neighbours": "mosaic", "neighbour_rows": True}),
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


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_sample_has_the_pathwise_derivative(name: str, options: dict[str, object]) -> None:
    model, cond, _ = setting(name, **options)
    weight = torch.randn(cond.clean.shape, generator=generator(5), dtype=torch.float64)

    def drawn(clean: Tensor) -> Tensor:
        return (weight * model.sample(Conditions(clean, cond.iso, cond.camera), generator(6))).sum()

    direction = along(cond.clean, 3)
    point = cond.clean.clone().requires_grad_()
    found = (torch.autograd.grad(drawn(point), point, materialize_grads=True)[0] * direction).sum()
    with torch.no_grad():
        expected = difference(drawn, cond.clean, direction)
    assert float(found) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)
    assert not drawn(cond.clean).requires_grad


@pytest.mark.parametrize("name", ["poisson_gaussian_exact", "eld"])
def test_photon_counts_refuse_a_derivative(name: str) -> None:
    model = from_profile(name, shipped_profile(next(iter(shipped_names()))))
    clean = torch.full((1, 4, 4, 4), 0.1, requires_grad=True)
    with pytest.raises(ModelError, match="no gradient with respect to the clean signal"):
        model.sample(Conditions(clean, model.iso_range[0]))


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_torch_func_gives_the_same_derivatives(name: str) -> None:
    model, cond, noise = setting(name)

    def log_prob(noise: Tensor, clean: Tensor) -> Tensor:
        one = Conditions(clean[None], cond.iso[:1], cond.camera[:1])
        return model.log_prob(noise[None], one)[0]

    point = (noise[0], cond.clean[0])
    by_func = torch.func.grad(log_prob, argnums=(0, 1))(*point)
    by_tape = [each.clone().requires_grad_() for each in point]
    for one, two in zip(by_func, torch.autograd.grad(log_prob(*by_tape), by_tape, materialize_grads=True), strict=True):
        torch.testing.assert_close(one, two)
    pair = [torch.stack([each, 0.9 * each]) for each in point]
    assert torch.allclose(torch.func.vmap(torch.func.grad(log_prob))(*pair)[0], by_func[0])
    direction = along(point[0], 3)
    second = torch.func.jvp(lambda noise: torch.func.grad(log_prob)(noise, point[1]), (point[0],), (direction,))[1]
    slope = (torch.autograd.grad(log_prob(*by_tape), by_tape[0], create_graph=True)[0] * direction).sum()
    expected = torch.autograd.grad(slope, by_tape[0], materialize_grads=True)[0]
    torch.testing.assert_close(second, expected)

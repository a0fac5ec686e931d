"""Masked pixels are left out of every model's likelihood."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.observed import imputed
from noiseflow.models.model import ModelSpec, NoiseModel, build

EXACT = {
    "gaussian": ModelSpec("gaussian"),
    "nlf": ModelSpec("nlf"),
    "physics_flow": ModelSpec("physics_flow"),
    "columns": ModelSpec("physics_flow", options={"column_noise": True}),
    "flicker": ModelSpec("physics_flow", options={"row_flicker": True}),
}
BOUND = {
    "noise_flow": ModelSpec("noise_flow"),
    "couplings": ModelSpec("physics_flow", options={"couplings": 4}),
}


def drawn(model: NoiseModel, part: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, Conditions]:
    """Noise of the model on a gradient, with masked pixels, one of them in a row of its own."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.linspace(0, 0.3, 8).expand(2, 4, 6, 8).contiguous()
    observed = torch.rand(clean.shape, generator=generator) >= part
    observed[0, 0, 0, 0] = False
    cond = Conditions(clean, 100.0, 0, observed).resolve(model.cameras)
    return model.sample(replace(cond, observed=None), generator), cond


def physical(model: NoiseModel) -> NoiseModel:
    """Its head and lines alone, with offsets half as strong as the pixels' noise, and a flicker that shows."""
    model.flow.transforms = model.flow.transforms[: 3 if "column_noise" in model.spec.options else 2]  # type: ignore
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("log_variance") and value.ndim == 2:
                value.fill_(math.log(0.25))
            elif name.endswith("log_flicker"):
                value.fill_(math.log(1e-3))
    return model


@pytest.mark.parametrize("name", [*EXACT, *BOUND])
def test_what_stands_at_masked_pixels_does_not_count(name: str) -> None:
    model = build({**EXACT, **BOUND}[name])
    noise, cond = drawn(model)
    expected = model.log_prob(noise, cond)
    assert cond.observed is not None
    for value in (math.nan, 7.0):
        torch.testing.assert_close(model.log_prob(noise.masked_fill(~cond.observed, value), cond), expected)
    assert not torch.allclose(model.log_prob(noise, replace(cond, observed=None)), expected, atol=0.1)


@pytest.mark.parametrize("name", [*EXACT, *BOUND])
def test_a_mask_of_nothing_changes_nothing(name: str) -> None:
    model = build({**EXACT, **BOUND}[name])
    noise, cond = drawn(model)
    whole = replace(cond, observed=torch.ones_like(cond.clean, dtype=torch.bool))
    torch.testing.assert_close(model.log_prob(noise, whole), model.log_prob(noise, replace(cond, observed=None)))


@pytest.mark.parametrize(("name", "tolerance"), [("physics_flow", 2e-3), ("flicker", 2e-3), ("columns", 0.1)])
def test_lines_without_some_pixels_are_the_marginal_of_normal_noise(name: str, tolerance: float) -> None:
    """Against the dense covariance of the observed pixels, built from the samples' exact linear map.

    Rows behind columns are not quite it: about 0.01 nats for each masked pixel, with lines as strong as these.
    """
    model = physical(build(EXACT[name])).double()
    noise, cond = drawn(model)
    noise, cond = noise.double(), replace(cond, clean=cond.clean.double(), iso=cond.iso.double())
    assert cond.observed is not None
    everything = replace(cond, observed=None)
    expected = []
    for row in range(2):
        one = Conditions(cond.clean[row : row + 1], 100.0, 0).resolve(model.cameras)
        zero = torch.zeros_like(one.clean)
        jacobian = torch.autograd.functional.jacobian(
            lambda z, one=one: model.flow.inverse(z, one),  # type: ignore[union-attr, operator]
            zero,
        )
        root = jacobian.reshape(zero.numel(), zero.numel())
        seen = cond.observed[row].flatten()
        covariance = (root @ root.T)[seen][:, seen]
        expected.append(
            MultivariateNormal(torch.zeros(len(covariance)).double(), covariance).log_prob(noise[row].flatten()[seen])
        )
    found = model.log_prob(noise, cond)
    torch.testing.assert_close(found, torch.stack(expected), atol=tolerance, rtol=0)
    # The masked pixels carry some nats: the comparison could fail.
    assert (model.log_prob(noise, everything) - found).abs().min() > 0.5


@pytest.mark.parametrize("name", [*EXACT, *BOUND])
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    model = build({**EXACT, **BOUND}[name])
    noise, cond = drawn(model)
    model(noise, cond).sum().backward()
    for key, value in model.named_parameters():
        assert value.grad is not None, key
        assert value.grad.isfinite().all(), key


def test_gradients_are_those_of_the_marginal() -> None:
    """By differences of the log-likelihood: the slopes at masked pixels are differentiated too."""
    model = physical(build(EXACT["physics_flow"])).double()
    noise, cond = drawn(model)
    noise, cond = noise.double(), replace(cond, clean=cond.clean.double(), iso=cond.iso.double())
    model(noise, cond).sum().backward()
    for value in model.parameters():
        grad = value.grad
        assert grad is not None
        at = int(grad.abs().flatten().argmax())
        flat, step = value.data.view(-1), 1e-6
        sums = []
        for sign in (1, -1, 0):
            flat[at] += sign * step if sign else 0.0
            sums.append(float(model.log_prob(noise, cond).detach().sum()))
            flat[at] -= sign * step if sign else 0.0
        assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(float(grad.flatten()[at]), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", list(BOUND))
def test_the_bound_of_models_that_read_neighbours_is_close(name: str) -> None:
    """1 % of masked pixels costs less than 0.001 nats/dim."""
    model = build(BOUND[name])
    clean = torch.full((32, 4, 32, 32), 0.1)
    generator = torch.Generator().manual_seed(1)
    observed = torch.rand(clean.shape, generator=generator) >= 0.01
    cond = Conditions(clean, 100.0, 0, observed).resolve(model.cameras)
    with torch.no_grad():
        noise = model.sample(replace(cond, observed=None), generator)
        whole = model.log_prob(noise, replace(cond, observed=None)) / clean[0].numel()
        part = model.log_prob(noise, cond) / cond.counts()
    assert abs(float((whole - part).mean())) < 1e-3 + 3 * float((whole - part).std()) / len(clean) ** 0.5


def test_imputed_noise_has_the_variance_of_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = 3.0 * torch.randn(8, 4, 32, 32, generator=generator)
    observed = torch.rand(noise.shape, generator=generator) >= 0.1
    filled, surprise = imputed(noise.masked_fill(~observed, 1e6), observed)
    values = filled[~observed]
    assert float(values.square().mean()) == pytest.approx(9.0, rel=0.05)
    assert abs(float(values.mean())) < 4 * 3.0 / len(values) ** 0.5
    assert float(surprise.sum()) == pytest.approx(len(values) * 0.5 * math.log(2 * math.pi * math.e * 9), rel=0.02)

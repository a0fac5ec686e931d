"""What every registered model promises, checked on every name of `MODELS`."""

import math
from pathlib import Path

import pytest
import torch
from model_table import CAMERAS, ISOS, MODEL_CASES, generator, randomised_model, spec_of, statistics_of

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows import Conditions, Flow
from noiseflow.models import ModelSpec, NoiseModel, build, load, save
from noiseflow.models.model import checked_conditions

each_model = pytest.mark.parametrize(("name", "layout"), MODEL_CASES)


def conditions(model: NoiseModel, batch: int, height: int, width: int, seed: int = 2) -> Conditions:
    clean = torch.rand(batch, model.planes, height, width, generator=generator(seed), dtype=torch.float64)
    iso = torch.tensor([100.0, 1600.0, 320.0, 1000.0, 400.0], dtype=torch.float64)[:batch]
    return Conditions(clean, iso, torch.tensor([1, 0, 2, 1, 0])[:batch])


def single(cond: Conditions, row: int) -> Conditions:
    return Conditions(cond.clean[row : row + 1], cond.iso[row : row + 1], cond.camera[row : row + 1])


def draw(model: NoiseModel, cond: Conditions, seed: int = 3) -> torch.Tensor:
    return model.sample(cond, generator(seed))


@each_model
def test_density_and_samples_at_any_size(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    for height, width in ((1, 1), (1, 6), (5, 3), (8, 8)):
        cond = conditions(model, 3, height, width)
        noise = draw(model, cond)
        assert noise.shape == cond.clean.shape
        assert noise.dtype == cond.clean.dtype
        assert torch.isfinite(noise).all()
        log_prob = model.log_prob(noise, cond)
        assert log_prob.shape == (3,)
        assert torch.isfinite(log_prob).all()


@each_model
def test_batch_of_mixed_cameras_and_isos_equals_singles(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    cond = conditions(model, 5, 4, 3)
    noise = draw(model, cond)
    together = model.log_prob(noise, cond)
    for row in range(5):
        alone = model.log_prob(noise[row : row + 1], single(cond, row))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-9)
    by_name = Conditions(cond.clean, cond.iso, [CAMERAS[index] for index in cond.camera.tolist()])
    assert torch.equal(model.log_prob(noise, by_name), together)


@each_model
def test_every_parameter_gets_a_gradient(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    cond = conditions(model, 5, 6, 5)
    model.log_prob(draw(model, cond), cond).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.numel() == 0 or parameter.grad.abs().max() > 0, parameter_name


@each_model
def test_samples_depend_on_the_seed_alone(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    cond = conditions(model, 2, 5, 4)
    torch.manual_seed(0)
    first = draw(model, cond, seed=7)
    torch.manual_seed(1)
    assert torch.equal(first, draw(model, cond, seed=7))
    assert not torch.equal(first, draw(model, cond, seed=8))


@each_model
def test_temperature_zero_is_one_point_and_one_is_the_default(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    cond = conditions(model, 2, 5, 4)
    cold = model.sample(cond, generator(7), temperature=0.0)
    assert torch.equal(cold, model.sample(cond, generator(8), temperature=0.0))
    assert torch.isfinite(cold).all()
    assert torch.equal(model.sample(cond, generator(7), temperature=1.0), draw(model, cond, seed=7))
    with pytest.raises(DataError, match="temperature"):
        model.sample(cond, generator(7), temperature=-1.0)


@each_model
def test_state_dict_and_spec_make_the_same_model(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    other = build(ModelSpec.from_json(model.spec.to_json())).double().eval()
    other.load_state_dict(model.state_dict())
    cond = conditions(model, 3, 4, 5)
    noise = draw(model, cond)
    assert torch.equal(model.log_prob(noise, cond), other.log_prob(noise, cond))
    assert torch.equal(noise, draw(other, cond))


@each_model
def test_starts_the_same_every_time(name: str, layout: str) -> None:
    one, two = build(spec_of(name, layout)), build(spec_of(name, layout))
    for (parameter_name, value), other in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(value, other), parameter_name


@each_model
def test_refuses_what_does_not_fit(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    cond = conditions(model, 2, 4, 4)
    noise = torch.zeros_like(cond.clean)
    with pytest.raises(ModelError, match="not one this model was fitted for"):
        model.log_prob(noise, Conditions(cond.clean, 100.0, "another"))
    with pytest.raises(DataError, match="expected the shape of clean"):
        model.log_prob(noise[:, :, 1:], cond)
    with pytest.raises(DataError, match="NaN"):
        model.log_prob(noise * math.nan, cond)
    with pytest.raises(DataError, match="plane"):
        model.sample(Conditions(torch.zeros(1, 7, 4, 4), 100.0, "A"))


@each_model
def test_samples_have_the_density(name: str, layout: str) -> None:
    """E[q(x)/p(x)] over samples x of the model is 1 for a density q that is narrower than p.

    A density that is not normalised, or samples of another distribution than the density's, move
    it.  5 standard errors: false alarm below 1e-5 a model where the ratio's mean is near normal.
    """
    model = randomised_model(name, layout)
    count = 6000
    one = conditions(model, 1, 1, 2 if model.planes == 1 else 1)
    cond = Conditions(one.clean.expand(count, -1, -1, -1), 400.0, "B")
    noise = draw(model, cond)
    center, scale = noise.median(0).values, 0.6 * noise.std(0)
    q = torch.distributions.Normal(center, scale).log_prob(noise).flatten(1).sum(1)
    with torch.no_grad():
        ratio = (q - model.log_prob(noise, cond)).exp()
    error = float(ratio.std()) / math.sqrt(count)
    assert error < 0.05
    assert abs(float(ratio.mean()) - 1) < 5 * error


@each_model
def test_flow_log_det_is_the_jacobian_s_row_by_row(name: str, layout: str) -> None:
    model = randomised_model(name, layout)
    flow = getattr(model, "flow", None)
    if not isinstance(flow, Flow):
        assert name in {"gaussian", "nlf"}, f"{name}: keep the flow in `flow`"
        return
    cond = checked_conditions(model, conditions(model, 3, 3, 2))
    noise = draw(model, cond)
    z, log_det = flow(noise, cond)
    torch.testing.assert_close(flow.inverse(z, cond), noise, rtol=1e-7, atol=1e-9)
    for row in range(3):
        alone = single(cond, row)
        jacobian = torch.autograd.functional.jacobian(
            lambda flat, alone=alone: flow(flat.reshape(alone.clean.shape), alone)[0].flatten(), noise[row].flatten()
        )
        torch.testing.assert_close(log_det[row], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-9, atol=1e-9)


@each_model
def test_float32_round_trip_to_100_sigma(name: str, layout: str) -> None:
    model = randomised_model(name, layout).float()
    flow = getattr(model, "flow", None)
    if not isinstance(flow, Flow):
        return
    cond = checked_conditions(model, conditions(model, 3, 6, 5))
    cond = Conditions(cond.clean.float(), cond.iso.float(), cond.camera)
    z = torch.randn(cond.clean.shape, generator=generator(4))
    sigma = flow.inverse(z, cond).detach().flatten(1).std(1)[:, None, None, None]
    for scale in (1.0, 10.0, 30.0):
        noise = (scale * z).clamp(-100, 100) * sigma
        back = flow.inverse(flow(noise, cond)[0], cond).detach()
        assert float(((back - noise).abs() / sigma).max()) < 1e-4 * 3.3 * scale


@each_model
def test_start_from_statistics_raises_the_likelihood(name: str, layout: str) -> None:
    """Shot and read noise of 5 % and 0.1 % at one ISO: any model starts better than as built."""
    model = build(spec_of(name, layout)).double().eval()
    clean = 0.3 * torch.rand(64, model.planes, 8, 8, generator=generator(5), dtype=torch.float64)
    noise = (2e-3 * clean + 1e-6).sqrt() * torch.randn(clean.shape, generator=generator(6), dtype=torch.float64)
    cond = Conditions(clean, ISOS[0], "A")
    with torch.no_grad():
        before = model.log_prob(noise, cond).mean() / clean[0].numel()
        model.start_from(statistics_of(noise, clean))
        after = model.log_prob(noise, cond).mean() / clean[0].numel()
    oracle = -0.5 * (2 * math.pi * math.e * (2e-3 * clean + 1e-6)).log().mean()
    assert after > before
    # What the best Gaussian of one variance loses to the oracle here is 0.21 nats a dimension.
    assert after > oracle - 0.25


@each_model
def test_run_folder_keeps_the_model(name: str, layout: str, tmp_path: Path) -> None:
    model = randomised_model(name, layout).float()
    save(model, tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.spec == model.spec
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_the_contract_is_six_names() -> None:
    """What only some models can do is asked for in `capabilities`."""
    shown = {name for name in dir(NoiseModel) if not name.startswith("_")} - set(dir(torch.nn.Module))
    assert shown | {"spec"} == {"log_prob", "sample", "planes", "cameras", "iso_range", "spec"}

"""Densities, samples and facts of models with every option, beside those that this version was released with.

The golden files hold one model of each name; here are their options, cameras mixed in a batch, ISOs beyond the fitted
ones, masked pixels and codes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_table import generator, randomised_model
from temporal_models import temporal_model
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, NoiseModel, TemporalNoise, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import approximate_sigma, latent, marginal_codes
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, local_mean
from noiseflow.models.integers.dequantise import Dequantiser, VariationalDequantiser, uniform
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import checked_conditions
from noiseflow.models.noise_statistics import components_of
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.models.shown import in_one_line, noise_curves
from noiseflow.ops.random.sampling import Keyed
from noiseflow.simulate import load_camera, truth_of
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gaussian": ("gaussian", "mono", {}),
    "nlf": ("nlf", "bayer", {}),
    "noise flow": ("noise_flow", "bayer", {}),
    "glow": ("glow", "bayer", {"scales": 2, "steps": 2, "width": 4}),
    "realnvp of one plane": ("realnvp", "mono", {"couplings": 3, "width": 4}),
    "maf": ("maf", "bayer", {"blocks": 2, "width": 4}),
    "iaf": ("iaf", "mono", {"blocks": 2, "width": 4}),
    "defaults": ("physics_flow", "bayer", {"couplings": 0, "odd_spline": True}),
    "couplings": ("physics_flow", "bayer", {"couplings": 3, "width": 4, "bins": 4}),
    "couplings of one plane": ("physics_flow", "mono", {"couplings": 3, "width": 4, "bins": 4}),
    "flicker and columns": ("physics_flow", "bayer", {"row_flicker": True, "column_noise": True, "couplings": 0}),
    "memory and jumps": ("physics_flow", "mono2x2", {"row_memory": True, "telegraph": True, "couplings": 0}),
    "neighbours": ("physics_flow", "bayer", {"neighbours": "mosaic", "neighbour_rows": True, "couplings": 0}),
    "bend and planes": ("physics_flow", "bayer", {"neighbours": "plane", "bend": True, "couplings": 0}),
}


def batch(model: NoiseModel, masked: bool = False) -> tuple[Tensor, Conditions]:
    """Four elements, of signals from black to white and noise of a half to four of the model's σ."""
    draw = generator(4)
    clean = torch.rand(4, model.planes, 6, 8, generator=draw, dtype=torch.float64).square()
    observed = torch.rand(clean.shape, generator=draw) > 0.2 if masked else None
    count = len(model.cameras)
    isos = torch.tensor([100.0, 250.0, 3000.0, 60.0], dtype=torch.float64)
    cond = Conditions(clean, isos, torch.arange(4) % count, observed)
    noise = torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    sigma = approximate_sigma(model, Conditions(clean, isos, torch.arange(4) % count), generator(5))
    return noise * sigma * torch.tensor([1.0, 0.5, 2.0, 4.0])[:, None, None, None], cond


def projected(values: Tensor) -> list[float]:
    """One number of each element, in which every pixel and plane has another weight."""
    return (values.flatten(1).double() @ torch.linspace(-1, 2, values[0].numel(), dtype=torch.float64).sin()).tolist()


def numbers(model: NoiseModel) -> dict[str, Any]:
    noise, cond = batch(model)
    _, some = batch(model, masked=True)
    levels = Levels(torch.full((4, model.planes), 64.0), torch.full((4,), 1023.0))
    codes = levels.codes(noise, cond.clean)
    of_codes = discrete_log_prob(model, codes, cond, levels, generator=generator(6))
    z = latent(model, noise, cond)
    marginal = marginal_codes(model, codes, checked_conditions(model, cond), levels)
    return {
        "log_prob": model.log_prob(noise, cond).tolist(),
        "of observed": model.log_prob(noise, some).tolist(),
        "sigma": projected(approximate_sigma(model, cond, generator(5))),
        "sample": projected(model.sample(cond, generator(7))),
        "half as warm": projected(model.sample(cond, Keyed(3, (0, 1, 2, 9)), temperature=0.5)),
        "latent": None if z is None else projected(z),
        "codes": [of_codes.words, of_codes.values.tolist()],
        "codes by themselves": None if marginal is None else projected(marginal),
        "components": components_of(model),
        "shown": in_one_line(model),
    }


@pytest.mark.filterwarnings("ignore::noiseflow.core.errors.ExtrapolationWarning")
def test_models_of_every_option_give_the_numbers_that_they_gave() -> None:
    found = {}
    for name, (kind, layout, options) in MODELS.items():
        model = randomised_model(kind, layout, **options).requires_grad_(False)
        found[name] = numbers(model)
    assert_pinned(found, HERE / "models.json", tolerance=1e-4, small=1e-4)


def sequence_numbers(model: TemporalNoise, iso: float = 250.0) -> dict[str, Any]:
    draw = generator(8)
    clean = torch.rand(1, 5, model.planes, 4, 6, generator=draw, dtype=torch.float64)
    noise = 0.05 * torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    found: dict[str, Any] = {
        "sample": projected(model.sample_sequence(clean, iso, 1, source=Keyed(2))[0]),
        "shown": in_one_line(model),
    }
    try:
        found["density"] = model.log_prob_of_sequence(noise, clean, iso, 1).tolist()
    except ModelError as error:
        found["density"] = str(error)
    cond = Conditions(clean[0, :2], iso, 1).resolve(model.cameras)
    return found | {"facts": {name: part.facts(cond) for name, part in model.parts.items()}}


def test_temporal_models_give_the_numbers_that_they_gave() -> None:
    linear = ("dark_pattern", "response_pattern", "black_drift", "light_flicker")
    models = {
        "linear": temporal_model(linear),
        "linear of four": temporal_model(linear, layout="bayer", pattern="added"),
        "jumps": temporal_model(("telegraph",)),
        "all": temporal_model((*linear, "telegraph", "conditional_flow"), seed=3),
    }
    for parameter in models["all"].innovation_parts[-1].parameters():  # type: ignore[union-attr]
        # To the bounds of shift and scale.
        parameter += 0.6 * torch.randn(parameter.shape, generator=generator(9), dtype=torch.float64)
    found = {name: sequence_numbers(model) for name, model in models.items()}
    assert_pinned(found, HERE / "temporal.json", tolerance=1e-4, small=1e-5)


@pytest.mark.parametrize("camera", ["PG-12", "Sony A7S2"])
def test_oracles_and_curves(camera: str) -> None:
    physics = load_camera(camera)
    iso = sorted(physics.isos)[-1]
    truth = truth_of(physics, [iso])
    oracle = oracle_from_truth(truth, "bayer", tuple(truth), (iso,))
    assert oracle is not None
    span, draw = physics.white_dn - physics.black_dn, generator(10)
    clean = torch.rand(2, 4, 4, 6, generator=draw, dtype=torch.float64) ** 3
    clean[:, 0, 0] = 0.0
    noise = torch.randn(clean.shape, generator=draw, dtype=torch.float64) * (30 + 3 * (clean * span).sqrt()) / span
    cond = Conditions(clean, iso, 0)
    levels = Levels(torch.full((2, 4), float(physics.black_dn)), torch.full((2,), float(physics.white_dn)))
    found = {
        "log_prob": oracle.log_prob(noise, cond).tolist(),
        "codes": discrete_log_prob(oracle, levels.codes(noise, clean), cond, levels).values.tolist(),
        "sample": projected(oracle.sample(cond, generator(11))),
        "curves": {name: list(curve) for name, curve in noise_curves(oracle)[0].items()},
    }
    assert_pinned(found, HERE / f"oracle_{camera.replace(' ', '_')}.json", tolerance=1e-4, small=1e-5)


PROPOSALS: dict[str, Callable[[], Dequantiser]] = {
    "normal": Dequantiser,
    "uniform": lambda: Dequantiser(uniform),
    "spline": lambda: moved(VariationalDequantiser(4, 3, bins=5, width=4, generator=generator(2))),
}


def moved(part: VariationalDequantiser) -> VariationalDequantiser:
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(3))
    return part.double()


@pytest.mark.filterwarnings("ignore::noiseflow.core.errors.ExtrapolationWarning")
def test_bounds_by_each_dequantiser() -> None:
    model = randomised_model("nlf", "bayer").requires_grad_(False)
    noise, cond = batch(model)
    levels = Levels(torch.full((4, 4), 64.0), torch.full((4,), 1023.0))
    codes = levels.codes(noise, cond.clean)
    found = {}
    for name, make in PROPOSALS.items():
        given = {"dequantiser": make(), "generator": generator(4)}
        bound = discrete_log_prob(model, codes, cond, levels, samples=2, **given)  # type: ignore[arg-type]
        found[name] = bound.values.tolist()
    assert_pinned(found, HERE / "bounds.json", tolerance=1e-4)


def test_a_denoiser_and_its_local_mean() -> None:
    denoiser = Denoiser(DenoiserSpec("bayer", ("A", "B"), (100.0, 400.0), width=4, depth=3, seed=2)).eval()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(3))
        noisy = torch.rand(2, 4, 12, 14, generator=generator(4))
        found = {
            "clean": projected(denoiser(noisy, torch.tensor([100.0, 250.0]), ["A", "B"])),
            "mean": [projected(local_mean(noisy, hollow=hollow)) for hollow in (False, True)],
            "reach": [Denoiser(DenoiserSpec(depth=depth)).reach for depth in (2, 3, 6, 7, 9)],
        }
    assert_pinned(found, HERE / "denoiser.json", tolerance=1e-4)


@pytest.mark.parametrize("name", sorted({"flow", *(kind for kind, *_ in MODELS.values())} - {"gaussian", "nlf"}))
def test_without_a_seed_it_is_0(name: str) -> None:
    layers = {"layers": [{"name": "shot_read_scale"}, {"name": "conv1x1"}]} if name == "flow" else {}
    plain, first, other = (
        build(ModelSpec(name, options={**layers, **seed})) for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    kept = [model.state_dict() for model in (plain, first, other)]
    assert all(torch.equal(value, kept[1][place]) for place, value in kept[0].items())
    if name not in ("maf", "iaf"):
        assert not all(torch.equal(value, kept[2][place]) for place, value in kept[0].items())

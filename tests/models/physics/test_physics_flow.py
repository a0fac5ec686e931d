"""The default model starts exactly as its physics, and stays small."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_table import generator, spec_of

from noiseflow.core.errors import ModelError
from noiseflow.core.output.manifest import MANIFEST
from noiseflow.flows import Conditions, Flow
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.models import NoiseModel, build, load, save
from noiseflow.models.capabilities import approximate_sigma
from noiseflow.models.flow.physics_flow import DEFAULTS
from noiseflow.models.model import checked_conditions

LARGER = {"couplings": 4, "width": 16, "bins": 8, "odd_spline": False}


@pytest.mark.parametrize("layout", ["bayer", "mono"])
@pytest.mark.parametrize("options", [{}, LARGER])
def test_starts_exactly_as_the_physics(layout: str, options: dict[str, int]) -> None:
    model = build(replace(spec_of("physics_flow", layout), options=options)).double().eval()
    clean = torch.rand(2, model.planes, 6, 8, generator=generator(1), dtype=torch.float64)
    cond = checked_conditions(model, Conditions(clean, 800.0, "B"))
    noise = model.sample(cond, generator(2))
    # A rotation within the residual leaves the density alone as long as it is the identity.
    physics = (ShotReadScale, LineNoise, SinhArcsinh, CubicTails)
    head = Flow(transform for transform in model.flow.transforms if isinstance(transform, physics))
    torch.testing.assert_close(model.log_prob(noise, cond), head.log_prob(noise, cond), rtol=1e-9, atol=1e-9)
    assert [type(transform) for transform in head.transforms] == list(physics)


def size(model: NoiseModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_is_below_2000_parameters_and_as_large_as_is_asked_for() -> None:
    spec = spec_of("physics_flow", "bayer")
    assert size(build(spec)) < 2_000
    assert size(build(replace(spec, options=LARGER))) > 8_000


def test_a_run_of_an_earlier_version_has_the_size_that_it_was_fitted_with(tmp_path: Path) -> None:
    """Its spec left the size out; today's says it, and is kept whatever the default will be."""
    spec = spec_of("physics_flow", "bayer")
    model = build(replace(spec, options={**LARGER, "seed": 3})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(1))
    save(model, tmp_path)
    stored = json.loads((tmp_path / "spec.json").read_text(encoding="utf-8"))
    assert stored["options"] == {**LARGER, "seed": 3}
    for name in LARGER:
        del stored["options"][name]
    (tmp_path / "spec.json").write_text(json.dumps(stored), encoding="utf-8")
    # An earlier version wrote no list with checksums either.
    (tmp_path / MANIFEST).unlink()
    loaded = load(tmp_path)
    noise, clean = (0.01 * torch.rand(2, 4, 6, 8, generator=generator(seed)) for seed in (2, 3))
    cond = Conditions(clean, 800.0, "B")
    assert torch.equal(loaded.log_prob(noise, cond), model.log_prob(noise, cond))
    assert loaded.spec.options == {**LARGER, "seed": 3}
    save(build(spec), tmp_path / "new")
    assert json.loads((tmp_path / "new" / "spec.json").read_text(encoding="utf-8"))["options"] == dict(DEFAULTS)


@pytest.mark.parametrize("layout", ["bayer", "mono"])
def test_in_the_dark_noise_has_a_mean_of_0_whatever_was_learned(layout: str) -> None:
    """Turned round, the latent gives the noise turned round: a mean of 0.001 σ would be 0.03 σ of a whitened row."""
    model = build(spec_of("physics_flow", layout)).double().eval()
    draw = generator(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    cond = checked_conditions(model, Conditions(torch.zeros(2, model.planes, 6, 8, dtype=torch.float64), 800.0, "B"))
    z = torch.randn(cond.clean.shape, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        one, other = model.flow.inverse(z, cond), model.flow.inverse(-z, cond)
        assert (one / approximate_sigma(model, cond) - z).abs().max() > 0.1
    torch.testing.assert_close(other, -one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("options", "said"), [({"bins": 5}, "even number"), ({"odd_spline": 1}, "true or false")])
def test_options_that_no_spline_has_are_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build(replace(spec_of("physics_flow", "bayer"), options=options))

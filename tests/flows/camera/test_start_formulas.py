"""Steps of the default model's start against their formulas."""

import math

import pytest
import torch

import noiseflow.models.flow.physics_flow as physics
from noiseflow.flows.camera import cubic_tails
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.starts.rows import ChosenRows


def test_the_kurtosis_of_read_noise_is_what_shot_noise_leaves() -> None:
    """κ = Σ w²(x⁴ − 3 − excess of the shot noise) / Σ w⁴, w = share of the read noise; masked pixels have no part."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 4, 8, 8)
    clean = torch.rand(shape, generator=generator)
    observed = torch.rand(shape, generator=generator) < 0.8
    cond = Resolved(clean, torch.full((2,), 100.0), torch.zeros(2, dtype=torch.long), observed)
    noise = NoiseParameters(clean, torch.full((2, 4, 1, 1), 1e-3), torch.full((2, 4, 1, 1), 1e-4), observed=observed)
    x = 1.5 * torch.randn(shape, generator=generator)
    tails = CubicTails(1, (100.0,), by_read_share=True)
    tails.start_from(x, cond, noise)
    variance = noise.beta1 * clean + noise.beta2
    share = noise.beta2 / variance
    shot = noise.beta1**3 * clean / variance**2
    weight = share.square() * observed
    expected = float((weight * (x**4 - 3 - shot)).sum() / (share**4 * observed).sum())
    assert expected > 1
    assert float(tails.kurtosis.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("more", "leaves"), [(-0.01, True), (0.01, False)])
def test_what_is_left_of_tails_is_judged_by_its_excess(
    more: float, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """|Σ w²(z⁴ − 3) / Σ w⁴| against a limit and `SURE` standard errors √(24/Σ w⁴)."""
    shape = (2, 4, 16, 16)
    draw = torch.Generator().manual_seed(3)
    clean = torch.rand(shape, generator=draw)
    cond = Resolved(clean, torch.full((2,), 100.0), torch.zeros(2, dtype=torch.long))
    noise = NoiseParameters(clean, torch.full((2, 4, 1, 1), 1e-4), torch.full((2, 4, 1, 1), 1e-4))
    x = 1.5 * torch.randn(shape, generator=draw)
    tails = CubicTails(1, (100.0,), by_read_share=True).requires_grad_(False)
    tails.kurtosis.fill_(0.5)
    z = tails(x, cond, noise)[0]
    weight = (noise.beta2 / (noise.beta1 * clean + noise.beta2)).square()
    excess = float((weight * (z**4 - 3)).sum() / weight.square().sum())
    error = (24 / float(weight.square().sum())) ** 0.5
    assert excess > cubic_tails.SURE * error
    monkeypatch.setattr(cubic_tails, "NORMAL", excess - cubic_tails.SURE * error + more)
    assert tails.leaves_tails(x, cond, noise) == leaves


@pytest.mark.parametrize(("excess", "leaves"), [(2.9, False), (3.1, True)])
def test_strong_tails_are_tried_as_jumps_whatever_excess_is_left(
    excess: float, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cubic_tails, "NORMAL", math.inf)
    x = torch.randn((1, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    cond = Resolved(torch.zeros_like(x), torch.full((1,), 100.0), torch.zeros(1, dtype=torch.long))
    noise = NoiseParameters(cond.clean, torch.full((1, 1, 1, 1), 1e-4), torch.full((1, 1, 1, 1), 1e-4))
    tails = CubicTails(1, (100.0,), by_read_share=True).requires_grad_(False)
    tails.kurtosis.fill_(excess)
    assert tails.leaves_tails(x, cond, noise) == leaves


@pytest.mark.parametrize("before", [0.02, 4.0])
def test_rows_found_among_neighbours_take_their_variance_from_the_read_noise(
    monkeypatch: pytest.MonkeyPatch, before: float
) -> None:
    """Rows of 0.02 that become 0.05 leave 0.97 of the read variance, and keep their DN; strong ones leave all of it."""
    spec = ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"neighbours": "mosaic"})
    model = build(spec)
    assert isinstance(model, physics.PhysicsFlow)
    rows = next(each for each in model.flow.transforms if isinstance(each, LineNoise))
    found = LineNoise(4, 1, (100.0,), in_read_noise=True)
    with torch.no_grad():
        rows.log_variance.fill_(math.log(before))
        found.log_variance.fill_(math.log(0.05))
    monkeypatch.setattr(physics, "rows_among_neighbours", lambda *given, **said: ChosenRows(found, {}, ("rows",)))
    model.found[:] = ["rows: none"]
    read = model.shot_read.log_beta2.clone()
    clean = torch.zeros(1, 4, 8, 8)
    cond = Resolved(clean, torch.full((1,), 100.0), torch.zeros(1, dtype=torch.long))
    with torch.no_grad():
        model._start_rows_again(clean, cond, torch.zeros(1, dtype=torch.long))
    left = 1 - (0.05 - before) if before < 1 else 1.0
    assert model.flow.transforms[1] is found
    torch.testing.assert_close(model.shot_read.log_beta2 - read, torch.full_like(read, math.log(left)))
    torch.testing.assert_close(found.offset_variance(), torch.full_like(read, 0.05 / left))

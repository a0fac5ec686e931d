"""Where a physics flow starts, from patches whose clean signal is itself a noisy frame."""

import math

import pytest
import torch
from model_table import generator

from noiseflow.flows import Conditions
from noiseflow.flows.camera.line_noise import NONE, LineNoise
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts.planes import start_planes
from noiseflow.models.flow.starts.rows import start_lines
from noiseflow.models.model import checked_conditions


def test_rows_of_dark_pairs_are_not_counted_twice_by_a_clean_signal_that_holds_noise() -> None:
    """r = 0.03 from 256 pairs of dark patches, the clean signal of one frame being the other.

    A read noise of 3 DN at K = 0.9 DN/e⁻ moves the variance found at the other frame by 30 % from
    pixel to pixel, against the noise.  16,384 rows of 64 pixels know r + 1/64 to 1.1 %, r to
    1.7 %; five of these are allowed.
    """
    r, gain, read, span = 0.03, 0.9, 3.0, 4095.0
    shape = (256, 2, 2, 32, 32)
    draws = generator(1)
    first, second = (
        (torch.randn(shape, generator=draws) + math.sqrt(r) * torch.randn(256, 2, 1, 32, 1, generator=draws))
        .mul(read / span)
        .reshape(256, 4, 32, 32)
        for _ in range(2)
    )
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"couplings": 0}))
    assert isinstance(model, PhysicsFlow)
    head, lines = model.shot_read, model.flow.transforms[1]
    with torch.no_grad():
        head.log_beta1.fill_(math.log(gain / span))
        head.log_beta2.fill_(math.log((1 + r) * (read / span) ** 2))
    cond = checked_conditions(model, Conditions(second, 100.0, "A"))
    start_lines(head, lines, (first - second) / math.sqrt(2), cond)
    assert float(lines.log_variance.detach().exp()) == pytest.approx(r, rel=5 * 0.017)
    assert float(head.log_beta2.detach().exp()) * span**2 == pytest.approx(read**2, rel=0.01)


def test_planes_that_differ_by_iso_are_found_at_each_iso() -> None:
    """Factors of 0.7 to 1.4 on both variances, other ones at each ISO, from 2 × 64 patches of each.

    A plane has 131,072 values at an ISO, whose half-dark variance is known to 0.6 %; five of these are allowed.
    """
    isos, span = (100.0, 1600.0), 4095.0
    factors = torch.tensor([[1.4, 0.7, 0.9, 1.1], [0.8, 1.3, 1.2, 0.75]]).log()
    model = build(ModelSpec("physics_flow", "bayer", ("A",), isos, {}))
    assert isinstance(model, PhysicsFlow)
    head, draws = model.shot_read, generator(3)
    with torch.no_grad():
        head.log_beta1.copy_(torch.tensor([[0.5 / span, 8.0 / span]]).log())
        head.log_beta2.copy_(torch.tensor([[(2 / span) ** 2, (20 / span) ** 2]]).log())
    clean = torch.rand(256, 4, 32, 32, generator=draws).mul_((torch.arange(256) % 2 == 0)[:, None, None, None] * 0.5)
    iso = torch.tensor(isos).repeat_interleave(128)
    cond = checked_conditions(model, Conditions(clean, iso, "A"))
    beta1, beta2 = head.betas(cond)
    scale = factors.exp().repeat_interleave(128, 0)[:, :, None, None]
    noise = (scale * (beta1 * clean + beta2)).sqrt() * torch.randn(clean.shape, generator=draws)
    start_planes(head, noise, cond)
    for found in (head.plane_beta1, head.plane_beta2):
        torch.testing.assert_close(found.detach()[0].T, factors, rtol=0, atol=5 * 0.006)


def test_a_run_of_before_with_one_factor_a_plane_has_it_at_every_iso() -> None:
    spec = ModelSpec("physics_flow", "bayer", ("A",), (100.0, 1600.0), {})
    old, new = build(spec), build(spec)
    saved = old.state_dict()
    for name in ("plane_beta1", "plane_beta2"):
        saved[f"flow.transforms.0.{name}"] = torch.tensor([[0.1, -0.2, 0.3, -0.4]])
    new.load_state_dict(saved)
    assert isinstance(new, PhysicsFlow)
    assert new.shot_read.plane_beta2[0].tolist() == [[pytest.approx(value)] * 2 for value in (0.1, -0.2, 0.3, -0.4)]


def banded(memory: float, decay: float, seed: int) -> tuple[PhysicsFlow, torch.Tensor, Conditions, torch.Tensor]:
    """48 bands of 8 patches, read noise 3 DN, rows of r = 0.03, of which a share `memory` is an AR(1) process."""
    r, span, bands, across = 0.03, 4095.0, 48, 8
    draws = generator(seed)
    offsets = torch.randn(bands, 64, generator=draws)
    drift = torch.zeros(bands, 64)
    drift[:, 0] = torch.randn(bands, generator=draws)
    for row in range(1, 64):
        drift[:, row] = decay * drift[:, row - 1] + math.sqrt(1 - decay**2) * torch.randn(bands, generator=draws)
    rows = math.sqrt(r) * (math.sqrt(1 - memory) * offsets + math.sqrt(memory) * drift)
    shared = rows.reshape(bands, 1, 32, 2).permute(0, 1, 3, 2)[:, :, :, None, :, None]
    noise = torch.randn(bands, across, 2, 2, 32, 32, generator=draws) + shared
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"couplings": 0}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(0.9 / span))
        model.shot_read.log_beta2.fill_(math.log((1 + r) * (3 / span) ** 2))
    noise = noise.reshape(-1, 4, 32, 32) * (3 / span)
    cond = Conditions(torch.zeros_like(noise), 100.0, "A")
    return model, noise, cond, torch.arange(bands).repeat_interleave(across)


def test_rows_that_remember_are_found_and_sampled() -> None:
    """φ = 0.9 of four fifths of the rows' variance: neighbours correlate by 0.72, which 3,000 rows know to 0.02."""
    model, noise, cond, bands = banded(0.8, 0.9, 5)
    model.start_from_patches(noise, cond, bands)
    assert model.spec.options["row_memory"] is True
    assert "correlated from row to row" in model.found[0]
    again = build(model.spec)
    again.load_state_dict(model.state_dict())
    wide = Conditions(torch.zeros(16, 4, 64, 1000), 100.0, "A")
    rows = again.sample(wide, generator(6)).reshape(16, 2, 2, 64, 1000).mean((2, 4)).transpose(1, 2).flatten(1)
    neighbours = float((rows[:, 1:] * rows[:, :-1]).mean() / rows.square().mean())
    assert neighbours == pytest.approx(0.72, abs=0.1)
    assert float(rows.var()) * (4095 / 3) ** 2 == pytest.approx(0.03, rel=0.3)


@pytest.mark.parametrize("seed", [1])
def test_rows_without_a_memory_are_left_as_they_are(seed: int) -> None:
    model, noise, cond, bands = banded(0.0, 0.9, seed)
    model.start_from_patches(noise, cond, bands)
    assert "row_memory" not in model.spec.options
    assert type(model.flow.transforms[1]).__name__ == "LineNoise"


@torch.no_grad()
def test_rows_of_three_read_noises_leave_the_read_noise_what_it_is() -> None:
    """r = 9, started from the total variance: 16,384 rows know r to 1.1 %, and β₂ = total − r·β₂ to 10 %."""
    r, read, span = 9.0, 3.0, 4095.0
    draws = generator(21)
    noise = torch.randn(256, 2, 2, 32, 32, generator=draws) + math.sqrt(r) * torch.randn(
        256, 2, 1, 32, 1, generator=draws
    )
    noise = noise.mul(read / span).reshape(256, 4, 32, 32)
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    head, lines = model.shot_read, model.flow.transforms[1]
    head.log_beta1.fill_(math.log(0.9 / span))
    head.log_beta2.fill_(math.log(float(noise.square().mean())))
    start_lines(head, lines, noise, checked_conditions(model, Conditions(torch.zeros_like(noise), 100.0, "A")))
    assert float(head.log_beta2.exp()) * span**2 == pytest.approx(read**2, rel=0.1)
    assert float((lines.log_variance + head.log_beta2).exp()) * span**2 == pytest.approx(r * read**2, rel=5 * 0.011)


@torch.no_grad()
def test_columns_of_one_iso_are_not_given_to_another_that_has_none() -> None:
    """Of r = 0.02 at ISO 1600 alone, 128 patches there and at ISO 100; those of 0.007 in one patch are not sure."""
    isos, draws = (100.0, 400.0, 1600.0), generator(22)
    iso = torch.tensor(isos).repeat_interleave(torch.tensor([128, 1, 128]))
    planted = (0.02 * (iso == 1600) + 0.007 * (iso == 400)).sqrt()
    shared = torch.randn(257, 1, 2, 1, 32, generator=draws) * planted[:, None, None, None, None]
    x = (torch.randn(257, 2, 2, 32, 32, generator=draws) + shared).reshape(257, 4, 32, 32)
    columns = LineNoise(4, 1, isos, "column")
    columns.start_from(x, Conditions(torch.zeros_like(x), iso, torch.zeros(257, dtype=torch.long)))
    found = columns.log_variance.exp()[0].tolist()
    assert found[0] == pytest.approx(NONE)
    assert found[1] == pytest.approx(0.01, rel=0.5)
    assert found[2] == pytest.approx(0.02, rel=0.2)

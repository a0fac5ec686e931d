"""A light that rows share is no shot noise, no read noise and no offset of dark rows; what the user leaves out is."""

import math
from typing import Any

import pytest
import torch
from model_table import generator
from torch import Tensor

from noiseflow.flows import Conditions
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts.frame import runs_of_bands
from noiseflow.models.flow.starts.rows import choose_rows
from noiseflow.models.noise_statistics import NoiseStatistics

SPAN, GAIN, READ, ROWS, BANDS, ACROSS = 4095.0, 1.0, 3.0, 0.6, 48, 6
LIGHT = 0.004


def started(decay: float, options: dict[str, Any]) -> PhysicsFlow:
    """Bands of 64 × 384 at five lights, whose rows' light is an AR(1) process, started as a fit does."""
    draws = generator(11)
    level = torch.linspace(0, 0.9, 5).square().repeat(10)[:BANDS] * SPAN
    drift = torch.randn(BANDS, 64, generator=draws)
    for row in range(1, 64):
        drift[:, row] = decay * drift[:, row - 1] + math.sqrt(1 - decay**2) * drift[:, row]
    offsets = ROWS * torch.randn(BANDS, 64, generator=draws) + LIGHT * level[:, None] * drift
    shared = offsets.reshape(BANDS, 1, 32, 2).permute(0, 1, 3, 2)[:, :, :, None, :, None]
    sigma = (GAIN * level + READ**2).sqrt()[:, None, None, None, None, None]
    noise = sigma * torch.randn(BANDS, ACROSS, 2, 2, 32, 32, generator=draws) + shared
    noise = noise.reshape(-1, 4, 32, 32) / SPAN
    clean = (level / SPAN).repeat_interleave(ACROSS)[:, None, None, None].expand(noise.shape).contiguous()
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), options))
    assert isinstance(model, PhysicsFlow)
    model.start_from(statistics(noise, clean))
    model.start_from_patches(noise, Conditions(clean, 100.0, "A"), torch.arange(BANDS).repeat_interleave(ACROSS))
    return model


def statistics(noise: Tensor, clean: Tensor) -> NoiseStatistics:
    lights = clean[:, 0, 0, 0].unique()
    cells = [noise[clean[:, 0, 0, 0] == light].double() for light in lights]
    zeros = torch.zeros(len(lights), dtype=torch.long)
    count = torch.tensor([cell.numel() for cell in cells]).double()
    square = torch.stack([cell.square().mean() for cell in cells])
    return NoiseStatistics(zeros, zeros, count, lights.double(), 0 * square, square, ("A",), (100.0,))


@torch.no_grad()
@pytest.mark.parametrize("decay", [0.0, 0.95])
def test_it_is_kept_apart_from_shot_read_and_dark_rows(decay: float) -> None:
    """The variance of 640 dark rows is known to 5.6 %, that of read noise to 0.3 %: three of these; shot to 1 %."""
    model = started(decay, {})
    rows, head = model.flow.transforms[1], model.shot_read
    assert isinstance(rows, RowNoise)
    assert model.spec.options["row_memory" if decay else "row_flicker"] is True
    read = float(head.log_beta2.exp() * head.plane_beta2.exp().mean()) * SPAN**2
    assert read == pytest.approx(READ**2, rel=0.01)
    assert float(head.log_beta1.exp() * head.plane_beta1.exp().mean()) * SPAN == pytest.approx(GAIN, rel=0.01)
    assert float(rows.offset_variance()) * read == pytest.approx(ROWS**2, rel=0.17)


def test_what_the_user_leaves_out_is_left_out() -> None:
    model = started(0.95, {"row_memory": False})
    assert model.spec.options["row_memory"] is False
    assert model.spec.options["row_flicker"] is True
    model = started(0.95, {"row_memory": False, "row_flicker": False})
    assert "row_flicker" not in {key for key, value in model.spec.options.items() if value}
    assert not isinstance(model.flow.transforms[1], RowNoise)


def test_bands_of_a_frame_are_joined_where_most_lie_below_each_other() -> None:
    places = torch.tensor([[0, 0], [0, 32], [0, 64], [0, 96], [1, 0], [1, 32], [1, 96], [2, 64]])
    assert runs_of_bands(places, 32, 4).tolist() == [[0, 1, 2, 3]]
    assert runs_of_bands(places, 32, 3).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert runs_of_bands(places, 16, 4).tolist() == [[band] for band in range(8)]


@torch.no_grad()
@pytest.mark.parametrize(("offset", "note"), [(0.5, "row noise"), (0.0, "row noise: none")])
def test_offsets_without_any_light_are_row_noise_alone(offset: float, note: str) -> None:
    """Dark rows of 32 pixels, σ 1: of 2,048 rows the variance of offsets is known to 3.5 %."""
    draws, head = generator(4), ShotReadScale(4, 1, (100.0,), shares_features=True).requires_grad_(False)
    shared = offset * torch.randn(32, 2, 1, 32, 1, generator=draws).expand(-1, -1, 2, -1, 32).reshape(32, 4, 32, 32)
    noise = torch.randn(32, 4, 32, 32, generator=draws) + shared
    head.log_beta1.fill_(-30.0)
    head.log_beta2.fill_(float(noise.square().mean().log()))
    plain = LineNoise(4, 1, (100.0,), in_read_noise=True).requires_grad_(False)
    cond = Conditions(torch.zeros_like(noise), 100.0).resolve(("A",))
    found = choose_rows(head, plain, noise, cond, None, planes=4)
    assert (found.rows, found.options, found.notes) == (plain, {}, (note,))
    assert float(plain.offset_variance() * head.log_beta2.exp()) == pytest.approx(offset**2, rel=0.12, abs=0.005)
    assert float(head.log_beta2.exp()) == pytest.approx(1, abs=0.02)

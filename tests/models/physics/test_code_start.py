"""What the means of coarse codes show of a row's offset."""

import math

import pytest
import torch
from model_table import generator

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts.codes import offsets_in_codes
from noiseflow.models.model import checked_conditions

BLACK, WHITE = 8.0, 255.0


@pytest.mark.parametrize(("sigma", "signal"), [(0.25, 4.0), (0.25, 3.8), (0.3, 4.5), (3.0, 4.2)])
def test_the_part_of_an_offset_that_coarse_codes_show_is_that_of_drawn_ones(sigma: float, signal: float) -> None:
    """Rows of 4 × 16,384 pixels moved by ±0.05 DN: the change of their mean is known to 2 % of the offset for σ 0.25.

    At a middle of a code it shows a sixth, at an edge 1.6 of it, and all where σ is 3 codes.
    """
    span, draws, step = WHITE - BLACK, generator(2), 0.05
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(-40.0)
        model.shot_read.log_beta2.fill_(2 * math.log(sigma / span))
    clean = torch.full((64, 4, 32, 32), signal / span)
    noise = sigma / span * torch.randn(clean.shape, generator=draws)
    levels = Levels(torch.full((64, 4), BLACK), torch.full((64,), WHITE))
    up, down = (levels.codes(noise + move / span, clean).mean() for move in (step, -step))
    cond = checked_conditions(model, Conditions(clean, 100.0, "A"))
    found = offsets_in_codes(model.shot_read, levels.codes(noise, clean), cond, levels)
    assert float(found.sqrt()) == pytest.approx(max(float(up - down) / (2 * step), 0.05**0.5), abs=0.04)
    masked = checked_conditions(model, Conditions(clean, 100.0, "A", torch.rand(clean.shape, generator=draws) > 0.5))
    again = offsets_in_codes(model.shot_read, levels.codes(noise, clean), masked, levels)
    torch.testing.assert_close(again, found, rtol=1e-5, atol=0)

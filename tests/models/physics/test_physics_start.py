"""Where a physics flow starts, from patches whose clean signal is itself a noisy frame."""

import math

import pytest
import torch
from model_table import generator

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.physics_flow import PhysicsFlow, start_lines
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

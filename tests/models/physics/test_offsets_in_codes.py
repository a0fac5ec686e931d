"""Rows beside coarse codes keep their strength in the codes, whatever σ the training finds."""

import math
from dataclasses import replace

import pytest
import torch
from model_table import generator

from noiseflow.flows.conditions import Resolved
from noiseflow.models import ModelSpec, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts.codes import offsets_in_codes, seen_in_codes

SPAN, BLACK = 247.0, 8.0
SHAPE = (32, 4, 16, 64)
LEVELS = Levels(torch.full(SHAPE[:2], BLACK), torch.full(SHAPE[:1], BLACK + SPAN))


def camera(sigma: float, share: float) -> PhysicsFlow:
    """A camera without shot noise; σ in DN, row variance as a share of the read-noise variance."""
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(-40.0)
        model.shot_read.log_beta2.fill_(2 * math.log(sigma / SPAN))
        model.flow.transforms[1].log_variance.fill_(math.log(share))
    model.flow.transforms[1].requires_grad_(False)
    return model


def conditions(signal: float) -> Resolved:
    clean = torch.full(SHAPE, signal / SPAN)
    return Resolved(clean, torch.full(SHAPE[:1], 100.0), torch.zeros(SHAPE[0], dtype=torch.long))


def rows_in_codes(model: PhysicsFlow, cond: Resolved) -> float:
    """Variance of a row's offset in drawn codes, DN², from products of its two halves."""
    codes = LEVELS.codes(model.sample(cond, generator(5)), cond.clean) - BLACK
    rows = (codes - codes.mean()).reshape(SHAPE[0], 2, 2, SHAPE[2], 2, SHAPE[3] // 2).mean((2, 5))
    return float((rows[:, :, :, 0] * rows[:, :, :, 1]).mean())


def test_rows_are_held_at_their_strength_in_codes() -> None:
    """2,048 rows know each strength to 4 %; without the hold they were 2.1 times as strong."""
    cond, model = conditions(3.85), camera(0.25, 0.4)
    codes = LEVELS.codes(torch.zeros(SHAPE), cond.clean)
    model.seen = seen_in_codes(model.shot_read, [model.flow.transforms[1]], codes, cond, LEVELS)
    before = rows_in_codes(model, cond)
    with torch.no_grad():
        model.shot_read.log_beta2.fill_(2 * math.log(0.32 / SPAN))
    total = float(model.shot_read.log_beta2.detach().exp()) * 1.4
    model.end_on_codes(codes, cond, LEVELS)
    assert rows_in_codes(model, cond) == pytest.approx(before, rel=0.15)
    share = float(model.flow.transforms[1].offset_variance().detach())
    assert float(model.shot_read.log_beta2.detach().exp()) * (1 + share) == pytest.approx(total, rel=1e-5)


def test_rows_that_are_trained_are_left_alone() -> None:
    cond, model = conditions(3.85), camera(0.25, 0.1)
    codes = LEVELS.codes(torch.zeros(SHAPE), cond.clean)
    model.seen = torch.full((1, 1), 1e-9)
    model.flow.transforms[1].requires_grad_(True)
    model.end_on_codes(codes, cond, LEVELS)
    assert float(model.flow.transforms[1].offset_variance().detach()) == pytest.approx(0.1)


def test_what_passes_depends_on_the_signal_and_not_on_the_frame_it_was_compared_with() -> None:
    cond, model = conditions(3.6), camera(0.25, 0.1)
    other = LEVELS.codes(0.25 / SPAN * torch.randn(SHAPE, generator=generator(1)), cond.clean)
    codes = LEVELS.codes(0.25 / SPAN * torch.randn(SHAPE, generator=generator(2)), cond.clean)
    apart = replace(LEVELS, origin=((other - BLACK) / SPAN).float())
    plain, paired = (offsets_in_codes(model.shot_read, codes, cond, each) for each in (LEVELS, apart))
    torch.testing.assert_close(plain, paired, rtol=1e-4, atol=0)

"""What the means of coarse codes show of a row's offset."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_table import generator

from noiseflow.fit.discretised_objective import DiscretisedObjective
from noiseflow.flows import Conditions, Flow
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models import ModelSpec, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import marginal_codes
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts.codes import offsets_in_codes, seen_in_codes, start_tails_on_codes
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
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


@pytest.mark.parametrize("excess", [0.0, 1.0])
def test_tails_of_coarse_codes_are_those_planted_and_none_by_chance(excess: float) -> None:
    """65,536 values at σ 0.4 DN know an excess to 0.08: 1 is 12 of it; of six draws of none one in 100 errs once.

    The largest likelihood alone took an excess of 0.1 or 0.25 in half of such draws.
    """
    sigma, span = 0.4, 959.0
    for seed in range(1 if excess else 6):
        head, tails = ShotReadScale(4, 1, (100.0,), shares_features=True), CubicTails(1, (100.0,), by_read_share=True)
        with torch.no_grad():
            head.log_beta1.fill_(-40.0)
            head.log_beta2.fill_(2 * math.log(sigma / span))
            tails.kurtosis.fill_(excess)
        flow = Flow([head, tails])
        clean = torch.zeros(16, 4, 32, 32)
        cond = Resolved(clean, torch.full((16,), 100.0), torch.zeros(16, dtype=torch.long))
        noise = flow.sample(cond, generator(seed + 50)).detach()
        levels = Levels(torch.full((16, 4), 64.0), torch.full((16,), 64.0 + span))
        with torch.no_grad():
            tails.kurtosis.fill_(0.5)
        start_tails_on_codes(flow, tails, levels.codes(noise, clean), cond, levels)
        assert float(tails.kurtosis.detach()) == pytest.approx(excess, abs=0.5 * excess)


@pytest.mark.parametrize(("light", "excess"), [(0.0, 0.0), (1.0, 0.0), (0.0, 4.0), (1.0, 8.0)])
def test_the_probability_of_a_code_by_itself_is_the_frequency_of_sampled_ones(light: float, excess: float) -> None:
    """262,144 codes, weak rows: each frequency is known to 0.1 %; five of these are allowed.  Couplings have none.

    With β₂ where the tails expect the read share, 8 of excess in the light made 0.8 % of this.
    """
    span, shape = 959.0, (256, 4, 16, 16)
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"row_flicker": True}))
    assert isinstance(model, PhysicsFlow)
    rows = model.flow.transforms[1]
    assert isinstance(rows, RowNoise)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log((0.5 if excess else 0.02) / span))
        model.shot_read.log_beta2.fill_(2 * math.log((0.6 if excess else 0.3) / span))
        rows.log_variance.fill_(math.log(0.019))
        rows.log_flicker.fill_(2 * math.log(0.05))
        model.tails.kurtosis.fill_(excess)
        clean = torch.full(shape, light / span)
        levels = Levels(torch.full(shape[:2], 64.0), torch.full(shape[:1], 64.0 + span))
        cond = checked_conditions(model, Conditions(clean, 100.0, "A"))
        codes = levels.codes(model.sample(cond, generator(3)), clean)
        for code in (63.0, 64.0, 65.0, 66.0):
            each = marginal_codes(model, torch.full_like(codes, code), cond, levels)
            assert each is not None
            assert float(each.exp().mean()) == pytest.approx(float((codes == code).double().mean()), abs=0.005)
        coupled = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"couplings": 2}))
        assert marginal_codes(coupled, codes, cond, levels) is None


def test_a_fit_to_codes_maximises_the_probability_of_each_where_lines_are_weak() -> None:
    """On the bound σ of 0.3 and 0.4 DN came out 4 and 1.5 % too large; rows beyond `FAINT` still have that."""
    shape = (2, 4, 8, 8)
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"before_rounding": True}))
    clean = torch.zeros(shape)
    levels = Levels(torch.full(shape[:2], 64.0), torch.full(shape[:1], 1023.0))
    cond = checked_conditions(model, Conditions(clean, 100.0, "A"))
    codes = levels.codes(0.001 * torch.randn(shape, generator=generator(5)), clean)
    rows = model.flow.transforms[1]
    assert isinstance(rows, LineNoise)
    rows.requires_grad_(False)
    with torch.no_grad():
        rows.log_variance.fill_(math.log(0.01))
    objective = DiscretisedObjective(None, np.arange(0), torch.device("cpu"))  # type: ignore[arg-type]
    losses = [float(objective.loss(model, (codes, cond, levels), generator(seed))[0].detach()) for seed in (6, 7)]
    each = marginal_codes(model, codes, cond, levels)
    assert each is not None
    assert losses[0] == losses[1] == pytest.approx(-float((each.mean() + levels.log_code().neg().mean()).detach()))
    with torch.no_grad():
        found = discrete_log_prob(model, codes, cond, levels)
    assert found.words == "exact, of each code by itself"
    torch.testing.assert_close(found.values, each.sum((1, 2, 3)).detach())
    # Single codes do not show the strength of rows: while it is trained, the joint density is.
    rows.requires_grad_(True)
    one, other = (objective.loss(model, (codes, cond, levels), generator(seed))[0] for seed in (6, 7))
    assert float(one.detach()) != float(other.detach())
    rows.requires_grad_(False)
    with torch.no_grad():
        rows.log_variance.zero_()
    assert marginal_codes(model, codes, cond, levels) is None
    one, other = (objective.loss(model, (codes, cond, levels), generator(seed))[0] for seed in (6, 7))
    assert float(one.detach()) != float(other.detach())


@pytest.mark.parametrize("black", [0.0, 8.0])
def test_read_noise_beside_counts_of_very_few_electrons_is_that_of_black(black: float) -> None:
    """σ = K: a normal distribution of all codes has 2 to 3 % too much.  65,536 codes of black know σ to 0.5 %."""
    gain, sigma, span = 0.5, 0.5, WHITE - black
    rng = np.random.default_rng(0)
    light = np.repeat([0.0, 0.0, 0.5, 2.5, 12.0, 70.0], 8)[:, None, None, None] * np.ones((48, 4, 32, 32))
    values = black + gain * rng.poisson(light / gain) + sigma * rng.standard_normal(light.shape)
    codes = torch.from_numpy(np.clip(np.rint(values), 0, WHITE))
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(gain / span))
        model.shot_read.log_beta2.fill_(2 * math.log(1.3 * sigma / span))
    cond = checked_conditions(model, Conditions(torch.from_numpy(light / span).float(), 100.0, "A"))
    model.start_from_codes(codes, cond, Levels(torch.full((48, 4), black), torch.full((48,), WHITE)))
    found = model.shot_read.log_beta2.detach().exp().sqrt() * span
    assert float(found) == pytest.approx(sigma, rel=0.015)


SPAN = WHITE - BLACK
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
    model.seen = torch.full((1, 1), 1e-9), torch.ones(1, 1)
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


@pytest.mark.parametrize(("signal", "bent"), [(30.0, 0.2), (0.0, 0.0)])
def test_light_of_rows_stays_while_a_bend_is_trained(signal: float, bent: float) -> None:
    """Lamps change rows by a part of the signal, not of the effective one that a bend makes; without light, nothing."""
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"bend": True, "row_memory": True}))
    assert isinstance(model, PhysicsFlow)
    rows = model.flow.transforms[1].requires_grad_(False)
    assert isinstance(rows, RowMemory)
    cond = conditions(signal)
    codes = LEVELS.codes(torch.zeros(SHAPE), cond.clean)
    with torch.no_grad():
        rows.log_flicker.fill_(-12.0)
        rows.log_memory.fill_(-11.0)
        model.shot_read.log_beta2.fill_(2 * math.log(3 / SPAN))
        model.seen = seen_in_codes(model.shot_read, [rows], codes, cond, LEVELS)
        before = float(rows.light_variance()), float(rows.offset_variance())
        model.shot_read.bend.fill_(0.1)
        model.end_on_codes(codes, cond, LEVELS)
    assert float(rows.light_variance()) == pytest.approx(before[0] * math.exp(-bent), rel=1e-4)
    assert float(rows.offset_variance()) == pytest.approx(before[1], rel=1e-4)

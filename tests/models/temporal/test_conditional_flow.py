"""The law of what the other parts leave: its density against autograd's Jacobian of the sampler, and its bounds."""

import math

import numpy as np
import pytest
import torch
from temporal_models import LINEAR, temporal_model
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models import TemporalNoise
from noiseflow.models.temporal.innovations.conditional_flow import (
    MOST_LOG_SCALE,
    MOST_SHIFT,
    ConditionalFlow,
    _of_neighbours,
)
from noiseflow.models.temporal.stream import at_frame
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed

FLOW = "conditional_flow"


def strong(parts: tuple[str, ...] = (), seed: int = 0) -> TemporalNoise:
    """A model with a flow that is far from the identity, of cameras A and B."""
    model = temporal_model((*parts, FLOW), seed)
    part = model.innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    draw = torch.Generator().manual_seed(seed)
    for parameter in (part.out, part.across, part.out_bias):
        parameter += 0.4 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return model


def by_hand(model: TemporalNoise, fresh: Tensor, sigma: Tensor, amount: Tensor) -> Tensor:
    """Noise (T, C, H, W) of one element from independent N(0, 1) of that shape, pixel by pixel from the formula."""
    part = model.innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    keep = part.logit_rates.sigmoid()
    frames, _, height, width = fresh.shape
    found: list[Tensor] = []
    mean, square = torch.zeros_like(fresh[0]), torch.ones_like(fresh[0])
    for t in range(frames):
        if not t:
            found.append(fresh[0])
        else:
            last, rows = found[-1], []
            for place in range(fresh[0].numel()):
                c, y, x = place // (height * width), place // width % height, place % width
                around = [
                    last[c, j, i].square()
                    for j in range(max(0, y - 1), min(height, y + 2))
                    for i in range(max(0, x - 1), min(width, x + 2))
                    if (j, i) != (y, x)
                ]
                w = last[c, y, x]
                near = torch.stack(around).mean()
                read = torch.stack([w, (1 + w**2).log(), mean[c, y, x], (1 + square[c, y, x]).log(), (1 + near).log()])
                read = (read - part.centre) / part.scale
                raw = part.out @ torch.tanh(part.into @ read + part.into_bias) + part.across @ read + part.out_bias
                shift = MOST_SHIFT * torch.tanh(amount * raw[0] / MOST_SHIFT)
                log_scale = MOST_LOG_SCALE * torch.tanh(amount * raw[1] / MOST_LOG_SCALE)
                rows.append(shift + log_scale.exp() * fresh[t].flatten()[place])
            found.append(torch.stack(rows).reshape(fresh[0].shape))
        mean = keep[0] * mean + (1 - keep[0]) * found[-1]
        square = keep[1] * square + (1 - keep[1]) * found[-1] ** 2
    return torch.stack(found) * sigma


@pytest.mark.parametrize("seed", range(3))
def test_the_sum_over_frames_is_the_joint_density_and_the_stream_has_it(seed: int) -> None:
    """log p(n) = log N(ε) − log|det dn/dε|, with the Jacobian of all pixels of all frames by autograd."""
    model = strong(seed=seed)
    part, clean = model.innovation_parts[-1], torch.rand(1, 1, 2, 3, dtype=torch.float64)
    assert part is not None
    cond = Conditions(clean, 250.0, 1).resolve(model.cameras)
    sigma, amount = model.approximate_sigma(cond)[0], part.amount(cond)[0]
    source = Keyed(3 + seed)
    fresh = torch.stack([sampling.normal(clean, at_frame(source, t))[0] for t in range(4)])
    noise = by_hand(model, fresh, sigma, amount)
    stream = model.stream(iso=250.0, camera=1, source=source)
    drawn = torch.stack([stream.noise(clean)[0] for _ in range(4)])
    assert torch.allclose(drawn, noise, rtol=0, atol=1e-12)
    slopes = torch.autograd.functional.jacobian(lambda each: by_hand(model, each, sigma, amount), fresh)
    size = fresh.numel()
    expected = -0.5 * float(fresh.square().sum()) - size / 2 * math.log(2 * math.pi)
    expected -= float(torch.linalg.slogdet(slopes.reshape(size, size))[1])
    terms = model.log_prob_of_sequence(noise[None], clean[:, None], 250.0, 1)
    assert float(terms.sum()) == pytest.approx(expected, abs=1e-8)
    # It is far from independent frames.
    alone = sum(float(model.frame.log_prob(each[None], cond)) for each in noise)
    assert abs(alone - expected) > 0.5


@pytest.mark.parametrize(
    "parts", [(), LINEAR[:2], LINEAR[2:], LINEAR, ("dark_pattern", "telegraph"), (*LINEAR, "telegraph")], ids="+".join
)
def test_a_frame_of_two_pixels_given_the_past_integrates_to_one(parts: tuple[str, ...]) -> None:
    model = strong(parts)
    side = torch.linspace(-0.35, 0.35, 281, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side).reshape(-1, 1, 1, 2)
    clean = torch.full_like(grid, 0.3)
    density = model.follow(100.0)
    for value in (0.05, -0.03):
        density(torch.full_like(grid, value), clean)
    log_prob = density(grid, clean).reshape(281, 281)
    total = torch.trapezoid(torch.trapezoid(log_prob.exp(), side), side)
    assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("parts", [LINEAR[:2], LINEAR[2:], LINEAR, (*LINEAR, "telegraph")], ids="+".join)
def test_at_its_start_it_changes_nothing(parts: tuple[str, ...]) -> None:
    plain = temporal_model(parts)
    model = temporal_model((*parts, FLOW))
    model.load_state_dict({**model.state_dict(), **plain.state_dict()})
    part = model.innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    for parameter in (part.out, part.across, part.out_bias):
        parameter.zero_()
    noise = 0.03 * torch.randn(2, 4, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean = torch.full((2, 1, 1, 3, 4), 0.3, dtype=torch.float64)
    found, expected = (each.log_prob_of_sequence(noise, clean, 100.0) for each in (model, plain))
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    drawn, before = (
        each.sample_sequence(clean.expand_as(noise), 100.0, 0, Keyed(1, (4, 5))) for each in (model, plain)
    )
    assert torch.equal(drawn, before)


@pytest.mark.parametrize("frame", ["nlf", "physics_flow"])
def test_a_burst_of_one_frame_has_the_density_of_the_frame_s_model(frame: str) -> None:
    model = temporal_model(("dark_pattern", FLOW), frame=frame, layout="bayer")
    noise = 0.03 * torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = Conditions(torch.full_like(noise, 0.3), 100.0)
    assert torch.allclose(model.log_prob(noise, cond), model.frame.log_prob(noise, cond), rtol=0, atol=1e-9)


@pytest.mark.parametrize("parts", [(), ("dark_pattern",), LINEAR, (*LINEAR, "telegraph")], ids="+".join)
def test_a_masked_pixel_says_nothing(parts: tuple[str, ...]) -> None:
    model = strong(parts)
    noise = 0.03 * torch.randn(1, 3, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean, observed = torch.full((1, 1, 1, 3, 4), 0.3, dtype=torch.float64), torch.ones(noise.shape, dtype=torch.bool)
    observed[:, 1, :, 1, 2] = False
    before = model.log_prob_of_sequence(noise, clean, 100.0, 0, observed)
    noise[:, 1, :, 1, 2] += 0.1
    assert torch.equal(model.log_prob_of_sequence(noise, clean, 100.0, 0, observed), before)
    assert not torch.equal(model.log_prob_of_sequence(noise, clean, 100.0), before)


@pytest.mark.parametrize("each_frame", [True, False], ids=["other pixels in each frame", "the same pixels"])
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_pixels_masked_at_random_cost_the_others_little_of_their_gain(seed: int, each_frame: bool) -> None:
    """30 % masked: a zero in their place lowers the variance that is expected, and takes up to all of the gain."""
    model = strong(seed=seed)
    clean = torch.full((2, 1, 1, 24, 24), 0.2, dtype=torch.float64)
    noise = model.sample_sequence(clean.expand(-1, 12, -1, -1, -1), 100.0, 0, torch.Generator().manual_seed(1))
    drawn = torch.rand(noise.shape, generator=torch.Generator().manual_seed(2)) > 0.3
    observed = drawn if each_frame else drawn[:, :1].expand_as(drawn)

    def gain(mask: Tensor) -> float:
        alone = [
            model.frame.log_prob(noise[:, t], Conditions(clean[:, 0], 100.0, 0, mask[:, t])).sum()
            for t in range(noise.shape[1])
        ]
        found = model.log_prob_of_sequence(noise, clean, 100.0, 0, mask).sum() - torch.stack(alone).sum()
        return float(found / mask.sum())

    whole = gain(torch.ones_like(observed))
    assert whole > 1
    assert gain(observed) > 0.85 * whole


def test_the_past_of_a_masked_pixel_is_what_the_law_expects_there() -> None:
    part = strong().innovation_parts[-1]
    assert part is not None
    amount = torch.ones(1, dtype=torch.float64)
    w = torch.randn(2, 1, 1, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    observed = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    first, square = part.moments(None, w[0], amount, observed)
    assert torch.equal(first[observed], w[0][observed])
    assert torch.equal(square[observed], w[0][observed].square())
    assert first[~observed].eq(0).all()
    assert square[~observed].eq(1).all()
    past = part.remember(None, first, square)
    shift, log_scale = part.law(past, amount)
    second, square = part.moments(past, w[1], amount, observed)
    # The mean of w and of w² by Gauss and Hermite.
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(5))
    drawn = shift[..., None] + log_scale.exp()[..., None] * nodes
    weights = weights / weights.sum()
    assert torch.allclose(second[~observed], (drawn @ weights)[~observed])
    assert torch.allclose(square[~observed], (drawn.square() @ weights)[~observed])
    assert torch.equal(second[observed], w[1][observed])


def test_samples_stay_finite_under_any_weights_and_what_is_kept_does_not_grow() -> None:
    model = strong()
    part = model.innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    part.across *= 1e3
    stream, clean = model.stream(seed=1), torch.full((1, 1, 8, 8), 0.2, dtype=torch.float64)
    first = 0
    for number in range(200):
        assert bool(stream.noise(clean).isfinite().all())
        memory = stream.memory
        assert memory is not None
        assert memory.innovations is not None
        (past,) = memory.innovations.pasts
        assert past is not None
        largest = float(memory.innovations.now.abs().max())
        assert largest < MOST_SHIFT + 6 * math.exp(MOST_LOG_SCALE)
        held = past.numel()
        first = first or held
        assert held == first, number


def test_telegraph_pixels_have_independent_innovations() -> None:
    model = strong(("telegraph",))
    clean, source = torch.full((2, 1, 30, 30), 0.2, dtype=torch.float64), Keyed(5, (3, 4))
    stream = model.stream(source=source)
    for number in range(3):
        stream.next_frame(clean)
        memory = stream.memory
        assert memory is not None
        assert memory.innovations is not None
        assert memory.traps is not None
        same = memory.innovations.now == sampling.normal(clean, at_frame(source, number))
        jumping = torch.zeros_like(same)
        jumping[memory.traps.place] = True
        assert 20 < int(jumping.sum()) < 1000
        assert torch.equal(same, jumping if number else torch.ones_like(same))


def test_neighbours_are_those_within_the_frame() -> None:
    values = torch.arange(12.0).reshape(1, 1, 3, 4)
    found = _of_neighbours(values)[0, 0]
    assert float(found[0, 0]) == pytest.approx((1 + 4 + 5) / 3)
    assert float(found[1, 1]) == pytest.approx((0 + 1 + 2 + 4 + 6 + 8 + 9 + 10) / 8)
    assert _of_neighbours(torch.ones(2, 1, 1, 1)).flatten().tolist() == [0.0, 0.0]


def test_every_parameter_gets_a_gradient_and_facts_are_numbers() -> None:
    model = strong(LINEAR).requires_grad_(True)
    noise = 0.03 * torch.randn(1, 4, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean = torch.full((1, 1, 1, 3, 4), 0.3, dtype=torch.float64)
    model.log_prob_of_sequence(noise, clean, 250.0).sum().backward()
    part = model.innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
    facts = part.facts(Conditions(clean[:, 0], 100.0).resolve(model.cameras))
    assert set(facts) == {"sigma_after_0", "sigma_after_3", "mean_after_3"}
    assert all(math.isfinite(each) for each in facts.values())

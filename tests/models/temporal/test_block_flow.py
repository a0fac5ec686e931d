"""The law of block means: an orthonormal transform, and its density against autograd's Jacobian of the sampler."""

import math

import pytest
import torch
from temporal_models import LINEAR, temporal_model
from torch import Tensor

from noiseflow.models import TemporalNoise
from noiseflow.models.temporal.innovations.block_flow import BLOCK, BlockFlow
from noiseflow.models.temporal.innovations.conditional_flow import ConditionalFlow
from noiseflow.models.temporal.stream import at_frame
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed

BOTH = ("block_flow", "conditional_flow")
SIZE = (BLOCK + 1, BLOCK + 3)
"""Four blocks, three of which end at the border."""


def strong(parts: tuple[str, ...], seed: int = 0, size: float = 0.4) -> TemporalNoise:
    """A model whose laws are far from the identity."""
    model = temporal_model(parts, seed)
    draw = torch.Generator().manual_seed(seed)
    for part in model.innovation_parts:
        assert isinstance(part, ConditionalFlow)
        for parameter in (part.out, part.across, part.out_bias):
            parameter += size * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return model


def blocks(height: int, width: int) -> list[tuple[slice, slice]]:
    rows, columns = (
        [slice(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)] for length in (height, width)
    )
    return [(row, column) for row in rows for column in columns]


def part_of(model: TemporalNoise) -> BlockFlow:
    part = model.innovation_parts[0]
    assert isinstance(part, BlockFlow)
    return part


@pytest.mark.parametrize("masked", [False, True])
def test_blocks_are_orthonormal_combinations_of_observed_pixels(masked: bool) -> None:
    part, draw = part_of(strong(BOTH[:1])), torch.Generator().manual_seed(1)
    w = torch.randn(2, 3, *SIZE, generator=draw, dtype=torch.float64)
    observed = torch.rand(w.shape, generator=draw) > 0.4 if masked else None
    if observed is not None:
        observed[0, 0, :BLOCK, :BLOCK] = False
        w = w * observed
    seen = torch.ones_like(w) if observed is None else observed.double()
    found, known = part.coefficients(w, observed), part.known(w, observed)
    for number, (rows, columns) in enumerate(blocks(*SIZE)):
        count = seen[..., rows, columns].sum((-2, -1))
        expected = w[..., rows, columns].sum((-2, -1)) / count.clamp(min=1).sqrt()
        assert torch.allclose(found.flatten(2)[..., number], expected)
        assert known is None or torch.equal(known.flatten(2)[..., number], count > 0)
    assert (known is None) == (not masked)
    change = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    change = change if known is None else change * known
    moved = part.put_back(w, change, observed)
    assert torch.allclose(part.coefficients(moved, observed), found + change)
    # What is orthogonal to the blocks' values stays.
    assert torch.allclose(
        moved.square().sum() - (found + change).square().sum(), w.square().sum() - found.square().sum()
    )
    assert torch.equal(moved * (1 - seen), w * (1 - seen))


def by_hand(model: TemporalNoise, fresh: Tensor) -> Tensor:
    """Innovations (T, C, H, W) of one element from independent N(0, 1), block by block."""
    coarse, fine = model.innovation_parts
    one = torch.ones(1, dtype=torch.float64)
    past_of_blocks: Tensor | None = None
    past_of_pixels: Tensor | None = None
    found = []
    for each in fresh[:, None]:
        w = each
        if past_of_pixels is not None:
            shift, log_scale = fine.law(past_of_pixels, one * fine.strength[0, 0])  # type: ignore[operator, index]
            w = shift + log_scale.exp() * w
        past_of_pixels = fine.remember(past_of_pixels, w, w.square())
        values = torch.stack([w[..., y, x].sum((-2, -1)) / w[0, 0, y, x].numel() ** 0.5 for y, x in blocks(*SIZE)], -1)
        values = values.unflatten(-1, (2, 2))  # type: ignore[no-untyped-call]
        new = values
        if past_of_blocks is not None:
            shift, log_scale = coarse.law(past_of_blocks, one * coarse.strength[0, 0])  # type: ignore[operator, index]
            new = shift + log_scale.exp() * values
        past_of_blocks = coarse.remember(past_of_blocks, new, new.square())
        added = torch.zeros_like(w)
        for number, (y, x) in enumerate(blocks(*SIZE)):
            added[..., y, x] = ((new - values).flatten(-2)[..., number] / w[0, 0, y, x].numel() ** 0.5)[..., None, None]
        found.append((w + added)[0])
    return torch.stack(found)


@pytest.mark.parametrize("seed", range(2))
def test_the_sum_over_frames_is_the_joint_density_and_the_stream_has_it(seed: int) -> None:
    """log p(n) = log N(ε) − log|det dn/dε|, with the Jacobian of all pixels of all frames by autograd."""
    model = strong(BOTH, seed)
    clean = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sigma = (model.frame.variance(model_conditions(model, clean))).sqrt()[0]  # type: ignore[operator]
    source = Keyed(3 + seed)
    fresh = torch.stack([sampling.normal(clean, at_frame(source, t))[0] for t in range(3)])
    noise = by_hand(model, fresh) * sigma
    stream = model.stream(iso=100.0, source=source)
    drawn = torch.stack([stream.noise(clean)[0] for _ in range(3)])
    assert torch.allclose(drawn, noise, rtol=0, atol=1e-12)
    slopes = torch.autograd.functional.jacobian(lambda each: by_hand(model, each) * sigma, fresh, vectorize=True)
    size = fresh.numel()
    expected = -0.5 * float(fresh.square().sum()) - size / 2 * math.log(2 * math.pi)
    expected -= float(torch.linalg.slogdet(slopes.reshape(size, size))[1])
    terms = model.log_prob_of_sequence(noise[None], clean[:, None], 100.0)
    assert float(terms.sum()) == pytest.approx(expected, abs=1e-8)


def model_conditions(model: TemporalNoise, clean: Tensor) -> object:
    from noiseflow.flows.conditions import Conditions

    return Conditions(clean, 100.0, 0).resolve(model.cameras)


@pytest.mark.parametrize("parts", [(), LINEAR, (*LINEAR, "telegraph")], ids="+".join)
def test_a_frame_of_two_pixels_given_the_past_integrates_to_one(parts: tuple[str, ...]) -> None:
    """Two pixels are a block; a telegraph pixel's law is that of its block."""
    model = strong((*parts, *BOTH), size=0.15)
    side = torch.linspace(-0.4, 0.4, 281, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side).reshape(-1, 1, 1, 2)
    clean = torch.full_like(grid, 0.3)
    density = model.follow(100.0)
    for value in (0.05, -0.03):
        density(torch.full_like(grid, value), clean)
    log_prob = density(grid, clean).reshape(281, 281)
    total = torch.trapezoid(torch.trapezoid(log_prob.exp(), side), side)
    assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("parts", [(), LINEAR, (*LINEAR, "telegraph")], ids="+".join)
def test_a_masked_pixel_says_nothing(parts: tuple[str, ...]) -> None:
    model = strong((*parts, *BOTH))
    noise = 0.03 * torch.randn(1, 3, 1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean, observed = torch.full((1, 1, 1, *SIZE), 0.3, dtype=torch.float64), torch.ones(noise.shape, dtype=torch.bool)
    observed[:, 1, :, 1, 2] = False
    observed[:, 1, :, BLOCK:, BLOCK:] = False
    before = model.log_prob_of_sequence(noise, clean, 100.0, 0, observed)
    noise[:, 1] = torch.where(observed[:, 1], noise[:, 1], 0.1)
    assert torch.equal(model.log_prob_of_sequence(noise, clean, 100.0, 0, observed), before)
    assert not torch.equal(model.log_prob_of_sequence(noise, clean, 100.0), before)

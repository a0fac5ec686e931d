"""Fits to integer codes whose clean signal is the mean of few other frames."""

import math

import pytest
import torch

from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models import ModelSpec, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.noise_statistics import ALIKE, expected_signal, local_mean

BLACK, WHITE = 64, 1023
SPAN = WHITE - BLACK


def burst(others: int, gain: float, read: float, *, camera: int = 0) -> tuple[torch.Tensor, Resolved, Levels]:
    """Codes of 48 patches of soft blobs on black, and the mean of some other frames as their clean signal."""
    rng = torch.Generator().manual_seed(7)
    soft = local_mean(torch.randn(48, 4, 32, 32, generator=rng)) * 5
    light = 30 * (soft - 0.5).clamp(min=0)
    sigma = (gain * light + read**2).sqrt()
    frames = [BLACK + light + sigma * torch.randn(light.shape, generator=rng) for _ in range(others + 1)]
    codes, *rest = (frame.round().double() for frame in frames)
    clean = (torch.stack(rest).mean(0) - BLACK) / SPAN
    spread = torch.full((48,), math.sqrt(1 + 1 / others))
    levels = Levels(torch.full((48, 4), float(BLACK)), torch.full((48,), float(WHITE)), spread)
    return codes, Conditions(clean.float(), 400.0, torch.full((48,), camera)).resolve(("One", "Two")), levels


@pytest.mark.parametrize(("others", "gain", "read"), [(1, 0.8, 1.0), (2, 1.0, 0.8), (4, 0.8, 1.0), (7, 0.4, 0.6)])
def test_gain_and_read_noise_are_those_of_the_camera(others: int, gain: float, read: float) -> None:
    """By the noisy clean signal itself K was 15 to 47 % too small and σ 7 to 35 % too large."""
    codes, cond, levels = burst(others, gain, read, camera=1)
    model = build(ModelSpec("nlf", cameras=("One", "Two"), isos=(400.0,)))
    assert isinstance(model, NoiseLevelFunction)
    model.start_from_codes(codes, cond, levels)
    found = model.log_beta1[1, 0].detach().exp() * SPAN, model.log_beta2[1, 0].detach().exp().sqrt() * SPAN
    # 196,608 values, three quarters of them dark: standard errors 0.7 % of K and 0.3 % of σ; 4 of them.
    assert float(found[0]) == pytest.approx(gain, rel=0.028)
    assert float(found[1]) == pytest.approx(read, rel=0.012)


def test_what_is_known_is_not_replaced() -> None:
    _, cond, _ = burst(1, 0.8, 1.0)
    estimated = torch.arange(48) % 2 == 0
    found = expected_signal(cond.clean, estimated, torch.zeros(48, dtype=torch.long))
    assert torch.equal(found[~estimated], cond.clean[~estimated])
    assert float(found[estimated].std()) < float(cond.clean[estimated].std())


def test_settings_are_not_mixed() -> None:
    clean = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    clean[2:] += 5
    estimated = torch.ones(4, dtype=torch.bool)
    apart = expected_signal(clean, estimated, torch.tensor([0, 0, 1, 1]))
    assert torch.allclose(apart[:2], expected_signal(clean[:2], estimated[:2], torch.zeros(2, dtype=torch.long)))
    for part in (slice(2), slice(2, None)):
        assert float(apart[part].mean()) == pytest.approx(float(clean[part].mean()), rel=1e-5)


def test_masked_pixels_and_a_few_values_more_than_a_group() -> None:
    clean = torch.rand(1, 1, 23, 23, generator=torch.Generator().manual_seed(0))
    observed = torch.ones_like(clean, dtype=torch.bool)
    observed[0, 0, 0] = False
    group, estimated = torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.bool)
    found = expected_signal(clean, estimated, group, observed)
    assert torch.equal(found[~observed], clean[~observed])
    # 506 values are one group, and so are 529: seventeen alone would be their own noise.
    for kept in (observed, torch.ones_like(observed)):
        assert expected_signal(clean, estimated, group, kept)[kept].unique().numel() == 1


@pytest.mark.parametrize(
    ("count", "sizes"), [(ALIKE - 1, [511]), (2 * ALIKE, [512, 512]), (3 * ALIKE + 7, [512, 512, 519])]
)
def test_values_are_grouped_by_512_and_the_last_group_has_what_is_left(count: int, sizes: list[int]) -> None:
    """Each takes the mean of its group, sorted by the signal around it."""
    clean = torch.arange(count, dtype=torch.float64).reshape(1, 1, 1, count)
    found = expected_signal(clean, torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long)).flatten()
    means, number = found.unique(return_counts=True)
    assert number.tolist() == sizes
    assert means.tolist() == [float(each.mean()) for each in clean.flatten().split(sizes)]

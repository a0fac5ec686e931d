"""A response that bends near saturation is found, fitted and sampled; a straight one is left alone."""

import math

import pytest
import torch
from model_table import generator
from torch import Tensor

from noiseflow.fit.signal_of_few_frames import signal_of_few_frames
from noiseflow.flows import Conditions
from noiseflow.flows.camera.bent_scale import PARTS, BentScale
from noiseflow.models import ModelSpec, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts import bend
from noiseflow.models.flow.starts.bend import CELLS, choose_bend
from noiseflow.models.model import checked_conditions

GAIN, READ, SPAN, PATCHES = 1.0, 3.0, 4095.0, 256


def share(clean: Tensor) -> Tensor:
    """Shot variance over that of a straight response: one up to 60 % of the range, falling to 1/5 at 95 %."""
    return 1 - 0.8 * ((clean - 0.6) / 0.35).clamp(0, 1)


def scene(*, bends: bool, seed: int, options: dict[str, bool] | None = None) -> tuple[PhysicsFlow, Tensor, Conditions]:
    """A model and patches of even light from dark to 95 %, more of them in the dark, four to a band."""
    draws = generator(seed)
    light = 0.95 * torch.linspace(0, 1, PATCHES)[torch.randperm(PATCHES, generator=draws)] ** 2
    clean = light[:, None, None, None] * torch.ones(PATCHES, 4, 16, 16)
    variance = (GAIN * clean * (share(clean) if bends else 1) / SPAN) + (READ / SPAN) ** 2
    noise = variance.sqrt() * torch.randn(clean.shape, generator=draws)
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), options or {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(0.8 * GAIN / SPAN))
        model.shot_read.log_beta2.fill_(math.log(1.5 * (READ / SPAN) ** 2))
    return model, noise, checked_conditions(model, Conditions(clean, 100.0, "A"))


BANDS = torch.arange(PATCHES) // 4


def test_a_bend_is_found_sampled_and_kept_on_codes() -> None:
    """A patch of 1,024 values knows its variance to 4.4 %, the 9 or more about each knot to 1.5 %."""
    model, noise, cond = scene(bends=True, seed=1)
    model.start_from_patches(noise, cond, BANDS)
    assert model.spec.options["bend"] is True
    assert model.found[-1].startswith("non-linear response: worth")
    again = build(model.spec)
    again.load_state_dict(model.state_dict())
    light = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9])
    clean = light[:, None, None, None].expand(-1, 4, 64, 64)
    drawn = again.sample(Conditions(clean, 100.0, "A"), generator(2))
    expected = GAIN * light * share(light) / SPAN + (READ / SPAN) ** 2
    # 16,384 samples: 1.1 %, with the fit's own 1.9 %; 3.5 times that.
    torch.testing.assert_close(drawn.square().mean((1, 2, 3)), expected, rtol=0.065, atol=0)
    before = float(model.shot_read.log_beta2.detach().exp())
    levels = Levels(torch.full((8, 4), 64.0), torch.full((8,), 64.0 + SPAN))
    codes = (64 + READ * torch.randn(8, 4, 16, 16, generator=generator(3))).round()
    model.start_from_codes(codes, Conditions(torch.zeros(8, 4, 16, 16), 100.0, "A"), levels)
    assert float(model.shot_read.log_beta2.detach().exp()) == pytest.approx(before - 1 / 12 / SPAN**2, rel=1e-3)


@pytest.mark.parametrize("bends", [True, False])
def test_exact_variances_give_the_gain_of_the_dark_and_the_bend_above_it(bends: bool) -> None:
    """K and σ² are off by known factors, and the shot variance falls along a straight log over the upper half."""
    light = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
    log = -1.2 * (light - 0.5).clamp(min=0) * bends
    count = torch.full((CELLS,), 1e7, dtype=torch.float64)
    shot, read = 4 * light, torch.full_like(light, 0.3)
    square = (0.4 + log).exp() * shot + math.exp(-0.2) * read
    found = bend._fitted(bend._Cells(count, count * shot, count * read, count * square), bends=bends)
    knots = torch.linspace(0, 1, PARTS + 1, dtype=torch.float64)
    torch.testing.assert_close(found[:2], torch.tensor([0.4, -0.2]).double(), rtol=0, atol=2e-3)
    torch.testing.assert_close(found[2:], -1.2 * (knots - 0.5).clamp(min=0) * bends, rtol=0, atol=2e-3)


@pytest.mark.parametrize("bends", [True, False])
def test_a_clean_signal_that_is_another_frame_neither_hides_a_bend_nor_makes_one(bends: bool) -> None:
    """Half of the patches dark, in pairs: their shot noise is none, though noise and clean signal go together.

    The variance over a line falls by more than half at the bright end.
    """
    model, noise, cond = scene(bends=bends, seed=2)
    light = cond.clean * (torch.arange(PATCHES) % 2)[:, None, None, None]
    sigma = (GAIN * light * (share(light) if bends else 1) / SPAN + (READ / SPAN) ** 2).sqrt()
    first, second = (sigma * torch.randn(noise.shape, generator=generator(seed)) for seed in (5, 6))
    difference = (first - second) / math.sqrt(2)
    signal = signal_of_few_frames(difference, light + second, torch.ones(PATCHES))
    pair = checked_conditions(model, Conditions(signal, 100.0, "A"))
    found = choose_bend(model.shot_read, difference, pair, BANDS, planes=4)
    assert isinstance(found.head, BentScale) is bends
    if bends:
        bend = found.head.bend.detach()[0, 0]
        assert abs(float(bend[:9].diff().abs().max())) < 0.25
        assert float(bend[-2] - bend[5]) == pytest.approx(math.log(share(torch.tensor(0.9375))), abs=0.25)


def test_edges_and_the_light_of_masked_pixels_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an edge the averages differ from the signal by a fifth of it or more, and elsewhere they do not."""
    seen: list[Conditions] = []
    monkeypatch.setattr(bend, "_lit", lambda head, cond: seen.append(cond) or cond.observed)
    model, noise, _ = scene(bends=False, seed=3)
    clean = torch.where(torch.arange(16) < 8, 0.0, 0.2).expand_as(noise).contiguous()
    masked = torch.zeros_like(clean, dtype=torch.bool)
    masked[..., 5, 2] = True
    given = checked_conditions(model, Conditions(torch.where(masked, 1.0, clean), 100.0, "A", ~masked))
    choose_bend(model.shot_read, noise, given, BANDS, planes=4)
    observed = seen[0].observed
    assert observed is not None
    expected = ((torch.arange(16) < 6) | (torch.arange(16) >= 10)).expand_as(masked) & ~masked
    assert torch.equal(observed, expected)
    torch.testing.assert_close(seen[0].clean[observed], clean[observed])


@pytest.mark.parametrize("seed", range(6))
def test_a_straight_response_is_left_alone(seed: int) -> None:
    """By chance one seed in 700 would show a bend."""
    model, noise, cond = scene(bends=False, seed=seed)
    found = choose_bend(model.shot_read, noise, cond, BANDS, planes=4)
    assert found.head is model.shot_read
    assert found.note == "non-linear response: none"


@pytest.mark.parametrize(("count", "known"), [(4, True), (3, False)])
def test_two_bands_of_each_fold_are_the_fewest_that_decide(count: int, known: bool) -> None:
    model, noise, cond = scene(bends=True, seed=1)
    found = choose_bend(model.shot_read, noise, cond, torch.arange(PATCHES) % count, planes=4)
    assert isinstance(found.head, BentScale) is known


def test_a_bend_that_is_asked_for_is_fitted_and_small_where_there_is_none() -> None:
    model, noise, cond = scene(bends=False, seed=1, options={"bend": True})
    found = choose_bend(model.shot_read, noise, cond, BANDS, planes=4).head
    assert isinstance(found, BentScale)
    # The last knot is beyond the light.
    assert float(found.bend.detach()[..., :-1].abs().max()) < 0.2


def test_a_bend_that_is_left_out_is_not_tried() -> None:
    model, noise, cond = scene(bends=True, seed=1, options={"bend": False})
    assert model._start_bend(noise, cond, BANDS) == "non-linear response: left out"
    assert not isinstance(model.shot_read, BentScale)


@pytest.mark.parametrize("lit", [True, False])
def test_codes_of_a_dark_that_is_coarser_than_its_noise_are_no_bend(lit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At σ = 0.4 codes the dark at black varies by 0.21, not by 0.16 + 1/12: seen as a bend, were the dark asked."""
    span, gain, read, draws = 247.0, 0.03, 0.4, generator(8)
    light = 0.95 * torch.arange(8).div(7).square().repeat(PATCHES // 8)[torch.randperm(PATCHES, generator=draws)]
    # A slope over the patch: only at black do all pixels have one place between two codes.
    clean = light[:, None, None, None] * (1 + 0.2 * torch.linspace(-1, 1, 32)[:, None]) * torch.ones(PATCHES, 4, 32, 32)
    variance = gain * span * clean + read**2
    noise = ((clean * span + variance.sqrt() * torch.randn(clean.shape, generator=draws)).round() / span) - clean
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(gain / span))
        model.shot_read.log_beta2.fill_(math.log((read**2 + 1 / 12) / span**2))
    if not lit:
        monkeypatch.setattr(bend, "_lit", lambda head, cond: torch.ones_like(cond.clean, dtype=torch.bool))
    found = choose_bend(
        model.shot_read, noise, checked_conditions(model, Conditions(clean, 100.0, "A")), BANDS, planes=4
    )
    assert (found.note == "non-linear response: none") is lit

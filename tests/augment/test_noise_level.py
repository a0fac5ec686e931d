"""`noise_level` is σ of the noise that the same call adds: in the dark, below black, after new weights."""

import pytest
import torch
from model_table import CAMERAS, TRAINED, generator, randomised_model

from noiseflow.augment import AddCameraNoise
from noiseflow.augment.noise_level import SIGNALS, NoiseLevelMap
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel, from_profile
from noiseflow.models.model import samples_codes
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Stream
from noiseflow.ops.random.spread import Spread

DARK = (-0.005, 0.0, 0.0005, 0.002, 1 / 64)
DRAWS = 160_000
"""σ of so many values has a standard error of 0.18 %, with tails up to 0.25 %; 1 % is four of them."""


def registered(name: str) -> NoiseModel:
    if name in TRAINED:
        return randomised_model(name, "bayer", spread=0.05).float()
    return from_profile(name, shipped_profile(next(iter(shipped_names()))))


@pytest.mark.parametrize(
    "name", [*sorted(set(TRAINED) - {"glow", "maf"}), "poisson_gaussian", "poisson_gaussian_exact", "eld"]
)
def test_the_level_is_the_noise_s_within_a_percent(name: str) -> None:
    model = registered(name)
    iso = 1.4 * model.iso_range[0]
    signals = torch.tensor([*DARK, 0.3, *([0.97, 1.0] if samples_codes(model) else [])])
    clean = signals[:, None, None, None].expand(-1, model.planes, 100, DRAWS // 100 // model.planes).contiguous()
    add = AddCameraNoise(model, iso=iso, cameras=[model.cameras[0]])
    batch = add(clean, generator=generator(1))
    found = (batch.noisy - batch.clean).double().var((2, 3)).mean(1).sqrt()
    level = batch.noise_level.double().square().mean((1, 2, 3)).sqrt()
    assert (level / found - 1).abs().max() < 0.01, (level / found - 1).tolist()


def test_below_black_the_noise_is_the_read_noise() -> None:
    add = AddCameraNoise(registered("physics_flow"), iso=400.0, cameras=[CAMERAS[1]])
    at_black, below = (add(torch.full((1, 4, 64, 64), level), [3]) for level in (0.0, -0.03))
    torch.testing.assert_close(below.noisy - below.clean, at_black.noisy, rtol=0, atol=1e-8)
    assert torch.equal(below.noise_level, at_black.noise_level)


def test_new_weights_renew_the_level() -> None:
    model = registered("physics_flow")
    add = AddCameraNoise(model, iso=400.0, cameras=[CAMERAS[0]])
    before = add(torch.zeros(1, 4, 8, 8)).noise_level.mean()
    wider = {name: value + 2.0 * (name.endswith("log_beta2")) for name, value in model.state_dict().items()}
    model.load_state_dict(wider)
    loaded = add(torch.zeros(1, 4, 8, 8)).noise_level.mean()
    assert float(loaded / before) == pytest.approx(torch.e, rel=0.05)
    # Weights that are averaged go behind `.data`, which no version counts.
    model.flow.transforms[1].log_variance.data.add_(4.0)
    assert float(add(torch.zeros(1, 4, 8, 8)).noise_level.mean()) > 1.005 * float(loaded)


def test_the_level_is_measured_once_for_equal_weights() -> None:
    level = NoiseLevelMap(registered("flow"))
    calls = []
    level._measured = lambda *at: calls.append(at) or torch.ones(4, len(SIGNALS), dtype=torch.float64)  # type: ignore[method-assign]
    for _ in range(3):
        level(Conditions(torch.rand(2, 4, 8, 8), torch.tensor([100.0, 120.0]), CAMERAS[0]))
    assert sorted(calls) == sorted({*calls})
    assert len(calls) == 2


def test_spread_numbers_have_the_moments_of_their_distributions() -> None:
    like, source = torch.empty(1, 4, 64, 64), Spread(seed=2)
    z = sampling.normal(like, source).double()
    for power, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0)):
        assert float(z.pow(power).mean()) == pytest.approx(expected, rel=5e-3, abs=1e-9), power
    # Products of planes, and of the pixels of a cell, are spread too: a random draw errs by 1/√4096 = 0.016.
    assert (z[0, 0] * z[0, 1]).mean().abs() < 5e-3
    assert (z[0, 0, :, ::2] * z[0, 0, :, 1::2]).mean().abs() < 5e-3
    for rate in (0.3, 8.0, 30.0, 3000.0):
        counts = sampling.poisson(torch.full((1, 4, 64, 64), rate, dtype=torch.float64), source, Stream.SHOT)
        assert float(counts.mean()) == pytest.approx(rate, rel=2e-3)
        assert float(counts.var()) == pytest.approx(rate, rel=5e-3)

"""Noise of one camera becomes the other's, and comes back."""

import pytest
import torch

import noiseflow
from noiseflow.augment import transfer_frame, transfer_noise
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build, from_profile
from noiseflow.models.model import NoiseModel

A7S2 = noiseflow.load("sony-a7s2", "poisson_gaussian")
OTHER = from_profile("poisson_gaussian", noiseflow.sample_camera(5))
CLEAN = torch.linspace(0.001, 0.7, 256).expand(2, 4, 256, 256).contiguous()


def flow(camera: str, seed: int) -> NoiseModel:
    model = build(ModelSpec("physics_flow", "bayer", (camera,), (100.0, 3200.0), {"seed": seed})).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def noise_of(model: NoiseModel, iso: float) -> torch.Tensor:
    cond = Conditions(CLEAN, iso, model.cameras[0])
    return model.sample(cond, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("target", "iso"), [(A7S2, 3200.0), (OTHER, 800.0)])
def test_variance_in_every_bin_is_the_targets(target: NoiseModel, iso: float) -> None:
    conds = Conditions(CLEAN, 800.0, A7S2.cameras[0]), Conditions(CLEAN, iso, target.cameras[0])
    moved = transfer_noise(noise_of(A7S2, 800.0), A7S2, conds[0], target, conds[1])
    ratio = moved.square() / noiseflow.augment.noise_level.NoiseLevelMap(target)(conds[1]).square()
    # 65,536 values a bin of eight columns' signal: a standard error of 0.55 %.
    assert torch.allclose(ratio.reshape(2, 4, 256, 8, 32).mean((0, 1, 2, 4)), torch.ones(8), atol=0.02)


@pytest.mark.parametrize("pair", [(A7S2, OTHER), (flow("A", 0), flow("B", 1))])
def test_there_and_back_gives_the_noise_back(pair: tuple[NoiseModel, NoiseModel]) -> None:
    source, target = pair
    clean = CLEAN[:, :, :32, :32].contiguous()
    conds = [Conditions(clean, iso, model.cameras[0]) for iso, model in zip((800.0, 3200.0), pair, strict=True)]
    noise = source.sample(conds[0], generator=torch.Generator().manual_seed(0))
    there = transfer_noise(noise, source, conds[0], target, conds[1])
    assert not torch.allclose(there, noise, rtol=0.05)
    back = transfer_noise(there, target, conds[1], source, conds[0])
    assert torch.allclose(back, noise, rtol=1e-4, atol=1e-6)


def test_without_a_clean_signal_the_missing_noise_is_added() -> None:
    noisy = CLEAN + noise_of(A7S2, 800.0)
    found = transfer_frame(noisy, A7S2, 800.0, A7S2, 3200.0, generator=torch.Generator().manual_seed(1))
    assert found.remains == 0
    wanted = noiseflow.augment.noise_level.NoiseLevelMap(A7S2)(Conditions(CLEAN, 3200.0, A7S2.cameras[0])).square()
    ratio = ((found.signal - CLEAN).square() / wanted).reshape(2, 4, 256, 8, 32).mean((0, 1, 2, 4))
    # Also in the first bin, where the slope from the border on is as large as the signal.
    assert torch.allclose(ratio, torch.ones(8), atol=0.03)


def test_in_the_dark_no_more_noise_is_added_than_is_missing() -> None:
    """The local mean of half the pixels is below black.  Of 524,288 values a variance is known to 0.2 %."""
    clean = torch.zeros(2, 4, 256, 256)
    noise = A7S2.sample(Conditions(clean, 800.0, A7S2.cameras[0]), generator=torch.Generator().manual_seed(0))
    found = transfer_frame(noise, A7S2, 800.0, A7S2, 3200.0, generator=torch.Generator().manual_seed(1))
    wanted = noiseflow.augment.noise_level.NoiseLevelMap(A7S2)(Conditions(clean, 3200.0, A7S2.cameras[0])).square()
    assert float((found.signal.square() / wanted).mean()) == pytest.approx(1, abs=0.015)
    for size in ((1, 1), (2, 7), (4, 3)):
        few = transfer_frame(noise[:, :, : size[0], : size[1]], A7S2, 800.0, A7S2, 3200.0)
        assert few.signal.shape == (2, 4, *size)


def test_where_the_target_is_less_noisy_it_says_what_remains() -> None:
    noisy = CLEAN + noise_of(A7S2, 3200.0)
    found = transfer_frame(noisy, A7S2, 3200.0, A7S2, 800.0)
    assert torch.equal(found.signal, noisy)
    # Four times the gain: three quarters of the variance are too much.
    assert found.remains == pytest.approx(0.75, abs=0.03)
    known = transfer_frame(noisy, A7S2, 3200.0, A7S2, 800.0, clean=CLEAN)
    assert known.remains == 0
    assert float((known.signal - CLEAN).var()) < 0.3 * float((noisy - CLEAN).var())


def test_what_cannot_be_transferred_says_why() -> None:
    noisy = CLEAN[:, :, :8, :8]
    with pytest.raises(ModelError, match=r"eld: .* through a latent, which this model lacks"):
        transfer_frame(noisy, noiseflow.load("sony-a7s2"), 800, A7S2, 800, clean=noisy)
    with pytest.raises(DataError, match="expected both of shape"):
        transfer_frame(noisy, A7S2, 800, A7S2, 800, clean=noisy[:, :, :4])

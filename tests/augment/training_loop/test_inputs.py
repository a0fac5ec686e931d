"""Any input that a loop has, for every model, by `AddCameraNoise` and `AddNoiseToPictures`: one table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from model_table import TRAINED, generator, randomised_model
from torch import Tensor

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures, Augmentation
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models import NoiseModel, from_profile

COUNTING = ("poisson_gaussian_exact", "eld")
MODELS = [*TRAINED, "poisson_gaussian", *COUNTING]
PLANES = {"raw": 4, "pictures": 3}


def model_of(name: str) -> NoiseModel:
    if name in TRAINED:
        return randomised_model(name, "bayer", spread=0.03).float()
    return from_profile(name, shipped_profile(next(iter(shipped_names()))))


def augmentation(name: str, kind: str) -> Augmentation:
    model = model_of(name)
    add = AddCameraNoise(model, iso=model.iso_range[0], levels=(64.0, 1023.0), seed=1)
    return add if kind == "raw" else AddNoiseToPictures(add)


def pixels(kind: str, height: int = 6, width: int = 8, batch: int = 3) -> Tensor:
    return 0.1 + 0.5 * torch.rand(batch, PLANES[kind], height, width, generator=generator(1))


def strided(clean: Tensor) -> Tensor:
    wide = clean.repeat_interleave(2, 3)
    return wide[..., ::2]


SAME: dict[str, Callable[[Tensor], Any]] = {
    "float64": lambda clean: clean.double(),
    "channels_last": lambda clean: clean.contiguous(memory_format=torch.channels_last),
    "strided": strided,
    "numpy": lambda clean: clean.numpy(),
    "reversed numpy": lambda clean: clean.flip(3).numpy()[..., ::-1],
    "in inference mode": lambda clean: clean,
}
"""Inputs of equal values."""


@pytest.mark.parametrize("kind", PLANES)
@pytest.mark.parametrize("name", MODELS)
def test_every_input(name: str, kind: str) -> None:
    add, clean = augmentation(name, kind), pixels(kind)
    expected = add(clean, [5, 6, 7])
    assert expected.noisy.dtype == torch.float32
    for what, convert in SAME.items():
        with torch.inference_mode(what == "in inference mode"):
            batch = add(convert(clean), [5, 6, 7])
        torch.testing.assert_close(batch.noisy.float(), expected.noisy, rtol=1e-5, atol=1e-5, msg=what)
    for dtype in (torch.float16, torch.bfloat16):
        batch = add(clean.to(dtype), [5, 6, 7])
        assert {batch.noisy.dtype, batch.clean.dtype, batch.noise_level.dtype} == {dtype}
        assert batch.iso.dtype == torch.float32
    one = add(clean[1:2], np.array([6]))
    torch.testing.assert_close(one.noisy[0], expected.noisy[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(add(clean[1], [torch.tensor(6)]).noisy, one.noisy[0], rtol=1e-6, atol=1e-6)
    for index in (None, []):
        empty = add(clean[:0], index)
        assert empty.noisy.shape == (0, *clean.shape[1:])
        assert empty.iso.shape == (0,)
        assert empty.camera == ()
    odd = pixels("raw", 5, 7) if kind == "raw" else pixels("pictures", 10, 14)
    assert torch.isfinite(add(odd, [1, 2, 3]).noisy).all()


@pytest.mark.parametrize("kind", PLANES)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_by_the_clean_signal(name: str, kind: str) -> None:
    add, clean = augmentation(name, kind), pixels(kind)
    if name in COUNTING:
        with pytest.raises(ModelError, match="no gradient"):
            add(clean.requires_grad_(), [5, 6, 7])
        return
    point = clean.double().requires_grad_()
    batch = add(point, [5, 6, 7])
    ones = 0.01 * torch.randn(clean.shape, generator=generator(3)).double()
    found = float((torch.autograd.grad(batch.noisy.sum(), point)[0] * ones).sum())
    step = 0.01
    with torch.no_grad():
        sides = [float(add(clean.double() + sign * step * ones, [5, 6, 7]).noisy.sum()) for sign in (1, -1)]
    # The models compute in float32.
    assert found == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=2e-2, abs=2e-3)
    assert not add(clean, [5, 6, 7]).noisy.requires_grad
    parameters = add.models if isinstance(add, AddCameraNoise) else add.add_noise.models
    assert all(parameter.grad is None for model in parameters for parameter in model.parameters())


def test_whole_codes_are_normalised_by_the_levels() -> None:
    add = AddCameraNoise(model_of("nlf"), iso=400.0, levels=(64.0, 1023.0))
    codes = torch.randint(64, 1024, (2, 4, 6, 8), generator=generator(1))
    expected = add((codes.float() - 64) / 959, [1, 2])
    for dtype in (torch.int32, torch.uint16, torch.int64):
        assert torch.equal(add(codes.to(dtype), [1, 2]).noisy, expected.noisy)
    with pytest.raises(DataError, match=r"normalise it first, or give levels"):
        AddCameraNoise(model_of("nlf"))(codes)


def test_settings_of_the_call_and_ranges() -> None:
    add = AddCameraNoise(model_of("nlf"), iso=(100, 1600), exposure=(0.5, 1.0))
    clean = torch.full((200, 4, 2, 2), 0.3)
    drawn = add(clean, generator=generator(1))
    assert 100 <= float(drawn.iso.min()) < 130
    assert 1250 < float(drawn.iso.max()) <= 1600
    assert len(drawn.iso.unique()) > 100
    assert len(drawn.exposure.unique()) > 100
    given = add(clean[:2], [1, 2], iso=[200, 800], exposure=0.5, camera=["C", "A"])
    assert given.iso.tolist() == [200.0, 800.0]
    assert given.exposure.tolist() == [0.5, 0.5]
    assert given.camera == ("C", "A")
    torch.testing.assert_close(given.clean, 0.5 * clean[:2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda add, clean: add(clean, [0.2, 0.7, 0.9]), r"index: expected whole numbers"),
        (lambda add, clean: add(clean, [1, 2, -3]), r"index: expected 0 … 2³² − 1"),
        (lambda add, clean: add(clean, generator=0), r"generator: expected a torch.Generator; got 0"),
        (lambda add, clean: add(clean, [1, 2, 3], epoch=0.5), r"epoch: expected a whole number"),
        (lambda add, clean: add(clean, iso=-100.0), r"iso: expected positive numbers"),
        (lambda add, clean: add(clean, iso=[100.0, 200.0]), r"iso: expected one value or 3"),
        (lambda add, clean: add(clean, camera="Z"), r"camera 'Z': expected one of A, B, C"),
        (lambda add, clean: add("picture"), r"clean: expected a tensor or an array; got str"),
    ],
)
def test_misuse_is_one_line(call: Callable[..., object], message: str) -> None:
    with pytest.raises((DataError, ModelError), match=message) as error:
        call(AddCameraNoise(model_of("nlf")), pixels("raw"))
    assert "\n" not in str(error.value)

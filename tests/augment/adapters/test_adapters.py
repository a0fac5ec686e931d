"""Each adapter within its library's own pipeline; skipped where the library is not installed.

`make test-adapters` runs these in an environment of their own: the libraries bring a torch of several GB.
"""

import numpy as np
import pytest
import torch
from model_table import spec_of

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures
from noiseflow.augment.adapters import missing
from noiseflow.models import build

pytestmark = pytest.mark.filterwarnings("ignore")


def library(name: str) -> object:
    return pytest.importorskip(name, reason=f"{name} is not installed; make test-adapters installs it")


def on_planes(iso: float = 800.0) -> AddCameraNoise:
    return AddCameraNoise(build(spec_of("nlf", "bayer")).eval(), iso=iso)


def on_pictures() -> AddNoiseToPictures:
    return AddNoiseToPictures(on_planes())


def sigma_of(signal: float) -> float:
    """Of the model that `on_planes` draws from: β₁ = 10⁻³, β₂ = 10⁻⁶."""
    return float((1e-3 * signal + 1e-6) ** 0.5)


def test_deepinv() -> None:
    library("deepinv")
    from deepinv.physics import Denoising, Inpainting

    from noiseflow.augment.adapters.deepinv import CameraNoise

    clean = torch.full((2, 4, 64, 64), 0.3)
    physics = Denoising(CameraNoise(on_planes(), rng=torch.Generator().manual_seed(0)))
    noisy = physics(clean)
    # 32,768 values: a σ has a standard error of 0.4 %; four of them.
    assert float((noisy - clean).std()) == pytest.approx(sigma_of(0.3), rel=0.016)
    assert not torch.equal(physics(clean), noisy)
    assert torch.equal(physics(clean, seed=3), physics(clean, seed=3))
    masked = Inpainting((4, 64, 64), mask=0.5, noise_model=CameraNoise(on_planes()))
    assert masked(clean).shape == clean.shape
    pictures = Denoising(CameraNoise(on_pictures()))
    assert pictures(torch.full((1, 3, 16, 16), 0.5)).shape == (1, 3, 16, 16)


def test_kornia() -> None:
    library("kornia")
    from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip

    from noiseflow.augment.adapters.kornia import RandomCameraNoise

    clean = torch.full((4, 4, 64, 64), 0.3)
    pipeline = AugmentationSequential(RandomHorizontalFlip(p=0.5), RandomCameraNoise(on_planes()), data_keys=["input"])
    torch.manual_seed(0)
    noisy = pipeline(clean)
    assert float((noisy - clean).std()) == pytest.approx(sigma_of(0.3), rel=0.012)
    assert not torch.equal(pipeline(clean), noisy)
    torch.manual_seed(0)
    assert torch.equal(pipeline(clean), noisy)
    assert torch.equal(pipeline(clean, params=pipeline._params), noisy)
    some = RandomCameraNoise(on_planes(), p=0.5)
    changed = (some(clean.repeat(16, 1, 1, 1)) != 0.3).flatten(1).any(1)
    assert 0 < int(changed.sum()) < 64
    same = RandomCameraNoise(on_planes(), same_on_batch=True)(clean)
    assert torch.equal(same[0], same[1])
    assert RandomCameraNoise(on_pictures())(torch.full((2, 3, 16, 16), 0.5)).shape == (2, 3, 16, 16)


def test_torchvision() -> None:
    library("torchvision")
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    from noiseflow.augment.adapters.torchvision import CameraNoise

    pipeline = v2.Compose(
        [v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), CameraNoise(on_pictures())]
    )
    image = tv_tensors.Image(torch.full((3, 32, 32), 128, dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.ones(32, 32, dtype=torch.uint8))
    torch.manual_seed(0)
    noisy, mask_out, label = pipeline(image, mask, 7)
    assert isinstance(noisy, tv_tensors.Image)
    assert torch.equal(mask_out, mask)
    assert label == 7
    assert 0.005 < float(noisy.std()) < 0.2
    torch.manual_seed(0)
    assert torch.equal(pipeline(image, mask, 7)[0], noisy)
    planes = CameraNoise(on_planes())(torch.full((2, 4, 64, 64), 0.3))
    assert float(planes.std()) == pytest.approx(sigma_of(0.3), rel=0.016)
    assert not torch.equal(planes[0], planes[1])


def test_albumentations() -> None:
    library("albumentations")
    import albumentations

    from noiseflow.augment.adapters.albumentations import CameraNoise

    image = np.full((32, 32, 3), 128, np.uint8)
    mask = np.ones((32, 32), np.uint8)

    def run(seed: int) -> dict[str, np.ndarray]:
        steps = [albumentations.HorizontalFlip(p=0.5), CameraNoise(on_pictures(), p=1.0)]
        return albumentations.Compose(steps, seed=seed)(image=image, mask=mask)

    noisy = run(0)
    assert noisy["image"].dtype == np.uint8
    assert 1 < noisy["image"].std() < 50
    assert np.array_equal(noisy["mask"], mask)
    assert np.array_equal(run(0)["image"], noisy["image"])
    assert not np.array_equal(run(1)["image"], noisy["image"])
    planes = np.full((64, 64, 4), 0.3, np.float32)
    raw = albumentations.Compose([CameraNoise(on_planes(), p=1.0)], seed=0)(image=planes)["image"]
    assert raw.dtype == np.float32
    assert raw.std() == pytest.approx(sigma_of(0.3), rel=0.023)
    assert albumentations.Compose([CameraNoise(on_planes(), p=0.0)])(image=planes)["image"].std() < 1e-6


def test_monai() -> None:
    library("monai")
    from monai.data import Dataset
    from monai.transforms import Compose, EnsureTyped, RandFlipd

    from noiseflow.augment.adapters.monai import RandCameraNoised

    sample = {"image": np.full((4, 64, 64), 0.3, np.float32), "label": 3}

    def run(seed: int) -> dict[str, object]:
        steps = [EnsureTyped("image"), RandFlipd("image", prob=0.5), RandCameraNoised("image", on_planes())]
        return Dataset([sample], Compose(steps).set_random_state(seed))[0]

    noisy = run(0)
    assert type(noisy["image"]).__name__ == "MetaTensor"
    assert float(noisy["image"].std()) == pytest.approx(sigma_of(0.3), rel=0.023)
    assert noisy["label"] == 3
    assert torch.equal(run(0)["image"], noisy["image"])
    assert not torch.equal(run(1)["image"], noisy["image"])
    none = RandCameraNoised("image", on_planes(), prob=0.0)(sample)
    assert none["image"] is sample["image"]


def test_a_missing_library_says_which_extra() -> None:
    assert "pip install 'kornia>=" in str(missing("kornia", ImportError("no kornia")))

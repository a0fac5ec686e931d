"""Each adapter within its library's own pipeline; skipped where the library is not installed.

`make test-adapters` runs these in an environment of their own: the libraries bring a torch of several GB.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from model_table import ISOS, spec_of

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures
from noiseflow.augment.adapters import missing
from noiseflow.core.errors import DataError
from noiseflow.models import NoiseModel, build, save

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
    pictures = Denoising(CameraNoise(on_pictures(), keep_last=True))
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
    assert RandomCameraNoise(on_pictures(), keep_last=True)(torch.full((2, 3, 16, 16), 0.5)).shape == (2, 3, 16, 16)


def test_torchvision() -> None:
    library("torchvision")
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    from noiseflow.augment.adapters.torchvision import CameraNoise

    pipeline = v2.Compose(
        [v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), CameraNoise(on_pictures(), pair=True)]
    )
    image = tv_tensors.Image(torch.full((3, 32, 32), 128, dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.ones(32, 32, dtype=torch.uint8))
    torch.manual_seed(0)
    (noisy, clean), mask_out, label = pipeline(image, mask, 7)
    assert isinstance(clean, tv_tensors.Image)
    assert isinstance(noisy, tv_tensors.Image)
    assert torch.equal(mask_out, mask)
    assert label == 7
    assert 0.005 < float(noisy.std()) < 0.2
    torch.manual_seed(0)
    assert torch.equal(pipeline(image, mask, 7)[0][0], noisy)
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
        steps = [albumentations.HorizontalFlip(p=0.5), CameraNoise(on_pictures(), p=1.0, clean_key="clean")]
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


def darker() -> AddCameraNoise:
    return AddCameraNoise(build(spec_of("nlf", "bayer")).eval(), iso=800.0, exposure=0.5)


def sets(name: str) -> object:
    """The adapter of a library."""
    library(name)
    module = importlib.import_module(f"noiseflow.augment.adapters.{name}")
    return module.CameraNoise


REFUSALS = {
    "deepinv": ("keep_last", lambda add: sets("deepinv")(add)),
    "torchvision": ("pair", lambda add: sets("torchvision")(add)),
    "albumentations": ("clean_key", lambda add: sets("albumentations")(add)),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_target_that_would_be_lost_is_refused(name: str) -> None:
    place, make = REFUSALS[name]
    library(name)
    for add in (darker(), on_pictures()):
        with pytest.raises(DataError, match=place):
            make(add)


def test_deepinv_settings_and_gradients() -> None:
    camera_noise = sets("deepinv")
    from deepinv.physics import Denoising

    physics = Denoising(camera_noise(AddCameraNoise(rising()), rng=torch.Generator().manual_seed(0), keep_last=True))
    clean = torch.full((1, 4, 64, 64), 0.3)
    low, high = (float((physics(clean, iso=iso, seed=1) - clean).std()) for iso in (100.0, 1600.0))
    assert high > 2 * low
    physics.noise_model.update_parameters(iso=100.0)
    assert float((physics(clean, seed=1) - clean).std()) == pytest.approx(low)
    assert physics.noise_model.last.iso.tolist() == [100.0]
    dark = physics(clean, exposure=0.5)
    torch.testing.assert_close(physics.noise_model.last.clean, 0.5 * clean)
    assert float(dark.mean()) == pytest.approx(0.15, abs=0.01)
    physics.noise_model.settings.clear()
    point = clean.requires_grad_()
    (gradient,) = torch.autograd.grad(physics(point, seed=1).sum(), point)
    assert 0 < float((gradient - 1).abs().max()) < 0.5


def rising() -> NoiseModel:
    model = build(spec_of("nlf", "bayer")).eval()
    with torch.no_grad():
        model.log_beta1 += torch.tensor(ISOS).div(400).log()
        model.log_beta2 += 2 * torch.tensor(ISOS).div(400).log()
    return model


def test_kornia_gradients_targets_dtypes_and_one_graph() -> None:
    library("kornia")
    from noiseflow.augment.adapters.kornia import RandomCameraNoise

    with pytest.raises(DataError, match="keep_last"):
        RandomCameraNoise(darker())
    clean = torch.full((3, 4, 16, 16), 0.4)
    dark = RandomCameraNoise(darker(), keep_last=True)
    assert float(dark(clean).mean()) == pytest.approx(0.2, abs=0.01)
    torch.testing.assert_close(dark.last.clean, 0.5 * clean)
    noise = RandomCameraNoise(on_planes())
    point = clean.clone().requires_grad_()
    noise(point).sum().backward()
    assert 0 < float((point.grad - 1).abs().max()) < 0.5
    for dtype in (torch.float16, torch.float64):
        assert noise(clean.to(dtype)).dtype == dtype
    torch._dynamo.reset()
    compiled = torch.compile(lambda given: noise(given) - given, fullgraph=True, backend="aot_eager")
    for count in (3, 3, 2):
        torch.manual_seed(1)
        expected = noise(clean[:count]) - clean[:count]
        torch.manual_seed(1)
        torch.testing.assert_close(compiled(clean[:count]), expected)


def test_torchvision_videos_pil_and_leading_axes() -> None:
    camera_noise = sets("torchvision")
    import PIL.Image
    from torchvision import tv_tensors

    noise, clean = camera_noise(on_planes()), torch.full((2, 3, 4, 16, 16), 0.3)
    for given in (tv_tensors.Video(clean[0]), clean, tv_tensors.Image(clean)):
        noisy = noise(given)
        assert type(noisy) is type(given)
        assert noisy.shape == given.shape
        assert float(noisy.std()) > 0.01
    assert not torch.equal(noise(clean)[0, 0], noise(clean)[1, 2])
    assert noise(clean[0, :0]).shape == (0, 4, 16, 16)
    with pytest.raises(DataError, match=r"v2\.ToImage"):
        noise(PIL.Image.new("RGB", (8, 8)))
    with pytest.raises(DataError, match=r"v2\.ToDtype"):
        noise(tv_tensors.Image(torch.zeros(4, 8, 8, dtype=torch.uint8)))


def test_albumentations_shapes_dtypes_targets_and_text(tmp_path: Path) -> None:
    camera_noise = sets("albumentations")
    import albumentations

    mono = AddCameraNoise(build(spec_of("nlf", "mono")).eval(), iso=800.0)
    grey = np.full((16, 16), 0.3, np.float64)
    for image in (grey, grey.astype(np.float16), np.full((16, 16, 1), 20_000, np.uint16)):
        noisy = camera_noise(mono, p=1.0)(image=image)["image"]
        assert noisy.dtype == image.dtype
        assert noisy.shape == image.shape
        assert noisy.std() > 0
    result = camera_noise(darker(), p=1.0, clean_key="clean")(image=np.full((8, 8, 4), 0.4, np.float32))
    np.testing.assert_allclose(result["clean"], 0.2, rtol=1e-6)
    save(build(spec_of("nlf", "bayer")), tmp_path / "run")
    pipeline = albumentations.Compose([camera_noise(str(tmp_path / "run"), p=1.0)], seed=3)
    for form in ("json", "yaml"):
        albumentations.save(pipeline, str(tmp_path / f"p.{form}"), data_format=form)
        again = albumentations.load(str(tmp_path / f"p.{form}"), data_format=form)
        image = np.full((8, 8, 4), 0.4, np.float32)
        again.set_random_seed(3)
        pipeline.set_random_seed(3)
        assert np.array_equal(again(image=image)["image"], pipeline(image=image)["image"])
    with pytest.raises(DataError, match="give it a run folder"):
        albumentations.save(camera_noise(mono), str(tmp_path / "q.json"))


def test_monai_targets() -> None:
    library("monai")
    from noiseflow.augment.adapters.monai import RandCameraNoised

    sample = {"image": np.full((4, 8, 8), 0.4, np.float32)}
    with pytest.raises(DataError, match="clean_suffix"):
        RandCameraNoised("image", darker())
    found = RandCameraNoised("image", darker(), clean_suffix="_clean")(sample)
    assert type(found["image_clean"]) is np.ndarray
    np.testing.assert_allclose(found["image_clean"], 0.2, rtol=1e-6)
    none = RandCameraNoised("image", darker(), prob=0.0, clean_suffix="_clean")(sample)
    assert none["image_clean"] is sample["image"]


def test_a_missing_library_says_which_extra() -> None:
    assert "pip install 'kornia>=" in str(missing("kornia", ImportError("no kornia")))

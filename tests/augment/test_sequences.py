"""Camera noise on sequences: `AddCameraNoise` on (B, T, C, H, W), and bursts of whole frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from temporal_models import temporal_model
from torch import Tensor

from noiseflow.augment import AddCameraNoise, sample_burst, sample_frame, sample_to_files
from noiseflow.core.errors import DataError
from noiseflow.models import ModelSpec, TemporalNoise, build
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw


def model_with(parts: tuple[str, ...], layout: str = "bayer", frame: str = "nlf") -> TemporalNoise:
    return temporal_model(parts, frame=frame, layout=layout).float()


def clean_batch(frames: int = 3, side: int = 16) -> Tensor:
    return torch.rand(2, frames, 4, side, side, generator=torch.Generator().manual_seed(0)) * 0.5


def frame_of(layout: str = "RGGB") -> RawImage:
    mosaic = np.full((40, 60), 2000, np.uint16)
    return RawImage(mosaic=mosaic, cfa=layout, black=(512.0,) * 4, white=16383.0, iso=200.0, model="A")


def test_an_element_has_one_camera_iso_and_exposure() -> None:
    add = AddCameraNoise(model_with(("dark_pattern", "black_drift")), exposure=(0.5, 1.0), seed=3)
    clean = clean_batch()
    batch = add(clean, index=[4, 8])
    assert batch.noisy.shape == batch.clean.shape == batch.noise_level.shape == clean.shape
    assert batch.iso.shape == batch.exposure.shape == batch.camera_index.shape == (2,)
    assert torch.allclose(batch.clean, clean * batch.exposure[:, None, None, None, None])
    alone = add(clean[1:], index=[8])
    assert torch.equal(alone.noisy[0], batch.noisy[1])
    assert torch.equal(add(clean, index=[4, 8]).noisy, batch.noisy)
    assert not torch.equal(add(clean, index=[4, 9]).noisy[1], batch.noisy[1])


def test_it_is_what_the_model_s_own_stream_gives() -> None:
    model = model_with(("dark_pattern", "black_drift"))
    add = AddCameraNoise(model, iso=200.0, cameras=["B"])
    clean = clean_batch()[:1]
    batch = add(clean, index=[5])
    stream = model.stream(iso=batch.iso, camera=1, source=add.source([5], 1, None, 0))
    expected = torch.stack([stream(clean[:, t]) for t in range(3)], 1)
    assert torch.equal(batch.noisy, expected)


def test_frames_remember_only_with_a_model_that_does() -> None:
    def correlation(model: TemporalNoise) -> float:
        batch = AddCameraNoise(model, iso=100.0, cameras=["A"])(clean_batch(side=64) * 0, index=[1, 2])
        noise = (batch.noisy - batch.clean)[0].flatten(1)
        return float(torch.corrcoef(noise)[0, 1])

    model = model_with(("dark_pattern",))
    share = (6e-3 / 0.02) ** 2
    assert abs(correlation(model) - share) < 5 / 128
    frames = AddCameraNoise(model.frame, iso=100.0, cameras=["A"])(clean_batch(side=64) * 0, index=[1, 2])
    noise = (frames.noisy - frames.clean)[0].flatten(1)
    assert abs(float(torch.corrcoef(noise)[0, 1])) < 5 / 128
    assert not torch.equal(noise[0], noise[1])


def test_mosaics_levels_and_several_models() -> None:
    models = [model_with(("dark_pattern",)), build(ModelSpec("nlf", cameras=("C",), isos=(100.0,)))]
    add = AddCameraNoise(models, iso=100.0, cfa="GRBG", levels=(512, 16383), quantise=True, clip=True)
    clean = torch.rand(6, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = add(clean, index=range(6))
    assert set(batch.camera) > {"C"}
    codes = batch.noisy * (16383 - 512) + 512
    assert float((codes - codes.round()).abs().max()) < 2e-3
    assert batch.noise_level.shape == clean.shape


def test_what_does_not_fit_is_refused() -> None:
    add = AddCameraNoise(model_with(("dark_pattern",)))
    with pytest.raises(DataError, match="with pixels"):
        add(torch.zeros(2, 0, 4, 8, 8))
    with pytest.raises(DataError, match=r"clean\.detach"):
        add(clean_batch().requires_grad_())
    with pytest.raises(DataError, match="expected shape"):
        add(torch.zeros(1, 2, 2, 4, 8, 8))


@pytest.mark.parametrize("frame", ["nlf", "physics_flow"])
def test_a_burst_is_its_frames_one_by_one_and_its_files(frame: str, tmp_path: Path) -> None:
    model = model_with(("dark_pattern", "black_drift", "telegraph"), frame=frame)
    clean = frame_of()
    burst = list(sample_burst(model, clean, 3, seed=2))
    for number, each in enumerate(burst):
        alone = sample_frame(model, clean, seed=2, frame=number, workers=1)
        assert np.array_equal(each.signal, alone.signal)
        assert each.image.noise_profile is not None
    assert not np.array_equal(burst[0].signal, burst[1].signal)
    paths = sample_to_files(model, clean, tmp_path / "noisy.dng", frames=3, seed=2)
    for path, each in zip(paths, burst, strict=True):
        assert np.array_equal(read_raw(path).mosaic, each.image.mosaic)


def test_frames_of_a_burst_share_the_pattern() -> None:
    model = model_with(("dark_pattern",))
    signals = np.stack([each.signal.ravel() for each in sample_burst(model, frame_of(), 40, seed=1)])
    together = signals.mean(0).var() / signals.var(0, ddof=1).mean()
    sigma2 = float(signals.var(0, ddof=1).mean())
    assert together > 1.5 / 40
    assert signals.mean(0).var() - sigma2 / 40 == pytest.approx(36e-6, rel=0.25)

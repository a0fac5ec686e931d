"""Pictures to raw planes and back: the published steps, their round trip, and noise that is the camera's."""

import math

import numpy as np
import pytest
import torch
from model_table import generator, spec_of
from skimage import data
from torch.nn import functional

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures
from noiseflow.augment.frames.mosaic import demosaic, to_mosaic
from noiseflow.augment.pictures.unprocess import DRAWS, XYZ_TO_CAMERA, Development, draw_development, process, unprocess
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models import build


def uniforms(batch: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, DRAWS, generator=generator(seed)).double().clamp(1e-6, 1 - 1e-6)


def picture(size: int = 128) -> torch.Tensor:
    """Smooth from pixel to pixel, so that little is lost to the mosaic."""
    rgb = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].double() / 255
    coarse = functional.avg_pool2d(rgb, 512 * 8 // size)
    return functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True).clamp(0, 1)


def test_steps_against_numpy_by_hand() -> None:
    how = draw_development(uniforms(1))
    rgb = torch.rand(1, 3, 4, 6, generator=generator(1)).double()
    found = unprocess(rgb, how)[0].numpy()
    y = rgb[0].numpy().transpose(1, 2, 0)
    x = 0.5 - np.sin(np.arcsin(1 - 2 * y) / 3)
    np.testing.assert_allclose(3 * x**2 - 2 * x**3, y, atol=1e-12)
    sensor = np.maximum(x, 1e-8) ** 2.2 @ how.matrix[0].numpy().T
    gains = np.array([float(how.red), 1, float(how.blue)]) * float(how.exposure)
    alpha = (np.maximum(sensor.mean(2, keepdims=True) - 0.9, 0) / 0.1) ** 2
    raw = np.clip(sensor * np.maximum(alpha + (1 - alpha) / gains, 1 / gains), 0, 1)
    expected = [raw[::2, ::2, 0], raw[::2, 1::2, 1], raw[1::2, ::2, 1], raw[1::2, 1::2, 2]]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-12)


def test_developments_have_the_published_ranges() -> None:
    how = draw_development(uniforms(4000))
    assert 1.9 <= how.red.min() < 1.92 < 2.38 < how.red.max() <= 2.4
    assert 1.5 <= how.blue.min() < 1.52 < 1.88 < how.blue.max() <= 1.9
    assert (1 / how.exposure).mean() == pytest.approx(0.8, abs=0.01)
    assert how.exposure.min() >= 1
    torch.testing.assert_close(how.matrix.sum(2), torch.ones(4000, 3, dtype=torch.float64))
    assert len(XYZ_TO_CAMERA) == 3


def test_grey_is_kept_exactly_and_a_picture_nearly() -> None:
    how = draw_development(uniforms(4))
    # Up to half of the range no channel is near the shoulder that highlights are kept at.
    grey = torch.linspace(0.02, 0.7, 4, dtype=torch.float64)[:, None, None, None].expand(4, 3, 8, 8)
    torch.testing.assert_close(process(unprocess(grey, how), how), grey, rtol=1e-9, atol=1e-9)
    again = process(unprocess(picture().expand(4, -1, -1, -1), how), how)
    error = (again - picture()).square().mean((1, 2, 3))
    assert (10 * (1 / error).log10() > 40).all(), error


def test_white_stays_white() -> None:
    how = draw_development(uniforms(4))
    white = torch.ones(4, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(unprocess(white, how), torch.ones(4, 4, 4, 4, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_demosaicing_is_exact_on_planes_of_colour(cfa: str) -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    ramp = (rows + 2 * columns)[None, None]
    found = demosaic(ramp, cfa)
    # A linear ramp is its own bilinear interpolation, but at the border, where neighbours are missing.
    torch.testing.assert_close(found[..., 1:-1, 1:-1], ramp.expand(1, 3, -1, -1)[..., 1:-1, 1:-1])
    constant = torch.tensor([0.2, 0.5, 0.5, 0.7])[None, :, None, None].expand(1, 4, 3, 3)
    colours = demosaic(to_mosaic(constant, cfa), cfa)
    torch.testing.assert_close(colours[0, :, 0, 0], torch.tensor([0.2, 0.5, 0.7]))
    torch.testing.assert_close(colours.amax((2, 3)), colours.amin((2, 3)))


def test_pairs_differ_by_noise_and_are_an_index_s_own() -> None:
    add = AddNoiseToPictures(AddCameraNoise(build(spec_of("nlf", "bayer")), iso=400.0, exposure=0.5, seed=2))
    pictures = picture(64).float().expand(3, -1, -1, -1)
    batch = add(pictures, [3, 8, 3])
    assert batch.noisy.shape == batch.clean.shape == pictures.shape
    assert batch.noise_level.shape == (3, 4, 32, 32)
    assert torch.equal(batch.noisy[0], batch.noisy[2])
    assert not torch.equal(batch.noisy[0], batch.noisy[1])
    alone = add(pictures[1], [8])
    torch.testing.assert_close(alone.noisy, batch.noisy[1], rtol=1e-4, atol=1e-5)
    # Half the exposure is given back by the development: the target is as bright as the picture.
    assert float((batch.clean - pictures).abs().mean()) < 0.02
    noise = batch.noisy - batch.clean
    assert 0.01 < float(noise.std()) < 0.2
    assert abs(float(noise.mean())) < 0.02


def test_what_is_no_picture() -> None:
    add = AddNoiseToPictures(AddCameraNoise(build(spec_of("nlf", "bayer"))))
    for value, message in (
        (torch.zeros(1, 4, 8, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int32), "floating point"),
        (torch.full((1, 3, 8, 8), 200.0), "0 to 1; got 200"),
        (torch.full((1, 3, 8, 8), math.nan), "0 to 1"),
        (torch.zeros(1, 3, 7, 8), "even height"),
    ):
        with pytest.raises(DataError, match=message):
            add(value, [0])
    with pytest.raises(ModelError, match="layout 'mono'"):
        AddNoiseToPictures(AddCameraNoise(build(spec_of("nlf", "mono"))))
    with pytest.raises(DataError, match="0 to 1"):
        add(picture(64).float() * 2, [0])
    assert isinstance(draw_development(uniforms()), Development)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pictures_of_any_floating_dtype_are_taken_and_given_back(dtype: torch.dtype) -> None:
    add = AddNoiseToPictures(AddCameraNoise(build(spec_of("physics_flow", "bayer")).eval()))
    values = torch.rand(2, 3, 8, 8, generator=generator(0)).to(dtype)
    batch, exact = add(values, index=[3, 4]), add(values.float(), index=[3, 4])
    for got, expected in (
        (batch.noisy, exact.noisy),
        (batch.clean, exact.clean),
        (batch.noise_level, exact.noise_level),
    ):
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), expected, rtol=0, atol=max(torch.finfo(dtype).eps, 1e-3))

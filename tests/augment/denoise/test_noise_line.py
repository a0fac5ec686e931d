from dataclasses import replace

import numpy as np
import pytest
from builders import BLACK, GAIN, READ, WHITE, frame, noisy_mosaic

from noiseflow.augment.denoise.noise_line import find_noise, noise_of_picture
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models import ModelSpec, build
from noiseflow.models.io.named import load
from noiseflow.raw.image import RawImage
from noiseflow.simulate.scenes import render

SPAN = WHITE - BLACK


def picture() -> RawImage:
    """A photograph by the camera of `builders`."""
    rng = np.random.default_rng(0)
    scene = render("000_chelsea", (512, 512), rng)
    return frame(noisy_mosaic(np.clip(scene, 0, 0.9) * SPAN, rng))


def test_the_order_of_sources() -> None:
    image = replace(picture(), noise_profile=((2e-3, 1e-5), (1e-3, 2e-5), (3e-3, 3e-5)))
    model = build(ModelSpec("nlf", cameras=("Maker One",), isos=(400.0,)))
    assert find_noise(image, model).source == "the nlf model of Maker One at ISO 400"
    tag = find_noise(image)
    assert tag.source == "the NoiseProfile of the file"
    np.testing.assert_allclose(tag.slope, (2e-3, 1e-3, 1e-3, 3e-3))
    np.testing.assert_allclose(tag.offset, (1e-5, 2e-5, 2e-5, 3e-5))
    assert "own pixels" in find_noise(replace(image, noise_profile=())).source


def test_the_pixels_tell_the_noise() -> None:
    # Within the errors that `calibrate` states for one picture of this size: 15 % of K.
    line = noise_of_picture(picture())
    np.testing.assert_allclose(line.slope, GAIN / SPAN, rtol=0.15)
    np.testing.assert_allclose(line.offset, (READ**2 + 1 / 12) / SPAN**2, rtol=0.8)


def test_the_line_of_a_model_is_its_variance() -> None:
    model = build(ModelSpec("nlf", cameras=("Maker One",), isos=(400.0,)))
    line = find_noise(picture(), model)
    beta_1, beta_2 = (float(each) for each in line_of(model))
    np.testing.assert_allclose(line.slope, beta_1, rtol=1e-5)
    np.testing.assert_allclose(line.offset, max(beta_2, 1 / 12 / SPAN**2), rtol=1e-5)
    np.testing.assert_allclose(line.scaled(2).slope, 4 * line.slope)


def line_of(model: object) -> tuple[float, float]:
    from noiseflow.augment.noise_level import noise_profile

    return noise_profile(model, 400.0, "Maker One")[0]  # type: ignore[arg-type]


def test_a_model_and_a_picture_know_their_rows() -> None:
    image = picture()
    line = find_noise(image, load("sony-a7s2"), iso=800.0, camera="Sony A7S2")
    # 0.572 DN of the profile over its span; 256 × 256 pixels of a plane know it to 3 %.
    assert line.row == pytest.approx(0.5724 / (16383 - 512), rel=0.1)
    assert line.scaled(2).row == 2 * line.row
    assert noise_of_picture(image).row == 0
    rows = np.rint(3 * np.random.default_rng(1).normal(size=(512, 1)))
    offset = replace(image, mosaic=(image.mosaic + rows).clip(0, WHITE).astype(np.uint16))
    assert noise_of_picture(offset).row == pytest.approx(3 / SPAN, rel=0.25)
    assert find_noise(replace(image, noise_profile=((1e-3, 1e-5),))).row == 0


def test_what_tells_nothing_is_refused() -> None:
    image = picture()
    with pytest.raises(ModelError, match="'mono' planes"):
        find_noise(image, build(ModelSpec("nlf", "mono")))
    with pytest.raises(DataError, match="not plausible"):
        find_noise(replace(image, noise_profile=((-1.0, 1e-5),)))
    with pytest.raises(DataError, match="expected 1, 3 or 4"):
        find_noise(replace(image, noise_profile=((1e-3, 1e-5),) * 2))
    with pytest.raises(DataError, match="--model"):
        find_noise(replace(image, mosaic=np.full((256, 256), 300, np.uint16)))
    with pytest.raises(DataError, match="give it with --iso"):
        find_noise(replace(image, iso=None), build(ModelSpec("nlf")))

from dataclasses import replace

import numpy as np
import pytest
from small_denoiser import network

from noiseflow.augment.denoise.lines import offsets as module
from noiseflow.augment.denoise.lines.offsets import LineOffsets, find_line_offsets
from noiseflow.augment.denoise.noise_line import NoiseLine
from noiseflow.augment.denoise.photo import denoise_photo
from noiseflow.raw.bayer import unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import BAYER_PHASES

BLACK, WHITE = 64.0, 1023.0
SPAN = WHITE - BLACK
PIXEL, LINE = 4.0, 2.0
"""DN."""

SIZE = (240, 400)


def noise(row: float = LINE, column: float = 0.0) -> NoiseLine:
    variance = (PIXEL**2 + row**2 + column**2) / SPAN**2
    return NoiseLine(np.zeros(4), np.full(4, variance), "made", row / SPAN, column / SPAN)


def photo(scene: np.ndarray | float = 100.0, row: float = LINE, cfa: str = "RGGB", seed: int = 0) -> RawImage:
    rng = np.random.default_rng(seed)
    rows = row * rng.normal(size=(SIZE[0], 1))
    mosaic = BLACK + scene + PIXEL * rng.normal(size=SIZE) + rows
    return RawImage(mosaic.clip(0, WHITE).round().astype(np.uint16), cfa, (BLACK,) * 4, WHITE, source="made")


def true_rows(row: float = LINE, seed: int = 0) -> np.ndarray:
    """Offsets of the rows of `photo`, DN."""
    return row * np.random.default_rng(seed).normal(size=SIZE[0])


def taken(image: RawImage, line: NoiseLine) -> LineOffsets:
    found = find_line_offsets(image, line)
    assert found is not None
    return found


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_offsets_of_rows_are_found_whatever_the_phase(cfa: str) -> None:
    ramp = np.linspace(100, 200, SIZE[0] // 2)[:, None] * np.ones(SIZE[1] // 2)
    image = photo(unpack(np.stack([2 * ramp, ramp, ramp, 200 - ramp / 2]), cfa), cfa=cfa)
    found = taken(image, noise())
    # Seen: 0.26; the mean of 400 pixels has an error of a tenth of the offsets, the rest is the scene's scale.
    assert (found.rows * SPAN - true_rows()).std() < 0.3 * LINE
    each = unpack(found.of(slice(None), slice(None)), cfa)
    np.testing.assert_array_equal(each, np.repeat(found.rows[:, None], SIZE[1], 1))


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_columns_are_the_rows_of_the_transposed_frame(cfa: str) -> None:
    image = photo(np.linspace(20, 300, SIZE[1]), cfa=cfa)
    other = {"GRBG": "GBRG", "GBRG": "GRBG"}.get(cfa, cfa)
    turned = replace(image, mosaic=np.ascontiguousarray(image.mosaic.T), cfa=other)
    rows, columns = taken(image, noise()), taken(turned, noise(0.0, LINE))
    np.testing.assert_allclose(columns.columns, rows.rows, atol=1e-7)
    assert not rows.columns.any()
    whole = slice(None), slice(None)
    np.testing.assert_allclose(unpack(columns.of(*whole), other).T, unpack(rows.of(*whole), cfa), atol=1e-7)


def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = taken(photo(), noise())
    monkeypatch.setattr(module, "STRIP", 8 * SIZE[1])
    np.testing.assert_allclose(taken(photo(), noise()).rows, whole.rows, atol=1e-7)


@pytest.mark.parametrize("line", [noise(0.0), noise(0.04 * PIXEL), noise(0.0, 0.04 * PIXEL)])
def test_where_lines_do_not_matter_the_frame_is_left_alone(line: NoiseLine) -> None:
    assert find_line_offsets(photo(), line) is None


def test_light_that_drowns_the_rows_leaves_them() -> None:
    shot = replace(noise(), slope=np.full(4, 0.1))
    assert find_line_offsets(photo(np.full(SIZE, 500.0)), shot) is None
    assert find_line_offsets(photo(np.full(SIZE, 0.0)), shot) is not None


def test_a_frame_of_a_few_pixels_is_left_alone() -> None:
    small = replace(photo(), mosaic=photo().mosaic[:12, :200])
    assert find_line_offsets(small, noise()) is None
    narrow = replace(photo(), mosaic=photo().mosaic[:, :40])
    assert not taken(narrow, noise()).rows.any()


Y = np.arange(SIZE[0])[:, None] * np.ones(SIZE)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(20 + 400 * Y / SIZE[0], id="a ramp"),
        pytest.param(np.where(Y < 100, 300.0, 100.0), id="a horizon"),
        pytest.param(100 + 10 * LINE * np.sign(np.sin(2 * np.pi * Y / 16)), id="broad stripes"),
        pytest.param(100 + 10 * LINE * np.sign(np.sin(2 * np.pi * (Y + 0.5) / 4)), id="narrow stripes"),
        pytest.param(100 + 3 * LINE * np.sin(2 * np.pi * Y / 64), id="waves"),
        pytest.param(100 + 10 * LINE * ((Y >= 101) & (Y < 103)), id="a wire"),
    ],
)
def test_horizontal_edges_of_the_scene_survive(scene: np.ndarray) -> None:
    """Whether the noise has rows, or is only said to."""
    without = taken(photo(scene, row=0.0), noise()).rows * SPAN
    assert np.abs(without).max() < 0.35 * LINE
    error = taken(photo(scene), noise()).rows * SPAN - true_rows()
    # Never worse than leaving the offsets in, but for chance.
    assert error.std() < 1.02 * true_rows().std()
    assert np.abs(error).max() < 4 * LINE


def test_edges_far_out_leave_the_rows_between_them() -> None:
    """An edge every eighth row, too high for offsets, does not make the whole scene rough."""
    scene = 100 + 10 * LINE * np.sign(np.sin(2 * np.pi * Y / 16))
    error = taken(photo(scene), noise()).rows * SPAN - true_rows()
    assert error.std() < 0.6 * LINE


def test_what_is_left_has_less_noise() -> None:
    found = taken(photo(), noise())
    variance = found.noise.offset * SPAN**2
    # 240 rows: their variance is known to 9 %; an eighth of it stays.
    np.testing.assert_allclose(variance, PIXEL**2 + 0.1 * LINE**2, atol=0.35 * LINE**2)


def test_the_network_gets_a_frame_without_rows() -> None:
    """Pixels of a row that is far off come out near the scene; clipped ones keep their codes."""
    image = photo(row=3 * LINE)
    clipped = image.mosaic.copy()
    clipped[50, 60:80] = WHITE
    image = replace(image, mosaic=clipped)
    line = noise(3 * LINE)
    before, after = (denoise_photo(network(), image, each).signal for each in (replace(line, row=0.0), line))
    spread = [np.diff(each.mean(2), axis=1).std() for each in (before, after)]
    assert spread[1] < 0.5 * spread[0]
    assert (after[0, 25, 30:40] == 1.0).all()


def test_strength_scales_the_offsets_too() -> None:
    image = photo()
    none, half, whole = (denoise_photo(network(), image, noise(), strength=part).signal for part in (0, 0.5, 1))
    np.testing.assert_allclose(none, image.normalised(), atol=1e-6)
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-6)

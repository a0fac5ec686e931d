"""The pattern of a body taken out of a frame before it is denoised."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import BLACK, WHITE, frame
from click.testing import CliRunner

from noiseflow.augment.denoise.noise_line import noise_of_picture
from noiseflow.augment.denoise.without_body import without_body
from noiseflow.calibrate.body.body_file import write_body
from noiseflow.calibrate.body.body_maps import BodyMaps, DarkMap, GainMap
from noiseflow.cli import main
from noiseflow.core.errors import DataError
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage

SIZE, SIGMA = (256, 384), 2.0
HOT = ((40, 51), (42, 51), (200, 0))


def body_of(size: tuple[int, int] = SIZE) -> BodyMaps:
    """Shading, rows and pixels of 5 DN, a current, PRNU of 2 % and three hot pixels, two of them next to each other."""
    rng = np.random.default_rng(3)
    dark = rng.normal(0, 3, (size[0], 1)) + rng.normal(0, 4, size)
    current, gain = rng.normal(0, 1, size), 1 + rng.normal(0, 0.02, size)
    for place in HOT:
        dark[place] = 300.0
    listed = np.array([(*place, 0) for place in HOT], np.int32)
    as_map = np.float32
    map_of = DarkMap(400.0, dark.astype(as_map), 0.1, SIGMA, 400, (0.01, 1.0), current.astype(as_map), 0.1)
    return BodyMaps("Maker One", "RGGB", (map_of,), GainMap(gain.astype(as_map), 1e-3, 100), listed)


def scene(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Signal above black in DN: steps of light, the last of them clipped."""
    return np.repeat(np.linspace(40, 1100, 12), size[1] // 12)[None] * np.ones((size[0], 1))


def shot(body: BodyMaps, noise: float = SIGMA, exposure_s: float = 0.5) -> RawImage:
    assert body.gain is not None
    rng = np.random.default_rng(8)
    light = scene(body.shape) * body.gain.gain
    values = BLACK + light + body.dark_at(400, exposure_s) + noise * rng.standard_normal(body.shape)
    return frame(np.clip(np.rint(values), 0, WHITE).astype(np.uint16), exposure_s=exposure_s)


def test_pattern_and_hot_pixels_go_and_clipped_ones_stay() -> None:
    body = body_of()
    noisy = shot(body, noise=0.0)
    found = without_body(noisy, body)
    clipped = noisy.mosaic >= WHITE
    rest = np.abs(found.mosaic - BLACK - scene())[~clipped]
    # What is left is half a code of rounding, over a gain of 0.92 or more; it was 15 DN and, at hot pixels, 300.
    assert rest.max() < 0.55
    assert clipped.sum() > 5000
    assert (found.mosaic[clipped] == WHITE).all()
    assert np.abs(noisy.mosaic - BLACK - scene())[~clipped].max() > 200


def test_rows_beyond_whole_cells_keep_their_codes() -> None:
    body = body_of()
    noisy = shot(body)
    odd = replace(noisy, mosaic=np.pad(noisy.mosaic, ((0, 1), (0, 1)), constant_values=77))
    found = without_body(odd, body)
    np.testing.assert_array_equal(found.mosaic[:-1, :-1], without_body(noisy, body).mosaic)
    assert (found.mosaic[-1] == 77).all()


def test_a_hot_pixel_between_hot_and_clipped_ones_is_left() -> None:
    body = body_of()
    codes = np.full(SIZE, int(WHITE), np.uint16)
    assert (without_body(frame(codes, exposure_s=0.5), body).mosaic == WHITE).all()


def test_what_the_maps_are_not_of_is_refused() -> None:
    body, noisy = body_of(), shot(body_of())
    with pytest.raises(DataError, match=r"is from Maker One, but the body maps are from Other.*--camera"):
        without_body(noisy, replace(body, camera="Other"))
    assert without_body(noisy, replace(body, camera="Other"), camera="Other").mosaic.dtype == np.float32
    with pytest.raises(DataError, match="another camera, mode or crop"):
        without_body(replace(noisy, mosaic=noisy.mosaic[2:]), body)
    with pytest.raises(DataError, match="no dark map of ISO 800"):
        without_body(noisy, body, iso=800)
    with pytest.raises(DataError, match="states none; give it with --exposure"):
        without_body(replace(noisy, exposure_s=None), body)


def test_the_pictures_own_noise_is_measured_without_the_pattern() -> None:
    body = body_of()
    rng = np.random.default_rng(1)
    assert body.gain is not None
    light = rng.poisson(np.linspace(0, 600, SIZE[1])[None].repeat(SIZE[0], 0) * body.gain.gain)
    values = BLACK + light + body.dark_at(400, 0.5) + SIGMA * rng.standard_normal(SIZE)
    noisy = frame(np.clip(np.rint(values), 0, WHITE).astype(np.uint16), exposure_s=0.5)
    true, span = SIGMA**2 + 1 / 12, WHITE - BLACK
    with_it, without = (noise_of_picture(each).offset * span**2 for each in (noisy, without_body(noisy, body)))
    assert with_it.mean() > 3 * true
    assert without.mean() == pytest.approx(true, rel=0.25)


def test_the_command_takes_the_pattern_out(tmp_path: Path) -> None:
    body = body_of()
    write_body(body, tmp_path / "body.h5")
    before = (tmp_path / "body.h5").read_bytes()
    assert body.gain is not None
    write_dng(tmp_path / "shot.dng", replace(shot(body), noise_profile=((1e-6, (SIGMA / (WHITE - BLACK)) ** 2),)))
    errors = []
    for name, more in (("plain", []), ("body", ["--body", str(tmp_path / "body.h5")])):
        out = tmp_path / f"{name}.dng"
        done = CliRunner().invoke(main, ["denoise", str(tmp_path / "shot.dng"), *more, "--out", str(out)])
        assert done.exit_code == 0, done.output
        errors.append((read_raw(out).mosaic - BLACK - scene())[:, : SIZE[1] // 2].std())
    assert errors[1] < 0.25 * errors[0]
    assert "darks are of ISO 400 only" in done.stderr
    maps = str(tmp_path / "body.h5")
    named = ["denoise", str(tmp_path / "shot.dng"), "--body", maps, "--overwrite", "--out", maps]
    refused = CliRunner().invoke(main, named)
    assert refused.exit_code != 0
    assert (tmp_path / "body.h5").read_bytes() == before

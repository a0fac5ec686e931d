"""Maps of a body from pictures alone: found, with the error that is stated, and refused where they would harm."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders import write_dng
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter, uniform_filter

from noiseflow.calibrate.body.body_file import read_body
from noiseflow.calibrate.body.from_pictures import WINDOW, _Sums, maps_from_pictures
from noiseflow.cli import main
from noiseflow.core.errors import DataError
from noiseflow.raw.image import RawImage

SIZE, BLACK, WHITE, GAIN, SIGMA = (96, 128), 64, 4095, 0.5, 1.5
HOT = ((40, 51), (90, 100))


def test_pictures_of_one_light_give_a_line_that_stays_finite_and_small() -> None:
    """Without a spread of the light the two sums of a line differ by rounding alone."""
    sums = _Sums()
    light, departure = np.full((1, 3), 1234.5), np.array([[0.1, 2.3, -7.7]])
    for weight in (0.3, 0.7):
        sums.add(np.full((1, 3), weight), light, departure)
    offset, gain = sums.line()
    assert float(np.abs(offset).max()) < 1e-5
    assert float(np.abs(gain).max()) < 1e-5


def planted(dsnu: float, prnu: float, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Offset in DN and gain of each pixel."""
    rng = np.random.default_rng(6)
    offset, gain = rng.normal(0, dsnu, size), 1 + rng.normal(0, prnu, size)
    for place in HOT:
        offset[place] = 150.0
    return offset, gain


def picture(
    number: int, dsnu: float = 2.0, prnu: float = 0.0, scene: int | None = None, size: tuple[int, int] = SIZE
) -> RawImage:
    """Dark to bright, smooth in half of it and textured in the other."""
    rng = np.random.default_rng(number)
    of_scene = np.random.default_rng(1000 + (number if scene is None else scene))
    offset, gain = planted(dsnu, prnu, size)
    smooth, fine = (gaussian_filter(of_scene.normal(size=size), sigma, mode="wrap") for sigma in (9, 1))
    where = np.arange(size[1]) > size[1] // 2
    signal = 60 * np.exp(1.2 * smooth / smooth.std()) * (1 + 0.2 * where * fine / fine.std())
    light = rng.poisson(np.clip(signal, 0, 3500) * gain / GAIN)
    values = BLACK + GAIN * light + offset + SIGMA * rng.standard_normal(size)
    codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
    source = f"picture {number}"
    return RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, 400, 0.01, make="Test", model="Body", source=source)


def reads(count: int, **facts: float) -> list[Callable[[], RawImage]]:
    return [partial(picture, number, **facts) for number in range(count)]  # type: ignore[arg-type]


def of_planes(values: np.ndarray) -> np.ndarray:
    """What is left of a map less the mean of the window of each pixel's plane."""
    left = values.copy()
    for row in (0, 1):
        for column in (0, 1):
            plane = values[row::2, column::2]
            left[row::2, column::2] = plane - uniform_filter(plane, WINDOW, mode="reflect")
    return left


def test_offsets_and_hot_pixels_are_found_to_the_stated_error() -> None:
    body = maps_from_pictures(reads(64))
    (dark,) = body.darks
    assert {tuple(each[:2]) for each in body.defects.tolist()} == set(HOT)
    away = uniform_filter(body.defect_mask.astype(float), 2 * WINDOW + 1) < 1e-9
    departure = (dark.offset - of_planes(planted(2.0, 0.0)[0]))[away]
    assert 1.4826 * np.median(np.abs(departure)) == pytest.approx(dark.offset_error, rel=0.15)
    assert dark.offset_error < 1.0
    assert departure.std() < 0.6 * 2.0
    assert body.gain is None
    words = body.summary()
    assert any(
        "the gain of a pixel has an error of" in line and "would add more noise than it removes" in line
        for line in words
    )
    assert any("dark shading" in line and "are unknown" in line for line in words)


def test_the_response_is_found_where_it_is_worth_it() -> None:
    body = maps_from_pictures(reads(48, prnu=0.08, dsnu=0.0))
    assert body.gain is not None
    departure = body.gain.gain - 1 - of_planes(planted(0.0, 0.08)[1] - 1)
    assert 1.4826 * np.median(np.abs(departure)) == pytest.approx(body.gain.error, rel=0.15)
    assert departure.std() < 0.6 * 0.08


def test_what_would_harm_is_refused() -> None:
    with pytest.raises(DataError, match="at least 16 pictures of different scenes"):
        maps_from_pictures(reads(8))
    with pytest.raises(
        DataError, match=r"offset of a pixel.*add more noise than it removes.*gain of a pixel.*darks and flats"
    ):
        maps_from_pictures(reads(16, dsnu=0.0))
    with pytest.raises(DataError, match="picture 1: shows the same scene as picture 0"):
        maps_from_pictures(reads(16, scene=3))
    # Scenes that take turns gave a map of 19 DN where none was planted, and 153 defects instead of 2.
    with pytest.raises(DataError, match="picture 3: shows the same scene as picture 0"):
        maps_from_pictures([partial(picture, number, dsnu=0.0, scene=number % 3) for number in range(48)])
    mixed = [*reads(15), lambda: replace(picture(15), iso=800)]
    with pytest.raises(DataError, match="ISO 800, but picture 0 is Test Body, 128×96, ISO 400"):
        maps_from_pictures(mixed)
    unknown = [lambda: replace(picture(0), iso=None), *reads(15)]
    with pytest.raises(DataError, match="picture 0: states no ISO; give it with --iso"):
        maps_from_pictures(unknown)
    with pytest.raises(DataError, match="picture 0: states no ISO"):
        maps_from_pictures([*reads(17)[1:], unknown[0]])


def test_from_the_command_line(tmp_path: Path) -> None:
    # The profile is of the first: steps of light, without texture.
    rng = np.random.default_rng(0)
    light = np.repeat(np.geomspace(20, 3000, 12), 32)[None] * np.ones((256, 1))
    values = BLACK + GAIN * rng.poisson(light / GAIN) + planted(6.0, 0.0, (256, 384))[0]
    first = picture(0, size=(256, 384))
    write_dng(tmp_path / "p00.dng", replace(first, mosaic=np.clip(np.rint(values), 0, WHITE).astype(np.uint16)))
    for number in range(1, 17):
        write_dng(tmp_path / f"p{number:02}.dng", picture(number, dsnu=6.0, size=(256, 384)))
    maps = tmp_path / "body.h5"
    named = ["calibrate", str(tmp_path), "--few", "--out", str(tmp_path / "c.json"), "--maps", str(maps)]
    done = CliRunner().invoke(main, named)
    assert "from 17 pictures without darks" in done.output, done.output
    assert "comes from p00.dng alone" in done.stderr
    assert read_body(maps).darks[0].frames == 17

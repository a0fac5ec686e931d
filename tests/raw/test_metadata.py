"""ISO and exposure time from every place that a file may keep them in."""

from pathlib import Path

import numpy as np
import pytest
from tiff_writer import write_dng_tags

from noiseflow.raw.file_names import is_litter, named_exposure_s, named_iso
from noiseflow.raw.reading import read_raw

CODES = np.random.default_rng(0).integers(300, 3000, (40, 48)).astype(np.uint16)
ISO, TYPE, STANDARD, RECOMMENDED, SPEED, EXPOSURE, PROFILE = 34855, 34864, 34865, 34866, 34867, 33434, 51041


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("raw_in", ["ifd0", "subifd"])
@pytest.mark.parametrize("place", ["tags", "camera", "exif"])
def test_iso_exposure_and_profile_of_any_directory(tmp_path: Path, order: str, raw_in: str, place: str) -> None:
    said = {ISO: ("short", [800]), EXPOSURE: ("rational", [(1, 50)])}
    profile = {PROFILE: ("double", [1e-4, 2e-6])}
    places = {"tags": dict(profile), "camera": {}, "exif": {}}
    places[place] = {**places[place], **said}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", order=order, raw_in=raw_in, **places))
    assert (image.iso, image.exposure_s) == (800.0, pytest.approx(0.02))
    assert image.noise_profile == ((1e-4, 2e-6),)
    assert dict(image.taken_from)["iso"].startswith("PhotographicSensitivity of ")


@pytest.mark.parametrize(
    ("sensitivity", "expected"),
    [
        ({ISO: 65535, TYPE: 1, STANDARD: 102400, RECOMMENDED: 7}, 102400),
        ({ISO: 65535, TYPE: 2, STANDARD: 7, RECOMMENDED: 102400}, 102400),
        ({ISO: 65535, TYPE: 3, SPEED: 204800, STANDARD: 7}, 204800),
        ({ISO: 65535, STANDARD: 80000}, 80000),
        ({ISO: 65535, SPEED: 90000}, 90000),
        ({STANDARD: 400}, 400),
        ({ISO: 100, TYPE: 1, STANDARD: 7}, 100),
        ({ISO: 0, TYPE: 2, RECOMMENDED: 500}, 500),
        ({}, None),
    ],
)
@pytest.mark.parametrize("place", ["camera", "exif", "tags"])
def test_sensitivity_tags_in_the_standards_order(
    tmp_path: Path, sensitivity: dict[int, int], expected: int | None, place: str
) -> None:
    tags = {tag: ("short" if tag in (ISO, TYPE) else "long", [value]) for tag, value in sensitivity.items()}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", **{place: tags}))
    assert image.iso == expected


def test_a_saturated_iso_alone_is_said(tmp_path: Path) -> None:
    image = read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", exif={ISO: ("short", [65535])}))
    assert image.iso == 65535
    assert any("65535" in words for words in image.cautions)


def test_exposure_zero_is_a_value(tmp_path: Path) -> None:
    exif = {ISO: ("short", [100]), EXPOSURE: ("rational", [(0, 1)])}
    assert read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", exif=exif)).exposure_s == 0.0


def test_the_name_is_the_last_resort_and_said(tmp_path: Path) -> None:
    black = {50714: ("short", [64])}
    image = read_raw(write_dng_tags(tmp_path / "ISO800_10ms_3.dng", CODES, "RGGB", black))
    assert (image.iso, image.exposure_s) == (800.0, 0.01)
    assert len(image.cautions) == 2
    exif = {ISO: ("short", [100]), EXPOSURE: ("rational", [(1, 4)])}
    image = read_raw(write_dng_tags(tmp_path / "ISO800_10ms_4.dng", CODES, "RGGB", black, exif=exif))
    assert (image.iso, image.exposure_s, image.cautions) == (100.0, 0.25, ())


@pytest.mark.parametrize(
    ("name", "iso", "exposure_s"),
    [
        ("ISO800_10ms.dng", 800, 0.01),
        ("iso-3200 1_30s.dng", 3200, 1 / 30),
        ("10003_00_0.04s.ARW", None, 0.04),
        ("flats_200us_1.tif", None, 2e-4),
        ("0,5s_ISO_100.tif", 100, 0.5),
        ("800ISO_10ms.dng", 800, 0.01),
        ("desk 1600 iso.dng", 1600, None),
        ("frame_0001_iso_400.dng", 400, None),
        ("0012iso100.dng", 100, None),
        ("f_1_10ms.tif", None, 0.01),
        ("f_1_70000us.tif", None, 0.07),
        ("f_1_30sec.tif", None, 1 / 30),
        ("previso12.tif", None, None),
        ("frame_12s3.tif", None, None),
        ("IMG_0001.tif", None, None),
        ("ISO100_ISO200.tif", None, None),
        ("a_1ms_2ms.tif", None, None),
    ],
)
def test_names(name: str, iso: float | None, exposure_s: float | None) -> None:
    assert named_iso(Path("x") / name)[0] == iso
    assert named_exposure_s(Path("x") / name)[0] == (None if exposure_s is None else pytest.approx(exposure_s))
    assert named_iso(Path(name).with_suffix("") / "1.dng")[0] == iso


@pytest.mark.parametrize("name", ["._a.dng", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"])
def test_litter(name: str) -> None:
    assert is_litter(name)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("values", [[800, 0], [800, 800], [800, 400]])
@pytest.mark.parametrize("place", ["tags", "exif"])
def test_two_sensitivities_are_no_ratio(tmp_path: Path, order: str, values: list[int], place: str) -> None:
    """The count of tag 0x8827 is any; the first one is meant."""
    places = {place: {ISO: ("short", values)}}
    assert read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", order=order, **places)).iso == 800


def test_a_white_level_of_0_is_none(tmp_path: Path) -> None:
    image = read_raw(write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", {50717: ("long", [0])}))
    assert image.white == 65535
    assert dict(image.taken_from)["white"] == "bits per sample"
    assert any("WhiteLevel is 0" in words and "--white" in words for words in image.cautions)

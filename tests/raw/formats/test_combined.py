"""Files that say that several frames, or several pixels, were combined."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiff_writer import write_dng_tags

from noiseflow.raw import RawSettings, read_frame, read_raw
from noiseflow.raw.formats.tags.combined import FITS_BINNING, FITS_COUNTS
from noiseflow.raw.inspection.fractions import divisor_of

CODES = np.random.default_rng(0).integers(64, 4000, (48, 64)).astype(np.uint16)
SAID = RawSettings(cfa="MONO", black=(64.0,), white=4095.0, iso=100.0)


def fits_cautions(path: Path, **keywords: Any) -> tuple[str, ...]:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(CODES)
    for name, value in keywords.items():
        if name == "HISTORY":
            unit.header.add_history(value)
        else:
            unit.header[name.replace("ESO_", "HIERARCH ESO_").replace("_", " ") if "ESO_" in name else name] = value
    unit.writeto(path / "a.fits", overwrite=True)
    return read_raw(path / "a.fits", SAID).cautions


@pytest.mark.parametrize("keyword", FITS_COUNTS)
def test_a_fits_file_says_how_many_frames_were_combined(tmp_path: Path, keyword: str) -> None:
    key = keyword.replace(" ", "_") if keyword.startswith("ESO") else keyword
    (words,) = fits_cautions(tmp_path, **{key: 12})
    assert f"{keyword} 12: 12 frames were combined" in words
    assert "a mean has 1/12 of the camera's gain" in words
    assert fits_cautions(tmp_path, **{key: "12"}) == (words,)
    for single in (0, 1, "", "none", True, 2.5):
        assert fits_cautions(tmp_path, **{key: single}) == ()


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"IMAGETYP": "Master Dark"}, "IMAGETYP 'Master Dark': several frames"),
        ({"IMAGETYP": "Light Frame"}, ""),
        ({"HISTORY": "ImageIntegration.numberOfImages: 40"}, "40 frames were combined"),
        ({"HISTORY": "ImageIntegration.numberOfImages: 1"}, ""),
        ({"HISTORY": "frames were taken"}, ""),
    ],
)
def test_masters_and_histories(tmp_path: Path, keywords: dict[str, str], expected: str) -> None:
    cautions = fits_cautions(tmp_path, **keywords)
    assert expected in cautions[0] if expected else cautions == ()


@pytest.mark.parametrize(
    ("keywords", "size"),
    [
        *(({across: 2, down: 3}, "2×3") for across, down in FITS_BINNING),
        *(({across: 1, down: 1}, "") for across, down in FITS_BINNING),
        ({"CCDSUM": "2 4"}, "2×4"),
        ({"CCDSUM": "1 1"}, ""),
        ({"BINNING": "2x2"}, "2×2"),
        ({"BINNING": 4}, "4×4"),
        ({"BINNING": "0x9"}, ""),
    ],
)
def test_a_fits_file_says_that_pixels_were_binned(tmp_path: Path, keywords: dict[str, Any], size: str) -> None:
    cautions = fits_cautions(tmp_path, **keywords)
    if not size:
        assert cautions == ()
        return
    across, down = map(int, size.split("×"))
    assert f"pixels were binned {size}" in cautions[0]
    assert f"the gain is 1/{across * down} of a single pixel's" in cautions[0]


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [
        ("a.tif", '<OME><DetectorSettings ID="D:0" Binning="2x4"/></OME>', "binned 2×4"),
        ("a.tif", '<OME><DetectorSettings ID="D:0" Binning="1x1" Integration="1"/></OME>', ""),
        ("a.tif", '<OME><DetectorSettings ID="D:0" Integration="16"/></OME>', "16 frames were combined"),
        ("a.tif", '{"Andor-Binning": "2x2"}', "binned 2×2"),
        ("AVG_a.tif", "ImageJ=1.53t\n", "projection of a stack: several frames"),
        ("a.tif", "ImageJ=1.53t\n", ""),
        ("AVG_a.tif", "a camera", ""),
    ],
)
def test_texts_of_a_tiff_file(tmp_path: Path, name: str, description: str, expected: str) -> None:
    tifffile.imwrite(tmp_path / name, CODES, photometric="minisblack", description=description, metadata=None)
    cautions = read_raw(tmp_path / name, SAID).cautions
    assert expected in cautions[0] if expected else cautions == ()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({42080: ("short", [3]), 42081: ("short", [9, 7])}, "CompositeImage 3: 7 frames"),
        ({42080: ("short", [2])}, "CompositeImage 2: several frames"),
        ({42081: ("short", [9, 7])}, "SourceImageNumberOfCompositeImage 7: 7 frames"),
        ({42080: ("short", [1]), 42081: ("short", [9, 7])}, ""),
        ({42080: ("short", [0])}, ""),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_exif_says_that_a_frame_is_a_composite(
    tmp_path: Path, tags: dict[int, tuple[str, list[int]]], expected: str, order: str
) -> None:
    exif = {34855: ("short", [400]), 33434: ("rational", [0.01])}
    write_dng_tags(tmp_path / "a.dng", CODES, "RGGB", exif={**exif, **tags}, order=order)
    cautions = read_raw(tmp_path / "a.dng").cautions
    assert expected in " ".join(cautions) if expected else not any("combined" in words for words in cautions)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 10, 32, 100])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_mean_of_frames_lies_on_multiples(n: int, kind: type) -> None:
    frames = np.random.default_rng(n).integers(60, 1000, (n, 80, 96))
    assert divisor_of(frames.mean(0).astype(kind)) == n


def test_other_fractions_are_no_mean() -> None:
    rng = np.random.default_rng(0)
    assert divisor_of(rng.normal(900, 30, (80, 96)).astype(np.float32)) == 0
    assert divisor_of(rng.integers(0, 1023, (80, 96)) / 1023) == 0
    assert divisor_of(1.07 * rng.integers(0, 4000, (4, 80, 96)).mean(0)) == 0
    # float32 has too few digits for 1/200 at this level.
    assert divisor_of(rng.integers(60000, 65000, (200, 80, 96)).mean(0).astype(np.float32)) == 0


def test_fractions_get_a_word(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(60, 1000, (4, 48, 64))
    np.save(tmp_path / "a.npy", frames.mean(0))
    (words,) = read_frame(tmp_path / "a.npy", SAID).cautions
    assert "multiples of 1/4 DN: it is a mean or median of 4 frames" in words
    np.save(tmp_path / "a.npy", 1.07 * frames.mean(0))
    (words,) = read_frame(tmp_path / "a.npy", SAID).cautions
    assert "not codes of a converter" in words

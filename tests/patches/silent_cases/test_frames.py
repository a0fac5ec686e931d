"""Frames that once made K or σ wrong without a word: clipped, full, without noise or not decoded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import frame
from burst_of_steps import (
    BLACK,
    EXIF,
    FRAMES,
    GAIN,
    READ,
    SAID,
    SHAPE,
    SIGNAL,
    WHITE,
    X,
    Y,
    dngs,
    exposures,
    gain_and_read,
    measured,
)
from tiff_writer import write_dng_tags

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, ingest
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.settings import RawSettings


@pytest.mark.parametrize(("cfa", "order"), [("GRBG", "<"), ("BGGR", ">")])
def test_a_clip_below_the_declared_white_level_leaves_the_fit_alone(cfa: str, order: str, tmp_path: Path) -> None:
    """Bright parts clip at 600; K of what is left is that of a file that declares it."""
    found = []
    for declared in (WHITE, 600):
        folder = tmp_path / str(declared)
        folder.mkdir()
        tags = {50714: ("short", [BLACK]), 50717: ("long", [declared])}
        for number, codes in enumerate(exposures()):
            write_dng_tags(folder / f"{number}.dng", np.minimum(codes, 600), cfa, tags, order=order, exif=EXIF)
        found.append(measured(folder))
    assert found[0] == (pytest.approx(found[1][0], rel=2e-3), pytest.approx(found[1][1], rel=5e-3))
    assert found[0][0] == pytest.approx(GAIN, rel=0.03)


@pytest.mark.parametrize("full", [400, 500])
@pytest.mark.parametrize("spread", [6, 40])
def test_pixels_that_are_full_at_a_code_of_their_own_are_said(tmp_path: Path, full: int, spread: int) -> None:
    """There is no spike of one code at the top, and K came out 9 % too low."""
    folder = tmp_path / "burst"
    folder.mkdir()
    wells = full + np.random.default_rng(3).integers(0, spread, SHAPE)
    for number, codes in enumerate(exposures()):
        write_dng(folder / f"{number}.dng", frame(np.minimum(codes, wells).astype(np.uint16)))
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    (words,) = [note for note in result.notes if "are saturated" in note]
    found = float(words.split(": from ")[1].split(" DN")[0])
    assert full - BLACK - 60 < found < full - BLACK + spread


def written(folder: Path, cfa: str = "RGGB") -> list[Path]:
    folder.mkdir()
    dngs(folder, cfa, "<", BLACK, {50714: ("short", [BLACK])})
    return sorted(folder.iterdir())


def again(files: list[Path]) -> None:
    write_dng_tags(files[0].with_name("z.dng"), exposures()[1], "RGGB", {50714: ("short", [BLACK])}, exif=EXIF)


def zeros(files: list[Path]) -> None:
    content = bytearray(files[2].read_bytes())
    content[len(content) // 2 : len(content) // 2 + 12_000] = bytes(12_000)
    files[2].write_bytes(bytes(content))


def one_code(files: list[Path]) -> None:
    for number, file in enumerate(files):
        file.unlink()
        write_dng(file, frame(np.full(SHAPE, 500, np.uint16), exposure_s=0.01 * (1 + 1e-6 * number)))


def bytes_of_two(files: list[Path]) -> None:
    for file, codes in zip(files, exposures(), strict=True):
        file.unlink()
        np.save(file.with_suffix(".npy"), codes.view(np.uint8))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (again, "has the same pixels as"),
        (zeros, "they were not decoded"),
        (one_code, "has the same pixels as|no pixel changes"),
        (bytes_of_two, "contains 8-bit codes, but the white level is 1023 DN"),
    ],
)
def test_what_cannot_be_right_is_refused_with_the_reason(
    spoil: Callable[[list[Path]], None], reason: str, tmp_path: Path
) -> None:
    spoil(written(tmp_path / "in"))
    with pytest.raises(NoiseflowError, match=reason):
        ingest([tmp_path / "in"], tmp_path / "a.h5", IngestOptions(16, settings=RawSettings(cfa="RGGB").over(SAID)))
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("name", ["000_denoised", "zz_stacked"])
@pytest.mark.parametrize("pairing", ["auto", "dark"])
def test_a_frame_without_the_others_noise_is_refused(tmp_path: Path, name: str, pairing: str) -> None:
    """In the burst it made K 25 % too low, and nothing was said."""
    folder = tmp_path / "burst"
    folder.mkdir()
    for number, codes in enumerate(exposures()[:3]):
        write_dng(folder / f"{number:03d}_noisy.dng", frame(codes))
    write_dng(folder / f"{name}.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
    with pytest.raises(NoiseflowError, match=rf"{name}\.dng has 0\.?\d* times the noise variance of the other frames"):
        measured(folder, pairing=pairing)


@pytest.mark.parametrize("name", ["b", "denoised"])
def test_two_frames_of_which_one_has_no_noise_are_refused(tmp_path: Path, name: str) -> None:
    """K was half of the truth, and nothing was said: two frames' differences do not tell whose noise it is."""
    folder = tmp_path / "burst"
    folder.mkdir()
    write_dng(folder / "a.dng", frame(exposures()[0]))
    write_dng(folder / f"{name}.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
    with pytest.raises(NoiseflowError, match=rf"{name}\.dng has 0\.?\d* times the noise variance of the other frames"):
        measured(folder, pairing="burst")


@pytest.mark.parametrize(
    ("band", "percent"),
    [(np.s_[:24], 15), (np.s_[-40:], 25), (np.s_[:, :10], 4.2), (np.s_[:, 200:], 17), (np.s_[60:100], 0)],
)
def test_a_border_without_noise_is_masked(tmp_path: Path, band: tuple[slice, ...], percent: float) -> None:
    """Every pixel of an empty band has the black level in all frames: σ was 0, unsaid."""
    folder = tmp_path / "burst"
    folder.mkdir()
    for number, codes in enumerate(exposures()):
        codes[band] = BLACK
        write_dng(folder / f"{number}.dng", frame(codes))
    result = ingest([folder], folder.with_suffix(".h5"), IngestOptions(patch_size=16))
    words = [note for note in result.notes if "along its sides, have no noise" in note]
    assert bool(words) == bool(percent)
    if percent:
        assert f"{percent:g} % of the frame" in words[0]
        # Four standard errors of what is left.
        gain, read = gain_and_read(result.path)
        assert gain == pytest.approx(GAIN, rel=0.03)
        assert read == pytest.approx(READ, rel=0.1)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.35])
def test_a_dark_sky_in_coarse_codes_is_no_border(tmp_path: Path, sigma: float) -> None:
    folder = tmp_path / "burst"
    folder.mkdir()
    rng = np.random.default_rng(0)
    roof = 60 + 20 * np.abs(np.sin(X / 17))
    light = np.where(roof < Y, 80.0, 0.0)
    for number in range(FRAMES):
        codes = np.rint(20.2 + light + rng.normal(size=SHAPE) * np.sqrt(0.1 * light + sigma**2)).astype(np.uint16)
        write_dng(folder / f"{number}.dng", replace(frame(codes), black=(20.0,) * 4, white=255.0))
    result = ingest([folder], folder.with_suffix(".h5"), IngestOptions(patch_size=16))
    assert not [note for note in result.notes if "no noise" in note]

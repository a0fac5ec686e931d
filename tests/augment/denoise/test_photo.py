import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import WHITE, frame
from click.testing import CliRunner
from small_denoiser import network, ramp

from noiseflow.augment.denoise.noise_line import NoiseLine
from noiseflow.augment.denoise.photo import denoise_photo
from noiseflow.augment.denoise.photo_file import read_photo
from noiseflow.cli import main
from noiseflow.core.errors import DataError
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import dng_bytes, write_dng
from noiseflow.raw.formats.tags.carried import Carried, carried_from, noise_reduction
from noiseflow.raw.patterns import CELLS

LINE = NoiseLine(np.full(4, 1e-3), np.full(4, 1e-5), "made")


def test_tiles_are_the_whole() -> None:
    image = frame(ramp(450, 500))
    made = network()
    whole = denoise_photo(made, image, LINE, tile=4096)
    tiled = denoise_photo(made, image, LINE, tile=96)
    np.testing.assert_allclose(tiled.signal, whole.signal, atol=2e-6)
    assert np.abs(tiled.signal - image.normalised()).max() > 1e-3


def test_strength_goes_from_nothing_to_all() -> None:
    image = frame(ramp())
    made = network()
    none, half, whole = (denoise_photo(made, image, LINE, strength=part).signal for part in (0, 0.5, 1))
    np.testing.assert_allclose(none, image.normalised(), atol=1e-6)
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-6)
    with pytest.raises(DataError, match="expected 0 to 1"):
        denoise_photo(made, image, LINE, strength=1.5)


def test_clipped_and_odd_pixels_keep_their_codes() -> None:
    mosaic = ramp(65, 97)
    found = denoise_photo(network(), frame(mosaic), LINE).image.mosaic
    clipped = mosaic == WHITE
    assert clipped.sum() > 20
    assert bool((found[clipped] == WHITE).all())
    np.testing.assert_array_equal(found[-1], mosaic[-1])
    np.testing.assert_array_equal(found[:, -1], mosaic[:, -1])
    assert not np.array_equal(found, mosaic)


@pytest.mark.parametrize("name", ["quad", "xtrans"])
def test_another_mosaic_is_refused(name: str) -> None:
    cfa = CELLS[name]
    black = (64.0,) * len(cfa)
    with pytest.raises(DataError, match="expected a Bayer mosaic"):
        denoise_photo(network(), replace(frame(ramp(48, 48)), cfa=cfa, black=black), LINE)


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """A raw file with a NoiseProfile, a lens, an orientation and a date."""
    carried = Carried(
        ((0x0112, "short", [6]), (0x0132, "ascii", "2026:11:30 04:00:00")),
        ((0x829D, "rational", [(28, 10)]), (0x9204, "srational", [(-1, 3)]), (0xA434, "ascii", "50 mm F1.8")),
    )
    image = frame(ramp(), noise_profile=((8e-4, 1e-5),))
    (tmp_path / "shot.dng").write_bytes(dng_bytes(tmp_path / "shot.dng", image, carried=carried))
    return tmp_path / "shot.dng"


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


def test_the_command_needs_no_training(shot: Path) -> None:
    out, preview = shot.with_name("out.dng"), shot.with_name("out.png")
    status, said = run("denoise", shot, "--out", out, "--preview", preview)
    assert status == 0, said
    assert "denoised by the shipped network; noise level: the NoiseProfile of the file" in said
    assert preview.stat().st_size > 100
    before, after = read_raw(shot), read_raw(out)
    assert (after.iso, after.exposure_s, after.camera, after.black) == (
        400.0,
        before.exposure_s,
        "Maker One",
        before.black,
    )
    assert not after.noise_profile
    smooth = [np.diff(each.planes().astype(float), axis=1).std() for each in (before, after)]
    assert smooth[1] < 0.5 * smooth[0]
    tags = {code: value for code, _, value in (*carried_from(out).first, *carried_from(out).exif)}
    assert tags[0x0112] == [6]
    assert tags[0x0132] == "2026:11:30 04:00:00"
    assert (tags[0x829D], tags[0x9204], tags[0xA434]) == ([(14, 5)], [(-1, 3)], "50 mm F1.8")
    assert noise_reduction(out) == 1
    status, said = run("denoise", out, "--out", shot.with_name("twice.dng"))
    assert status == 1
    assert "already denoised" in said


def test_a_noise_model_wins_and_a_profile_is_one(shot: Path) -> None:
    status, said = run("denoise", shot, "--model", "sony-a7s2", "--iso", 800, "--out", shot.with_name("out.dng"))
    assert status == 0, said
    assert "the eld model of Sony A7S2 at ISO 800" in said


def test_what_cannot_be_denoised_is_one_line(shot: Path, tmp_path: Path) -> None:
    shutil.copy(shot, tmp_path / "photo.jpg")
    with pytest.raises(DataError, match="developed picture"):
        read_photo(tmp_path / "photo.jpg")
    flat = frame(np.full((256, 256), 300, np.uint16))
    write_dng(tmp_path / "flat.dng", flat)
    status, said = run("denoise", tmp_path / "flat.dng", "--out", tmp_path / "out.dng")
    assert (status, said.count("\n")) == (1, 1)
    assert "--model" in said
    assert run("denoise", shot, shot, shot, "--out", tmp_path / "out.dng")[0] == 2
    assert run("denoise", tmp_path, shot, "--strength", 0.5, "--out", tmp_path / "out.dng")[0] == 2


def test_memory_does_not_grow_with_the_frame() -> None:
    """The network sees no more than a tile and its margins."""
    seen = []
    made = network()
    made.register_forward_hook(lambda _, arguments, __: seen.append(max(arguments[0].shape[2:])))
    with torch.no_grad():
        denoise_photo(made, frame(np.full((40, 1400), 300, np.uint16)), LINE, tile=64)
    assert max(seen) == 64 + 2 * made.reach

"""The series that calibrate is shown on: what is written is what is measured, and what goes wrong in it is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noiseflow.calibrate import calibrate
from noiseflow.core.errors import DataError, OutputError, RawError
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import load_camera, simulate_series
from noiseflow.simulate.series import BURST, DARKS, FULL_S, LEVELS

CAMERA, ISOS, SIZE = "Sony A7S2", (800.0, 1600.0), (96, 128)
ERRORS = 4.5
"""Standard errors that an estimate may be off: of 24 of them one is, by chance, once in 6,000 runs."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    simulate_series(tmp_path / "mine", CAMERA, ISOS[:1], size=SIZE)
    return tmp_path / "mine"


def change(path: Path, call: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put other codes into a frame of the series; all else stays as it is."""
    image = read_raw(path)
    codes = np.clip(np.rint(call(image.mosaic.astype(np.float64))), 0, image.white).astype(np.uint16)
    write_dng(path, replace(image, mosaic=codes), overwrite=True)


def cautions(folder: Path) -> list[str]:
    profile = calibrate([folder / "flats", folder / "darks"]).profile
    return [*profile.cautions, *(caution for setting in profile.settings for caution in setting.cautions)]


def test_calibrate_reads_back_the_physics(tmp_path: Path) -> None:
    physics = load_camera(CAMERA)
    files = simulate_series(tmp_path, CAMERA, ISOS, size=SIZE)
    assert len(files) == len(ISOS) * (2 * len(LEVELS) + sum(DARKS.values())) + BURST
    profile = calibrate([tmp_path / "flats", tmp_path / "darks"]).profile
    assert profile.isos == ISOS
    assert len(profile.settings) == 4 * len(ISOS)
    span = physics.white_dn - physics.black_dn
    for setting in profile.settings:
        at = physics.at(setting.iso)
        read = np.sqrt(physics.noise_profile(setting.iso)[1]) * span
        for name, truth in (
            ("gain_dn_per_e", at.gain_dn_per_e),
            ("read_noise_dn", read),
            ("black_dn", physics.black_dn),
        ):
            found = setting.estimates[name]
            assert abs(found.value - truth) < ERRORS * found.standard_error, (setting.iso, setting.plane, name)
            assert found.standard_error < 0.05 * truth


def test_frames_are_labelled_as_taken(folder: Path) -> None:
    for level in (LEVELS[0], LEVELS[-1]):
        image = read_raw(folder / "flats" / f"flat_ISO800_{level:g}_1.dng")
        assert (image.iso, image.exposure_s) == (800.0, pytest.approx(FULL_S * level))
    for seconds, count in DARKS.items():
        files = sorted((folder / "darks").glob(f"dark_ISO800_{seconds:g}_*.dng"))
        assert len(files) == count
        assert read_raw(files[0]).exposure_s == pytest.approx(seconds)


def test_the_burst_is_of_one_scene_with_the_camera_s_gain(folder: Path) -> None:
    gain = load_camera(CAMERA).at(800.0).gain_dn_per_e
    for setting in calibrate([folder / "burst"]).profile.settings:
        found = setting.estimates["gain_dn_per_e"]
        assert abs(found.value - gain) < ERRORS * found.standard_error


def test_the_seed_decides(tmp_path: Path) -> None:
    def frames(name: str, seed: int) -> list[bytes]:
        files = simulate_series(tmp_path / name, "PG-12", [100], size=(24, 32), seed=seed)
        return [file.read_bytes() for file in files]

    first = frames("a", 1)
    assert first == frames("b", 1)
    # A saturated flat is the white level throughout, whatever the seed: four of them there are.
    same = sum(one == other for one, other in zip(first, frames("c", 2), strict=True))
    assert same <= 4


@pytest.mark.parametrize(("size", "words"), [((96, 127), "expected even numbers"), ((2, 4), "of at least")])
def test_a_size_that_no_mosaic_has(tmp_path: Path, size: tuple[int, int], words: str) -> None:
    with pytest.raises(RawError, match=words):
        simulate_series(tmp_path, CAMERA, ISOS, size=size)
    assert not list(tmp_path.iterdir())


def test_a_series_is_never_written_over(folder: Path) -> None:
    with pytest.raises(OutputError, match="already contains a simulation"):
        simulate_series(folder, CAMERA, ISOS, size=SIZE)


def test_nothing_is_said_against_a_series_without_fault(folder: Path) -> None:
    assert cautions(folder) == []


LEAK = np.linspace(0, 300, SIZE[1])
"""Light that comes in from one side, DN."""


@pytest.mark.parametrize(
    ("files", "fault", "words"),
    [
        ("darks/dark_ISO800_1_*", lambda codes: codes + 400, "light leak?"),
        ("darks/dark_ISO800_0.001_*", lambda codes: codes + LEAK, "light leak or glow?"),
        ("flats/flat_ISO800_*_1", lambda codes: 512 + 1.06 * (codes - 512), "flickering light"),
        ("flats/flat_ISO800_*_1", lambda codes: 512 + 2 * (codes - 512), "not of one setting"),
        (
            "flats/flat_ISO800_0.4_*",
            lambda codes: 512 + (codes - 512) * np.linspace(0.1, 2, SIZE[1]),
            "not of an even surface",
        ),
    ],
)
def test_a_fault_planted_in_the_series_is_named(
    folder: Path, files: str, fault: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    for file in folder.glob(f"{files}.dng"):
        change(file, fault)
    assert any(words in caution for caution in cautions(folder)), cautions(folder)


def test_a_frame_of_another_camera_is_named(folder: Path) -> None:
    path = folder / "flats" / f"flat_ISO800_{LEVELS[3]:g}_0.dng"
    image = read_raw(path)
    write_dng(path, replace(image, model="Other"), overwrite=True)
    with pytest.raises(DataError, match="its camera is Simulated Other"):
        calibrate([folder / "flats", folder / "darks"])

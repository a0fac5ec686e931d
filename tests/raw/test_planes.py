"""Planes that `noiseflow sample` writes are read back by every command that takes a frame."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import frame
from click.testing import CliRunner

from noiseflow.augment import NoisyFrame, write_frame
from noiseflow.cli import main
from noiseflow.core.errors import RawError
from noiseflow.core.output.ends import END
from noiseflow.models import ModelSpec, build, save
from noiseflow.raw import RawImage, RawSettings, read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.patterns import CELLS, cell_side
from noiseflow.raw.reading import frame_count

PATTERNS = [
    ("RGGB", None),
    ("BGGR", None),
    ("MONO", None),
    ("MONO", "mono"),
    (CELLS["quad"], None),
    (CELLS["xtrans"], None),
]
SUFFIXES = (".npy", ".h5")


def image(cfa: str) -> RawImage:
    planes = 1 if cfa == "MONO" else cell_side(cfa) ** 2
    return RawImage(
        np.full((24, 36), 500, np.uint16),
        cfa,
        tuple(64.0 + plane for plane in range(planes)),
        1023.0,
        800.0,
        0.01,
        "Maker",
        "One",
        "a.dng",
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("cfa", "layout"), PATTERNS)
def test_what_is_written_is_read(tmp_path: Path, cfa: str, layout: str | None, suffix: str) -> None:
    written = image(cfa)
    shape = written.normalised(layout).shape
    signal = np.random.default_rng(1).normal(0.3, 0.4, shape).astype(np.float32)
    path = tmp_path / f"planes{suffix}"
    write_frame(path, NoisyFrame(written, signal))
    found = read_raw(path)
    np.testing.assert_allclose(found.normalised(layout), signal, atol=1e-9)
    assert (found.cfa, found.black, found.white) == (written.cfa, written.black, written.white)
    assert (found.iso, found.exposure_s, found.camera) == (800.0, 0.01, "Maker One")
    assert frame_count(path) == 1


@pytest.mark.parametrize("name", ["é" * 700, "😀" * 1000, "A" * 1001])
def test_a_camera_s_name_is_kept_up_to_a_thousand_characters(tmp_path: Path, name: str) -> None:
    """Each may be 12 bytes of JSON: of 4 KiB that were read, the levels were missing."""
    written = replace(image("RGGB"), make="", model=name)
    write_frame(tmp_path / "a.npy", NoisyFrame(written, written.normalised().astype(np.float32)))
    found = read_raw(tmp_path / "a.npy")
    assert found.camera == name[:1000]
    assert (found.black, found.white) == (written.black, written.white)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flags_win_over_what_the_file_says(tmp_path: Path, suffix: str) -> None:
    signal = np.full((4, 8, 8), 0.25, np.float32)
    write_frame(tmp_path / f"a{suffix}", NoisyFrame(replace(image("RGGB"), iso=None), signal))
    found = read_raw(tmp_path / f"a{suffix}", RawSettings(iso=100.0, camera="Mine"))
    assert (found.iso, found.camera) == (100.0, "Mine")
    assert read_raw(tmp_path / f"a{suffix}").iso is None


def test_an_array_of_an_earlier_version_needs_flags(tmp_path: Path) -> None:
    signal = np.random.default_rng(1).random((4, 8, 8)).astype(np.float32)
    path = tmp_path / "old.npy"
    np.save(path, signal)
    path.write_bytes(path.read_bytes() + END)
    with pytest.raises(RawError, match="but does not give their cfa, black, white; give --cfa --black --white"):
        read_raw(path)
    found = read_raw(path, RawSettings(cfa="RGGB", black=(64.0,), white=1023.0))
    np.testing.assert_allclose(found.normalised(), signal, atol=1e-9)


def test_a_stack_of_the_users_own_stays_a_stack(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(4 * 64).reshape(4, 8, 8).astype(np.uint16))
    settings = RawSettings(cfa="RGGB", black=(0.0,), white=1023.0)
    assert frame_count(tmp_path / "mine.npy") == 4
    assert read_raw(tmp_path / "mine.npy", settings, 2).mosaic[0, 0] == 128


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"white": 1023.0', b'"white": "many"', "white"),
        (b'"cfa": "RGGB"', b'"cfa": "MONO"', "4 black levels for 1 plane"),
        (b'{"planes": ', b'{"planes": {', "is not JSON"),
        (b'{"planes": 4', b'{"planes": 1', r"contains 4 planes and 4 black levels, but says 1 planes"),
        (b'"cfa": "RGGB", ', b"", "cfa"),
    ],
)
def test_damaged_facts_are_refused(tmp_path: Path, old: bytes, new: bytes, reason: str) -> None:
    path = tmp_path / "a.npy"
    write_frame(path, NoisyFrame(image("RGGB"), np.zeros((4, 4, 4), np.float32)))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(RawError, match=reason):
        read_raw(path)


def test_planes_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_frame(path, NoisyFrame(image("RGGB"), np.zeros((4, 4, 4), np.float32)))
    with h5py.File(path, "r+") as file:
        attributes = dict(file["signal"].attrs)
        del file["signal"]
        file["signal"] = np.zeros((3, 4, 4), np.float32)
        file["signal"].attrs.update(attributes)
    with pytest.raises(RawError, match="contains 3 planes"):
        read_raw(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_commands_read_what_sample_writes(tmp_path: Path, suffix: str) -> None:
    save(build(ModelSpec("nlf", cameras=("Maker One",), isos=(100.0, 1600.0))), tmp_path / "run")
    write_dng(tmp_path / "clean.dng", frame(np.full((32, 32), 500, np.uint16)))

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    planes = tmp_path / f"planes{suffix}"
    run("sample", tmp_path / "run", tmp_path / "clean.dng", "--iso", 400, "--out", planes)
    assert "fractions of a DN" in run("info", planes)
    assert "32×32" in run("sample", tmp_path / "run", planes, "--out", tmp_path / "again.dng")
    there = tmp_path / f"there{suffix}"
    run("transfer", planes, "--from", tmp_path / "run", "--to", tmp_path / "run", "--iso", 1600, "--out", there)
    assert read_raw(there).iso == 1600

"""The same exposure twice, frames without noise, and the table of what an ingest believed."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import burst_folder, frame, noisy_mosaic
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.checksums import pixel_checksum
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.reading import read_raw
from noiseflow.raw.settings import RawSettings

SIGNAL = np.full((64, 96), 300.0)


def saved_again(source: Path, target: Path) -> None:
    """The same pixels in a file of other bytes."""
    image = read_raw(source)
    target.parent.mkdir(exist_ok=True, parents=True)
    write_dng(target, frame(np.array(image.mosaic), make="Saved", model="again"))
    assert source.read_bytes() != target.read_bytes()


def resaved_burst(folder: Path, count: int) -> None:
    """A burst of some frames, the first of which is there twice, each in a file of its own metadata."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    mosaics = [noisy_mosaic(SIGNAL, rng) for _ in range(count)]
    for number, mosaic in enumerate([*mosaics, mosaics[0]]):
        # Another exposure time in the metadata makes other bytes; it is within the tolerance of one setting.
        write_dng(folder / f"{number}.dng", frame(mosaic, exposure_s=0.01 * (1 + 1e-5 * number)))


@pytest.mark.parametrize(
    ("pairing", "count"),
    [("burst", 1), ("burst", 3), ("flat", 1), ("flat", 3), ("dark", 1), ("dark", 3), ("noisy-pair", 1)],
)
def test_an_exposure_in_two_files_is_refused(tmp_path: Path, pairing: str, count: int) -> None:
    resaved_burst(tmp_path / "raws", count)
    with pytest.raises(RawError, match=r"\d\.dng: (has the same pixels as \S+0\.dng|equals its clean signal)"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, pairing=pairing))
    assert not (tmp_path / "s.h5").exists()


def test_an_exposure_in_two_folders_is_refused(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws" / "a", frames=3, size=(64, 96), seed=0)
    burst_folder(tmp_path / "raws" / "b", frames=3, size=(64, 96), seed=1)
    saved_again(tmp_path / "raws" / "a" / "frame_01.dng", tmp_path / "raws" / "c" / "0.dng")
    saved_again(tmp_path / "raws" / "b" / "frame_01.dng", tmp_path / "raws" / "c" / "1.dng")
    with pytest.raises(RawError, match=r"has the same pixels as"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))


def test_single_frames_that_repeat_are_a_caution(tmp_path: Path) -> None:
    resaved_burst(tmp_path / "raws", 2)
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, pairing="none"))
    assert any("2.dng: has the same pixels" in note for note in result.notes)


def test_a_frame_that_is_its_own_clean_twin_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    from noiseflow.patches.assembly.cut import cut_patches
    from noiseflow.patches.pairings import FramePair
    from noiseflow.patches.sources import Frame

    image = frame(noisy_mosaic(SIGNAL, np.random.default_rng(0)))
    pair = FramePair(Frame(tmp_path, lambda: image), 0, image, image.planes().astype(np.float32), 0.0)
    corners = np.array([[0, 0], [8, 0]])
    with pytest.raises(RawError, match="there is no noise to store"):
        cut_patches(pair, corners, 8, 0, sink=lambda *_: None)
    clean = image.planes().astype(np.float32)
    clean[2, 15, 7] += 1
    cut_patches(replace(pair, clean=clean), corners, 8, 0, sink=lambda *_: None)


def test_frames_that_never_change_are_refused(tmp_path: Path) -> None:
    """Constant frames of other levels have other checksums, and no noise once their drift is taken out."""
    (tmp_path / "raws").mkdir()
    for number in range(3):
        write_dng(tmp_path / "raws" / f"{number}.dng", frame(np.full((64, 64), 500 + number, np.uint16)))
    with pytest.raises(RawError, match="no pixel changes over its 3 frames"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))


def test_the_checksum_of_pixels_is_of_values_and_shape() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4095, (200, 150), np.uint16)
    same = [codes.astype(np.int64), np.asfortranarray(codes), codes.astype(">u2"), np.pad(codes, 3)[3:-3, 3:-3]]
    assert {pixel_checksum(each) for each in same} == {pixel_checksum(codes)}
    others = [codes[:-1], codes[:, :-1], codes.T, codes + 1, rng.integers(0, 4095, codes.shape, np.uint16)]
    assert len({pixel_checksum(each) for each in (codes, *others)}) == 6


def test_what_was_believed_is_in_the_result_the_store_and_info(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=4, size=(64, 96), seed=0)
    shutil.copy(tmp_path / "raws" / "frame_01.dng", tmp_path / "raws" / "frame_07.dng")
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    believed = {fact: (value, source) for fact, value, source in result.believed}
    assert believed["pairing"] == ("burst", result.reason)
    assert believed["CFA"][0] == "RGGB"
    assert believed["ISO"][0] == "400"
    assert believed["black level"][0] == "64 DN"
    assert believed["white level"][0] == "1023 DN"
    assert all(source for _, source in believed.values())
    assert "1 file left out, the same as another" in believed["left out"][0]
    with PatchStore(tmp_path / "s.h5") as store, h5py.File(tmp_path / "s.h5") as file:
        assert [tuple(row) for row in store.believed] == list(result.believed)
        assert json.loads(file.attrs["believed"]) == store.believed
    told = CliRunner().invoke(main, ["info", str(tmp_path / "s.h5")]).output
    assert "black level:" in told
    assert "64 DN (" in told


def test_frames_that_differ_are_counted_in_the_table(tmp_path: Path) -> None:
    for iso in (100.0, 200.0):
        folder = tmp_path / "raws" / f"{iso:g}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(int(iso))
        for number in range(3 if iso == 100 else 2):
            write_dng(folder / f"{number}.dng", frame(noisy_mosaic(SIGNAL, rng), iso=iso))
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    isos = [value for fact, value, _ in result.believed if fact == "ISO"]
    assert isos == ["100 (3 frames)", "200 (1 frame)"]


def test_frames_that_are_saturated_throughout_are_alike_and_not_one_exposure(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws" / "lit", frames=3, size=(64, 96), seed=0)
    (tmp_path / "raws" / "clipped").mkdir()
    for number in range(2):
        mosaic = np.full((64, 96), 1023, np.uint16)
        # A dead pixel, the same in both.
        mosaic[0, 5] = 500
        write_dng(tmp_path / "raws" / "clipped" / f"{number}.dng", frame(mosaic, exposure_s=0.01 * (1 + 1e-5 * number)))
    assert pixel_checksum(mosaic) == ""
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    assert sum(result.patches.values()) > 0
    with h5py.File(tmp_path / "s.h5") as store:
        assert [Path(name).name for name in store["scenes"].asstr()[:]] == ["lit"]


def test_names_that_say_the_same_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "raws"
    burst_folder(folder, frames=3, size=(32, 48), seed=0)
    for number, path in enumerate(sorted(folder.glob("*.dng"))):
        np.save(folder / f"IMG_{number}_ISO800.npy", read_raw(path).mosaic)
        path.unlink()
    settings = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0, exposure_s=0.01)
    result = ingest([folder], tmp_path / "a.h5", IngestOptions(patch_size=8, settings=settings))
    rows = [(value, source) for fact, value, source in result.believed if fact == "ISO"]
    assert rows == [("800", "the name IMG_0_ISO800 and 2 more like it")]

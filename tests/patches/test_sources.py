import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import burst_folder
from click.testing import CliRunner
from PIL import Image

from noiseflow.cli import main
from noiseflow.core.errors import DataError, RawError
from noiseflow.patches import PatchStore
from noiseflow.patches.ingestion.plan import assign_splits
from noiseflow.patches.sources import SOURCES, Source, collect
from noiseflow.raw import RawSettings
from noiseflow.simulate import simulate


def test_each_kind_is_recognised_by_its_own_source_first(tmp_path: Path) -> None:
    simulate(tmp_path / "simulation", "PG-12", [400.0], scenes=1, size=(32, 32))
    burst_folder(tmp_path / "folder", frames=2, size=(32, 32), seed=0)
    kinds = {"simulation": "simulation", "folder": "folder of raw files", "folder/frame_00.dng": "raw file"}
    for path, kind in kinds.items():
        assert next(source.kind for source in SOURCES if source.recognises(tmp_path / path)) == kind


def test_a_new_source_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    burst_folder(tmp_path / "mine", frames=2, size=(32, 32), seed=0)
    folder = next(source for source in SOURCES if source.kind == "folder of raw files")
    mine = Source("mine", lambda path: path.name == "mine", folder.gather)
    monkeypatch.setattr("noiseflow.patches.sources.SOURCES", (mine,))
    assert len(collect(tmp_path / "mine").scenes) == 1
    with pytest.raises(RawError, match="not a known data set"):
        collect(tmp_path)


def test_collections_of_every_kind_can_be_pickled(tmp_path: Path) -> None:
    simulate(tmp_path / "simulation", "PG-12", [400.0], scenes=1, size=(32, 32))
    burst_folder(tmp_path / "folder", frames=2, size=(32, 32), seed=0)
    for name in ("simulation", "folder"):
        collection = pickle.loads(pickle.dumps(collect(tmp_path / name)))
        assert collection.scenes[0].frames[0].read().mosaic.shape == (32, 32)


def test_sub_folders_are_scenes_with_names_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "raws"
    for folder in (root, root / "raws", root / "b" / "c"):
        burst_folder(folder, frames=1, size=(32, 32), seed=0)
    names = [scene.name for scene in collect(root).scenes]
    assert names == [".", str(Path("b") / "c"), "raws"]


def test_previews_are_reported_and_left_out(tmp_path: Path) -> None:
    burst_folder(tmp_path, frames=2, size=(32, 32), seed=0)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "preview.png")
    (tmp_path / "notes.txt").write_text("x")
    collection = collect(tmp_path)
    assert [frame.path.suffix for frame in collection.scenes[0].frames] == [".dng", ".dng"]
    assert collection.report == (f"{tmp_path}: 1 .png file left out next to .dng files",)


@pytest.mark.skipif(sys.platform == "win32", reason="mode bits")
def test_a_folder_that_cannot_be_opened_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    burst_folder(tmp_path / "open", frames=1, size=(32, 32), seed=0)
    (tmp_path / "closed").mkdir()

    def guarded(call: Any) -> Any:
        def guard(path: str) -> Any:
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return call(path)

        return guard

    # `Path.iterdir` calls the second before Python 3.13.
    monkeypatch.setattr(os, "scandir", guarded(os.scandir))
    monkeypatch.setattr(os, "listdir", guarded(os.listdir))
    collection = collect(tmp_path)
    assert [scene.name for scene in collection.scenes] == ["open"]
    assert collection.report == (f"{tmp_path / 'closed'}: cannot be opened (Permission denied); left out",)


def test_headerless_files_are_ingested_by_flags_or_by_a_side_car(tmp_path: Path) -> None:
    folder = tmp_path / "raws"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        (folder / f"{number}.raw").write_bytes(rng.integers(100, 900, (64, 96)).astype(">u2").tobytes())
    flags = "--size 96x64 --dtype >u2 --cfa GBRG --black 64 --white 1023 --iso 200 --camera Mine".split()
    common = ["ingest", str(folder), "--patch-size", "8", "--overwrite", "--out", str(tmp_path / "s.h5")]
    by_flags = CliRunner().invoke(main, [*common, *flags])
    assert by_flags.exit_code == 0, by_flags.output
    with PatchStore(tmp_path / "s.h5") as store:
        assert (store.cameras, store.isos, set(store.table["black"].ravel())) == (("Mine",), (200.0,), {64.0})
        fingerprint = store.fingerprint
    side_car = 'size = [96, 64]\ndtype = ">u2"\ncfa = "GBRG"\nblack = 64\nwhite = 1023\niso = 200\ncamera = "Mine"\n'
    (folder / "noiseflow.toml").write_text(side_car)
    by_side_car = CliRunner().invoke(main, common)
    assert by_side_car.exit_code == 0, by_side_car.output
    with PatchStore(tmp_path / "s.h5") as store:
        assert store.fingerprint == fingerprint
    told = CliRunner().invoke(main, ["info", str(folder / "0.raw")])
    assert "GBRG" in told.output


@pytest.mark.parametrize("flags", [["--size", "96"], ["--black", "1,2"], ["--cfa", "RGBW"], ["--size", "axb"]])
def test_flags_that_cannot_be_understood_are_usage_errors(tmp_path: Path, flags: list[str]) -> None:
    result = CliRunner().invoke(main, ["info", str(tmp_path), *flags])
    assert result.exit_code == 2
    assert flags[0] in result.output


def test_fractions_are_no_noisy_frame(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "raws").mkdir(exist_ok=True)
        np.save(tmp_path / "raws" / f"{number}.npy", np.random.default_rng(number).random((32, 32)))
    flags = ["--cfa", "RGGB", "--black", "0", "--white", "1", "--iso", "100", "--patch-size", "8"]
    result = CliRunner().invoke(main, ["ingest", str(tmp_path / "raws"), *flags, "--out", str(tmp_path / "s.h5")])
    assert result.exit_code == 1
    assert "codes of type float64" in result.output


def test_settings_of_a_call_reach_every_frame(tmp_path: Path) -> None:
    burst_folder(tmp_path, frames=2, size=(32, 32), seed=0)
    scene = collect(tmp_path, RawSettings(iso=77.0)).scenes[0]
    assert {frame.read().iso for frame in scene.frames} == {77.0}


def test_a_published_split_is_obeyed_and_the_others_are_drawn() -> None:
    names = [f"g{number}" for number in range(20)]
    published = {"g0": "test", "g1": "train", "g2": None}
    splits = assign_splits(names, (0.8, 0.1, 0.1), 0, published)
    assert (splits["g0"], splits["g1"]) == (2, 0)
    drawn = assign_splits(names[2:], (0.8, 0.1, 0.1), 0)
    assert {name: splits[name] for name in names[2:]} == drawn
    everything = assign_splits(names, (0.8, 0.1, 0.1), 0, dict.fromkeys(names, "val"))
    assert set(everything.values()) == {1}
    with pytest.raises(DataError, match="split 'dev' is not known"):
        assign_splits(names, (0.8, 0.1, 0.1), 0, {"g0": "dev"})

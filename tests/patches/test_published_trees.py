"""The published data sets as a tool of ours writes them: manifests, counts, and what becomes of the frames."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest, sources
from noiseflow.patches.sources import SOURCES, collect
from noiseflow.patches.sources.published import crvd
from noiseflow.patches.sources.published.manifest import manifest
from tools.readers.make_published import MAKERS, Pictures, main

ROOT = Path(__file__).resolve().parents[2]

WHOLE = {
    # Of the published 598 test pairs those of two of the three misaligned pictures are in a list numbered from 0 to 49.
    "SID": ({"train": 161, "val": 20, "test": 48}, 2697 - 2 * 12),
    "ELD": ({"test": 4 * 10 * 4}, 4 * 10 * 12),
    "SMID": ({"train": 129, "val": 24, "test": 49}, 202 * 3),
    "CRVD": ({"train": 6 * 5 * 7, "test": 5 * 5 * 7}, 11 * 5 * 7 * 10),
    "RawNIND": ({"train": 2, "test": 16}, 18 * 2),
}
"""Scenes in each split, and noisy frames."""


@pytest.mark.parametrize("name", MAKERS)
def test_the_data_sets_folder_points_to_the_manifest(name: str) -> None:
    linked = ROOT / "datasets" / name.lower() / "manifest.toml"
    assert linked.samefile(Path(crvd.__file__).parent / f"{name.lower()}.toml")


@pytest.mark.parametrize("name", WHOLE)
def test_published_counts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(self: Pictures, path: str, *_args: object, **_settings: object) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).touch()

    monkeypatch.setattr(Pictures, "raw", touch)
    monkeypatch.setattr(Pictures, "tiff", touch)
    MAKERS[name](Pictures(tmp_path), whole=True)
    assert next(source.kind for source in SOURCES if source.recognises(tmp_path)) == name
    found = collect(tmp_path)
    splits, frames = WHOLE[name]
    assert Counter(scene.split for scene in found.scenes) == splits
    assert sum(len(scene.frames) for scene in found.scenes) == frames
    assert not any("missing" in line or "published list" in line for line in found.report)


@pytest.mark.parametrize("name", MAKERS)
def test_from_tree_to_store(name: str, tmp_path: Path) -> None:
    """The mean of noisy − clean is 0 within 6 standard errors: of the clean twins' noise too, which frames share."""
    tree, out = tmp_path / "tree", tmp_path / "a.h5"
    MAKERS[name](Pictures(tree), whole=False)
    result = ingest([tree], out, IngestOptions(patch_size=4, max_clipped=1))
    assert result.pairing == ("burst" if name == "LRID" else "gt")
    with PatchStore(out) as store:
        noisy, clean = store.codes(np.arange(len(store)))
    noise = noisy - clean
    assert abs(noise.mean()) < 6 * noise.std() / np.sqrt(noise.size / 10)


def test_a_tree_is_not_written_into_a_folder_with_files(tmp_path: Path) -> None:
    """Its files have the names of the real ones."""
    real = tmp_path / "CRVD" / "indoor_raw_noisy" / "scene1" / "ISO1600" / "frame1_noisy0.tiff"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    refused = CliRunner().invoke(main, ["CRVD", str(tmp_path / "CRVD")])
    assert refused.exit_code == 1
    assert "CRVD: has no list of files" in refused.output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [real]
    assert real.read_bytes() == b"real"
    made = CliRunner().invoke(main, ["CRVD", str(tmp_path / "new")])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "new" / real.relative_to(tmp_path / "CRVD")).is_file()


def test_lists_of_another_length_are_said(tmp_path: Path) -> None:
    MAKERS["SID"](Pictures(tmp_path), whole=False)
    report = collect(tmp_path).report
    assert any(line.endswith("5 short and 2 long exposures; the published list has 1865 and 161") for line in report)


def test_the_misaligned_pictures_of_sid_are_left_out(tmp_path: Path) -> None:
    to = Pictures(tmp_path)
    lines = []
    for picture in ("10034", "10035", "10045"):
        long, short = f"./Sony/long/{picture}_00_10s.ARW", f"./Sony/short/{picture}_00_0.1s.ARW"
        to.raw(long, iso=100.0, exposure_s=10.0)
        to.raw(short, iso=100.0, exposure_s=0.1)
        lines.append(f"{short} {long} ISO100 F8")
    to.text("Sony_test_list.txt", lines)
    found = collect(tmp_path)
    assert [scene.name for scene in found.scenes] == ["10035_00_10s"]
    assert any("pictures 10034, 10045 left out" in line for line in found.report)


@pytest.mark.parametrize("frames", [16, 15])
def test_eld_as_the_cameras_named_it(tmp_path: Path, frames: int) -> None:
    to = Pictures(tmp_path)
    for number in range(frames):
        to.raw(f"SonyA7S2/scene-1/DSC{4321 + number:05d}.ARW", iso=100.0, exposure_s=1.0)
    to.raw("SonyA7S2/scene-2/IMG_0001.ARW", iso=100.0, exposure_s=1.0)
    to.raw("SonyA7S2/scene-2/IMG_0002.ARW", iso=100.0, exposure_s=0.1)
    found = collect(tmp_path)
    first = [scene for scene in found.scenes if scene.subject == "SonyA7S2/scene-1"]
    if frames == 16:
        assert [scene.clean.path.name for scene in first if scene.clean] == [
            f"DSC{4321 + number:05d}.ARW" for number in (0, 5, 10, 15)
        ]
        assert any("in order of name" in line for line in found.report)
    else:
        assert not first
        assert any("its 15 raw files are not named" in line for line in found.report)


@pytest.mark.parametrize("averaged", [True, False])
def test_the_mean_of_crvd_is_a_clean_signal_and_no_noisy_frame(tmp_path: Path, averaged: bool) -> None:
    MAKERS["CRVD"](Pictures(tmp_path), whole=False)
    if not averaged:
        for file in (tmp_path / "indoor_raw_noisy").rglob("*_clean.tiff"):
            file.unlink()
    for scene in collect(tmp_path).scenes:
        assert len(scene.frames) == manifest("crvd")["noisy"]
        assert not any("clean" in frame.path.name for frame in scene.frames)
        assert scene.clean is not None
        assert scene.clean.path.name.endswith("_clean.tiff" if averaged else "_clean_and_slightly_denoised.tiff")


def test_rawnind_flat_and_sorted_give_the_same_scenes(tmp_path: Path) -> None:
    flat, tree = tmp_path / "flat", tmp_path / "src"
    MAKERS["RawNIND"](Pictures(flat), whole=False)
    for file in flat.iterdir():
        kind, rest = file.name.split("_", 1)
        scene = rest.split("_GT_")[0].split("_ISO")[0]
        folder = tree / kind / scene / ("gt" if "_GT_" in file.name else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).hardlink_to(file)
    seen = [
        [(scene.name, scene.split, [frame.path.name for frame in scene.frames]) for scene in collect(path).scenes]
        for path in (flat, tree)
    ]
    assert seen[0] == seen[1]
    assert [entry[:2] for entry in seen[0]] == [
        ("2pilesofplates", "train"),
        ("TEST_7D-2", "test"),
        ("desk_lamp", "train"),
    ]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("departure", ["two folders down", "litter", "suffixes", "a file less"])
def test_small_departures_from_the_published_tree(name: str, departure: str, tmp_path: Path) -> None:
    """As archives are unpacked, copied and mirrored: the scenes are the same, or a line says which are not."""
    tree = tmp_path / "download" / "set"
    MAKERS[name](Pictures(tree), whole=False)
    wanted, files = collect(tree), sorted(file for file in tree.rglob("*") if file.is_file())
    frames = sum(len(scene.frames) for scene in wanted.scenes)
    given = tree
    if departure == "two folders down":
        given = tmp_path
    elif departure == "litter":
        for folder in {file.parent for file in files}:
            for litter in ("Thumbs.db", ".DS_Store", f"._{files[-1].name}", "desktop.ini"):
                (folder / litter).write_bytes(b"\0" * 100)
    elif departure == "suffixes":
        for file in files:
            if file.suffix != ".txt":
                file.rename(file.with_suffix(file.suffix.swapcase()))
    else:
        next(file for file in files if file == wanted.scenes[0].frames[0].path).unlink()
    found = collect(given)
    assert sum(len(scene.frames) for scene in found.scenes) == frames - (departure == "a file less")
    assert Counter(scene.split for scene in found.scenes) <= Counter(scene.split for scene in wanted.scenes)
    if departure == "two folders down":
        assert f"{tree}: taken as a published data set" in found.report
    elif departure == "a file less" and name not in ("CRVD", "SMID", "RawNIND"):
        assert set(found.report) - set(wanted.report)


def test_a_data_set_beside_other_frames_is_not_taken_for_all(tmp_path: Path) -> None:
    MAKERS["ELD"](Pictures(tmp_path / "ELD"), whole=False)
    MAKERS["SMID"](Pictures(tmp_path / "SMID"), whole=False)
    with pytest.raises(RawError, match=r"published data set next to other frames: ingest one of .*ELD \(ELD\)"):
        collect(tmp_path)
    shutil.rmtree(tmp_path / "SMID")
    Pictures(tmp_path / "mine").raw("a/0.dng", iso=100.0, exposure_s=1.0)
    with pytest.raises(RawError, match=r"ELD \(ELD\), .*mine"):
        collect(tmp_path)


@pytest.mark.parametrize("most", [5, 6])
def test_among_too_many_folders_none_is_taken_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of 6 folders 5 were looked at: the other frames, in the last one, were left out without a word."""
    monkeypatch.setattr(sources, "MOST_FOLDERS", most)
    MAKERS["ELD"](Pictures(tmp_path / "ELD"), whole=False)
    for name in ("FA", "FB", "FC", "FD"):
        (tmp_path / name).mkdir()
    Pictures(tmp_path / "mine").raw("a/0.dng", iso=100.0, exposure_s=1.0)
    if most < 6:
        assert tmp_path / "mine/a/0.dng" in {each.path for scene in collect(tmp_path).scenes for each in scene.frames}
    else:
        with pytest.raises(RawError, match=r"ELD \(ELD\), .*mine"):
            collect(tmp_path)

"""Trees as the published data sets have them, written small, and what their readers make of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from builders import frame

from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.sources import SOURCES, collect
from noiseflow.patches.sources.published import crvd, eld, lrid
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.patterns import CELLS, cell_side

SIZE = (32, 48)
SEEDS = iter(range(1_000_000))


def put(path: Path, *, iso: float = 400.0, exposure_s: float = 0.01, level: float = 300.0, cfa: str = "RGGB") -> None:
    """A raw frame; DNG content behind a camera's suffix is read by LibRaw as such."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(SEEDS))
    codes = (64 + rng.poisson(np.linspace(20, level, SIZE[1])[None].repeat(SIZE[0], 0))).astype(np.uint16)
    black = (64.0,) * cell_side(cfa) ** 2
    write_dng(path, replace(frame(codes, iso=iso, exposure_s=exposure_s), cfa=cfa, black=black))


def kind_of(path: Path) -> str:
    return next(source.kind for source in SOURCES if source.recognises(path))


def write_sid(root: Path) -> None:
    lines = {"train": [], "val": [], "test": []}
    for number, split in (("00001", "train"), ("00002", "train"), ("20001", "val"), ("10003", "test")):
        long = f"./Sony/long/{number}_00_10s.ARW"
        put(root / long, exposure_s=10.0, iso=100.0)
        for index, exposure_s in ((0, 0.04), (1, 0.04), (0, 0.1)):
            short = f"./Sony/short/{number}_{index:02d}_{exposure_s}s.ARW"
            put(root / short, exposure_s=exposure_s, iso=100.0)
            lines[split].append(f"{short} {long} ISO100 F8")
    for split, each in lines.items():
        (root / f"Sony_{split}_list.txt").write_text("\n".join(each))
    (root / "Fuji_train_list.txt").write_text("./Fuji/short/1.RAF ./Fuji/long/1.RAF ISO200 F8")


def test_sid(tmp_path: Path) -> None:
    write_sid(tmp_path)
    assert kind_of(tmp_path) == "SID"
    found = collect(tmp_path)
    assert {scene.name: (len(scene.frames), scene.split) for scene in found.scenes} == {
        "00001_00_10s": (3, "train"),
        "00002_00_10s": (3, "train"),
        "20001_00_10s": (3, "val"),
        "10003_00_10s": (3, "test"),
    }
    assert any("Fuji_train_list.txt: left out" in line and "ingest" in line for line in found.report)
    assert kind_of(tmp_path / "Sony") == "SID"
    assert [scene.name for scene in collect(tmp_path / "Sony").scenes] == [scene.name for scene in found.scenes]
    assert not any("missing" in line for line in found.report)
    result = ingest([tmp_path], tmp_path.with_suffix(".h5"), IngestOptions(patch_size=8))
    assert (result.pairing, result.frames, set(result.patches)) == ("gt", 12, {"train", "val", "test"})


def test_the_x_trans_camera_of_sid_has_a_store_of_its_own(tmp_path: Path) -> None:
    write_sid(tmp_path)
    # LibRaw takes the content for what it is.
    put(tmp_path / "Fuji/short/1_0.1s.RAF", exposure_s=0.1, iso=200.0, cfa=CELLS["xtrans"])
    put(tmp_path / "Fuji/long/1_10s.RAF", exposure_s=10.0, iso=200.0, cfa=CELLS["xtrans"])
    (tmp_path / "Fuji_train_list.txt").write_text("./Fuji/short/1_0.1s.RAF ./Fuji/long/1_10s.RAF ISO200 F8")
    assert kind_of(tmp_path / "Fuji") == "SID"
    ingest([tmp_path / "Fuji"], tmp_path.with_suffix(".h5"), IngestOptions(patch_size=4, max_clipped=1))
    with PatchStore(tmp_path.with_suffix(".h5")) as store:
        assert (store.layout, store.pairing, len(store.scenes)) == ("xtrans", "gt", 1)


def test_what_sids_lists_miss_is_said(tmp_path: Path) -> None:
    write_sid(tmp_path)
    (tmp_path / "Sony" / "short" / "00001_00_0.04s.ARW").unlink()
    found = collect(tmp_path)
    assert found.scenes[0].name == "00001_00_10s"
    assert len(found.scenes[0].frames) == 2
    assert any("1 listed file missing, the first Sony/short/00001_00_0.04s.ARW" in line for line in found.report)
    (tmp_path / "Sony_val_list.txt").write_text("./Sony/short/1.ARW")
    with pytest.raises(RawError, match=r"Sony_val_list\.txt: line 1: expected a short and a long file"):
        collect(tmp_path)


@pytest.mark.parametrize("whole", [True, False])
def test_eld(tmp_path: Path, whole: bool) -> None:
    for camera, suffix in (("SonyA7S2", "ARW"), ("NikonD850", "nef")):
        for scene in (1, 10):
            for number in eld.FRAMES:
                reference = number in eld.REFERENCES
                put(
                    tmp_path / camera / f"scene-{scene}" / f"IMG_{number:04d}.{suffix}",
                    exposure_s=2.0 if reference else 0.01,
                    iso=100.0 if reference else 800.0,
                )
    assert kind_of(tmp_path) == kind_of(tmp_path / "SonyA7S2") == "ELD"
    if not whole:
        (tmp_path / "SonyA7S2" / "scene-1" / "IMG_0001.ARW").unlink()
    found = collect(tmp_path)
    assert len(found.scenes) == 2 * 2 * 4 - (not whole)
    assert sum(len(scene.frames) for scene in found.scenes) == 2 * 2 * 12 - 2 * (not whole)
    assert {scene.split for scene in found.scenes} == {"test"}
    names = {scene.name: [frame.path.stem for frame in scene.frames] for scene in found.scenes}
    assert names["NikonD850/scene-10/06"] == ["IMG_0004", "IMG_0005", "IMG_0007", "IMG_0008"]
    assert any("1 of 16 frames missing: [1]" in line for line in found.report) != whole


def test_lrid(tmp_path: Path) -> None:
    for subset, scenes in (("indoor_x5", (3, 4)), ("outdoor_x3", (9,))):
        for gain in (1, 16):
            for scene in scenes:
                for number in range(10):
                    put(tmp_path / subset / "6400" / str(gain) / f"{scene:03d}" / f"{number}.dng", iso=6400.0)
    assert kind_of(tmp_path) == kind_of(tmp_path / "indoor_x5") == "LRID"
    found = collect(tmp_path)
    assert {scene.name: scene.split for scene in found.scenes} == {
        "indoor_x5/1/003": "train",
        "indoor_x5/1/004": "test",
        "indoor_x5/16/003": "train",
        "indoor_x5/16/004": "test",
        "outdoor_x3/1/009": "test",
        "outdoor_x3/16/009": "test",
    }
    assert all(len(scene.frames) == lrid.FRAMES for scene in found.scenes)
    assert all(scene.clean is None for scene in found.scenes)


@pytest.mark.parametrize("lists", [True, False])
def test_smid(tmp_path: Path, lists: bool) -> None:
    for number in ("0001", "0002", "0003"):
        for index in range(3):
            put(tmp_path / "short" / number / f"{index}.ARW", exposure_s=0.01)
        if number != "0003":
            put(tmp_path / "long" / number / "half0001.ARW", exposure_s=1.0)
    if lists:
        (tmp_path / "train_list.txt").write_text("0001\n")
        (tmp_path / "test_list.txt").write_text("0002\n0003\n")
    assert kind_of(tmp_path) == "SMID"
    found = collect(tmp_path)
    # Without lists the published ones count, in which both are for training.
    splits = ["train", "test"] if lists else ["train", "train"]
    assert [(scene.name, scene.split, len(scene.frames)) for scene in found.scenes] == [
        ("0001", splits[0], 3),
        ("0002", splits[1], 3),
    ]
    assert any("1 short video without a long exposure left out: 0003" in line for line in found.report)


@pytest.mark.parametrize("nested", [True, False])
def test_crvd(tmp_path: Path, nested: bool) -> None:
    rng = np.random.default_rng(0)
    for scene in (1, 7):
        for iso in (1600, 25600):
            for kind, names in (("noisy", ["noisy0", "noisy1"]), ("gt", ["clean_and_slightly_denoised"])):
                folder = tmp_path / f"indoor_raw_{kind}"
                folder = folder / f"indoor_raw_{kind}_scene{scene}" if nested else folder
                folder = folder / f"scene{scene}" / f"ISO{iso}"
                folder.mkdir(parents=True)
                for name in names:
                    codes = (240 + rng.poisson(np.full(SIZE, 500))).astype(np.uint16)
                    tifffile.imwrite(folder / f"frame1_{name}.tiff", codes)
    assert kind_of(tmp_path) == "CRVD"
    found = collect(tmp_path)
    assert [(scene.name, scene.split, len(scene.frames)) for scene in found.scenes] == [
        ("scene1/ISO1600/frame1", "train", 2),
        ("scene1/ISO25600/frame1", "train", 2),
        ("scene7/ISO1600/frame1", "test", 2),
        ("scene7/ISO25600/frame1", "test", 2),
    ]
    assert any("381 of 385 published frames missing" in line for line in found.report)
    assert len(crvd.SCENES) * len(crvd.ISOS) * len(crvd.FRAMES) == 385
    image = found.scenes[1].frames[0].read()
    assert (image.cfa, image.black, image.white, image.iso) == ("GBRG", (240.0,) * 4, 4095.0, 25600.0)


def test_rawnind(tmp_path: Path) -> None:
    for scene in ("desk", "garden"):
        put(tmp_path / "Bayer" / scene / "gt" / "1.CR2", iso=100.0, exposure_s=0.5)
        for number in range(2):
            put(tmp_path / "Bayer" / scene / f"{number}.CR2", iso=6400.0)
    for name in ("gt/1", "0"):
        put(tmp_path / "X-Trans" / "a" / f"{name}.RAF", cfa=CELLS["xtrans"])
    assert kind_of(tmp_path) == kind_of(tmp_path / "Bayer") == "RawNIND"
    found = collect(tmp_path)
    assert [(scene.name, len(scene.frames)) for scene in found.scenes] == [("desk", 2), ("garden", 2)]
    assert any("X-Trans: left out" in line for line in found.report)
    assert kind_of(tmp_path / "X-Trans") == "RawNIND"
    (scene,) = collect(tmp_path / "X-Trans").scenes
    assert (scene.name, scene.frames[0].read().layout) == ("a", "xtrans")

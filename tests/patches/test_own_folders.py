"""Folders as people have them: clean twins by name, several settings, links, litter, stacks, damaged files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from builders import frame

from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.sources import collect
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.settings import RawSettings


def put(path: Path, seed: int = 0, **fields: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = np.random.default_rng(seed).normal(500, 20, (64, 64)).astype(np.uint16)
    write_dng(path, frame(codes, **fields))
    return path


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("noisy/0.dng", "noisy/1.dng", "clean/0.dng", "clean/1.dng"), {"clean/0": 1, "clean/1": 1}),
        (("input/003.dng", "gt/3.dng"), {"gt/3": 1}),
        (("s0/noisy_0.dng", "s0/noisy_1.dng", "s0/gt.dng", "s1/noisy_0.dng", "s1/gt.dng"), {"s0/gt": 2, "s1/gt": 1}),
        (("a_noisy_1.dng", "a_noisy_2.dng", "a_gt.dng", "b_noisy_1.dng", "b_gt.dng"), {"a_gt": 2, "b_gt": 1}),
        (("desk/ISO800_1.dng", "desk/ISO3200_1.dng", "desk/reference.dng"), {"desk/reference": 2}),
        (("1.dng", "2.dng", "3.dng", "reference_mean_of_100.dng"), {"reference_mean_of_100": 3}),
        (("IMG_1_GT.dng", "IMG_3_GT.dng", "IMG_1_3.dng", "IMG_3_1.dng"), {"IMG_1_GT": 1, "IMG_3_GT": 1}),
        (("x/short/7_0.1s.dng", "x/short/7_0.04s.dng", "x/long/7_10s.dng"), {"x/long/7_10s": 2}),
        (("a/0.dng", "a/1.dng", "a/avg.dng", "b/0.dng", "b/median.dng"), {"a/avg": 2, "b/median": 1}),
        (("NoisyFrames/x_0.dng", "CleanFrames/x.dng"), {"CleanFrames/x": 1}),
        (("noisyRaw/4.dng", "groundTruth/4.dng"), {"groundTruth/4": 1}),
        (("lq/1.dng", "hq/1.dng", "lq/2.dng", "hq/2.dng"), {"hq/1": 1, "hq/2": 1}),
        (("train/noisy/1.dng", "train/label/1.dng"), {"train/label/1": 1}),
        (
            ("room_noisy/5.dng", "room_clean/5.dng", "hall_noisy/5.dng", "hall_clean/5.dng"),
            {"room_clean/5": 1, "hall_clean/5": 1},
        ),
    ],
)
def test_clean_twins_by_name(tmp_path: Path, names: tuple[str, ...], pairs: dict[str, int]) -> None:
    for number, name in enumerate(names):
        put(tmp_path / "raws" / name, number)
    found = collect(tmp_path / "raws")
    assert {scene.name: len(scene.frames) for scene in found.scenes} == pairs
    assert all(scene.clean is not None for scene in found.scenes)
    assert "paired by name" in found.report[0]


@pytest.mark.parametrize(
    "names",
    [
        ("1.dng", "2.dng"),
        ("clean_1.dng", "clean_2.dng"),
        ("long_1.dng", "2.dng"),
        ("target.d/1.dng", "2.dng"),
        ("mean_1.dng", "mean_2.dng"),
        ("wine/IMG_1.dng", "wine/IMG_2.dng", "wine label/IMG_1.dng", "wine label/IMG_2.dng"),
        ("darks/IMG_1.dng", "darks/IMG_2.dng", "darks/median.dng", "scene/S_1.dng"),
        ("flats/1.dng", "flats/2.dng", "flats/master_mean.dng"),
    ],
)
def test_what_is_no_pair_stays_a_scene(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        put(tmp_path / "clean gt room" / name, number)
    assert all(scene.clean is None for scene in collect(tmp_path / "clean gt room").scenes)


def test_a_twin_is_no_frame_of_a_burst(tmp_path: Path) -> None:
    names = ("a/noisy_0.dng", "a/noisy_1.dng", "a/gt.dng", "b/noisy_0.dng", "b/noisy_1.dng", "b/gt.dng")
    for number, name in enumerate(names):
        put(tmp_path / "raws" / name, number)
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    assert (result.pairing, result.frames) == ("gt", 4)


def test_a_long_exposure_is_brought_to_the_short_one(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(200, 900, (64, 64)).astype(np.uint16)
    short = (64 + (codes - 64) / 4).round().astype(np.uint16)
    for folder, mosaic, exposure_s in (("short", short, 0.05), ("long", codes, 0.1)):
        (tmp_path / "raws" / folder).mkdir(parents=True)
        iso = 400.0 if folder == "short" else 800.0
        write_dng(tmp_path / "raws" / folder / "1.dng", frame(mosaic, iso=iso, exposure_s=exposure_s))
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    with PatchStore(tmp_path / "s.h5") as store:
        noise = store.read(np.arange(len(store))).noise
    # All that is left is the rounding of the short exposure, in parts of the range.
    assert float(abs(noise).max()) * (1023 - 64) <= 0.51


def test_settings_of_one_folder_are_scenes(tmp_path: Path) -> None:
    for number, (iso, exposure_s) in enumerate([(100, 0.01), (100, 0.010005), (800, 0.01), (800, 0.02), (800, 0.0201)]):
        put(tmp_path / "raws" / f"{number}.dng", number, iso=float(iso), exposure_s=exposure_s)
    found = collect(tmp_path / "raws")
    assert {scene.name: len(scene.frames) for scene in found.scenes} == {
        "raws_ISO100_0.01s": 2,
        "raws_ISO800_0.01s": 1,
        "raws_ISO800_0.02s": 2,
    }
    assert "3 settings" in found.report[0]


def test_links_are_followed_once_and_litter_is_passed_over(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "elsewhere" / f"{number}.dng", number)
    raws = tmp_path / "raws"
    raws.mkdir()
    (raws / "a").symlink_to(tmp_path / "elsewhere")
    (raws / "b").symlink_to(tmp_path / "elsewhere")
    (raws / "round").symlink_to(raws)
    (raws / "._0.dng").write_bytes(b"mac")
    (raws / ".hidden").mkdir()
    (raws / ".hidden" / "1.dng").write_bytes(b"no")
    (raws / "Thumbs.db").write_bytes(b"windows")
    found = collect(raws)
    assert [(scene.name, len(scene.frames)) for scene in found.scenes] == [("a", 3)]


@pytest.mark.parametrize("kind", ["tif", "npy", "npz", "h5", "ser"])
def test_all_frames_of_a_stack_are_taken(tmp_path: Path, kind: str) -> None:
    stack = np.random.default_rng(0).normal(500, 20, (5, 32, 48)).astype(np.uint16)
    path = tmp_path / f"stack.{kind}"
    if kind == "tif":
        tifffile.imwrite(path, stack, photometric="minisblack")
    elif kind == "npy":
        np.save(path, stack)
    elif kind == "npz":
        np.savez(path, stack)
    elif kind == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["frames"] = stack
    else:
        import struct

        head = struct.pack("<14s7i40s40s40s2q", b"LUCAM-RECORDER", 0, 8, 0, 48, 32, 12, 5, b"", b"Cam", b"", 0, 0)
        path.write_bytes(head + stack.astype("<u2").tobytes())
    settings = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0, iso=100.0)
    (scene,) = collect(path, settings).scenes
    assert len(scene.frames) == 5
    for number, each in enumerate(scene.frames):
        image = each.read()
        assert np.array_equal(image.mosaic, stack[number])
        assert image.source == f"{path}[{number}]"
    folder = tmp_path / "folder"
    folder.mkdir()
    path.rename(folder / path.name)
    assert len(collect(folder, settings).scenes[0].frames) == 5


def test_bad_frames_are_left_out_and_listed(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "raws" / f"{number}.dng", number)
    (tmp_path / "raws" / "3.dng").write_bytes(b"no dng")
    whole = (tmp_path / "raws" / "0.dng").read_bytes()
    (tmp_path / "raws" / "4.dng").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RawError):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, skip_bad=True))
    assert result.frames == 3
    assert sum("left out: " in note and ("3.dng" in note or "4.dng" in note) for note in result.notes) == 2


def test_a_side_car_counts_for_the_folders_below(tmp_path: Path) -> None:
    (tmp_path / "raws" / "a" / "b").mkdir(parents=True)
    (tmp_path / "raws" / "noiseflow.toml").write_text('cfa = "RGGB"\nblack = 64\nwhite = 1023\niso = 100\n')
    (tmp_path / "raws" / "a" / "noiseflow.toml").write_text("black = 60\n")
    np.save(tmp_path / "raws" / "a" / "b" / "1.npy", np.full((32, 32), 500, np.uint16))
    image = collect(tmp_path / "raws").scenes[0].frames[0].read()
    assert (image.black, image.white, image.iso) == ((60.0,) * 4, 1023.0, 100.0)
    assert dict(image.taken_from)["black"] == str(tmp_path / "raws" / "a" / "noiseflow.toml")

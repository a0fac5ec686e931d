import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import savemat

from noiseflow.cli import main
from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.sources import collect
from noiseflow.patches.sources.sidd_blocks import read_block
from noiseflow.patches.sources.sidd_published import published, published_grid
from noiseflow.raw import RawSettings
from noiseflow.raw.formats.sidd import SceneName
from tools.readers.make_sidd import make_blocks, make_tree, write_metadata

TRAIN = ["0004_001_S6_00100_00060_4400_L", "0035_002_GP_00800_00350_3200_N"]
TEST = ["0054_003_N6_00100_00160_5500_N", "0159_007_IP_00100_00100_3200_L"]
UNLISTED = ["0001_001_S6_00100_00060_3200_L"]
SIZE = (32, 48)


def by_number() -> dict[int, str]:
    return {int(name[:4]): name for name in published().scenes}


def test_the_manifest_s_lists_fit_together() -> None:
    facts = published()
    assert (len(facts.scenes), len(facts.blocks)) == (160, 40)
    names = [SceneName.parse(name) for name in facts.scenes + facts.blocks]
    assert sorted(name.instance for name in names if name) == list(range(1, 201))
    assert {name.camera for name in names if name} == set(facts.cfa)
    assert Counter(facts.split.values()) == {"train": 56, "test": 22}
    assert set(facts.split) <= set(by_number())
    # What is pictured in training is not pictured in testing.
    pictured = {
        split: {by_number()[n][5:8] for n, its in facts.split.items() if its == split} for split in ("train", "test")
    }
    assert not pictured["train"] & pictured["test"]
    # models/NoiseFlow/hps.txt of the published run counts these for S6 at ISO 100.
    s6 = Counter(its for n, its in facts.split.items() if by_number()[n][9:17] == "S6_00100")
    assert s6 == {"train": 4, "test": 2}


def test_the_manifest_s_nlf_table_is_the_published_one(shared_data: Path) -> None:
    lines = (shared_data / "params" / "cam_iso_nlf_all.txt").read_text().split()[1:]
    table = {key: (float(beta1), float(beta2)) for key, beta1, beta2 in (line.split(",") for line in lines)}
    assert published().nlf == table


def test_the_data_set_s_folder_points_to_the_manifest() -> None:
    manifest = Path(__file__).resolve().parents[2] / "datasets" / "sidd" / "manifest.toml"
    assert manifest.samefile(Path(collect.__code__.co_filename).parent / "sidd.toml")


@pytest.mark.parametrize(
    ("camera", "size", "fit"),
    [("IP", (3024, 4032), 63 * 47), ("S6", (3000, 5328), 46 * 83), ("N6", (3120, 4160), 48 * 65)],
)
def test_the_published_patches(camera: str, size: tuple[int, int], fit: int) -> None:
    shape = (size[0] // 2, size[1] // 2)
    corners = published_grid(shape, 32)
    assert len(corners) == 2898
    assert len(np.unique(corners, axis=0)) == 2898
    assert (corners % 32 == 0).all()
    assert (corners + 32 <= shape).all()
    assert (shape[0] // 32) * (shape[1] // 32) == fit
    # The published loop over the transposed frame, as it stands in the paper's code: rows of it are our columns.
    loop = [(j, i) for i in range(0, shape[1] - 31, 32) for j in range(0, shape[0] - 31, 32)]
    assert corners.tolist() == [list(corner) for corner in loop[:2898]]
    assert len(published_grid(shape, 64)) == (shape[0] // 64) * (shape[1] // 64)


@pytest.mark.parametrize("full", [False, True])
def test_ingest_gives_the_published_split_counts_and_nlf(tmp_path: Path, full: bool) -> None:
    root = make_tree(tmp_path, TRAIN + TEST + UNLISTED, size=SIZE, frames=(10, 11), full=full)
    result = ingest([root], tmp_path / "s.h5", IngestOptions(patch_size=8, max_clipped=1.0))
    per_frame = (SIZE[0] // 16) * (SIZE[1] // 16)
    assert result.pairing == "gt"
    assert result.patches == {"train": 4 * per_frame, "test": 4 * per_frame}
    with PatchStore(tmp_path / "s.h5") as store:
        assert set(store.cameras) == {"S6", "GP", "N6", "IP"}
        splits = {store.scenes[row["scene"]].split("/")[0]: int(row["split"]) for row in store.table}
        assert splits == {**dict.fromkeys(TRAIN, 0), **dict.fromkeys(TEST, 2)}
        batch = store.read(np.arange(len(store)))
    assert float(batch.noise.std()) > 0
    for scene in collect(root).scenes:
        name = SceneName.parse(scene.name.split("/")[0])
        assert name is not None
        beta1, beta2 = published().nlf[f"{name.camera}_{name.iso:05.0f}"]
        assert scene.facts["nlf"] == [[beta1, beta2]] * 3
        assert scene.facts["published_nlf"] == [beta1, beta2]
        assert scene.facts["camera_code"] == name.camera
        assert scene.facts["illuminant_k"] == name.illuminant_k
        assert json.loads(json.dumps(scene.facts)) == scene.facts


def test_a_whole_frame_of_the_real_size_gives_2898_patches(tmp_path: Path) -> None:
    root = make_tree(tmp_path, TEST[1:], size=(3024, 4032), frames=[10])
    result = ingest([root], tmp_path / "s.h5", IngestOptions(max_clipped=1.0))
    assert result.patches == {"test": 2898}


def test_the_stored_noise_has_the_variance_of_the_nlf(tmp_path: Path) -> None:
    root = make_tree(tmp_path, TRAIN[:1], size=(256, 384), frames=[10])
    ingest([root], tmp_path / "s.h5", IngestOptions(patch_size=16, max_clipped=1.0))
    beta1, beta2 = published().nlf["S6_00100"]
    with PatchStore(tmp_path / "s.h5") as store:
        batch = store.read(np.arange(len(store)))
    white = float(((batch.noise**2).double() / (beta1 * batch.clean + beta2 + 1 / 12 / 1023**2)).mean())
    # 98,304 values: standard error √(2/98304) = 0.45 %; five of them.
    assert white == pytest.approx(1, abs=0.023)


def test_what_is_missing_or_extra_is_reported(tmp_path: Path) -> None:
    extra = ["0999_001_S6_00100_00060_3200_L"]
    root = make_tree(tmp_path, TRAIN + TEST + UNLISTED + extra, size=SIZE, frames=(10, 11))
    data = root / "Data"
    shutil.rmtree(data / TRAIN[1])
    (data / TEST[0] / "0054_GT_RAW_010.MAT").unlink()
    (data / TEST[0] / "0054_METADATA_RAW_011.MAT").write_bytes(b"x" * 200)
    (data / TEST[1] / "0159_METADATA_RAW_011.MAT").unlink()
    (data / "Notes").mkdir()
    collection = collect(root)
    assert [scene.name for scene in collection.scenes] == [f"{TRAIN[0]}/010", f"{TRAIN[0]}/011", f"{TEST[1]}/010"]
    said = "\n".join(collection.report)
    for line in (
        "55 of 56 published train scenes missing: 0011",
        "20 of 22 published test scenes missing: 0055",
        "1 scene that the data set does not have: 0999",
        "2 scenes in neither the published training nor test list left out",
        "0054_NOISY_RAW_010.MAT: its ground truth is missing; left out",
        "0054_METADATA_RAW_011.MAT: cannot be read as a MAT file of version 5",
        "0159_NOISY_RAW_011.MAT: its metadata file is missing; left out",
    ):
        assert line in said, line


def departures(root: Path) -> str:
    """What is said of a folder, without the scenes of the published lists that a tiny one lacks."""
    return "\n".join(line for line in collect(root).report if "scenes missing" not in line)


def test_a_whole_published_tree_has_no_departures(tmp_path: Path) -> None:
    names = [by_number()[number] for number in published().split]
    root = make_tree(tmp_path, names, size=(4, 6), frames=(10, 11))
    assert [line for line in collect(root).report if str(root) in line] == []


def test_departures_from_what_is_published_are_said(tmp_path: Path) -> None:
    """Each was taken without a word: another name, frames that the lists do not have, metadata of another picture."""
    renamed = "0004_001_S6_00400_00060_4400_L"
    root = make_tree(tmp_path, [renamed, TEST[0]], size=SIZE, frames=(10, 12))
    make_tree(tmp_path, [TEST[1]], size=SIZE, frames=(10, 11))
    data = root / "Data"
    other = SceneName.parse("0054_003_N6_00800_01000_5500_N")
    assert other is not None
    write_metadata(data / TEST[0] / "0054_METADATA_RAW_010.MAT", other, SIZE, (1e-4, 1e-6))
    said = departures(root)
    for line in (
        f"1 scene folder not named as published, such as {renamed}, which is published as {TRAIN[0]}",
        "2 scenes without frame 010 or 011: 0004, 0054",
        "frames 010 and 011 of each scene; 2 frames more used too",
        f"metadata of 1 frame give another ISO than the scene's name: {TEST[0]}/010 has 800 for 100",
        f"metadata of 1 frame give another exposure than the scene's name: {TEST[0]}/010 has 0.001 s for 0.00625 s",
    ):
        assert line in said, line


def test_scenes_that_are_in_no_list_are_taken_alone(tmp_path: Path) -> None:
    root = make_tree(tmp_path, UNLISTED, size=SIZE, frames=(10, 11))
    collection = collect(root / "Data" / UNLISTED[0])
    assert [scene.split for scene in collection.scenes] == [None, None]
    assert {scene.subject for scene in collection.scenes} == {"scene 001"}
    assert collection.report == ()


def test_the_srgb_version_is_refused_with_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "SIDD_Medium_Srgb" / "Data" / TRAIN[0]
    folder.mkdir(parents=True)
    (folder / "0004_NOISY_SRGB_010.PNG").write_bytes(b"x")
    with pytest.raises(RawError, match=r"1 SIDD scene folder, but no readable raw frame .*no noisy raw frame"):
        collect(tmp_path / "SIDD_Medium_Srgb")


def test_scenes_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    root = make_tree(tmp_path, TRAIN, size=SIZE, frames=[10])
    blocks = make_blocks(tmp_path / "blocks", blocks=1, side=16)
    for path in (root, blocks):
        for scene in pickle.loads(pickle.dumps(collect(path).scenes)):
            assert scene.clean.read().mosaic.shape == scene.frames[0].read().mosaic.shape


def test_blocks(tmp_path: Path) -> None:
    make_blocks(tmp_path, blocks=2, side=64)
    collection = collect(tmp_path)
    assert len(collection.scenes) == 80
    assert {scene.split for scene in collection.scenes} == {"val"}
    names = published().blocks
    for index in (0, 4):
        scene = collection.scenes[2 * index + 1]
        assert scene.name == f"Validation/{names[index]}/01"
        noisy, clean = scene.frames[0].read(), scene.clean.read() if scene.clean else None
        assert clean is not None
        assert (noisy.camera, noisy.cfa) == (names[index][9:11], published().cfa[names[index][9:11]])
        # The number of codes between black and white is found from the values: S6 has 0…1023, IP 528…4095.
        assert noisy.white == {"S6": 1023, "IP": 4095 - 528}[noisy.camera]
        assert noisy.whole
        assert clean.normalised().mean() == pytest.approx(noisy.normalised().mean(), rel=0.01)


def test_blocks_of_no_spacing_are_no_codes_of_any_number_that_matters(tmp_path: Path) -> None:
    path = tmp_path / "ValidationNoisyBlocksRaw.mat"
    savemat(path, {path.stem: np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32)})
    with pytest.raises(RawError, match="black 0 and white 65535 do not give whole codes"):
        read_block(path, path, 0, 0, RawSettings())


def test_blocks_are_ingested_for_validation(tmp_path: Path) -> None:
    noisy = make_blocks(tmp_path, blocks=1, side=64)
    result = CliRunner().invoke(
        main, ["ingest", str(noisy), "--patch-size", "32", "--max-clipped", "1", "--out", str(tmp_path / "s.h5")]
    )
    assert result.exit_code == 0, result.output
    assert "40 val" in result.output


def test_blocks_of_another_camera_are_not_taken_for_sidds(tmp_path: Path) -> None:
    noisy = make_blocks(tmp_path, instances=3, blocks=2, side=64)
    how = ["ingest", str(noisy), "--patch-size", "32", "--max-clipped", "1", "--out", str(tmp_path / "s.h5")]
    result = CliRunner().invoke(main, how)
    assert result.exit_code == 1
    assert "3 instances; SIDD's files have 40" in result.output
    result = CliRunner().invoke(main, [*how, "--camera", "Mine", "--cfa", "RGGB", "--iso", "800"])
    assert result.exit_code == 0, result.output
    assert "6 val" in result.output
    assert "3 instances of Mine, given by --camera" in result.output
    with PatchStore(tmp_path / "s.h5") as store:
        assert (store.cameras, store.isos) == (("Mine",), (800.0,))
        assert store.scenes[1] == "Validation/01/01"


def test_benchmark_blocks_have_no_clean_signal(tmp_path: Path) -> None:
    make_blocks(tmp_path, which="Benchmark", blocks=1, side=16)
    (tmp_path / "BenchmarkGtBlocksRaw.mat").unlink()
    collection = collect(tmp_path)
    assert (collection.scenes[0].clean, collection.scenes[0].split) == (None, "test")
    assert "BenchmarkGtBlocksRaw.mat is missing" in collection.report[0]
    assert "has the shape 40×1×16×16; the published file has 40×32×256×256" in collection.report[1]


def test_levels_of_the_user_win(tmp_path: Path) -> None:
    root = make_tree(tmp_path, TRAIN[:1], size=SIZE, frames=[10])
    scene = collect(root, RawSettings(camera="Mine", iso=111.0)).scenes[0]
    image = scene.frames[0].read()
    assert (image.camera, image.iso, image.white) == ("Mine", 111.0, 1023.0)

import json
from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import OutputError, RawError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw import read_raw
from noiseflow.simulate import camera_names, load_camera, simulate
from noiseflow.simulate.manifest import MANIFEST

SMALL = {"scenes": 3, "size": (64, 96)}


@pytest.mark.parametrize("name", camera_names())
def test_files_are_what_libraw_reads_back(tmp_path: Path, name: str) -> None:
    physics = load_camera(name)
    iso = min(physics.isos)
    manifest = simulate(tmp_path / "raws", name, [iso], **SMALL)  # type: ignore[arg-type]
    scene = manifest["scenes"][1]
    noisy, clean = (read_raw(tmp_path / "raws" / file) for file in (scene["noisy"][0], scene["clean"]))
    assert (noisy.cfa, noisy.iso, noisy.white) == (physics.cfa, iso, physics.white_dn)
    assert set(noisy.black) == {physics.black_dn}
    assert noisy.noise_profile[0] == pytest.approx(physics.noise_profile(iso))
    assert noisy.mosaic.shape == clean.mosaic.shape == (64, 96)
    assert list(manifest["truth"]) == [noisy.camera]
    # The noise is that of the NoiseProfile: mean z² is 1, within 5 standard errors of 6,144 values.
    slope, offset = physics.noise_profile(iso)
    inside = (clean.normalised() < 0.9) & (clean.normalised() > 0.01)
    z = ((noisy.normalised() - clean.normalised()) / np.sqrt(slope * clean.normalised() + offset))[inside]
    assert np.square(z).mean() == pytest.approx(1, abs=5 * np.sqrt(3 / z.size) + 0.05)


def test_less_light_is_less_signal_and_the_noise_that_belongs_to_it(tmp_path: Path) -> None:
    manifest = simulate(tmp_path / "dim", "Sony A7S2", [1600], light=0.01, **SMALL)  # type: ignore[arg-type]
    simulate(tmp_path / "full", "Sony A7S2", [1600], **SMALL)  # type: ignore[arg-type]
    assert manifest["light"] == 0.01
    scene = manifest["scenes"][1]
    dim, full = (read_raw(tmp_path / folder / scene["clean"]) for folder in ("dim", "full"))
    # Half a code of the finer grid of the twin.
    assert np.abs(100 * dim.normalised() - full.normalised()).max() < 100 * 0.51 / (65532 - 2048)
    noisy = read_raw(tmp_path / "dim" / scene["noisy"][0])
    assert noisy.exposure_s == pytest.approx(1e-4)
    slope, offset = noisy.noise_profile[0]
    z = (noisy.normalised() - dim.normalised()) / np.sqrt(slope * dim.normalised() + offset)
    # Within 5 standard errors of 6,144 values of kurtosis below 5, and of 64 rows.
    assert np.square(z).mean() == pytest.approx(1, abs=5 * (4 / z.size) ** 0.5 + 0.05)
    with pytest.raises(RawError, match="light 0: expected more than 0"):
        simulate(tmp_path / "none", "PG-12", light=0)


def test_the_seed_decides_and_frames_differ(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, "PG-12", [100], frames=2, seed=seed, **SMALL)  # type: ignore[arg-type]
    files = sorted(file.name for file in (tmp_path / "a").glob("*.dng"))
    assert len(files) == 3 * 3
    a, b, c = ([(tmp_path / name / file).read_bytes() for file in files] for name in "abc")
    assert a == b
    assert all(one != other for one, other in zip(a[3:], c[3:], strict=True))
    assert len(set(a)) == len(a)


def test_one_scene_s_frames_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    for name, scenes in (("a", 1), ("b", 3)):
        simulate(tmp_path / name, "PG-12", [100], scenes=scenes, size=(64, 96))
    simulate(tmp_path / "c", "PG-12", [400, 100], scenes=1, size=(64, 96))
    files = sorted(file.name for file in (tmp_path / "a").glob("*.dng"))
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "c" / file).read_bytes() for file in files)
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_ingest_takes_the_clean_twins_without_error_and_keeps_the_truth(tmp_path: Path) -> None:
    manifest = simulate(tmp_path / "raws", "PG-12", [100, 1600], scenes=4, size=(128, 128))
    result = ingest([tmp_path / "raws"], tmp_path / "p.h5", IngestOptions(patch_size=16))
    assert (result.pairing, result.split_by) == ("gt", "scene")
    with PatchStore(tmp_path / "p.h5") as store:
        assert store.truth == manifest["truth"]
        batch = store.read(np.arange(len(store)))
        # Clean codes are sixteenths of a DN above black.
        signal = batch.clean.double().numpy() * (4095 - 256) * 16
        subjects = {(store.scenes[row["scene"]].rsplit("_ISO")[0], int(row["split"])) for row in store.table}
    assert np.abs(signal - np.rint(signal)).max() < 0.01
    assert len(subjects) == len({subject for subject, _ in subjects})


def test_two_simulations_go_into_one_store_with_the_truth_of_both(tmp_path: Path) -> None:
    for name, iso in (("a", 100.0), ("b", 1600.0)):
        simulate(tmp_path / name, "PG-12", [iso], scenes=3, size=(64, 64))
    ingest([tmp_path / "a", tmp_path / "b"], tmp_path / "p.h5", IngestOptions(patch_size=16))
    with PatchStore(tmp_path / "p.h5") as store:
        (truth,) = store.truth.values()
        assert (truth["isos"], truth["gain_dn_per_e"], truth["white_dn"]) == ([100.0, 1600.0], [0.25, 4.0], 4095)
        assert len(store.scenes) == 6


def test_a_stopped_simulation_has_no_manifest_and_can_be_redone(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "raws", "PG-12", [100], progress=stop, **SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "raws" / MANIFEST).exists()
    simulate(tmp_path / "raws", "PG-12", [100], overwrite=True, **SMALL)  # type: ignore[arg-type]
    assert (tmp_path / "raws" / MANIFEST).exists()


def test_what_is_in_the_way_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.dng").write_text("x")
    with pytest.raises(OutputError, match=r"photo\.dng"):
        simulate(tmp_path / "mine", "PG-12", overwrite=True)
    assert (tmp_path / "mine" / "photo.dng").exists()
    simulate(tmp_path / "raws", "PG-12", [100], **SMALL)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="--overwrite"):
        simulate(tmp_path / "raws", "PG-12", [100], **SMALL)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "raws" / MANIFEST).read_text())["camera"] == "PG-12"
    mine = next((tmp_path / "raws").glob("*_CLEAN.dng"))
    mine.write_text("mine")
    with pytest.raises(OutputError, match="CLEAN"):
        simulate(tmp_path / "raws", "PG-12", [100], overwrite=True, **SMALL)  # type: ignore[arg-type]
    assert mine.read_text() == "mine"
    with pytest.raises(OutputError, match="GB left"):
        simulate(tmp_path / "vast", "PG-12", [100], size=(2_000_000, 2_000_000))
    with pytest.raises(RawError, match="expected even numbers"):
        simulate(tmp_path / "odd", "PG-12", size=(63, 96))

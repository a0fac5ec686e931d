"""A synthesised data set: what is in it, the same bytes however it was made, and what can go wrong."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rawpy
from builders import frame
from click.testing import CliRunner, Result

from noiseflow.augment import LogUniform, synthesize
from noiseflow.augment.synthesis import synthesis
from noiseflow.augment.synthesis.pairs import make_pair
from noiseflow.cli import main
from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError, NoiseflowError, OutputError, RawError
from noiseflow.core.output.manifest import MANIFEST
from noiseflow.models import ModelSpec, build, save
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import simulate

OTHERS = ("a", "b/c", "b/d")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(build(ModelSpec("nlf", cameras=("Maker One", "Other"), isos=(100.0, 1600.0))), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for number, name in enumerate(OTHERS):
        codes = np.random.default_rng(number).integers(70, 900, (32, 48 + number % 2))
        (tmp_path / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
        write_dng(tmp_path / "clean" / f"{name}.dng", frame(codes.astype(np.uint16)))
    return tmp_path / "clean"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["dng", "h5"])
def test_the_manifest_tells_every_file_and_what_was_drawn(tmp_path: Path, clean: Path, run: Path, kind: str) -> None:
    out = tmp_path / "set"
    result = synthesize(clean, out, [run], per_image=4, exposure=LogUniform(0.1, 1), kind=kind, seed=3, jobs=1)
    lines = manifest(out)
    assert (result.pairs, result.pictures, result.resumed) == (len(lines), 3, 0) == (12, 3, 0)
    assert [line["name"] for line in lines] == [f"{name}_{k:03d}" for name in OTHERS for k in range(4)]
    files = {line[which] for line in lines for which in ("noisy", "clean")}
    assert files | {"manifest.jsonl", "synthesis.json", MANIFEST} == set(contents(out))
    assert {line["camera"] for line in lines} == {"Maker One", "Other"}
    assert len({line["iso"] for line in lines}) > 6
    assert not list(tmp_path.glob("*.partial"))
    for line in lines:
        source, noisy, twin = (read_raw(path) for path in (line["source"], out / line["noisy"], out / line["clean"]))
        for which, path in (("source", line["source"]), ("noisy", out / line["noisy"]), ("clean", out / line["clean"])):
            assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == line[f"{which}_sha256"]
        assert (noisy.camera, noisy.iso, noisy.cfa) == (line["camera"], line["iso"], source.cfa)
        assert (noisy.black, noisy.white) == (source.black, source.white)
        assert noisy.exposure_s == pytest.approx(0.01 * line["exposure"], rel=1e-6)
        assert 100 <= line["iso"] <= 1600
        assert 0.1 <= line["exposure"] <= 1
        # The twin is the source at that exposure, to half of its own finest code.
        error = np.abs(twin.normalised() - source.normalised() * line["exposure"]).max()
        assert error <= (0.51 / (twin.white - twin.black[0]) if kind == "dng" else 1e-6)
        # By the model's variance: mean z² of some 3,000 values is 1 within 5 of its standard errors.
        scale = np.sqrt((1e-3 * twin.normalised() + 1e-6) + 1 / 12 / (1023 - 64) ** 2)
        z = (noisy.normalised() - twin.normalised()) / scale
        assert np.square(z).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / z.size))


def test_dngs_open_in_rawpy_with_equal_integers(tmp_path: Path, clean: Path, run: Path) -> None:
    synthesize(clean, tmp_path / "set", [run], jobs=1)
    line = manifest(tmp_path / "set")[0]
    path = tmp_path / "set" / str(line["noisy"])
    with rawpy.imread(str(path)) as raw:
        assert np.array_equal(raw.raw_image_visible, read_raw(path).mosaic)
        assert raw.white_level == 1023
        assert raw.black_level_per_channel == [64, 64, 64, 64]
    # The model's own noise, not what the clean file said of its own.
    assert read_raw(path).noise_profile[0] == pytest.approx((1e-3, 1e-6), rel=0.01)
    assert read_raw(tmp_path / "set" / str(line["clean"])).noise_profile == ()


def test_ingest_takes_the_pairs_and_keeps_a_picture_in_one_split(tmp_path: Path, clean: Path, run: Path) -> None:
    synthesize(clean, tmp_path / "set", [run], per_image=3, jobs=1)
    result = ingest([tmp_path / "set"], tmp_path / "p.h5", IngestOptions(patch_size=8, max_clipped=1))
    assert result.pairing == "gt"
    with PatchStore(tmp_path / "p.h5") as store:
        assert set(store.cameras) == {"Maker One", "Other"}
        splits = {(store.scenes[row["scene"]].rsplit("_", 1)[0], int(row["split"])) for row in store.table}
    assert len(splits) == len(OTHERS)


@pytest.mark.slow
def test_processes_cluster_and_a_kill_make_the_same_bytes(tmp_path: Path, clean: Path, run: Path) -> None:
    settings = {"per_image": 6, "exposure": [0.25, 0.5], "seed": 5}
    synthesize(clean, tmp_path / "one", [run], jobs=1, **settings)
    whole = contents(tmp_path / "one")
    synthesize(clean, tmp_path / "two", [run], jobs=2, **settings)
    assert contents(tmp_path / "two") == whole
    code = (
        "import sys, noiseflow.augment.synthesis.synthesis as s, noiseflow.augment.synthesis.pairs as p, time\n"
        "def slow(*a):\n    time.sleep(0.05)\n    return p.make_pair(*a)\n"
        "s.make_pair = slow\n"
        f"s.synthesize(sys.argv[1], sys.argv[2], [sys.argv[3]], jobs=1, **{settings!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(clean), str(tmp_path / "cut"), str(run)]) as process:
        notes = tmp_path / "cut.partial" / ".pairs"
        for _ in range(1200):
            if len(list(notes.rglob("*.json"))) >= 4 or process.poll() is not None:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "cut").exists()
    result = synthesize(clean, tmp_path / "cut", [run], jobs=1, **settings)
    assert 4 <= result.resumed < 18
    assert contents(tmp_path / "cut") == whole


def test_on_a_cluster(tmp_path: Path, clean: Path, run: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")
    synthesize(clean, tmp_path / "here", [run], per_image=2, jobs=1)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
    ) as cluster:
        synthesize(clean, tmp_path / "there", [run], per_image=2, scheduler=cluster.scheduler_address)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_picture_s_pairs_do_not_hang_on_the_others(tmp_path: Path, clean: Path, run: Path) -> None:
    synthesize(clean, tmp_path / "all", [run], per_image=3, jobs=1)
    (clean / "a.dng").unlink()
    synthesize(clean, tmp_path / "less", [run], per_image=2, jobs=1)
    every, less = contents(tmp_path / "all"), contents(tmp_path / "less")
    pairs = [name for name in less if name.endswith(".dng")]
    assert len(pairs) == 2 * 2 + 2
    assert all(less[name] == every[name] for name in pairs)
    synthesize(clean, tmp_path / "seed", [run], per_image=2, seed=1, jobs=1)
    assert all(contents(tmp_path / "seed")[name] != less[name] for name in pairs if "NOISY" in name)


def test_a_clean_file_that_changed_or_went_is_made_anew_or_left_out(
    tmp_path: Path, clean: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    made = []

    def breaks(*arguments: object) -> str:
        if len(made) == 4:
            raise RawError("c.dng: broken")
        made.append(arguments)
        return make_pair(*arguments)

    monkeypatch.setattr("noiseflow.augment.synthesis.synthesis.make_pair", breaks)
    with pytest.raises(RawError, match=r"c\.dng: broken; finished pairs are kept in set\.partial"):
        synthesize(clean, out, [run], per_image=2, jobs=1)
    monkeypatch.undo()
    assert not out.exists()
    (clean / "a.dng").unlink()
    write_dng(clean / "b" / "c.dng", frame(np.full((32, 48), 700, np.uint16)), overwrite=True)
    result = synthesize(clean, out, [run], per_image=2, jobs=1)
    # What was made of the file that went, and of the old one, is not in the set.
    assert (result.pairs, result.resumed) == (4, 0)
    synthesize(clean, tmp_path / "fresh", [run], per_image=2, jobs=1)
    assert contents(out) == contents(tmp_path / "fresh")


FILLED = """
import resource, sys
from noiseflow.augment import synthesize
from noiseflow.core.errors import NoiseflowError
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]),) * 2)
try:
    synthesize(sys.argv[1], sys.argv[2], [sys.argv[3]], kind=sys.argv[4], jobs=1)
except NoiseflowError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("kind", ["dng", "h5"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, clean: Path, run: Path, kind: str) -> None:
    arguments = [str(clean), str(tmp_path / "set"), str(run), kind, "2000"]
    found = subprocess.run([sys.executable, "-c", FILLED, *arguments], capture_output=True, text=True, check=False)
    assert "cannot be written" in found.stdout, found.stderr
    assert "finished pairs are kept in set.partial" in found.stdout
    assert not (tmp_path / "set").exists()
    # Only what was whole before stands there.
    assert set(contents(tmp_path / "set.partial")) == {"synthesis.json", MANIFEST}
    synthesize(clean, tmp_path / "set", [run], kind=kind, jobs=1)
    assert len(manifest(tmp_path / "set")) == 3


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["synthesize", *map(str, arguments)])


def test_the_command_and_its_progress(tmp_path: Path, clean: Path, run: Path) -> None:
    out = tmp_path / "set"
    result = called(clean, "--run", run, "--out", out, "--per-image", 2, "--cameras", "Other", "--isos", "400,800")
    assert result.exit_code == 0, result.output
    assert "6 pairs of 3 pictures (0 from an earlier call)" in result.stdout
    assert "synthesize: 6/6 pairs" in result.stderr
    assert "ETA" in result.stderr
    assert {(line["camera"], line["iso"]) for line in manifest(out)} == {("Other", 400.0), ("Other", 800.0)}
    # One exposure, one twin.
    assert len({line["clean"] for line in manifest(out)}) == 3


def test_bad_input_is_one_line(tmp_path: Path, clean: Path, run: Path) -> None:
    out, empty, text, taken = (tmp_path / name for name in ("set", "empty", "text", "taken"))
    for folder in (empty, text, taken):
        folder.mkdir()
    (text / "notes.txt").write_text("no raw")
    (taken / "mine.txt").write_text("mine")
    cases = (
        ((empty,), "no raw file in this folder"),
        ((text,), "it contains .txt files"),
        ((tmp_path / "gone",), "no such file or folder"),
        (
            (clean, "--cameras", "Mine"),
            "camera 'Mine' is not one these runs were fitted for; expected Maker One, Other",
        ),
        ((clean, "--exposures", "2"), "at most 1"),
        ((clean, "--cfa", "MONO"), "model was fitted on 'bayer' planes"),
        ((clean, "--run", empty), "expected a run folder"),
    )
    for arguments, reason in cases:
        result = called(*arguments, "--run", run, "--out", out, "--jobs", 1)
        assert result.exit_code == 1, result.output
        (line,) = result.stderr.splitlines()
        assert reason in line
        assert not out.exists()
    result = called(clean, "--run", run, "--out", taken)
    assert "'mine.txt'; move it away" in result.stderr
    assert (taken / "mine.txt").read_text() == "mine"
    for value in ("800-400", "a", "1-2-3"):
        assert called(clean, "--run", run, "--out", out, "--isos", value).exit_code == 2


@pytest.mark.parametrize(
    ("mosaic", "reason"),
    [
        (np.where(np.eye(32) > 0, np.nan, 500.0), r"c\.npz: contains NaN or infinite values"),
        (np.full((1, 1), 500), r"c\.npz: \(1, 1\) pixels; expected at least one 2×2 cell"),
        (np.full((8, 8), 500), "LibRaw needs at least 22 a side"),
    ],
)
def test_frames_that_make_no_pair(tmp_path: Path, run: Path, mosaic: np.ndarray, reason: str) -> None:
    (tmp_path / "clean").mkdir()
    facts = {"cfa": "RGGB", "black": 64, "white": 1023}
    np.savez(tmp_path / "clean" / "c.npz", mosaic=mosaic, **facts)
    with pytest.raises(NoiseflowError, match=reason):
        synthesize(tmp_path / "clean", tmp_path / "set", [run], jobs=1)


def test_fractions_of_a_code_are_kept(tmp_path: Path, run: Path) -> None:
    (tmp_path / "clean").mkdir()
    mean = np.random.default_rng(0).uniform(64, 900, (32, 32)).astype(np.float32)
    np.savez(tmp_path / "clean" / "mean.npz", mosaic=mean, cfa="MONO", black=64.0, white=1023.0)
    save(build(ModelSpec("nlf", "mono2x2", ("Mono",), (100.0,))), tmp_path / "mono")
    for kind, error in (("dng", 0.51 / 32), ("h5", 0.0)):
        synthesize(tmp_path / "clean", tmp_path / kind, [tmp_path / "mono"], kind=kind, jobs=1)
        line = manifest(tmp_path / kind)[0]
        noisy, twin = (read_raw(tmp_path / kind / str(line[which])) for which in ("noisy", "clean"))
        assert noisy.whole
        assert noisy.cfa == "MONO"
        stored = twin.mosaic / (twin.white / 1023.0)
        assert np.abs(stored - mean).max() <= error + 1e-4


def test_what_is_there_is_kept_unless_asked(tmp_path: Path, clean: Path, run: Path) -> None:
    out = tmp_path / "set"
    synthesize(clean, out, [run], jobs=1)
    before = contents(out)
    with pytest.raises(OutputError, match="--overwrite"):
        synthesize(clean, out, [run], seed=1, jobs=1)
    assert contents(out) == before
    synthesize(clean, out, [run], seed=1, jobs=1, overwrite=True)
    assert contents(out) != before
    left = tmp_path / "other.partial"
    left.mkdir()
    with pytest.raises(DataError, match="is not an unfinished data set; move it away"):
        synthesize(clean, tmp_path / "other", [run], jobs=1, overwrite=True)
    (left / "synthesis.json").write_text("{}")
    with pytest.raises(DataError, match="is not an unfinished data set; move it away"):
        synthesize(clean, tmp_path / "other", [run], jobs=1, overwrite=True)
    synthesis._list(left)
    with pytest.raises(DataError, match=r"with other arguments or models; .*--overwrite"):
        synthesize(clean, tmp_path / "other", [run], jobs=1)


def test_inputs_in_the_output_and_files_of_the_users_are_left_alone(tmp_path: Path, clean: Path, run: Path) -> None:
    out = tmp_path / "set"
    synthesize(clean, out, [run], jobs=1)
    shutil.copytree(run, out / "run")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"contains .*, an input"):
        synthesize(clean, out, [out / "run"], jobs=1, overwrite=True)
    with pytest.raises(OutputError, match="run"):
        synthesize(clean, out, [run], jobs=1, overwrite=True)
    assert contents(tmp_path) == before


def test_a_manifest_that_names_a_file_outside_is_refused(tmp_path: Path, run: Path) -> None:
    simulate(tmp_path / "clean", "PG-12", [100], scenes=1, size=(32, 48))
    stated = tmp_path / "clean" / "simulation.json"
    content = json.loads(stated.read_text())
    (tmp_path / "clean" / content["scenes"][0]["clean"]).rename(tmp_path / "photo.dng")
    content["scenes"][0]["clean"] = "../photo.dng"
    stated.write_text(json.dumps(content))
    (tmp_path / "job").mkdir()
    with pytest.raises(OutputError, match="is not inside"):
        synthesize(tmp_path / "clean", tmp_path / "job" / "pairs", [run], jobs=1)
    assert list((tmp_path / "job").iterdir()) == []


def test_names_that_differ_in_capitals_alone_are_two_or_refused(
    tmp_path: Path, clean: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a lock whose name in capitals is there too, as on a disk that takes both for one."""
    (clean / "A.dng").write_bytes((clean / "a.dng").read_bytes())
    monkeypatch.setattr("noiseflow.augment.synthesis.synthesis.lock_file", lambda _: tmp_path / "x.lock")
    (tmp_path / "X.LOCK").touch()
    with pytest.raises(DataError, match=r"has the same name as .*dng"):
        synthesize(clean, tmp_path / "set", [run], jobs=1)
    (tmp_path / "X.LOCK").unlink()
    synthesize(clean, tmp_path / "set", [run], jobs=1)
    assert {"a_000_NOISY.dng", "A_000_NOISY.dng"} <= {path.name for path in (tmp_path / "set").iterdir()}


def test_an_iso_far_off_is_said_once(tmp_path: Path, clean: Path, run: Path) -> None:
    with pytest.warns(ExtrapolationWarning, match="ISO 25600 is outside 100…1600") as said:
        synthesize(clean, tmp_path / "set", [run], iso=25600, jobs=1)
    assert len(said) == 1


def test_two_files_of_one_name_and_no_run(tmp_path: Path, clean: Path, run: Path) -> None:
    (clean / "a.tif").write_bytes((clean / "a.dng").read_bytes())
    with pytest.raises(DataError, match=r"a\.tif: its output would have the same name as that of .*a\.dng"):
        synthesize(clean, tmp_path / "set", [run], jobs=1)
    with pytest.raises(ModelError, match="no model given; expected a run folder, a profile"):
        synthesize(clean, tmp_path / "set", [], jobs=1)
    with pytest.raises(NoiseflowError, match="no such folder"):
        synthesize(clean, tmp_path / "no" / "set", [run], jobs=1)


def test_a_process_that_is_killed_is_told(
    tmp_path: Path, clean: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseflow.augment.synthesis.synthesis.make_pair", die)
    with pytest.raises(NoiseflowError, match=r"a process was killed.*kept in set\.partial"):
        synthesize(clean, tmp_path / "set", [run], jobs=2)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

"""Commands as a user calls them: in a process of its own, by its exit status and its one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builders import burst_folder, frame, gaussian_store
from click.testing import CliRunner, Result

from noiseflow.cli import COMMANDS, main
from noiseflow.models import ModelSpec, build, save
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *parts: str) -> None:
    """Exit 1, one line that says each part, no traceback."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("noiseflow: warning:")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("noiseflow: ")
    for part in parts:
        assert part in lines[0]


def test_help_reads_as_the_manual() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.output
        assert run(command, "--help").exit_code == 0


def test_help_does_not_load_torch() -> None:
    code = "import sys; from noiseflow.cli import main; print('torch' in sys.modules)"
    lazy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert lazy.stdout.strip() == "False"


def test_usage_errors_are_status_2() -> None:
    assert run("fit").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_from_raw_files_to_a_noisy_frame(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=6, size=(128, 128), seed=0)
    store, fitted, noisy = tmp_path / "p.h5", tmp_path / "run", tmp_path / "noisy.dng"
    assert "pairing 'burst'" in run("ingest", tmp_path / "raws", "--out", store).output
    result = run("fit", store, "--out", fitted, "--epochs", 1, "--steps-per-epoch", 2)
    assert result.exit_code == 0, result.output
    assert "nats/dim" in result.output
    clean = tmp_path / "raws" / "frame_00.dng"
    assert run("sample", fitted, clean, "--iso", 400, "--out", noisy).exit_code == 0
    assert read_raw(noisy).mosaic.shape == (128, 128)
    kinds = {tmp_path / "raws": "folder of raw files", store: "patch store", fitted: "run folder", noisy: "raw file"}
    for path, kind in kinds.items():
        assert kind in run("info", path).output


def test_info_and_ingest_of_the_real_arw(shared_data: Path, tmp_path: Path) -> None:
    arw = shared_data / "raw" / "_DSC2164.ARW"
    told = run("info", arw).output
    for text in ("5184×3464", "RGGB", "3200", "512 DN", "16383 DN", "SONY ILCE-7RM3"):
        assert text in told
    result = run("ingest", arw, "--out", tmp_path / "p.h5")
    assert result.exit_code == 0
    assert "No clean signal" in result.output
    refused(run("fit", tmp_path / "p.h5", "--out", tmp_path / "run"), "p.h5", "without a clean signal")
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    save(build(ModelSpec("nlf", cameras=("Maker One", "Other"), isos=(100.0, 1600.0))), tmp_path / "fitted")
    return tmp_path / "fitted"


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    write_dng(tmp_path / "clean.dng", frame(np.full((64, 64), 500, np.uint16)))
    return tmp_path / "clean.dng"


def test_bad_input_is_one_line_and_leaves_nothing(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "raw" / "_DSC2164.ARW").read_bytes()
    (tmp_path / "short.ARW").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "notes.dng").write_text("not a raw file")
    (tmp_path / "empty").mkdir()
    before = set(tmp_path.iterdir())
    for name, reason in (
        ("short.ARW", "truncated"),
        ("notes.dng", "LibRaw cannot decode it"),
        ("empty", "no raw file in this folder"),
        ("gone.dng", "no such file"),
    ):
        refused(run("info", tmp_path / name), name, reason)
        refused(run("ingest", tmp_path / name, "--out", tmp_path / "p.h5"), name, reason)
    assert set(tmp_path.iterdir()) == before


def test_unknown_camera_and_far_iso(fitted: Path, clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy.npy"
    refused(run("sample", fitted, clean, "--camera", "Mine", "--out", out), "Mine", "Maker One, Other")
    assert not out.exists()
    result = run("sample", fitted, clean, "--iso", 25600, "--out", out)
    assert result.exit_code == 0
    assert result.stderr.count("warning: ISO 25600 is outside 100…1600") == 1


def test_options_of_a_model_are_said_by_name(tmp_path: Path) -> None:
    store, out = tmp_path / "p.h5", tmp_path / "run"
    gaussian_store(store, patches=50).close()
    words = [
        "fit",
        store,
        "--model",
        "realnvp",
        "--out",
        out,
        "--epochs",
        "1",
        "--steps-per-epoch",
        "1",
        "--batch",
        "2",
    ]
    refused(run(*words, "--option", "coupling=2"), "realnvp", "'coupling' is not known", "couplings, width")
    refused(run(*words, "--option", "couplings=few"), "realnvp", "couplings", "whole number")
    assert run(*words, "--option", "couplings").exit_code == 2
    assert not out.exists()
    result = run(*words, "--option", "couplings=2", "--option", "unknown_camera=0.1")
    assert result.exit_code == 0, result.stderr
    assert json.loads((out / "spec.json").read_text())["options"] == {"couplings": 2, "unknown_camera": 0.1}
    refused(run(*words, "--option", "coupling=2", "--overwrite"), "'coupling' is not known")
    assert (out / "model.safetensors").exists()


def test_existing_output_is_kept_unless_asked(fitted: Path, clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy.dng"
    assert run("sample", fitted, clean, "--out", out).exit_code == 0
    before = out.read_bytes()
    refused(run("sample", fitted, clean, "--out", out, "--seed", 1), "noisy.dng", "--overwrite")
    assert out.read_bytes() == before
    assert run("sample", fitted, clean, "--out", out, "--seed", 1, "--overwrite").exit_code == 0
    assert out.read_bytes() != before
    # What is not ours is never replaced.
    out.write_text("mine")
    refused(run("sample", fitted, clean, "--out", out, "--overwrite"), "noisy.dng")
    assert out.read_text() == "mine"


def test_nan_in_the_data(tmp_path: Path) -> None:
    import h5py

    from noiseflow.patches.checksums import patch_crcs
    from noiseflow.patches.schema import CONTENT

    gaussian_store(tmp_path / "p.h5", patches=50).close()
    with h5py.File(tmp_path / "p.h5", "a") as file:
        file["clean"][3, 0, 0, 0] = np.nan
        table = file["table"][:]
        table["crc32"] = patch_crcs(file["noisy"][:], file["clean"][:])
        file["table"][:] = table
        # As a store of an older schema, whose table has no checksum.
        del file.attrs[CONTENT]
        file.attrs["schema"] = 4
    refused(run("fit", tmp_path / "p.h5", "--out", tmp_path / "run"), "p.h5", "NaN", "[3]")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("--debug", "info", tmp_path / "gone")
    assert result.exit_code == 1
    assert result.exception is not None
    assert "no such file" in str(result.exception)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_ingest_leaves_no_store_and_the_next_one_succeeds(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=30, size=(512, 512), seed=0)
    store = tmp_path / "p.h5"
    command = [sys.executable, "-m", "noiseflow", "ingest", str(tmp_path / "raws"), "--out", str(store)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        partial = store.with_name("p.h5.partial")
        for _ in range(600):
            if partial.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert partial.exists()
    assert not store.exists()
    refused(run("info", partial), "p.h5.partial", "unfinished")
    refused(run("fit", store, "--out", tmp_path / "run"), "p.h5", "stopped")
    assert run("ingest", tmp_path / "raws", "--out", store).exit_code == 0
    assert not partial.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=2, size=(64, 64), seed=0)
    refused(run("ingest", tmp_path / "raws", "--out", tmp_path / "no" / "p.h5"), "no such folder")
    (tmp_path / "file").write_text("x")
    refused(run("ingest", tmp_path / "raws", "--out", tmp_path / "file" / "p.h5"), "file")


def test_a_burst_with_a_fixed_pattern_and_a_preview(fitted: Path, clean: Path, tmp_path: Path) -> None:
    how = ("sample", fitted, clean, "--iso", 400, "--frames", 2, "--prnu", 1, "--dsnu", 2, "--hot-pixels", 1000, 50)
    result = run(*how, "--preview", tmp_path / "p.png", "--out", tmp_path / "b.npy")
    assert result.exit_code == 0, result.output
    assert "b_001.npy: " in result.output
    one, two = (np.load(tmp_path / f"b_00{number}.npy") for number in (0, 1))
    assert not np.array_equal(one, two)
    assert (tmp_path / "p.png").stat().st_size > 0
    again = run(*how, "--workers", 1, "--out", tmp_path / "again.npy")
    assert again.exit_code == 0
    assert np.array_equal(np.load(tmp_path / "again_001.npy"), two)
    other = run(*how, "--camera-seed", 1, "--out", tmp_path / "other.npy")
    assert other.exit_code == 0
    assert not np.array_equal(np.load(tmp_path / "other_001.npy"), two)
    assert run(*how, "--profile", tmp_path / "camera.json", "--out", tmp_path / "c.npy").exit_code == 2
    refused(run("sample", fitted, clean, "--profile", tmp_path / "no.json", "--out", tmp_path / "c.npy"), "no.json")
    refused(run("sample", fitted, clean, "--preview", "p.jpg", "--out", tmp_path / "c.npy"), "p.jpg", ".png")
    assert not (tmp_path / "c.npy").exists()

"""Every command with --overwrite, on a disk that gets full: the earlier output stays until the new one is whole."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.cli.workflows import demo as workflow
from noiseflow.core.output.listed import write_listed
from noiseflow.models import ModelSpec, build, save
from noiseflow.simulate import simulate_series

WORDS = {
    "simulate": "simulate out --camera PG-12 --iso 100 --scenes 1 --size 32 48",
    "ingest": "ingest in/raws --patch-size 8 --out out.h5",
    "calibrate": "calibrate in/series/flats in/series/darks --out out.json",
    "fit": "fit in/p.h5 --model nlf --out out",
    "sample": "sample in/run in/raws/frame_00.dng --iso 400 --out out.dng",
    "synthesize": "synthesize in/raws --run in/run --isos 400 --jobs 1 --out out",
    "profiles": "profiles Sony_A7S2 --out out.json",
    "import": "import in/raws/frame_00.dng --out out",
    "demo": "demo out",
}
"""`distill` writes as `fit` does, `denoise` and `export` as `sample`, `evaluate` (slow) as `simulate`."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=2, size=(32, 32), seed=0)
    gaussian_store(folder / "p.h5", patches=40).close()
    simulate_series(folder / "series", "PG-12", [400.0], size=(64, 96))
    save(build(ModelSpec("nlf", cameras=("Maker One", "One"), isos=(100.0, 1600.0))), folder / "run")
    return folder


def contents(out: Path) -> dict[str, str]:
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", WORDS)
def test_a_full_disk_keeps_the_earlier_output(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """At the first, a middle and the last file that is brought to the disk."""
    (tmp_path / "in").symlink_to(inputs)
    monkeypatch.chdir(tmp_path)
    # What is tried is how these two write.
    monkeypatch.setattr("noiseflow.models.foreign.formats.format_of", lambda _: "noise_flow")
    monkeypatch.setattr(
        "noiseflow.models.foreign.formats.import_model", lambda *_: build(ModelSpec("nlf", cameras=("A",)))
    )
    monkeypatch.setattr(workflow, "_demo", lambda out, *_: [write_listed(out, each, b"") for each in ("a", "b", "c")])
    words = [word.replace("_A7S2", " A7S2") for word in WORDS[name].split()]
    out = tmp_path / next(word for word in words if word.startswith("out"))
    calls, at, fsync = [0], [0], os.fsync

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == at[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    first = CliRunner().invoke(main, words)
    assert name == "demo" or first.exit_code == 0, first.output
    before, last = contents(out), calls[0]
    assert before
    for at[0] in sorted({1, last // 2 + 1, last - 1} - {0}):
        calls[0] = 0
        result = CliRunner().invoke(main, [*words, "--overwrite"])
        assert contents(out) == before, at
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        line = result.stderr.strip().splitlines()[-1]
        assert "no space left" in line.lower(), at
        # Nothing but what the same command goes on with.
        assert {path.name for path in tmp_path.iterdir()} <= {"in", out.name, f"{out.name}.partial"}
        shutil.rmtree(f"{out}.partial", ignore_errors=True)

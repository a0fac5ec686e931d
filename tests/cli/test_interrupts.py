"""Signals, two at once, and odd surroundings: one line, the customary status, nothing half-written."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main

COMMAND = [sys.executable, "-m", "noiseflow"]
FIT = "fit p.h5 --model noise_flow --epochs 400 --patience 400 --batch 64 --no-compile --state-seconds 0.2 --out run"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    gaussian_store(folder / "p.h5", patches=200).close()
    burst_folder(folder / "raws", frames=4, size=(64, 64), seed=0)
    return folder


def begun(folder: Path, words: str, until: str) -> "subprocess.Popen[str]":
    """Start a command, and wait for a file that shows that it is under way."""
    process = subprocess.Popen([*COMMAND, *words.split()], cwd=folder, stderr=subprocess.PIPE, text=True)
    last = time.monotonic() + 120
    while not list(folder.glob(until)) and process.poll() is None and time.monotonic() < last:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "TERM"), (signal.SIGHUP, 129, "HUP")],
)
def test_a_fit_that_is_stopped_says_what_goes_on(work: Path, number: int, status: int, name: str) -> None:
    words = FIT.replace("--out run", f"--out run{number}")
    process = begun(work, words, f"run{number}/state/0*")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    last = said.strip().splitlines()[-1]
    kept = f"the last state is kept in run{number}"
    assert last == f"noiseflow: stopped by {name}; {kept}; go on with: noiseflow {words} --resume"
    assert not list(work.glob(".noiseflow-*"))
    done = subprocess.run([*COMMAND, *words.split(), "--resume", "--max-minutes", "0.001"], cwd=work, check=False)
    assert done.returncode == 0
    assert (work / f"run{number}" / "model.safetensors").is_file()


def test_the_second_writer_of_a_run_is_refused_in_one_line(work: Path) -> None:
    words = FIT.replace("--out run", "--out twice")
    first = begun(work, words, "twice/state/0*")
    second = subprocess.run([*COMMAND, *words.split()], cwd=work, capture_output=True, text=True, check=False)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert f"twice: is being written by process {first.pid} on " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_two_equal_ingests_at_once_make_one_whole_store(work: Path) -> None:
    for round_ in range(3):
        words = f"ingest raws --patch-size 8 --out s{round_}.h5".split()
        both = [
            subprocess.Popen([*COMMAND, *words], cwd=work, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=120)[1] for process in both]
        assert sorted(process.returncode for process in both) == [0, 1], said
        lost = next(text for text, process in zip(said, both, strict=True) if process.returncode)
        assert "is being written by process" in lost or "exists; pass --overwrite" in lost
        whole = CliRunner().invoke(main, ["info", "--verify", str(work / f"s{round_}.h5")])
        assert whole.exit_code == 0, whole.output
    assert not list(work.glob(".noiseflow-*"))
    assert not list(work.glob("*.partial"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fit pipe.h5 --out run", "special file"),
        ("benchmark pipe.toml --out res", "no regular file"),
        ("fit p.h5 --out run --weight nan", "no finite number"),
        ("fit p.h5 --out run --max-minutes nan", "no finite number"),
        ("fit p.h5 --out run --seed 18446744073709551616", "2³²"),
        ("fit p.h5 --out run --model noise_flow --option couplings=1000000000000", "up to 10,000|not known"),
        ("fit p.h5 --out run --model realnvp --option couplings=1000000000000", "up to 10,000"),
        ("simulate out --camera PG-12 --size 1000000 1000000", "GB left|expected"),
    ],
)
def test_odd_inputs_are_one_line(work: Path, monkeypatch: pytest.MonkeyPatch, words: str, says: str) -> None:
    for name in ("pipe.h5", "pipe.toml"):
        if not (work / name).exists():
            os.mkfifo(work / name)
    monkeypatch.chdir(work)
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert re.search(says, result.stderr), result.stderr
    assert not (work / "run").exists()
    assert not (work / "out").exists()


def test_closed_streams_are_no_traceback(work: Path) -> None:
    shell = f"{sys.executable} -m noiseflow ingest raws --patch-size 8 --out closed.h5 2>&- >&-"
    assert subprocess.run(["sh", "-c", shell], cwd=work, check=False).returncode == 0
    assert (work / "closed.h5").is_file()


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(work: Path) -> None:
    name = work / "a\x1b[31m[red].dng"
    name.hardlink_to(work / "raws" / "frame_00.dng")
    result = CliRunner().invoke(main, ["info", str(name)])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output

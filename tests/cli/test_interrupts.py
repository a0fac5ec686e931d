"""Signals, two at once, and odd surroundings: one line, the customary status, nothing half-written."""

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.cli.interrupts import listening
from noiseflow.core.errors import DataError
from noiseflow.models import ModelSpec, build, save

COMMAND = [sys.executable, "-m", "noiseflow"]
FIT = (
    "fit p.h5 --model noise_flow --epochs 20000 --patience 20000 --batch 64 --no-compile --state-seconds 0.2 --out run"
)


@pytest.fixture(autouse=True)
def _signals_as_at_a_terminal() -> Iterator[None]:
    """A job in the background ignores some signals, and so would what it starts."""
    given = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in given.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    gaussian_store(folder / "p.h5", patches=200).close()
    burst_folder(folder / "raws", frames=4, size=(64, 64), seed=0)
    save(build(ModelSpec("nlf", cameras=("One",), isos=(400.0,))), folder / "nlf")
    return folder


def begun(folder: Path, words: str, until: str) -> "subprocess.Popen[str]":
    """Start a command, and wait for a file that shows that it is under way."""
    process = subprocess.Popen([*COMMAND, *words.split()], cwd=folder, stderr=subprocess.PIPE, text=True)
    last = time.monotonic() + 120
    while not list(folder.glob(until)) and process.poll() is None and time.monotonic() < last:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    return process


def test_a_fit_that_is_stopped_says_what_goes_on_and_takes_no_second_writer(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(work, FIT, "run/state/0*")
    second = subprocess.run([*COMMAND, *FIT.split()], cwd=work, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"run: is being written by process {first.pid} on " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    last = said.strip().splitlines()[-1]
    kept = "the last state is kept in run"
    assert last == f"noiseflow: stopped by Ctrl-C; {kept}; continue with: noiseflow {FIT} --resume"
    assert not list(work.glob(".noiseflow-*"))
    monkeypatch.chdir(work)
    done = CliRunner().invoke(main, [*FIT.split(), "--resume", "--max-minutes", "0.001"])
    assert done.exit_code == 0, done.output
    assert (work / "run" / "model.safetensors").is_file()


def test_a_fit_that_is_stopped_before_its_first_state_does_not_promise_to_resume(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "--resume goes on", which then found no state."""
    monkeypatch.chdir(tmp_path)
    words = ["fit", str(work / "p.h5"), "--model", "nlf", "--epochs", "1", "--out", "run"]
    with monkeypatch.context() as early:
        early.setattr("noiseflow.fit.fit_model.gather", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 130
    last = result.stderr.strip().splitlines()[-1]
    assert last == f"noiseflow: stopped by Ctrl-C; nothing was kept; continue with: noiseflow {shlex.join(words)}"
    # The command that is printed works as it stands.
    again = CliRunner().invoke(main, shlex.split(last.partition("continue with: noiseflow ")[2]))
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "TERM"), (signal.SIGHUP, 129, "HUP")],
)
@pytest.mark.parametrize("done", [False, True], ids=["half-way", "when all is whole"])
def test_signals_end_with_their_status_and_a_true_line(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, name: str, done: bool
) -> None:
    place = "noiseflow.patches.ingestion.ingestion." + ("discard" if done else "layout_of_all")
    monkeypatch.setattr(place, lambda *_: os.kill(os.getpid(), number))
    words = ["ingest", str(work / "raws"), "--patch-size", "8", "--out", str(tmp_path / "s.h5")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == status
    assert f"stopped by {name}; " in result.stderr
    partial = tmp_path / "s.h5.partial"
    assert (tmp_path / "s.h5").exists() == done
    assert partial.exists() != done
    kept = (
        f"{tmp_path / 's.h5'} is complete" if done else f"finished work is kept in {partial}; continue with: noiseflow "
    )
    assert kept in result.stderr
    assert not list(tmp_path.glob(".noiseflow-*"))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_two_equal_ingests_at_once_make_one_whole_store(work: Path) -> None:
    for round_ in range(2):
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
        ("fit pipe.h5 --out new", "special file"),
        ("benchmark pipe.toml --out res", "not a regular file"),
        ("fit p.h5 --out new --weight nan", "not a finite number"),
        ("fit p.h5 --out new --max-minutes nan", "not a finite number"),
        ("fit p.h5 --out new --seed 18446744073709551616", "2³²"),
        ("fit p.h5 --out new --model noise_flow --option couplings=1000000000000", "up to 10,000|not known"),
        ("fit p.h5 --out new --model realnvp --option couplings=1000000000000", "up to 10,000"),
        ("simulate out --camera PG-12 --size 1000000 1000000", "GB left|expected"),
        (f"fit p.h5 --out new --batch {'9' * 5000}", "whole number"),
        ("fit p.h5 --out new --config pipe.toml", "not a regular file|does not exist|is a"),
        ("ingest raws --out out --patch-size 18446744073709551616", "64 bits"),
        ("ingest raws --out out --jobs 1000000000000", "1,024"),
        ("ingest raws --out out --scheduler 1000000000000", "no Dask scheduler|needs dask"),
        (f"ingest raws --out out --size 9x{'9' * 5000}", "WIDTHxHEIGHT"),
        ("ingest raws --out out --exposure 1e12", "exposure_s: expected"),
        ("sample pg-12 raws/frame_00.dng --out new.dng --iso 400 --frames 1000000000000", "1,000,000"),
        ("sample pg-12 raws/frame_00.dng --out new.dng --iso 400 --exposure 1e300", "exposure_s: expected"),
        ("synthesize raws --run pg-12 --out out --per-image 1000000000000", "100,000"),
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
    assert not (work / "new").exists()
    assert not (work / "out").exists()


def test_closed_streams_are_no_traceback(work: Path) -> None:
    shell = f"{sys.executable} -m noiseflow ingest raws --patch-size 8 --out closed.h5 2>&- >&-"
    assert subprocess.run(["sh", "-c", shell], cwd=work, check=False).returncode == 0
    assert (work / "closed.h5").is_file()


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(work: Path) -> None:
    name = work / "a\x1b[31m[red].dng"
    name.hardlink_to(work / "raws" / "frame_00.dng")
    # In colour: click takes escape sequences out of what is no terminal.
    result = CliRunner().invoke(main, ["info", str(name)], color=True)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        "ingest odd --patch-size 8 --out odd.h5",
        "calibrate odd --out odd.json",
        "synthesize odd --run nlf --isos 400 --jobs 1 --out made",
        "export nlf ODD.pt2",
        "sample pg-12 odd/ODD.dng --iso 400 --out ODD.npy",
        "denoise odd/ODD.dng --model pg-12 --out ODD.h5",
    ],
)
def test_names_that_are_no_text_are_one_line_or_work(work: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(work)
    (work / "odd").mkdir(exist_ok=True)
    for number, file in enumerate(sorted((work / "raws").glob("*.dng"))):
        link = work / "odd" / os.fsdecode(f"{number}".encode() + b"\xe9.dng")
        if not link.exists():
            link.hardlink_to(file)
    odd = os.fsdecode(b"0\xe9")
    result = CliRunner().invoke(main, [word.replace("ODD", odd) for word in words.split()])
    assert result.exit_code in (0, 1)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert "not valid UTF-8" in result.stderr or "\\udce9" in result.stderr


TWICE = """
import os, signal, sys, time
import noiseflow.cli
{imports}

def stopped(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)

def slow(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)

{place} = stopped
noiseflow.cli.farewell = slow
noiseflow.cli.main({words!r})
"""


@pytest.mark.parametrize(
    ("words", "out", "module", "place", "stands"),
    [
        (
            "ingest raws --patch-size 8 --jobs 1",
            "t.h5",
            "noiseflow.patches.ingestion.ingestion",
            "layout_of_all",
            False,
        ),
        ("fit p.h5 --model nlf", "t", "noiseflow.fit.fit_model", "save", True),
    ],
)
def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing_half_written(
    work: Path, tmp_path: Path, words: str, out: str, module: str, place: str, stands: bool
) -> None:
    """The second comes while the first is being answered, which would take ten minutes."""
    given = [*words.split(), "--out", str(tmp_path / out)]
    before = ""
    if stands:
        assert subprocess.run([*COMMAND, *given], cwd=work, check=False, capture_output=True).returncode == 0
        given.append("--overwrite")
        before = contents_of(tmp_path / out)
    script = TWICE.format(imports=f"import {module}", place=f"{module}.{place}", words=given)
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", script], cwd=work, check=False, capture_output=True, text=True)
    assert ended.returncode == 130, ended.stderr
    assert time.monotonic() - began < 300
    assert "Traceback" not in ended.stderr
    assert contents_of(tmp_path / out) == before
    again = subprocess.run([*COMMAND, *given], cwd=work, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert not [path for path in tmp_path.iterdir() if path.name != out]
    assert CliRunner().invoke(main, ["info", "--verify", str(tmp_path / out)]).exit_code == 0


def contents_of(out: Path) -> str:
    """A digest of a finished output; empty where there is none."""
    if not out.exists() or (out.is_dir() and not (out / "spec.json").exists()):
        return ""
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


OUTSIDE = """
import os, signal, sys
import noiseflow.cli as cli
def stopped(*_, **__):
    os.kill(os.getpid(), signal.{name})
cli.{place} = stopped
cli.main({words!r})
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("Commands.resolve_command", "nothing was kept; continue with: noiseflow ingest raws"),
        ("Commands.make_context", "nothing was kept; continue with: noiseflow ingest raws"),
        ("lost_answer", "OUT is complete"),
    ],
)
def test_a_signal_before_the_command_or_after_it_is_no_abort(
    work: Path, tmp_path: Path, place: str, says: str, name: str, status: int
) -> None:
    out = tmp_path / "o.h5"
    words = ["ingest", "raws", "--patch-size", "8", "--jobs", "1", "--out", str(out)]
    script = OUTSIDE.format(name=name, place=place, words=words)
    # As `sys.argv` of the program itself, which is what is known before the command.
    command = [sys.executable, "-c", f"import sys; sys.argv = ['noiseflow', *{words!r}]\n{script}"]
    ended = subprocess.run(command, cwd=work, check=False, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert "Abort" not in ended.stderr
    assert last.startswith(f"noiseflow: stopped by {'Ctrl-C' if name == 'SIGINT' else 'TERM'}; ")
    assert says.replace("OUT", str(out)) in last
    assert out.exists() == ("complete" in says)


def test_ctrl_c_while_the_program_is_loaded_is_no_traceback(work: Path) -> None:
    script = "import os, runpy, signal, sys\nclass Finder:\n    def find_spec(self, name, *_):\n"
    script += "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
    script += "sys.meta_path.insert(0, Finder())\nsys.argv = ['noiseflow', 'info', 'raws']\n"
    script += "runpy.run_module('noiseflow', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", script], cwd=work, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGINT, ended.stderr
    assert ended.stderr == ""


def test_a_signal_that_comes_in_a_destructor_is_not_lost(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints an exception there and drops it: the command went on to its end, beside a traceback."""

    class Loaded:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def slow(*_: object) -> None:
        Loaded()
        time.sleep(5)
        raise AssertionError

    monkeypatch.setattr("noiseflow.patches.ingestion.ingestion.layout_of_all", slow)
    words = ["ingest", str(work / "raws"), "--patch-size", "8", "--jobs", "1", "--out", str(tmp_path / "s.h5")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 143, result.output
    assert "Traceback" not in result.output
    assert "stopped by TERM" in result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("later", [False, True])
def test_a_signal_that_a_library_turns_into_an_error_stops_the_command(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """safetensors said of Ctrl-C while it made a tensor that the file of weights is damaged, with exit 1."""

    def replaced(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            if later:
                monkeypatch.setattr("noiseflow.cli.interrupts.REPLACED_S", -1.0)
            raise DataError("weights: is damaged") from None

    monkeypatch.setattr("noiseflow.patches.ingestion.ingestion.layout_of_all", replaced)
    words = ["ingest", str(work / "raws"), "--patch-size", "8", "--jobs", "1", "--out", str(tmp_path / "s.h5")]
    result = CliRunner().invoke(main, words)
    last = result.stderr.strip().splitlines()[-1]
    if later:
        # An error long after a signal that was lost is an error.
        assert (result.exit_code, last) == (1, "noiseflow: weights: is damaged")
        return
    assert result.exit_code == 130, result.output
    assert last.startswith("noiseflow: stopped by Ctrl-C; ")
    assert "damaged" not in result.output


class _AsyncWriterThread(threading.Thread):
    """As TensorBoard's, of the same name."""

    def run(self) -> None:
        raise OSError(28, "No space left on device")


class OtherThread(_AsyncWriterThread):
    pass


@pytest.mark.parametrize(("kind", "said"), [(_AsyncWriterThread, False), (OtherThread, True)])
def test_what_tensorboard_cannot_write_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, kind: type[threading.Thread], said: bool
) -> None:
    """Its thread printed one, above the line of the command."""
    shown: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with listening():
        thread = kind()
        thread.start()
        thread.join()
    assert bool(shown) == said
    assert threading.excepthook == shown.append


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        ("--preview x.png", "x.dng", "write_preview"),
        ("--frames 3", "x_000.dng", "write_frame"),
        ("--frames 3 --preview x.png", "x_000.dng", "write_preview"),
        ("--frames 5", "x_000.dng", "write_frame"),
    ],
)
def test_a_command_of_several_outputs_goes_on_with_what_is_not_written(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, first: str, second: str
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = work / "raws" / "frame_00.dng"
    given = ["sample", "pg-12", str(frame), "--iso", "400", "--out", "x.dng", *words.split()]
    module = "noiseflow.augment.frames.to_files"
    from noiseflow.augment.frames import to_files

    write, calls = getattr(to_files, second), [0]

    def stopped(*arguments: object, **how: object) -> None:
        calls[0] += 1
        if second == "write_preview" or calls[0] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        write(*arguments, **how)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{second}", stopped)
        result = CliRunner().invoke(main, given)
    assert result.exit_code == 143, result.output
    assert (tmp_path / first).exists()
    last = result.stderr.strip().splitlines()[-1]
    said, _, command = last.partition("; continue with: noiseflow ")
    assert re.search(r" (is|are) complete, \d not written$", said)
    again = CliRunner().invoke(main, shlex.split(command))
    assert again.exit_code == 0, again.output
    # All is there now, and a signal that comes then says so.
    monkeypatch.setattr("noiseflow.cli.models.sample.answer", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    result = CliRunner().invoke(main, [*given, "--overwrite"])
    assert result.exit_code == 143
    assert result.stderr.strip().endswith("complete")


@pytest.mark.parametrize(
    "words", ["ingest deep --patch-size 8 --out deep.h5", "info deep", "calibrate deep --out d.json"]
)
def test_folders_nested_deeper_than_python_calls_are_one_line_or_work(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    below = "/".join(["deep", *"d" * 1500])
    subprocess.run(["mkdir", "-p", below], check=True)
    subprocess.run(["cp", str(work / "raws" / "frame_00.dng"), below], check=True)
    try:
        result = CliRunner().invoke(main, words.split())
    finally:
        subprocess.run(["rm", "-rf", "deep"], check=True)
    assert result.exit_code in (0, 1), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    # The only other line is one of progress, which comes where a frame took long.
    said = [each for each in result.stderr.strip().splitlines() if not re.match(r"\w+: 1/1 frames, .*ETA 0 s", each)]
    assert len(said) <= 1 or result.exit_code == 0

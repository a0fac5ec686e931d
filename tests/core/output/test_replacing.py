"""An earlier output stays until the new one is whole, whatever happens in between."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseflow.core.errors import OutputError
from noiseflow.core.output import whole
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import refilled_folder, whole_folder
from noiseflow.core.output.listed import write_listed
from noiseflow.core.output.lock import locked
from noiseflow.core.output.manifest import foreign


def fill(path: Path, text: str, then: Callable[[], object] = lambda: None) -> None:
    with writing(path, folder=True, overwrite=True), refilled_folder(path, "test"):
        write_listed(path, "a.txt", text.encode())
        then()
        write_listed(path, "b.txt", text.encode())


def killed(path: Path, code: str) -> None:
    """Run code in a process that ends in its midst as by a kill: no block is left in order."""
    head = (
        "import os\nfrom pathlib import Path\n"
        "from noiseflow.core.output import folder, whole\n"
        "from noiseflow.core.output.checks import writing\n"
        "from noiseflow.core.output.folder import refilled_folder, whole_folder\n"
        "from noiseflow.core.output.listed import write_listed\n"
        f"path = Path({str(path)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", head + code], check=False).returncode == 9


def test_a_failure_puts_the_earlier_output_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old")

    def fail() -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OutputError, match=r"out: cannot be written \(no space left on device"):
        fill(out, "new", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [(out / name).read_text() for name in ("a.txt", "b.txt")] == ["old", "old"]
    assert foreign(out) == []
    fill(out, "new")
    assert (out / "b.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


REFILLED = "with writing(path, folder=True, overwrite=True), refilled_folder(path, 'test'):\n"
KILLS = {
    "in the block": REFILLED + "    write_listed(path, 'a.txt', b'new'); os._exit(9)",
    "before anything is made": "folder.fresh_folder = lambda *_: os._exit(9)\n" + REFILLED + "    pass",
}


@pytest.mark.parametrize("code", KILLS.values(), ids=list(KILLS))
def test_the_next_writer_after_a_kill_puts_the_earlier_output_back(tmp_path: Path, code: str) -> None:
    out = tmp_path / "out"
    fill(out, "old")
    killed(out, code)
    assert not (out / "b.txt").exists()
    with (
        pytest.warns(UserWarning, match="the earlier output is restored"),
        pytest.raises(OutputError, match="--overwrite"),
        writing(out, folder=True),
    ):
        pass
    assert (out / "b.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_of_the_users_in_an_unfinished_output_is_kept_and_the_earlier_one_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old")
    killed(out, KILLS["in the block"])
    (out / "photo.dng").write_text("mine")
    with pytest.raises(OutputError, match=r"the earlier output is complete in \.noiseflow-"), locked(out):
        pass
    assert (out / "photo.dng").read_text() == "mine"
    (kept,) = tmp_path.glob(".noiseflow-*.kept")
    assert (kept / "b.txt").read_text() == "old"
    (out / "photo.dng").rename(tmp_path / "photo.dng")
    with pytest.warns(UserWarning, match="is restored"), locked(out):
        assert (out / "b.txt").read_text() == "old"


def make(path: Path, text: str) -> None:
    with writing(path, folder=True, overwrite=True), whole_folder(path, "test", overwrite=True) as partial:
        (partial / "x.txt").write_text(text)


@pytest.mark.parametrize("step", ["set_aside", "discard"])
def test_a_kill_after_the_exchange_leaves_the_new_output_alone(tmp_path: Path, step: str) -> None:
    out = tmp_path / "out"
    make(out, "old")
    code = (
        f"folder.{step} = lambda *_: os._exit(9)\n"
        "with writing(path, folder=True, overwrite=True), whole_folder(path, 'test', overwrite=True) as partial:\n"
        "    (partial / 'x.txt').write_text('new')"
    )
    killed(out, code)
    assert (out / "x.txt").read_text() == "new"
    with locked(out):
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["out"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("rename", [1, 2])
def test_without_an_exchange_in_one_step_a_kill_leaves_a_whole_output(tmp_path: Path, rename: int) -> None:
    out = tmp_path / "out"
    make(out, "old")
    code = (
        "whole._in_one_step = lambda *_: False\n"
        "left, rename = [0], os.rename\n"
        "def counted(*names):\n"
        "    rename(*names)\n"
        "    left[0] += 'out' in map(lambda name: Path(name).name, names)\n"
        f"    if left[0] == {rename}: os._exit(9)\n"
        "whole.os.rename = counted\n"
        "with writing(path, folder=True, overwrite=True), whole_folder(path, 'test', overwrite=True) as partial:\n"
        "    (partial / 'x.txt').write_text('new')"
    )
    killed(out, code)
    with pytest.warns(UserWarning, match="is restored"), locked(out):
        assert (out / "x.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_folders_swap_where_the_system_has_no_such_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_in_one_step", lambda *_: False)
    out = tmp_path / "out"
    make(out, "old")
    make(out, "new")
    assert (out / "x.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


WINDOWS = """
import fcntl, os, sys, types
held = {}
def locking(descriptor, mode, count):
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN if mode == 2 else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=1, LK_UNLCK=2)
sys.modules["fcntl"] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "pread"):
    delattr(os, name)
import signal
del signal.SIGHUP
from pathlib import Path
from noiseflow.core.errors import OutputError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.lock import lock_file
from noiseflow.core.output.whole import write_text
import noiseflow.cli.interrupts
path = Path(sys.argv[1]) / "x.txt"
with writing(path):
    write_text(path, "whole")
    child = os.fork()
    if not child:
        from noiseflow.core.output import lock
        lock.HELD.set(())
        try:
            with writing(path, overwrite=True): pass
        except OutputError as error:
            os._exit(0 if "is being written by process" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert not lock_file(path).exists()
"""


def test_one_writer_at_a_time_where_there_is_no_flock(tmp_path: Path) -> None:
    """By a stand-in for Windows' module: its byte is locked far behind the text, which others must read."""
    found = subprocess.run([sys.executable, "-c", WINDOWS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "x.txt").read_text() == "whole"
    assert os.listdir(tmp_path) == ["x.txt"]

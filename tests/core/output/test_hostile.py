"""What a hostile or unlucky neighbour can put in the way: edited lists and notes, rights, disks without locks."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noiseflow.core.errors import OutputError
from noiseflow.core.output import lock
from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.output.lock import lock_file, locked
from noiseflow.core.output.manifest import MANIFEST, foreign, listing, record
from noiseflow.core.output.verified import verified
from noiseflow.core.output.whole import write_bytes


def sandbox(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def make(path: Path, text: str = "ours", *, overwrite: bool = False) -> None:
    """Write a folder of ours with two files."""
    with writing(path, folder=True, overwrite=overwrite), whole_folder(path, "test", overwrite=overwrite) as partial:
        (partial / "a").mkdir()
        (partial / "a" / "x.txt").write_text(text)
        (partial / "index.html").write_text(text)


OUTSIDE = (
    {"file": "../photo.dng"},
    {"file": "a/../../photo.dng"},
    {"folder": ".."},
    {"folder": "../mine"},
    {"growing": "../**"},
    {"growing": "**"},
    {"marked": "**"},
    {"marked": "../*"},
    {"file": "a\0b"},
    {"file": 3},
)


@pytest.mark.parametrize("line", [*OUTSIDE, {"file": "ABSOLUTE"}, {"folder": "ABSOLUTE"}], ids=str)
def test_an_edited_list_leads_nowhere(tmp_path: Path, line: dict[str, object]) -> None:
    out = tmp_path / "out"
    make(out)
    for mine in (tmp_path / "photo.dng", tmp_path / "mine" / "x", out / "photo.dng"):
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
    line = {kind: str(tmp_path / "photo.dng") if name == "ABSOLUTE" else name for kind, name in line.items()}
    with (out / MANIFEST).open("a") as file:
        file.write(json.dumps({**line, "sha256": "0" * 64}) + "\n")
    before = sandbox(tmp_path)
    assert foreign(out) == ["photo.dng"]
    with pytest.raises(OutputError, match=r"files that noiseflow did not write: 'photo\.dng'"):
        make(out, "new", overwrite=True)
    found = verified(out)
    assert found is not None
    assert found.changed == ()
    assert sandbox(tmp_path) == before


def test_notes_of_a_lock_remove_no_folder_without_a_list(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    make(tmp_path / "run")
    notes = [{"leaves": name, "once": once, "is": None} for name in ("mine", "run") for once in ("out", "nothing")]
    lines = ({"noiseflow": "writing"}, *notes)
    lock_file(tmp_path / "out").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with locked(tmp_path / "out"):
        pass
    assert (tmp_path / "mine").is_dir()
    assert (tmp_path / "run" / "index.html").is_file()


def test_an_old_output_that_cannot_be_removed_is_left_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its folders are read-only; the new one is whole, and the next command is not refused."""
    make(tmp_path / "out")
    unlink = os.unlink

    def refused(path: str, *more: object, **how: int) -> None:
        if "index.html" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.warns(UserWarning, match=r"\.old: could not be removed \(permission denied\)"):
        make(tmp_path / "out", "new", overwrite=True)
    monkeypatch.setattr(os, "unlink", unlink)
    assert (tmp_path / "out" / "index.html").read_text() == "new"
    assert not lock_file(tmp_path / "out").exists()
    make(tmp_path / "out", "newer", overwrite=True)
    assert (tmp_path / "out" / "index.html").read_text() == "newer"


def test_an_output_that_may_not_be_replaced_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    make(folder / "out")
    check_output(folder / "out", folder=True, overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "out")
    with pytest.raises(OutputError, match="is not writable"):
        check_output(folder / "out", folder=True, overwrite=True)
    monkeypatch.undo()
    folder.chmod(0o1777)
    check_output(folder / "out", folder=True, overwrite=True)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        check_output(folder / "out", folder=True, overwrite=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_lock_that_another_user_planted_where_all_may_write_is_not_followed(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    file = lock_file(tmp_path / "out")
    file.write_text('{"noiseflow": "writing"}\n')
    with locked(tmp_path / "out"):
        pass
    file.write_text('{"noiseflow": "writing"}\n')
    os.chown(file, 12345, 12345)
    with pytest.raises(OutputError, match=r"another user's lock|permission denied"), locked(tmp_path / "out"):
        pass
    tmp_path.chmod(0o777)
    with locked(tmp_path / "out"):
        pass


@pytest.mark.parametrize("folder", [False, True])
def test_names_that_no_disk_takes(tmp_path: Path, folder: bool) -> None:
    for name, says in (("a\0b", "NUL"), ("x" * 256, "too long")):
        with pytest.raises(OutputError, match=says):
            check_output(tmp_path / name, folder=folder)


def test_the_list_of_a_backup_made_of_links_is_not_written_to(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / MANIFEST).hardlink_to(tmp_path / "out" / MANIFEST)
    before = (tmp_path / "backup" / MANIFEST).read_bytes()
    record(tmp_path / "out", {"growing": "events.*"})
    assert (tmp_path / "backup" / MANIFEST).read_bytes() == before
    known = listing(tmp_path / "out")
    assert known is not None
    assert known.growing == ["events.*"]
    assert set(known.files) == {"a/x.txt", "index.html"}


def test_the_lock_of_a_backup_made_of_links_is_not_written_to(tmp_path: Path) -> None:
    """A dead writer's lock with its notes, linked into a backup; and a user's empty file that is linked to its name."""
    for content in ('{"noiseflow": "writing", "pid": 1}\n{"private": "x"}\n', ""):
        backup, file = tmp_path / "backup", lock_file(tmp_path / "out")
        backup.write_text(content)
        file.hardlink_to(backup)
        with locked(tmp_path / "out"):
            assert file.stat().st_nlink == 1
        assert backup.read_text() == content
        assert not file.exists()


NO_LOCKS = """
import errno, sys, time
from pathlib import Path
from noiseflow.core.output import lock
from noiseflow.core.output.checks import writing
def none(_): raise OSError(errno.ENOLCK, "No locks available")
lock._lock = none
with writing(Path(sys.argv[1])):
    print("writes", flush=True)
    time.sleep(60)
"""


def test_one_writer_at_a_time_on_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as Lustre without ``-o flock``: a lock file whose writer may be dead is the user's to remove."""

    def none(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    out = tmp_path / "o.bin"
    monkeypatch.setattr(lock, "_lock", none)
    with subprocess.Popen([sys.executable, "-c", NO_LOCKS, out], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for alive in (True, False):
            says = rf"process {writer.pid} on .*if that process is dead, remove {lock_file(out).name}"
            with pytest.raises(OutputError, match=says), writing(out):
                pass
            if alive:
                writer.kill()
                writer.wait()
    lock_file(out).unlink()
    with writing(out):
        write_bytes(out, b"whole")
    assert os.listdir(tmp_path) == ["o.bin"]

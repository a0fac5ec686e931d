"""One writer at a time: a lock by the operating system, which the writer's death frees.

The lock file stands beside the output.  It says who writes, and lists the private files that the
writer makes; it goes when the writer is done.  One that a killed writer left is taken over by the
next, who first clears up by the notes in it: see `noiseflow.core.output.leftovers`.
"""

import json
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from noiseflow.core.errors import OutputError
from noiseflow.core.output.leftovers import clear_up, identity_of
from noiseflow.core.output.names import PREFIX
from noiseflow.core.output.system_lock import FLAGS, lock, read_all, unlock

__all__ = ["lock_file", "locked", "note_kept", "note_leaves", "register", "sweep"]

LOCK = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}\.lock", re.ASCII)

TRIES = 100
"""Times that a lock file may vanish between opening and locking, as others finish."""


@dataclass(frozen=True)
class _Held:
    target: Path
    file: Path
    descriptor: int


_held: ContextVar[tuple[_Held, ...]] = ContextVar("held outputs", default=())


def lock_file(target: Path) -> Path:
    """Where the lock of an output is."""
    name = sha256(os.fsencode(target.name)).hexdigest()[:24]
    return target.with_name(f"{PREFIX}{name}.lock")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Be the only writer of an output within the block; a nested lock of the same output is no second one.

    Raises
    ------
    OutputError
        Another process writes it; says which, and since when.
    """
    target = Path(os.path.realpath(target.parent)) / target.name
    if any(held.target == target for held in _held.get()):
        yield
        return
    file = lock_file(target)
    descriptor = _acquired(file, target)
    token = _held.set((*_held.get(), _Held(target, file, descriptor)))
    try:
        yield
    finally:
        _held.reset(token)
        _release(file, descriptor)


def register(path: Path) -> None:
    """List a private file or folder in the lock of the output that it is for, before it is made."""
    _note(path, lambda name: {"private": name})


def note_kept(aside: Path, path: Path) -> None:
    """Note, before an earlier output is set aside, that it gets its name back if this process dies.

    Parameters
    ----------
    aside : Path
        Private name that the earlier output will have.
    path : Path
        The output.
    """
    _note(aside, lambda name: {"kept": name, "of": str(Path(name).with_name(path.name))})


def note_leaves(left: Path, whole: Path, path: Path) -> None:
    """Note what is to be removed if this process dies right after the output took its name.

    Parameters
    ----------
    left : Path
        Folder beside the output.
    whole : Path
        The new output under the name that it has now.
    path : Path
        The output.
    """
    found = identity_of(whole)
    _note(left, lambda name: {"leaves": name, "once": str(Path(name).with_name(path.name)), "is": found})


def _note(path: Path, line_of: Callable[[str], dict[str, Any]]) -> None:
    real = Path(os.path.realpath(path.parent)) / path.name
    for held in reversed(_held.get()):
        if real.is_relative_to(held.target.parent):
            _append(held.descriptor, line_of(str(real.relative_to(held.target.parent))))
            return


def sweep(folder: Path) -> None:
    """Remove the locks in a folder whose writers are dead, and the private files that they list."""
    for file in folder.glob(f"{PREFIX}*.lock"):
        if not LOCK.fullmatch(file.name) or file.is_symlink() or not file.is_file():
            continue
        descriptor = os.open(file, FLAGS)
        try:
            lock(descriptor)
            if lines := _lines(descriptor):
                clear_up(lines, file.parent)
                _unlink(file)
        except BlockingIOError:
            # Its writer is alive: what it writes is in the way of whoever would remove the folder.
            continue
        finally:
            os.close(descriptor)


def _acquired(file: Path, target: Path) -> int:
    for _ in range(TRIES):
        try:
            descriptor = os.open(file, FLAGS | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({(error.strerror or str(error)).lower()})") from error
        try:
            if _is_taken(descriptor, file, target):
                clear_up(_lines(descriptor) or [], file.parent)
                os.ftruncate(descriptor, 0)
                _append(descriptor, {"noiseflow": "writing", "output": target.name, **_who()})
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OutputError(f"{target}: its lock {file.name} comes and goes; try again")


def _is_taken(descriptor: int, file: Path, target: Path) -> bool:
    """Whether the lock is ours now; False if the file went away meanwhile."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OutputError(f"{file}: is a special file where the lock of {target.name} belongs; move it away")
    lines = _lines(descriptor)
    if lines is None:
        raise OutputError(f"{file}: is no lock of ours; move it away to write {target.name}")
    try:
        lock(descriptor)
    except BlockingIOError as error:
        who = next(iter(_lines(descriptor) or []), {})
        raise OutputError(
            f"{target}: is being written by process {who.get('pid', '?')} on {who.get('host', '?')} since "
            f"{who.get('since', 'just now')}; wait for it, or choose another name"
        ) from error
    try:
        now, ours = os.stat(file, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)


def _release(file: Path, descriptor: int) -> None:
    try:
        clear_up(_lines(descriptor) or [], file.parent)
        _unlink(file)
    finally:
        unlock(descriptor)
        os.close(descriptor)


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except PermissionError:
        # Windows removes no file that is open: the next writer takes it over.
        if os.name != "nt":
            raise


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _append(descriptor: int, line: dict[str, Any]) -> None:
    os.write(descriptor, (json.dumps(line) + "\n").encode())


def _lines(descriptor: int) -> list[dict[str, Any]] | None:
    """What a lock file says; None if it is no lock file of ours.  A line that was cut short is left out."""
    text = read_all(descriptor)
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    if text and not (lines and isinstance(lines[0], dict) and lines[0].get("noiseflow") == "writing"):
        return None
    return [line for line in lines if isinstance(line, dict)]

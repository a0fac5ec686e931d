"""One writer at a time: a lock by the operating system, which the writer's death frees.

The lock file stands beside the output.  It says who writes, and lists the private files that the
writer makes; it goes when the writer is done.  One that a killed writer left is taken over by the
next, who first removes the files in the list.
"""

import fcntl
import json
import os
import re
import shutil
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
from noiseflow.core.output.names import PREFIX, is_private

__all__ = ["OLD", "lock_file", "locked", "register", "sweep"]

LOCK = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}\.lock", re.ASCII)

OLD = ".old"
"""Suffix of a folder of ours that was set aside to be removed: only what is listed in it is."""

REMOVERS: list[Callable[[Path], None]] = []
"""How a folder that was set aside is removed: `noiseflow.core.output.manifest`, which knows lists, says it here."""

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
    real = Path(os.path.realpath(path.parent)) / path.name
    for held in reversed(_held.get()):
        if real.is_relative_to(held.target.parent):
            _append(held.descriptor, {"private": str(real.relative_to(held.target.parent))})
            return


def sweep(folder: Path) -> None:
    """Remove the locks in a folder whose writers are dead, and the private files that they list."""
    for file in folder.glob(f"{PREFIX}*.lock"):
        if not LOCK.fullmatch(file.name) or file.is_symlink() or not file.is_file():
            continue
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _lines(descriptor):
                _clean(descriptor, file)
                file.unlink(missing_ok=True)
        except BlockingIOError:
            # Its writer is alive: what it writes is in the way of whoever would remove the folder.
            continue
        finally:
            os.close(descriptor)


def _acquired(file: Path, target: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(TRIES):
        try:
            descriptor = os.open(file, flags, 0o666)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({(error.strerror or str(error)).lower()})") from error
        try:
            if _is_taken(descriptor, file, target):
                _clean(descriptor, file)
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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        _clean(descriptor, file)
        file.unlink(missing_ok=True)
    finally:
        # For processes that are copies of this one, too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _append(descriptor: int, line: dict[str, Any]) -> None:
    os.write(descriptor, (json.dumps(line) + "\n").encode())


def _lines(descriptor: int) -> list[dict[str, Any]] | None:
    """What a lock file says; None if it is no lock file of ours.  A line that was cut short is left out."""
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    if text and not (lines and isinstance(lines[0], dict) and lines[0].get("noiseflow") == "writing"):
        return None
    return [line for line in lines if isinstance(line, dict)]


def _clean(descriptor: int, file: Path) -> None:
    """Remove the private files that the writer listed and did not move into place."""
    for line in _lines(descriptor) or []:
        name = line.get("private")
        if isinstance(name, str) and is_private(Path(name).name) and ".." not in Path(name).parts:
            path = file.parent / name
            if path.is_symlink():
                continue
            if path.suffix == OLD and path.is_dir():
                for remove in REMOVERS:
                    remove(path)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

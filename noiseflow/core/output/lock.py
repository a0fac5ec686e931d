"""One writer at a time: a lock by the operating system, which the writer's death frees.

The lock file stands beside the output.  It says who writes, and lists the private files that the
writer makes; it goes when the writer is done.  One that a killed writer left is taken over by the
next, who first clears up by the notes in it: see `noiseflow.core.output.leftovers`.
"""

import errno
import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

from noiseflow.core.errors import OutputError
from noiseflow.core.output.leftovers import HELD, PREFIX, Held, append, clear_up

__all__ = ["NO_LINK", "lock_file", "locked", "sweep"]

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag that refuses to open a symbolic link, where the system has it."""

FLAGS = os.O_RDWR | NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""How a lock file is opened: no link is followed, and a pipe is not waited for."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system answers that has no locks, such as Lustre without ``-o flock``."""

FAR = 1 << 30
"""Byte that is locked on Windows: a locked byte cannot be read there, and the text of a lock file must be."""

LOCK = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}\.lock", re.ASCII)

TRIES = 100
"""Times that a lock file may vanish between opening and locking, as others finish."""


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
    if any(held.target == target for held in HELD.get()):
        yield
        return
    file = lock_file(target)
    descriptor = _acquired(file, target)
    token = HELD.set((*HELD.get(), Held(target, file, descriptor)))
    try:
        yield
    finally:
        HELD.reset(token)
        _release(file, descriptor)


def sweep(folder: Path) -> None:
    """Remove the locks in a folder whose writers are dead, and the private files that they list."""
    for file in folder.glob(f"{PREFIX}*.lock"):
        if not LOCK.fullmatch(file.name) or file.is_symlink() or not file.is_file():
            continue
        try:
            descriptor = os.open(file, FLAGS)
        except PermissionError:
            # Another user's.
            continue
        try:
            if _of_another_user(file, os.fstat(descriptor)):
                continue
            _lock(descriptor)
            if lines := _lines(descriptor):
                clear_up(lines, file.parent)
                _unlink(file)
        except OSError as error:
            # Its writer is alive, or may be: what it writes is in the way of whoever would remove the folder.
            if not isinstance(error, BlockingIOError) and error.errno not in NO_LOCKS:
                raise
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
            try:
                taken = _is_taken(descriptor, file, target)
            except _NoLocksError:
                _be_first(descriptor, target, file)
                return descriptor
            if taken:
                clear_up(_lines(descriptor) or [], file.parent)
                if os.fstat(descriptor).st_nlink > 1:
                    # A copy by hard links, such as a backup, keeps what stood in it.
                    _unlink(file)
                    os.close(descriptor)
                    continue
                os.ftruncate(descriptor, 0)
                append(descriptor, _who(target))
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OutputError(f"{target}: its lock {file.name} comes and goes; try again")


def _is_taken(descriptor: int, file: Path, target: Path) -> bool:
    """Whether the lock is ours now; False if the file went away meanwhile."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise OutputError(f"{file}: is a special file where the lock of {target.name} belongs; move it away")
    if _of_another_user(file, about):
        raise OutputError(f"{file}: is a lock of another user for {target.name}; choose another name")
    lines = _lines(descriptor)
    if lines is None:
        raise OutputError(f"{file}: is no lock of ours; move it away to write {target.name}")
    try:
        _lock(descriptor)
    except BlockingIOError as error:
        raise OutputError(f"{_writer(descriptor, target)}; wait for it, or choose another name") from error
    except OSError as error:
        raise (_NoLocksError if error.errno in NO_LOCKS else error) from error
    try:
        now, ours = os.stat(file, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)


def _of_another_user(file: Path, about: os.stat_result) -> bool:
    """Whether a lock's notes, which say what to remove, are those of one who may not remove others' files here."""
    around, user = file.parent.stat(), os.geteuid() if hasattr(os, "geteuid") else about.st_uid
    return bool(around.st_mode & stat.S_ISVTX) and about.st_uid not in (around.st_uid, user)


class _NoLocksError(Exception):
    """The file system has no locks."""


def _be_first(descriptor: int, target: Path, file: Path) -> None:
    """Where there are no locks: have a lock file that says nothing yet; its first line says whose it is."""
    if os.fstat(descriptor).st_nlink > 1:
        raise OutputError(f"{file}: is a lock with a second name on the disk; remove it to write {target.name}")
    ours = {**_who(target), "token": token_hex(8)}
    if not _lines(descriptor):
        append(descriptor, ours)
    if (_lines(descriptor) or [])[:1] != [ours]:
        raise OutputError(
            f"{_writer(descriptor, target)}; the disk has no locks to tell: if that process is dead, remove {file.name}"
        )


def _writer(descriptor: int, target: Path) -> str:
    """In words, who writes an output."""
    who = next(iter(_lines(descriptor) or []), {})
    return (
        f"{target}: is being written by process {who.get('pid', '?')} on {who.get('host', '?')} since "
        f"{who.get('since', 'just now')}"
    )


def _release(file: Path, descriptor: int) -> None:
    try:
        clear_up(_lines(descriptor) or [], file.parent)
        _unlink(file)
    finally:
        _free(descriptor)
        os.close(descriptor)


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except PermissionError:
        # Windows removes no file that is open: the next writer takes it over.
        if os.name != "nt":
            raise


def _who(target: Path) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    head = {"noiseflow": "writing", "output": target.name}
    return {**head, "host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _lines(descriptor: int) -> list[dict[str, Any]] | None:
    """What a lock file says; None if it is no lock file of ours.  A line that was cut short is left out."""
    text = _read_all(descriptor)
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    if text and not (lines and isinstance(lines[0], dict) and lines[0].get("noiseflow") == "writing"):
        return None
    return [line for line in lines if isinstance(line, dict)]


def _lock(descriptor: int) -> None:
    """Lock a file, or raise at once.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        One of `NO_LOCKS`: the file system has none.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        _windows(descriptor, "LK_NBLCK")
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def _free(descriptor: int) -> None:
    """Free a lock, for processes that are copies of this one, too."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        else:
            _windows(descriptor, "LK_UNLCK")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _read_all(descriptor: int) -> bytes:
    """Content of a file, from its first byte on."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    left, blocks = os.fstat(descriptor).st_size, []
    while left > 0 and (block := os.read(descriptor, left)):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def _windows(descriptor: int, mode: str) -> None:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    os.lseek(descriptor, FAR, os.SEEK_SET)
    msvcrt.locking(descriptor, getattr(msvcrt, mode), 1)

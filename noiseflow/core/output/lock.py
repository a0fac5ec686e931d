"""Allow one writer of an output at a time, by a lock of the operating system, which is released if the writer dies.

The lock file is next to the output.  It names the writer and lists the private files that it makes,
and is removed when the writer is done.  If a writer was killed, the next one takes over its lock file and
first cleans up according to the notes in it: see `noiseflow.core.output.leftovers`.
"""

import errno
import json
import os
import platform
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from noiseflow.core.errors import OutputError
from noiseflow.core.output.leftovers import HELD, PREFIX, Held, append, clear_up

__all__ = ["NO_LINK", "lock_file", "locked", "sweep"]

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag that refuses to open a symbolic link; 0 if the system lacks it."""

FLAGS = os.O_RDWR | NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags with which a lock file is opened: do not follow links, and do not wait for a pipe."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems without locks, such as Lustre without ``-o flock``."""

FAR = 1 << 30
"""Offset of the byte that is locked on Windows: locked bytes cannot be read there, but others must read the text."""

LOCK = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}\.lock", re.ASCII)

TRIES = 100
"""Number of times that a lock file may vanish between opening and locking, because other writers finish."""


def lock_file(target: Path) -> Path:
    """Path of the lock file of an output."""
    name = sha256(os.fsencode(target.name)).hexdigest()[:24]
    return target.with_name(f"{PREFIX}{name}.lock")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Lock an output for the duration of a block; locking it again in the block does nothing.

    Parameters
    ----------
    target : Path
        The output.

    Raises
    ------
    OutputError
        If another process is writing it; the message says which, and since when.
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
    """Remove the locks of killed writers in a folder, and the private files noted in them."""
    for file in folder.glob(f"{PREFIX}*.lock"):
        if not LOCK.fullmatch(file.name) or file.is_symlink() or not file.is_file():
            continue
        try:
            descriptor = os.open(file, FLAGS)
        except PermissionError:
            # The lock of another user.
            continue
        try:
            if _of_another_user(file, os.fstat(descriptor)):
                continue
            _lock(descriptor)
            if lines := _lines(descriptor):
                clear_up(lines, file.parent)
                _unlink(file)
        except OSError as error:
            # The writer is or may be alive, so its files stay, and prevent the removal of the folder.
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
                    # A backup by hard links must keep the content, so do not truncate: make a new file.
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
    raise OutputError(f"{target}: its lock {file.name} is made and removed by other processes; try again")


def _is_taken(descriptor: int, file: Path, target: Path) -> bool:
    """Lock the file and return True; False if the file was removed in the meantime."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise OutputError(f"{file}: is a special file in the place of the lock of {target.name}; move it away")
    if _of_another_user(file, about):
        raise OutputError(f"{file}: is another user's lock for {target.name}; choose another name")
    lines = _lines(descriptor)
    if lines is None:
        raise OutputError(f"{file}: was not written by noiseflow; move it away to write {target.name}")
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
    """Whether a lock belongs to a user who may not remove other users' files here, so its notes must be ignored."""
    around, user = file.parent.stat(), os.geteuid() if hasattr(os, "geteuid") else about.st_uid
    return bool(around.st_mode & stat.S_ISVTX) and about.st_uid not in (around.st_uid, user)


class _NoLocksError(Exception):
    """The file system has no locks."""


def _be_first(descriptor: int, target: Path, file: Path) -> None:
    """Claim an output on a file system without locks: the first line of the lock file decides who writes."""
    if os.fstat(descriptor).st_nlink > 1:
        raise OutputError(f"{file}: is a lock with several hard links; remove it to write {target.name}")
    ours = {**_who(target), "token": os.urandom(8).hex()}
    if not _lines(descriptor):
        append(descriptor, ours)
    if (_lines(descriptor) or [])[:1] != [ours]:
        raise OutputError(
            f"{_writer(descriptor, target)}; the disk has no locks, so this may be outdated: if that process is dead, "
            f"remove {file.name}"
        )


def _writer(descriptor: int, target: Path) -> str:
    """Describe the process that is writing an output, as the beginning of a message."""
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
        # Windows cannot remove an open file: the next writer takes it over.
        if os.name != "nt":
            raise


def _who(target: Path) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    head = {"noiseflow": "writing", "output": target.name}
    return {**head, "host": platform.node(), "pid": os.getpid(), "since": since}


def _lines(descriptor: int) -> list[dict[str, Any]] | None:
    """Lines of a lock file, without incomplete ones; None if noiseflow did not write it."""
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
    """Lock a file without waiting.

    Raises
    ------
    BlockingIOError
        If another process has locked it.
    OSError
        With one of `NO_LOCKS`, if the file system has no locks.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        _windows(descriptor, "LK_NBLCK")
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def _free(descriptor: int) -> None:
    """Release a lock, also for forks of this process."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        else:
            _windows(descriptor, "LK_UNLCK")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _read_all(descriptor: int) -> bytes:
    """Content of an open file, from its first byte."""
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

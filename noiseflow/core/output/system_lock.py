"""A file lock by the operating system, which the death of its holder frees, on POSIX and on Windows."""

import errno
import os

__all__ = ["FLAGS", "NO_LINK", "NO_LOCKS", "lock", "read_all", "unlock"]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system answers that has no locks, such as Lustre without ``-o flock``."""

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag that refuses to open a symbolic link, where the system has it."""

FLAGS = os.O_RDWR | NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""How a lock file is opened: no link is followed, and a pipe is not waited for."""

FAR = 1 << 30
"""Byte that is locked on Windows: a locked byte cannot be read there, and the text of a lock file must be."""

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int) -> None:
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


def unlock(descriptor: int) -> None:
    """Free a lock, for processes that are copies of this one, too."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        else:
            _windows(descriptor, "LK_UNLCK")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def read_all(descriptor: int) -> bytes:
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

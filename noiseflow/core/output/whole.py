"""Write files atomically (complete or not at all), and rename files and folders safely."""

import ctypes
import errno
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from noiseflow.core.output.leftovers import kept_beside, private_beside

__all__ = [
    "deferred",
    "exchange",
    "move_new",
    "place_file",
    "private_folder",
    "sync_folder",
    "whole_file",
    "write_bytes",
    "write_text",
]

AT_FDCWD, NO_REPLACE, EXCHANGE = -100, 1, 2
"""Arguments of Linux's `renameat2`."""

MAC_FLAGS = {NO_REPLACE: 4, EXCHANGE: 2}
"""The same flags for macOS's `renamex_np`."""

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop; Windows has no SIGHUP."""

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
"""Errors of systems and file systems that lack an operation."""


@contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a private, empty file next to `path`, which is renamed to `path` if the block succeeds.

    Parameters
    ----------
    path : Path
        Final name of the file.
    replace : bool
        Replace an existing file, which the caller knows to be noiseflow's.

    Raises
    ------
    FileExistsError
        If the name is taken and `replace` is False.
    OSError
        If the disk is full or not writable; then `path` is unchanged.
    """
    partial = private_beside(path, path.suffix)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield partial
        _sync(partial)
        place_file(partial, path, replace=replace)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def private_folder(beside: Path) -> Iterator[Path]:
    """Yield an empty private folder next to a path; it is removed at the end of the block."""
    partial = private_beside(beside)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def place_file(whole: Path, path: Path, *, replace: bool) -> None:
    """Rename a complete file to its final name; arguments and errors as in `whole_file`."""
    if replace:
        os.replace(whole, path)
    else:
        move_new(whole, path)


def write_bytes(path: Path, content: bytes | memoryview, *, replace: bool = False) -> None:
    """Write bytes to a file atomically; arguments and errors as in `whole_file`."""
    with whole_file(path, replace=replace) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, *, replace: bool = False) -> None:
    """Write text to a file atomically, as UTF-8; characters that cannot be encoded become escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), replace=replace)


@contextmanager
def deferred() -> Iterator[None]:
    """Delay signals that stop the process until the end of the block, which must be short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            os.kill(os.getpid(), came[0])


def move_new(source: Path, target: Path) -> None:
    """Rename a file or folder without replacing anything.

    Raises
    ------
    FileExistsError
        If the new name is taken.
    """
    if _in_one_step(source, target, NO_REPLACE):
        return
    # Without such a system call, check as late as possible.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def exchange(one: Path, other: Path) -> None:
    """Exchange the names of two paths in one folder.

    Without such a system call, a kill in between may lose the new content of `other`, but never its old content.
    """
    if _in_one_step(one, other, EXCHANGE):
        return
    aside = kept_beside(other)
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if the system supports it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush folders.
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@cache
def _function() -> Any:
    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    return getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None


def _in_one_step(source: Path, target: Path, flag: int) -> bool:
    """Rename in one system call; return False if that is not supported, and raise any other error."""
    function = _function()
    if function is None:
        return False
    names = os.fsencode(source), os.fsencode(target)
    if sys.platform == "darwin":
        failed = function(*names, MAC_FLAGS[flag])
    else:
        failed = function(AT_FDCWD, names[0], AT_FDCWD, names[1], flag)
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))

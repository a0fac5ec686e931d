"""Files that are either there with all their content or not there, and the steps that give files and folders a name."""

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
"""Arguments of Linux' `renameat2`."""

MAC_FLAGS = {NO_REPLACE: 4, EXCHANGE: 2}
"""The same flags of macOS' `renamex_np`."""

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop; Windows has no HUP."""

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


@contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A private, empty file beside `path` to write into, which takes the name `path` when the block ends well.

    Parameters
    ----------
    path : Path
        Final name of the file.
    replace : bool
        Whether a file of that name, which the caller has found to be ours, may be replaced.

    Raises
    ------
    FileExistsError
        The name is taken and may not be replaced.
    OSError
        The disk is full, or may not be written to.  Nothing stands under `path` that was not there before.
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
    """An empty folder that nobody else has, beside a path, for the time of a block."""
    partial = private_beside(beside)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def place_file(whole: Path, path: Path, *, replace: bool) -> None:
    """Give a whole file its name; see `whole_file`."""
    if replace:
        os.replace(whole, path)
    else:
        move_new(whole, path)


def write_bytes(path: Path, content: bytes | memoryview, *, replace: bool = False) -> None:
    """Write a whole file: see `whole_file`."""
    with whole_file(path, replace=replace) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a whole file of UTF-8; bytes of file names that are no text become ASCII."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), replace=replace)


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal to stop wait until the end of the block, which takes no longer than a few renames."""
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
    """Give a file or folder a name that is free.

    Raises
    ------
    FileExistsError
        The name is taken.
    """
    if _in_one_step(source, target, NO_REPLACE):
        return
    # Not one step where the system has none: the check comes as late as it can.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def exchange(one: Path, other: Path) -> None:
    """Let two paths of one folder swap their names.

    Where the system has no such step, a kill in between costs the one that `other` was to be, never the one it was.
    """
    if _in_one_step(one, other, EXCHANGE):
        return
    aside = kept_beside(other)
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call for folders.
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
    """Whether the system could do it in one step; an error other than 'not supported' is raised."""
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

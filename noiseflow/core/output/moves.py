"""Move a file or folder into place in one step."""

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["exchange", "move_new", "sync_folder"]

AT_FDCWD, NO_REPLACE, EXCHANGE = -100, 1, 2
"""Arguments of Linux' `renameat2`."""

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def move_new(source: Path, target: Path) -> None:
    """Give a file or folder a name that is free.

    Raises
    ------
    FileExistsError
        The name is taken.
    """
    if _renameat2(source, target, NO_REPLACE):
        return
    # Not one step where the system has none: the check comes as late as it can.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def exchange(one: Path, other: Path) -> None:
    """Let two paths of one folder swap their names."""
    if _renameat2(one, other, EXCHANGE):
        return
    aside = one.with_name(one.name + ".old")
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


@cache
def _function() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Whether the system could do it in one step; an error other than 'not supported' is raised."""
    function = _function()
    if function is None:
        return False
    if function(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))

"""Move a file or folder into place in one step."""

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from noiseflow.core.output.leftovers import KEPT
from noiseflow.core.output.lock import note_kept
from noiseflow.core.output.names import private_name

__all__ = ["exchange", "move_new", "sync_folder"]

AT_FDCWD, NO_REPLACE, EXCHANGE = -100, 1, 2
"""Arguments of Linux' `renameat2`."""

MAC_FLAGS = {NO_REPLACE: 4, EXCHANGE: 2}
"""The same flags of macOS' `renamex_np`."""

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


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
    aside = other.with_name(private_name(KEPT))
    note_kept(aside, other)
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

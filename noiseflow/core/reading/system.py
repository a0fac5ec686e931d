"""Distinguish files that the system does not let us read from damaged files."""

import errno
import os
from pathlib import Path

__all__ = ["refused_by_system"]

REFUSALS = (errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EIO)
"""System errors that depend on the time, the user or a limit, not on the content of the file."""


def refused_by_system(path: str | Path, error: BaseException) -> str:
    """Reason why the system does not let a file be read; empty if it does, so that the file itself is faulty.

    Parameters
    ----------
    path : path
        The file.
    error : exception
        Exception raised on reading it; some libraries give the system's error only in their message.

    Examples
    --------
    >>> refused_by_system("p.h5", OSError(errno.EMFILE, "Too many open files"))
    'cannot be read (too many open files)'
    """
    said = str(error).lower()
    words = [*(os.strerror(code).lower() for code in REFUSALS), "memory allocation failed"]
    found = next((each for each in words if each in said), "")
    if not found:
        try:
            with open(path, "rb"):
                return ""
        except OSError as refusal:
            found = (refusal.strerror or str(refusal)).lower()
    return f"cannot be read ({found})"

"""What the system refuses, told apart from what is wrong with a file: a file that cannot be opened is not damaged."""

import errno
import os
from pathlib import Path

__all__ = ["refused_by_system"]

REFUSALS = (errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EIO)
"""What the system answers where another day, user or limit would let the same file be read."""


def refused_by_system(path: str | Path, error: BaseException) -> str:
    """Why the system does not let a file be read; empty where it does, so that the file is at fault.

    Parameters
    ----------
    path : path
        The file.
    error : exception
        What came of reading it; libraries give the system's word with it, or only in their text.

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

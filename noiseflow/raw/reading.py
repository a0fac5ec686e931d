"""One door for every raw format: a table of readers, asked in turn.

To add a format, write a module with a function ``read(path) -> RawImage`` and give it
a line in `READERS`.
"""

from collections.abc import Callable
from pathlib import Path

from noiseflow.errors import RawError
from noiseflow.raw import libraw
from noiseflow.raw.image import RawImage

__all__ = ["READERS", "is_raw", "read_raw"]

Reader = Callable[[Path], RawImage]

READERS: dict[frozenset[str], Reader] = {
    libraw.SUFFIXES: libraw.read,
}
"""Suffixes (lower case, with the dot) and the function that reads files named so."""


def is_raw(path: Path) -> bool:
    """Whether a file's name is one that a reader knows."""
    return any(path.suffix.lower() in suffixes for suffixes in READERS)


def read_raw(path: str | Path) -> RawImage:
    """Read one raw file.

    Parameters
    ----------
    path : path
        A file with a suffix in `READERS`.

    Raises
    ------
    RawError
        The file is missing, of an unknown kind, damaged, or of a sensor that is not
        supported; the message names the file and the reason.
    """
    path = Path(path)
    if not path.exists():
        raise RawError(f"{path}: no such file")
    if path.is_dir():
        raise RawError(f"{path}: is a folder; expected one raw file")
    for suffixes, read in READERS.items():
        if path.suffix.lower() in suffixes:
            return read(path)
    known = ", ".join(sorted(suffix for suffixes in READERS for suffix in suffixes))
    raise RawError(f"{path}: {path.suffix or 'no suffix'} is not a raw format we read; expected one of {known}")

"""Files that are either there with all their content or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noiseflow.core.output.lock import register
from noiseflow.core.output.moves import move_new
from noiseflow.core.output.names import private_name

__all__ = ["place_file", "whole_file", "write_bytes", "write_text"]


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
    partial = path.with_name(private_name(path.suffix))
    register(partial)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield partial
        _sync(partial)
        place_file(partial, path, replace=replace)
    finally:
        partial.unlink(missing_ok=True)


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


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

"""The folder in which a store is made: its list, the store that grows in it, and the counts of the parts' patches.

A part's patches stand in the store after those of all earlier parts, so each part records how many patches it holds
before it writes them.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from noiseflow.core.errors import StoreError
from noiseflow.core.output.checks import partial_of
from noiseflow.core.output.manifest import begin, listing, record, remove_ours
from noiseflow.core.output.whole import move_new, private_folder

__all__ = [
    "PATIENCE_S",
    "begin_folder",
    "clear",
    "list_parts",
    "on_disk",
    "patches_before",
    "record_count",
    "store_file",
]

PATIENCE_S = 0.5
"""Longest wait, in seconds, for the count of the part just before, whose frame is being decoded."""

COUNT_TYPE = np.dtype("<u4")
"""One more than the number of patches of a part, in the file of counts; 0 where it is not known yet."""

OURS = ("plan.json*", "counts*", "store.h5*", "around.h5*", "part-??????.*", "scene-??????.*")
"""Files in the folder in which a store is made, and those that a killed process leaves there."""


def begin_folder(folder: Path, plan: bytes = b"") -> None:
    """Make the folder of an unfinished store, which a list in it says is ours from the moment it has its name.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    plan : bytes
        Content of its ``plan.json``.
    """
    with private_folder(folder) as made:
        list_parts(made)
        (made / "plan.json").write_bytes(plan)
        move_new(made, folder)


def list_parts(folder: Path) -> None:
    """Put the list of what an ingest writes into a folder that was found to be one of an unfinished store."""
    if listing(folder) is None:
        begin(folder, "unfinished store")
        record(folder, *({"growing": pattern} for pattern in OURS))


def clear(folder: Path) -> None:
    """Remove what an ingest left in a folder, and the folder; do nothing if it does not exist.

    Raises
    ------
    OutputError
        It holds something that no ingest writes; nothing is removed.
    """
    if folder.exists():
        remove_ours(folder)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line that says what is kept.

    Parameters
    ----------
    path : Path
        The store that is being made.

    Raises
    ------
    StoreError
        For any `OSError` of the block that does not name another file.
    """
    try:
        yield
    except OSError as error:
        if error.filename and not str(error.filename).startswith((str(path), str(path.absolute()))):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "no space left" if full else (error.strerror or str(error))
        kept = partial_of(path)
        go_on = f"finished frames are kept in {kept.name}: free some space and give the same command again to go on"
        raise StoreError(f"{path}: cannot be written ({reason})" + (f"; {go_on}" if kept.is_dir() else "")) from error


def store_file(folder: Path) -> Path:
    """The store that is being made."""
    return folder / "store.h5"


def record_count(folder: Path, number: int, patches: int) -> None:
    """Record how many patches a part holds, for the parts after it."""
    file = os.open(folder / "counts", os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(file, np.array(patches + 1, COUNT_TYPE).tobytes(), number * COUNT_TYPE.itemsize)
    finally:
        os.close(file)


def patches_before(folder: Path, number: int, *, patience_s: float = 0.0) -> int | None:
    """Number of patches of all parts before one whose own count is recorded; None if it is not known.

    Parameters
    ----------
    folder : Path
        Folder of the ingest.
    number : int
        Number of the part.
    patience_s : float
        How long to wait, in seconds, for the part just before, if it is the only one missing.
    """
    last = time.monotonic() + patience_s
    while True:
        known = np.fromfile(folder / "counts", COUNT_TYPE, number)
        counts = np.zeros(number, np.int64)
        counts[: len(known)] = known
        if counts.all():
            return int((counts - 1).sum())
        if not counts[:-1].all() or time.monotonic() >= last:
            return None
        time.sleep(0.002)

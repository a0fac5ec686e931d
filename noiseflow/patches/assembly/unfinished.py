"""The folder of an unfinished store: its list of files, the growing store, and the patch counts of the parts.

A part's patches follow those of all earlier parts in the store, so each part records its number of patches before it
writes them.
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
"""Longest wait in seconds for the patch count of the previous part, whose frame is still being decoded."""

COUNT_TYPE = np.dtype("<u4")
"""Type of an entry in the file of counts: the number of patches of a part plus 1; 0 if it is not known yet."""

OURS = ("plan.json*", "counts*", "store.h5*", "around.h5*", "part-??????.*", "scene-??????.*")
"""Patterns of all files that an ingest, finished or killed, may leave in the folder."""


def begin_folder(folder: Path, plan: bytes = b"") -> None:
    """Create the folder of an unfinished store, together with the list that marks it as noiseflow's.

    Parameters
    ----------
    folder : Path
        Folder to create.
    plan : bytes
        Content of its ``plan.json``.
    """
    with private_folder(folder) as made:
        list_parts(made)
        (made / "plan.json").write_bytes(plan)
        move_new(made, folder)


def list_parts(folder: Path) -> None:
    """Write the list of an ingest's files into a folder that has none but is known to be an unfinished store."""
    if listing(folder) is None:
        begin(folder, "unfinished store")
        record(folder, *({"growing": pattern} for pattern in OURS))


def clear(folder: Path) -> None:
    """Remove the folder of an unfinished store with all its files; do nothing if it does not exist.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    OutputError
        If it contains files that no ingest writes; then nothing is removed.
    """
    if folder.exists():
        remove_ours(folder)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Convert errors of a full or read-only disk to one line that also says what is kept.

    Parameters
    ----------
    path : Path
        Final name of the store.

    Raises
    ------
    StoreError
        For any `OSError` in the block, unless it names another file.
    """
    try:
        yield
    except OSError as error:
        if error.filename and not str(error.filename).startswith((str(path), str(path.absolute()))):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "no space left" if full else (error.strerror or str(error))
        kept = partial_of(path)
        go_on = f"finished frames are kept in {kept.name}: free some space and give the same command again to continue"
        raise StoreError(f"{path}: cannot be written ({reason})" + (f"; {go_on}" if kept.is_dir() else "")) from error


def store_file(folder: Path) -> Path:
    """Path of the growing store in the folder."""
    return folder / "store.h5"


def record_count(folder: Path, number: int, patches: int) -> None:
    """Record the number of patches of a part, for the parts after it."""
    file = os.open(folder / "counts", os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(file, np.array(patches + 1, COUNT_TYPE).tobytes(), number * COUNT_TYPE.itemsize)
    finally:
        os.close(file)


def patches_before(folder: Path, number: int, *, patience_s: float = 0.0) -> int | None:
    """Number of patches in all parts before one; None if a count is missing.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    number : int
        Number of the part.
    patience_s : float
        Longest wait in seconds for the count of the previous part, if only that is missing.
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

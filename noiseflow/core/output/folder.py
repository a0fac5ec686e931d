"""Folders that are either there with all their files or not there."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from noiseflow.core.errors import OutputError
from noiseflow.core.output.interrupts import deferred
from noiseflow.core.output.leftovers import KEPT, remove_or_leave
from noiseflow.core.output.listed import fresh_folder
from noiseflow.core.output.lock import note_kept, note_leaves, register
from noiseflow.core.output.manifest import describe_foreign, foreign, seal, set_aside
from noiseflow.core.output.moves import exchange, move_new, sync_folder
from noiseflow.core.output.names import private_name

__all__ = ["install", "private_folder", "refilled_folder", "whole_folder"]


@contextmanager
def private_folder(beside: Path) -> Iterator[Path]:
    """An empty folder that nobody else has, beside a path, for the time of a block."""
    partial = beside.with_name(private_name())
    register(partial)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_folder(path: Path, kind: str, *, overwrite: bool = False) -> Iterator[Path]:
    """A private folder to write into, which takes the name `path`, with a list of its files, when the block ends well.

    Parameters
    ----------
    path : Path
        Checked and locked: see `noiseflow.core.output.checks.writing`.
    kind : str
        Of the output, for the list.
    overwrite : bool
        Whether a folder of ours in that place may be replaced.

    Raises
    ------
    OutputError
        Something that is not ours has come to stand there.
    """
    with private_folder(path) as partial:
        yield partial
        seal(partial, kind)
        install(partial, path, overwrite=overwrite)


def install(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give a whole folder its name in one step, and remove the one of ours that had it."""
    if not path.exists():
        move_new(partial, path)
    elif not any(path.iterdir()):
        os.rename(partial, path)
    else:
        others = foreign(path)
        if others or not overwrite:
            raise OutputError(f"{path}: {describe_foreign(path, others)}" if others else f"{path}: exists")
        note_leaves(partial, partial, path)
        with deferred():
            exchange(partial, path)
            old = set_aside(partial)
        remove_or_leave(old)
    sync_folder(path.parent)


@contextmanager
def refilled_folder(path: Path, kind: str, *lines: Mapping[str, str]) -> Iterator[None]:
    """Fill a folder anew under its own name; the earlier one of ours comes back if the block fails or is killed.

    For outputs whose files say where they are, so that they cannot be made under another name.

    Parameters
    ----------
    path : Path
        Checked and locked: see `noiseflow.core.output.checks.writing`.
    kind : str
        Of the output, for its list.
    *lines : mapping
        Of what will stand in it: see `noiseflow.core.output.manifest.record`.

    Raises
    ------
    OutputError
        The folder holds something that is not ours; then all of it is left as it is.
    """
    if not path.exists() or not any(path.iterdir()):
        fresh_folder(path, kind, *lines)
        yield
        return
    others = foreign(path)
    if others:
        raise OutputError(f"{path}: {describe_foreign(path, others)}")
    aside = path.with_name(private_name(KEPT))
    note_kept(aside, path)
    try:
        os.rename(path, aside)
        fresh_folder(path, kind, *lines)
        yield
        with deferred():
            old = set_aside(aside)
    except BaseException:
        with deferred():
            _put_back(aside, path)
        raise
    remove_or_leave(old)


def _put_back(aside: Path, path: Path) -> None:
    """Give an earlier output its name back, unless something that is not ours has come to stand there."""
    if not aside.is_dir():
        return
    if path.is_dir() and not foreign(path):
        remove_or_leave(set_aside(path))
    if not os.path.lexists(path):
        os.rename(aside, path)

"""Folders that are either there with all their files or not there."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from noiseflow.core.errors import OutputError
from noiseflow.core.output.leftovers import kept_beside, note_leaves
from noiseflow.core.output.listed import fresh_folder
from noiseflow.core.output.manifest import describe_foreign, discard, foreign, seal, set_aside
from noiseflow.core.output.whole import deferred, exchange, move_new, private_folder, sync_folder

__all__ = ["install", "refilled_folder", "whole_folder"]


@contextmanager
def whole_folder(path: Path, kind: str, *, overwrite: bool = False) -> Iterator[Path]:
    """A private folder to write into, which takes the name `path`, with a list of its files, when the block ends well.

    Parameters
    ----------
    path : Path
        Checked and locked: see `noiseflow.core.output.checks.writing`.
    kind : str
        Kind of the output, for the list.
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
        discard(old)
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
        Kind of the output, for its list.
    *lines : mapping
        What the list says of its future content: see `noiseflow.core.output.manifest.record`.

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
    aside = kept_beside(path)
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
    discard(old)


def _put_back(aside: Path, path: Path) -> None:
    """Give an earlier output its name back, unless something that is not ours has come to stand there."""
    if not aside.is_dir():
        return
    if path.is_dir() and not foreign(path):
        discard(set_aside(path))
    if not os.path.lexists(path):
        os.rename(aside, path)

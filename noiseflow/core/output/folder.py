"""Write folders atomically: they exist either with all their files or not at all."""

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
    """Yield a private folder that is listed and renamed to `path` if the block succeeds.

    Parameters
    ----------
    path : Path
        Final name, checked and locked by `noiseflow.core.output.checks.writing`.
    kind : str
        Kind of the output, such as ``"report"``, for the list of files.
    overwrite : bool
        Replace an earlier folder that noiseflow wrote.

    Raises
    ------
    OutputError
        If files that noiseflow did not write have appeared at `path` in the meantime.
    """
    with private_folder(path) as partial:
        yield partial
        seal(partial, kind)
        install(partial, path, overwrite=overwrite)


def install(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete folder to its final name in one step, and remove the earlier output there.

    Parameters
    ----------
    partial : Path
        The complete folder, listed.
    path : Path
        Its final name.
    overwrite : bool
        Replace an earlier folder that noiseflow wrote.

    Raises
    ------
    OutputError
        If the folder at `path` may not be replaced.
    """
    if not path.exists():
        move_new(partial, path)
    elif not any(path.iterdir()):
        os.rename(partial, path)
    else:
        others = foreign(path)
        if others or not overwrite:
            raise OutputError(
                f"{path}: {describe_foreign(path, others)}" if others else f"{path}: exists; choose another name"
            )
        note_leaves(partial, partial, path)
        with deferred():
            exchange(partial, path)
            old = set_aside(partial)
        discard(old)
    sync_folder(path.parent)


@contextmanager
def refilled_folder(path: Path, kind: str, *lines: Mapping[str, str]) -> Iterator[None]:
    """Replace a folder by a new one under its own name; the earlier one is restored if the block fails or is killed.

    For outputs whose files contain their own path, so that they cannot be written elsewhere and renamed.

    Parameters
    ----------
    path : Path
        The folder, checked and locked by `noiseflow.core.output.checks.writing`.
    kind : str
        Kind of the output, such as ``"run"``, for its list of files.
    *lines : mapping
        Lines of the list about its future files: see `noiseflow.core.output.manifest.record`.

    Raises
    ------
    OutputError
        If the folder contains files that noiseflow did not write; then nothing is changed.
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
    """Restore an earlier output, unless files that noiseflow did not write have appeared under its name."""
    if not aside.is_dir():
        return
    if path.is_dir() and not foreign(path):
        discard(set_aside(path))
    if not os.path.lexists(path):
        os.rename(aside, path)

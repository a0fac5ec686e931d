"""Check the path of an output before any work is done."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path, PurePosixPath

from noiseflow.core.errors import OutputError
from noiseflow.core.output.lock import locked
from noiseflow.core.output.manifest import MANIFEST, describe_foreign, foreign, listing
from noiseflow.core.output.marks import has_mark

__all__ = ["PARTIAL", "check_apart", "check_output", "holds_files", "inside", "partial_of", "writing"]

PARTIAL = ".partial"
"""Suffix, after the name of an output, of the folder in which a long-running command makes it."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""System errors of a full disk, an exhausted quota, or a file size limit."""


@contextmanager
def writing(
    path: str | Path,
    *,
    folder: bool = False,
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
    goes_on: bool = False,
    needs: int = 0,
) -> Iterator[Path]:
    """Check an output and lock it for the duration of a block; yield its path.

    Parameters
    ----------
    path, folder, inputs, overwrite, goes_on, needs
        As in `check_output`.

    Raises
    ------
    OutputError
        If the output may not be written, another process is writing it, or the disk becomes full.
    """
    inputs = tuple(inputs)
    path = check_output(path, folder=folder, inputs=inputs, overwrite=True, goes_on=True, needs=needs)
    with locked(path):
        # Check again: another writer may have finished while we waited for the lock.
        check_output(path, folder=folder, inputs=inputs, overwrite=overwrite, goes_on=goes_on)
        with _named(path):
            yield path


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the output in errors of a full disk, where the system names a temporary file or none."""
    try:
        yield
    except OSError as error:
        within = re.search(r"errno = (\d+)", str(error)) if error.errno is None else None
        code = int(within[1]) if within else error.errno
        if code not in FULL:
            raise
        raise OutputError(
            f"{path}: cannot be written ({os.strerror(code).lower()}); free some space and give the same command again"
        ) from error


def check_output(
    path: str | Path,
    *,
    folder: bool = False,
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
    goes_on: bool = False,
    needs: int = 0,
) -> Path:
    """Check that an output can be written without harm to other files; return its path.

    Parameters
    ----------
    path : path
        File or folder to be written.
    folder : bool
        Whether the output is a folder rather than a file.
    inputs : iterable of path
        Inputs of the command; the output must not be one of them, contain one, or be inside one.
    overwrite : bool
        Allow replacing an earlier output of noiseflow; other files are never replaced.
    goes_on : bool
        Whether an existing path is an unfinished output that the command continues; it is then not checked.
    needs : int
        Bytes that will be written; 0 if unknown.

    Raises
    ------
    OutputError
        If the output may not be written; the line says why, and what to do.
    """
    path = Path(path)
    _check_place(path, folder=folder)
    for each in inputs:
        _check_input(path, Path(each))
    free = shutil.disk_usage(path.parent).free
    if needs > free:
        raise OutputError(
            f"{path}: needs {needs / 1e9:.3g} GB, but the disk has only {free / 1e9:.3g} GB left; free some space or "
            "choose another disk"
        )
    if not goes_on and os.path.lexists(path):
        _check_existing(path, overwrite=overwrite)
    return path


def partial_of(path: str | Path) -> Path:
    """Folder in which a long-running command makes an output, and from which it can continue after a kill."""
    return Path(f"{Path(path)}{PARTIAL}")


def holds_files(folder: Path) -> bool:
    """Whether a folder has any file except noiseflow's list; a command killed early leaves only that.

    Parameters
    ----------
    folder : Path
        Folder of an output.
    """
    entries = (entry for entry in folder.rglob("*") if entry.name != MANIFEST)
    return any(entry.is_symlink() or not entry.is_dir() for entry in entries)


def check_apart(*paths: str | Path | None) -> None:
    """Refuse two outputs of one command that are the same, or one inside the other.

    Raises
    ------
    OutputError
        If two of the paths (None is ignored) are not separate.
    """
    for one, other in combinations([Path(path) for path in paths if path is not None], 2):
        _check_input(one, other, what="another output of this command")


def inside(folder: Path, name: object, said_by: Path) -> Path:
    """Path of a file that a manifest names, after checking that it is inside a folder.

    Parameters
    ----------
    folder : Path
        Folder that the user named.
    name : object
        Name in the manifest: a relative path with ``/`` between folders.
    said_by : Path
        The manifest, for the error.

    Raises
    ------
    OutputError
        If the name leads out of the folder, or is not a text.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) and "\0" not in name else ()
    if not parts or os.path.isabs(str(name)) or ".." in parts:
        raise OutputError(f"{said_by}: names {name!r}, which is not inside {folder}; expected names of files in it")
    return folder.joinpath(*parts)


def _check_place(path: Path, *, folder: bool) -> None:
    what = "folder" if folder else "file"
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r}: a name cannot contain the character NUL; name a new {what}")
    real = Path(os.path.realpath(path))
    here = Path.cwd()
    if path.name in ("", "..") or real == here or real in here.parents:
        raise OutputError(f"{path}: is the current folder or contains it; name a new {what}")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder to write {path.name} into; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path.parent}: is not writable, so {path.name} cannot be made in it; choose another folder")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise OutputError(f"{path}: the name is too long for this disk; choose a shorter one") from error
    if stat.S_ISLNK(mode):
        raise OutputError(f"{path}: is a symbolic link; name the {what} itself")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputError(f"{path}: is a special file (pipe, socket or device); name a new {what}")
    if stat.S_ISDIR(mode) != folder:
        raise OutputError(f"{path}: is a {'file' if folder else 'folder'}; expected the name of a {what}")


def _check_input(path: Path, given: Path, what: str = "an input") -> None:
    real, source = Path(os.path.realpath(path)), Path(os.path.realpath(given))
    if real == source or (path.exists() and given.exists() and path.samefile(given)):
        raise OutputError(f"{path}: is {what}; choose another name")
    if source.is_relative_to(real):
        raise OutputError(f"{path}: contains {given}, {what}; choose another name")
    if real.is_relative_to(source):
        raise OutputError(f"{path}: is inside {given}, {what}; choose a name outside it")


def _check_existing(path: Path, *, overwrite: bool) -> None:
    if overwrite:
        _check_removable(path)
    if path.is_dir():
        if not any(path.iterdir()):
            return
        others = foreign(path)
        if others:
            raise OutputError(f"{path}: {describe_foreign(path, others)}")
        if not overwrite and holds_files(path):
            known = listing(path)
            what = known.kind if known else "output"
            raise OutputError(
                f"{path}: already contains a {what}; pass --overwrite to replace it, or choose another name"
            )
    elif not overwrite:
        raise OutputError(f"{path}: exists; pass --overwrite to replace it, or choose another name")
    elif not has_mark(path):
        raise OutputError(
            f"{path}: was not written by noiseflow, or was changed since, so it is not replaced; move it away, or "
            "choose another name"
        )


def _check_removable(path: Path) -> None:
    """Refuse an output that this user may not replace, since the system would report it only after all the work."""
    if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: is not writable, so its files cannot be replaced; choose another name")
    about, around = path.lstat(), path.parent.stat()
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    if around.st_mode & stat.S_ISVTX and user not in (0, about.st_uid, around.st_uid):
        raise OutputError(
            f"{path}: belongs to another user, in a folder where only the owner may replace it; choose another name"
        )

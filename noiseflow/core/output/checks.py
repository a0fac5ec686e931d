"""Where outputs may stand, found out before any work is done."""

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
"""Behind the name of an output, the name of the folder in which it is made, if that takes long."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers where no more can be written."""


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
    """Check an output, and be its only writer within the block.  Arguments as of `check_output`.

    Raises
    ------
    OutputError
        It may not be written, or another process writes it.
    """
    inputs = tuple(inputs)
    path = check_output(path, folder=folder, inputs=inputs, overwrite=True, goes_on=True, needs=needs)
    with locked(path):
        # What another writer has just finished is there now.
        check_output(path, folder=folder, inputs=inputs, overwrite=overwrite, goes_on=goes_on)
        with _named(path):
            yield path


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of a full or broken disk which output cannot be written: the system names a private file, or none."""
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
    """Refuse an output that is in the way of something, before any work.

    Parameters
    ----------
    path : path
        File or folder to be written.
    folder : bool
        Whether it is to be a folder rather than a file.
    inputs : iterable of path
        The output must be none of them, hold none, and lie in none.
    overwrite : bool
        Whether an output of ours may be replaced; never one that is not ours.
    goes_on : bool
        Whether what stands there is an unfinished output that is gone on with: not looked into.
    needs : int
        Bytes that will be written; 0 if unknown.

    Raises
    ------
    OutputError
        With one line that says what is in the way, and what to do.
    """
    path = Path(path)
    _check_place(path, folder=folder)
    for each in inputs:
        _check_input(path, Path(each))
    free = shutil.disk_usage(path.parent).free
    if needs > free:
        raise OutputError(f"{path}: needs {needs / 1e9:.3g} GB, and the disk has {free / 1e9:.3g} GB left")
    if not goes_on and os.path.lexists(path):
        _check_existing(path, overwrite=overwrite)
    return path


def partial_of(path: str | Path) -> Path:
    """Where an output is made that takes long and is gone on with after a kill; a list in it says that it is ours."""
    return Path(f"{Path(path)}{PARTIAL}")


def holds_files(folder: Path) -> bool:
    """Whether an output's folder has a file besides its list.

    A start that was killed leaves its list, and folders that are still empty.
    """
    entries = (entry for entry in folder.rglob("*") if entry.name != MANIFEST)
    return any(entry.is_symlink() or not entry.is_dir() for entry in entries)


def check_apart(*paths: str | Path | None) -> None:
    """Refuse two outputs of one command that are the same, or of which one lies in the other."""
    for one, other in combinations([Path(path) for path in paths if path is not None], 2):
        _check_input(one, other, what="another output of this command")


def inside(folder: Path, name: object, said_by: Path) -> Path:
    """The path of a file that another file names, which must lie in a folder.

    Parameters
    ----------
    folder : Path
        What the user named.
    name : object
        From a manifest: relative, with ``/`` between folders.
    said_by : Path
        The manifest, for the error.

    Raises
    ------
    OutputError
        The name leads out of the folder, or is no name.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) and "\0" not in name else ()
    if not parts or os.path.isabs(str(name)) or ".." in parts:
        raise OutputError(f"{said_by}: names {name!r}, which is no file inside {folder}; nothing outside is touched")
    return folder.joinpath(*parts)


def _check_place(path: Path, *, folder: bool) -> None:
    what = "folder" if folder else "file"
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r}: no name may hold a NUL; name a new {what}")
    real = Path(os.path.realpath(path))
    here = Path.cwd()
    if path.name in ("", "..") or real == here or real in here.parents:
        raise OutputError(f"{path}: is the current folder or one that holds it; name a new {what}")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder to write {path.name} into; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path.parent}: may not be written to, so {path.name} cannot be made in it")
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
        raise OutputError(f"{path}: holds {given}, {what}; choose another name")
    if real.is_relative_to(source):
        raise OutputError(f"{path}: lies in {given}, {what}; choose a name outside of it")


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
            raise OutputError(f"{path}: holds a {what} already; pass --overwrite to replace it, or choose another name")
    elif not overwrite:
        raise OutputError(f"{path}: exists; pass --overwrite to replace it, or choose another name")
    elif not has_mark(path):
        raise OutputError(
            f"{path}: was not written by noiseflow, or was changed since, so it is not replaced; move it away, or "
            "choose another name"
        )


def _check_removable(path: Path) -> None:
    """Refuse what the system would not let this user replace, which it says only after all the work."""
    if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: may not be written to, so what is in it cannot be replaced; choose another name")
    about, around = path.lstat(), path.parent.stat()
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    if around.st_mode & stat.S_ISVTX and user not in (0, about.st_uid, around.st_uid):
        raise OutputError(
            f"{path}: belongs to another user, in a folder where only the owner may replace it; choose another name"
        )

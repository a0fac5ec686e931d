"""Private files of a writer, and the notes that let the next writer clean up if this one is killed.

Each note is a JSON line in the writer's lock.  ``private`` names a temporary file or folder, to be removed.
``kept`` names an earlier output that was set aside while it is replaced, to be restored.  ``leaves`` names a folder to
be removed if the output has become the noted file or folder.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.core.errors import OutputError

__all__ = [
    "HELD",
    "OLD",
    "PREFIX",
    "REMOVERS",
    "Held",
    "append",
    "clear_up",
    "is_private",
    "kept_beside",
    "note_leaves",
    "private_beside",
    "private_name",
    "say_left",
]

PREFIX = ".noiseflow-"
PRIVATE = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}(\.\w{1,10})?", re.ASCII)

OLD = ".old"
"""Suffix of a folder that was set aside for removal; only its listed files are removed."""

KEPT = ".kept"
"""Suffix of an earlier output that was set aside until the new one is complete."""

REMOVERS: list[Callable[[Path], None]] = []
"""Functions that remove a folder that was set aside; registered by `noiseflow.core.output.manifest`."""


@dataclass(frozen=True)
class Held:
    """An output that this process has locked.

    Parameters
    ----------
    target, file : Path
        The output, and its lock file.
    descriptor : int
        Descriptor of the open lock file.
    """

    target: Path
    file: Path
    descriptor: int


HELD: ContextVar[tuple[Held, ...]] = ContextVar("held outputs", default=())
"""Outputs locked by this context, innermost last; set by `noiseflow.core.output.lock`."""


def private_name(suffix: str = "") -> str:
    """Make a unique name from 96 random bits, short enough for file systems with short names.

    Parameters
    ----------
    suffix : str
        Suffix of the name, since some libraries choose the format by it; long ones are dropped.
    """
    kept = suffix if re.fullmatch(r"\.\w{1,10}", suffix, re.ASCII) else ""
    return f"{PREFIX}{os.urandom(12).hex()}{kept}"


def is_private(name: str) -> bool:
    """Whether a name has the form that `private_name` makes."""
    return PRIVATE.fullmatch(name) is not None


def private_beside(path: Path, suffix: str = "") -> Path:
    """Make a private path next to `path`; a note in the lock has it removed if this process is killed."""
    private = path.with_name(private_name(suffix))
    _note(private, lambda name: {"private": name})
    return private


def kept_beside(path: Path) -> Path:
    """Make a private path for an earlier output; a note in the lock has it restored if this process is killed."""
    aside = path.with_name(private_name(KEPT))
    _note(aside, lambda name: {"kept": name, "of": str(Path(name).with_name(path.name))})
    return aside


def note_leaves(left: Path, whole: Path, path: Path) -> None:
    """Note a folder that is to be removed if this process is killed right after the output got its name.

    Parameters
    ----------
    left : Path
        The folder, next to the output.
    whole : Path
        The new output under its present name.
    path : Path
        The output under its final name.
    """
    found = _identity_of(whole)
    _note(left, lambda name: {"leaves": name, "once": str(Path(name).with_name(path.name)), "is": found})


def append(descriptor: int, line: Mapping[str, Any]) -> None:
    """Add a line to an open lock file."""
    os.write(descriptor, (json.dumps(dict(line)) + "\n").encode())


def _note(path: Path, line_of: Callable[[str], dict[str, Any]]) -> None:
    real = Path(os.path.realpath(path.parent)) / path.name
    for held in reversed(HELD.get()):
        if real.is_relative_to(held.target.parent):
            append(held.descriptor, line_of(str(real.relative_to(held.target.parent))))
            return


def _identity_of(path: Path) -> list[int] | None:
    """Device and inode of a file or folder, which renaming does not change; None if it does not exist."""
    try:
        about = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return [about.st_dev, about.st_ino]


def clear_up(lines: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Remove and restore files according to the notes of a killed writer.

    Parameters
    ----------
    lines : iterable of mapping
        Notes in its lock.
    folder : Path
        Folder of the lock; the names in the notes are relative to it.

    Raises
    ------
    OutputError
        If an earlier output cannot be restored because of files that noiseflow did not write.
    """
    for line in lines:
        if path := _named(folder, line.get("private"), private=True):
            _remove(path)
        elif (path := _named(folder, line.get("kept"), private=True)) and path.is_dir():
            _restore(path, _named(folder, line.get("of")))
        elif (path := _named(folder, line.get("leaves"))) and path.is_dir():
            whole = _named(folder, line.get("once"))
            if whole is not None and line.get("is") is not None and _identity_of(whole) == line.get("is"):
                _discard_or_leave(path)


def _named(folder: Path, name: object, *, private: bool = False) -> Path | None:
    """Path named in a note; None if there is none, or noiseflow could not have noted it."""
    if not isinstance(name, str) or ".." in Path(name).parts or Path(name).is_absolute():
        return None
    path = folder / name
    if path == folder or path.is_symlink() or (private and not is_private(path.name)):
        return None
    return path


def _remove(path: Path) -> None:
    if path.suffix == OLD and path.is_dir():
        _discard_or_leave(path)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _discard(path: Path) -> None:
    for remove in REMOVERS:
        remove(path)


def _discard_or_leave(path: Path) -> None:
    try:
        _discard(path)
    except OSError as error:
        say_left(path, error)


def say_left(path: Path, error: OSError) -> None:
    """Warn that a folder that was set aside could not be removed; it does no harm."""
    # stacklevel=1, so that Python shows the same warning only once.
    warnings.warn(f"{path}: could not be removed ({(error.strerror or str(error)).lower()}); delete it", stacklevel=1)


def _restore(kept: Path, path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        # The unfinished new output; a folder with a file of the user is kept.
        with suppress(OSError):
            _discard(path)
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: is unfinished and contains files that noiseflow did not write; the earlier output is complete in "
            f"{kept.name} next to it: move one of them away"
        )
    os.rename(kept, path)
    warnings.warn(f"{path}: the command that was replacing it was killed; the earlier output is restored", stacklevel=2)

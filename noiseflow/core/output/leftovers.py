"""Private files and folders of a writer: their names, and the notes by which the next one clears up after its death.

Each note is a JSON line in the writer's lock.  ``private``: a file or folder that no final name stands for yet; it
is removed.  ``kept``: an earlier output that was set aside while a new one is made in its place; it gets its name
back.  ``leaves``: a folder that is of no use once the output is a certain file or folder.
"""

import json
import os
import re
import secrets
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
"""Suffix of a folder of ours that was set aside to be removed: only what is listed in it is."""

KEPT = ".kept"
"""Suffix of an earlier output that was set aside until the new one is whole."""

REMOVERS: list[Callable[[Path], None]] = []
"""How a folder that was set aside is removed: `noiseflow.core.output.manifest`, which knows lists, registers itself."""


@dataclass(frozen=True)
class Held:
    """An output that this process alone writes.

    Parameters
    ----------
    target, file : Path
        The output, and its lock beside it.
    descriptor : int
        Descriptor of the open lock.
    """

    target: Path
    file: Path
    descriptor: int


HELD: ContextVar[tuple[Held, ...]] = ContextVar("held outputs", default=())
"""Outputs whose locks are held here, the innermost last; `noiseflow.core.output.lock` takes and frees them."""


def private_name(suffix: str = "") -> str:
    """A name that nobody else has: 96 random bits, short for file systems with short names.

    Parameters
    ----------
    suffix : str
        Kept, since some libraries choose a format by it.
    """
    kept = suffix if re.fullmatch(r"\.\w{1,10}", suffix, re.ASCII) else ""
    return f"{PREFIX}{secrets.token_hex(12)}{kept}"


def is_private(name: str) -> bool:
    """Whether `private_name` could have given this name."""
    return PRIVATE.fullmatch(name) is not None


def private_beside(path: Path, suffix: str = "") -> Path:
    """A new private path beside `path`, noted in the lock of its output, so that a killed writer's is removed."""
    private = path.with_name(private_name(suffix))
    _note(private, lambda name: {"private": name})
    return private


def kept_beside(path: Path) -> Path:
    """A new private path for an earlier output, noted: the output gets its name back if this process dies."""
    aside = path.with_name(private_name(KEPT))
    _note(aside, lambda name: {"kept": name, "of": str(Path(name).with_name(path.name))})
    return aside


def note_leaves(left: Path, whole: Path, path: Path) -> None:
    """Note what is to be removed if this process dies right after the output took its name.

    Parameters
    ----------
    left : Path
        Folder beside the output.
    whole : Path
        The new output under the name that it has now.
    path : Path
        The output.
    """
    found = _identity_of(whole)
    _note(left, lambda name: {"leaves": name, "once": str(Path(name).with_name(path.name)), "is": found})


def append(descriptor: int, line: Mapping[str, Any]) -> None:
    """Add a line to a lock."""
    os.write(descriptor, (json.dumps(dict(line)) + "\n").encode())


def _note(path: Path, line_of: Callable[[str], dict[str, Any]]) -> None:
    real = Path(os.path.realpath(path.parent)) / path.name
    for held in reversed(HELD.get()):
        if real.is_relative_to(held.target.parent):
            append(held.descriptor, line_of(str(real.relative_to(held.target.parent))))
            return


def _identity_of(path: Path) -> list[int] | None:
    """Device and number of a file or folder, which a change of name leaves as they are; None if it is not there."""
    try:
        about = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return [about.st_dev, about.st_ino]


def clear_up(lines: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Remove or restore what a dead writer noted.

    Parameters
    ----------
    lines : iterable of mapping
        Notes in its lock.
    folder : Path
        Where the lock is; the names in the notes are relative to it.

    Raises
    ------
    OutputError
        An earlier output cannot get its name back, because something that is not ours stands there.
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
    """The path that a note names; None if it names none, or one that no note of ours could name."""
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
    """Warn that a folder of ours that has lost its name is left, as its files may not be removed; it is in no way."""
    # The same place each time: it is said once.
    warnings.warn(f"{path}: was to be removed and is left ({(error.strerror or str(error)).lower()})", stacklevel=1)


def _restore(kept: Path, path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        # The new one, which its writer did not finish; a folder with a file of the user's in it stays.
        with suppress(OSError):
            _discard(path)
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: is unfinished and holds what we did not write; the earlier one is whole in {kept.name} beside "
            "it: move one of them away"
        )
    os.rename(kept, path)
    warnings.warn(f"{path}: the command that was to replace it was killed; the earlier output is back", stacklevel=2)

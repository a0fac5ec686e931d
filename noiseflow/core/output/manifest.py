"""The list of files that noiseflow wrote into a folder, with one JSON line per file.

A file was written by noiseflow ("ours") if its SHA-256 is in the list under its name; a user's file under
the same name is therefore not.  A line is written before its file gets its name, so a kill never leaves an
unlisted file.  Lines are only appended; an incomplete one is ignored.
"""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from noiseflow.core.errors import OutputError
from noiseflow.core.output.leftovers import OLD, REMOVERS, private_beside, say_left
from noiseflow.core.output.lock import NO_LINK, sweep
from noiseflow.core.output.marks import has_mark
from noiseflow.core.output.whole import whole_file

__all__ = [
    "MANIFEST",
    "Listing",
    "begin",
    "describe_foreign",
    "digest_of",
    "discard",
    "foreign",
    "listing",
    "record",
    "remove_ours",
    "seal",
    "set_aside",
]

MANIFEST = ".noiseflow"
BLOCK = 1 << 20
LONG = 1 << 18
"""A growing list is shortened when it exceeds this size in bytes."""

SHORT = 1 << 14
"""A list up to this size in bytes is kept in memory once it is read."""

SHOWN = 3
"""Number of names shown in a message."""
LARGEST = 1 << 28
"""Largest list in bytes that is read; noiseflow writes no larger ones."""


@dataclass
class Listing:
    """Content of the list in a folder.

    Parameters
    ----------
    kind : str
        Kind of the output: ``run``, ``report``, …
    files : dict of set of str
        Path in the folder, with ``/`` between names → SHA-256 values that the file may have.
    growing : list of str
        Patterns of paths of files whose content keeps changing; a first or last ``**`` matches any folders.
    marked : set of str
        Patterns of paths of files with a mark in themselves: see `noiseflow.core.output.marks`.
    folders : set of str
        Paths of sub-folders with a list of their own.
    """

    kind: str = ""
    files: dict[str, set[str]] = field(default_factory=dict)
    growing: list[str] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line; lines whose name leads out of the folder are ignored."""
        kind = next((kind for kind in ("file", "growing", "marked", "folder") if kind in line), "")
        name = line.get(kind)
        if not isinstance(name, str) or os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
            return
        if kind == "file":
            self.files.setdefault(name, set()).add(str(line.get("sha256")))
        elif kind == "growing":
            self.growing.append(name)
        else:
            (self.marked if kind == "marked" else self.folders).add(name)

    def has(self, name: str, path: Path) -> bool:
        """Whether noiseflow wrote a file.

        Parameters
        ----------
        name : str
            Its path in the folder, with ``/`` between names.
        path : Path
            The file.
        """
        if name in self.files and digest_of(path) in self.files[name]:
            return True
        if any(_fits(name.split("/"), pattern.split("/")) for pattern in self.marked) and has_mark(path):
            return True
        return self.grows(name)

    def grows(self, name: str) -> bool:
        """Whether a pattern in `growing` matches the path of a file, or of a folder with ``/`` appended."""
        return any(_fits(name.split("/"), pattern.split("/")) for pattern in self.growing)

    def others(self, kind: str) -> list[str]:
        """Paths of the lines of kind ``growing``, ``marked`` or ``folder``, sorted."""
        return sorted({"growing": set(self.growing), "marked": self.marked, "folder": self.folders}[kind])

    def is_parent(self, name: str) -> bool:
        """Whether something in a sub-folder is listed."""
        below = f"{name}/"
        listed = (*self.files, *self.marked, *self.folders, *self.growing)
        return any(each.startswith(below) for each in listed)


def begin(folder: Path, kind: str) -> None:
    """Write an empty list into a folder.

    Parameters
    ----------
    folder : Path
        A folder that only noiseflow writes to.
    kind : str
        Kind of the output, such as ``"run"``.

    Raises
    ------
    FileExistsError
        If the folder has a list.
    """
    with whole_file(folder / MANIFEST) as partial:
        partial.write_bytes(_line(_head(kind)))


def record(folder: Path, *lines: Mapping[str, Any]) -> None:
    """Add lines to a folder's list; do nothing if it has none, such as a run of an earlier version.

    Parameters
    ----------
    folder : Path
        Folder with the list.
    *lines : mapping
        ``{"file": path, "sha256": …}``, or ``growing``, ``marked`` or ``folder`` with a path.
    """
    known = listing(folder)
    if known is None:
        return
    about = (folder / MANIFEST).stat()
    # Rewrite a list with several hard links, so that the list of a backup does not change.
    if about.st_size > LONG or about.st_nlink > 1:
        _shorten(folder, known)
    descriptor = os.open(folder / MANIFEST, os.O_WRONLY | os.O_APPEND | NO_LINK)
    try:
        # The line break ends a line that a kill may have left incomplete.
        os.write(descriptor, b"\n" + b"".join(map(_line, lines)))
    finally:
        os.close(descriptor)


def _shorten(folder: Path, known: Listing) -> None:
    """Rewrite a list without files that no longer exist, and with only the present SHA-256 of each file."""
    files = [
        {"file": name, "sha256": digest}
        for name, digests in known.files.items()
        if os.path.lexists(folder / name)
        for digest in sorted(digests & {digest_of(folder / name)} if (folder / name).is_file() else digests)
    ]
    others = [{kind: name} for kind in ("growing", "marked", "folder") for name in known.others(kind)]
    with whole_file(folder / MANIFEST, replace=True) as partial:
        partial.write_bytes(b"".join(map(_line, (_head(known.kind), *files, *others))))


def seal(folder: Path, kind: str, known: Mapping[str, str] | None = None, passing: str = "") -> None:
    """Write the list of all files in a private folder, and flush them to the disk.

    Parameters
    ----------
    folder : Path
        A folder to which nobody else writes.
    kind : str
        Kind of the output, such as ``"run"``.
    known : mapping, optional
        Path → SHA-256 of files that need not be read again.
    passing : str
        Pattern of temporary files, which are listed without their content.
    """
    lines: list[Mapping[str, Any]] = [{"growing": passing}] if passing else []
    for name, entry in _walk(folder):
        if entry.is_file(follow_symlinks=False) and name != MANIFEST and not _passes(name, passing):
            digest = (known or {}).get(name) or digest_of(Path(entry.path))
            with open(entry.path, "rb") as file:
                os.fsync(file.fileno())
            lines.append({"file": name, "sha256": digest})
    with whole_file(folder / MANIFEST, replace=True) as partial:
        partial.write_bytes(b"".join(map(_line, (_head(kind), *lines))))


def listing(folder: Path) -> Listing | None:
    """Read the list in a folder; None if there is none, or noiseflow did not write it."""
    path = folder / MANIFEST
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return _listed(content) if len(content) <= SHORT else _listed.__wrapped__(content)


# The files of an output are compared one by one.  Nobody changes what it returns.
@lru_cache(maxsize=16)
def _listed(content: bytes) -> Listing | None:
    """What a list says; None if noiseflow did not write it."""
    found: Listing | None = None
    # Lines that were appended follow an empty one.
    for text in filter(None, content.splitlines()):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(line, dict):
            continue
        if found is None:
            if line.get("noiseflow") != "manifest":
                return None
            found = Listing(str(line.get("kind")))
        else:
            found.add(line)
    return found


def foreign(folder: Path) -> list[str]:
    """Paths in a folder that noiseflow did not write, sorted; all paths if there is no list.

    In a folder with a list, private files of killed writers are removed first.
    """
    return sorted(name for name, entry in _judged(folder) if entry is None)


def remove_ours(folder: Path) -> None:
    """Remove an output folder.

    Raises
    ------
    OutputError
        If it contains files that noiseflow did not write; then nothing is removed.
    """
    others = foreign(folder)
    if others:
        raise OutputError(f"{folder}: {describe_foreign(folder, others)}")
    discard(set_aside(folder))


def set_aside(folder: Path) -> Path:
    """Rename an output folder to a private path before it is removed; return that path.

    A kill during the removal then leaves no half of it under its own name, and the next writer removes the rest.
    """
    aside = private_beside(folder, OLD)
    os.rename(folder, aside)
    return aside


def discard(aside: Path) -> None:
    """Remove a folder that was set aside; warn if its files cannot be removed."""
    try:
        _remove(aside)
    except OSError as error:
        say_left(aside, error)


def _remove(aside: Path) -> None:
    """Remove the files that noiseflow wrote from a folder that was set aside, and the folder if it is empty then."""
    folders = [aside]
    for _, entry in _judged(aside):
        if entry is None:
            continue
        if entry.is_dir(follow_symlinks=False):
            folders.append(Path(entry.path))
        elif Path(entry.path).name != MANIFEST:
            os.unlink(entry.path)
    # Lists come last: without them the other files could not be recognised.
    for each in sorted(folders, reverse=True):
        (each / MANIFEST).unlink(missing_ok=True)
        os.rmdir(each)


REMOVERS.append(_remove)


def describe_foreign(folder: Path, others: list[str]) -> str:
    """Describe why a folder is not replaced and what to do, as the end of a message.

    Parameters
    ----------
    folder : Path
        The folder.
    others : list of str
        Paths in it that noiseflow did not write.
    """
    if listing(folder) is None:
        return (
            "has no list of files written by noiseflow (another program or an earlier version made it), so nothing in "
            f"it is replaced: {_first(others)}; move it away, or choose another name"
        )
    return f"contains files that noiseflow did not write: {_first(others)}; move it away, or choose another name"


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fits(names: list[str], patterns: list[str]) -> bool:
    if patterns[-1] == "**":
        patterns, names = patterns[:-1], names[: len(patterns) - 1]
    if patterns and patterns[0] == "**":
        patterns = patterns[1:]
        names = names[len(names) - len(patterns) :]
    return 0 < len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _passes(name: str, pattern: str) -> bool:
    return bool(pattern) and _fits(name.split("/"), pattern.split("/"))


def _first(others: list[str]) -> str:
    more = len(others) - SHOWN
    return ", ".join(map(repr, others[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _judged(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yield the path of everything below a folder, with its entry, or with None if noiseflow did not write it."""
    known = listing(folder)
    if known is not None:
        sweep(folder)
    for name, entry in list(_walk(folder, known.folders if known else set())):
        path = Path(entry.path)
        if known is None or entry.is_symlink():
            yield name, None
        elif entry.is_dir(follow_symlinks=False):
            if name in known.folders:
                yield name, entry
                yield from ((f"{name}/{below}", found) for below, found in _judged(path))
            else:
                yield name, entry if known.is_parent(name) or known.grows(f"{name}/") else None
        elif entry.is_file(follow_symlinks=False):
            yield name, entry if name == MANIFEST or known.has(name, path) else None
        else:
            yield name, None


def _walk(folder: Path, but_below: set[str] | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield paths and entries of everything below a folder; links are not followed, nor folders in `but_below`."""
    waiting = [("", folder)]
    while waiting:
        before, here = waiting.pop()
        with os.scandir(here) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                name = f"{before}{entry.name}"
                yield name, entry
                if entry.is_dir(follow_symlinks=False) and name not in (but_below or ()):
                    waiting.append((f"{name}/", Path(entry.path)))


def _head(kind: str) -> dict[str, Any]:
    return {"noiseflow": "manifest", "kind": kind, "schema": 1}


def _line(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(content)) + "\n").encode()

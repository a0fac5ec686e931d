"""What in a folder is ours: a list that we write into it, a JSON line a file.

A file is ours if its content has a SHA-256 that the list gives for its name, so that a user's file
that took the place of one of ours is not.  A line is written before the file takes its name: a kill
leaves no file of ours that is not listed.  Lines are only added; one that was cut short counts for nothing.
"""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
"""Bytes from which a list that grows is shortened."""

SHOWN = 3
LARGEST = 1 << 28
"""Bytes of a list that is read: more is none of ours."""


@dataclass
class Listing:
    """What a manifest lists.

    Parameters
    ----------
    kind : str
        Kind of the output: ``run``, ``report``, …
    files : dict of set of str
        SHA-256 that a file may have, by its path in the folder with ``/`` between names.
    growing : list of str
        Patterns of paths whose content goes on changing; a first or last ``**`` stands for any folders.
    marked : set of str
        Patterns of paths of files that carry a mark of ours in themselves: see `noiseflow.core.output.marks`.
    folders : set of str
        Paths of folders that hold a manifest of their own.
    """

    kind: str = ""
    files: dict[str, set[str]] = field(default_factory=dict)
    growing: list[str] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def add(self, line: Mapping[str, Any]) -> None:
        """Take up a line; one whose name leads out of the folder is none of ours."""
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
        """Whether a file of the folder is ours."""
        if name in self.files and digest_of(path) in self.files[name]:
            return True
        if any(_fits(name.split("/"), pattern.split("/")) for pattern in self.marked) and has_mark(path):
            return True
        return self.grows(name)

    def grows(self, name: str) -> bool:
        """Whether a pattern fits the path of a file, or that of a folder with a ``/`` behind it."""
        return any(_fits(name.split("/"), pattern.split("/")) for pattern in self.growing)

    def others(self, kind: str) -> list[str]:
        """Paths of the lines of a kind that says no digest."""
        return sorted({"growing": set(self.growing), "marked": self.marked, "folder": self.folders}[kind])

    def is_parent(self, name: str) -> bool:
        """Whether a folder holds something that is listed."""
        below = f"{name}/"
        listed = (*self.files, *self.marked, *self.folders, *self.growing)
        return any(each.startswith(below) for each in listed)


def begin(folder: Path, kind: str) -> None:
    """Put a list, still empty, into a folder that is ours alone.

    Raises
    ------
    FileExistsError
        The folder has one.
    """
    with whole_file(folder / MANIFEST) as partial:
        partial.write_bytes(_line(_head(kind)))


def record(folder: Path, *lines: Mapping[str, Any]) -> None:
    """Add lines to a folder's list; nothing in a folder without one, such as a run of an earlier version.

    Parameters
    ----------
    folder : Path
        Folder that holds the list.
    *lines : mapping
        ``{"file": path, "sha256": …}``, or ``growing``, ``marked`` or ``folder`` with a path.
    """
    known = listing(folder)
    if known is None:
        return
    about = (folder / MANIFEST).stat()
    # The list of a copy that is made of links, such as of a backup, stays as it is.
    if about.st_size > LONG or about.st_nlink > 1:
        _shorten(folder, known)
    descriptor = os.open(folder / MANIFEST, os.O_WRONLY | os.O_APPEND | NO_LINK)
    try:
        # A line that a kill cut short ends here.
        os.write(descriptor, b"\n" + b"".join(map(_line, lines)))
    finally:
        os.close(descriptor)


def _shorten(folder: Path, known: Listing) -> None:
    """Leave out what is said of files that are gone, and all but the last of what is said of others."""
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
    """List all that a private folder holds, and bring it to the disk.

    Parameters
    ----------
    folder : Path
        One that nobody else writes into.
    kind : str
        Kind of the folder, such as ``"run"``, for its list.
    known : mapping, optional
        SHA-256 of files, by path, that need not be read again.
    passing : str
        Pattern of files that will not stay, whose content is not listed.
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
    """What the list in a folder says; None if there is none of ours."""
    path = folder / MANIFEST
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return None
        lines = path.read_bytes().splitlines()
    except OSError:
        return None
    found: Listing | None = None
    for text in lines:
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
    """Paths of what in a folder is not ours, in order; all of it where there is no list.

    What a writer that was killed left in a folder of ours is removed first.
    """
    return sorted(name for name, entry in _judged(folder) if entry is None)


def remove_ours(folder: Path) -> None:
    """Remove a folder of ours.

    Raises
    ------
    OutputError
        It holds something that is not ours; then all of it is left as it is.
    """
    others = foreign(folder)
    if others:
        raise OutputError(f"{folder}: {describe_foreign(folder, others)}")
    discard(set_aside(folder))


def set_aside(folder: Path) -> Path:
    """Take its name from a folder of ours that will be removed; the new, private path.

    A kill then leaves no half of it under its own name, and the next writer removes what is left.
    """
    aside = private_beside(folder, OLD)
    os.rename(folder, aside)
    return aside


def discard(aside: Path) -> None:
    """Remove a folder of ours that was set aside; one whose files may not be removed is left, with a warning."""
    try:
        _remove(aside)
    except OSError as error:
        say_left(aside, error)


def _remove(aside: Path) -> None:
    """Remove what is ours in a folder that was set aside, and the folder where nothing else is in it."""
    folders = [aside]
    for _, entry in _judged(aside):
        if entry is None:
            continue
        if entry.is_dir(follow_symlinks=False):
            folders.append(Path(entry.path))
        elif Path(entry.path).name != MANIFEST:
            os.unlink(entry.path)
    # The lists last: without them nothing can be known as ours.
    for each in sorted(folders, reverse=True):
        (each / MANIFEST).unlink(missing_ok=True)
        os.rmdir(each)


REMOVERS.append(_remove)


def describe_foreign(folder: Path, others: list[str]) -> str:
    """In words, what stands in the way and what to do."""
    if listing(folder) is None:
        return (
            "holds no list of files that we wrote (it is none of ours, or of an earlier version), so nothing in it is "
            f"replaced: {_first(others)}; move it away, or choose another name"
        )
    return f"holds what we did not write: {_first(others)}; move it away, or choose another name"


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
    """All below a folder by its path in it, with None for what is not ours."""
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
    """Entries below a folder and their paths in it; links are not followed."""
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

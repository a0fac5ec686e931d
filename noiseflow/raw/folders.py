"""Folders and what is below them, links included, litter left out."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_litter", "walk"]


LITTER = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"))
"""Files and folders that operating systems leave behind."""


def is_litter(name: str) -> bool:
    """Whether a name is of a hidden file or of what operating systems leave behind.

    >>> is_litter("._IMG_0001.dng"), is_litter("Thumbs.db"), is_litter("IMG_0001.dng")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in LITTER


def walk(path: Path) -> Iterator[tuple[Path, list[str], str]]:
    """Folders below and including `path` in the order of their names, their files, and why one cannot be opened.

    Links to folders are followed, each folder once; what operating systems leave behind is passed over.
    """
    problems: list[OSError] = []
    seen: set[tuple[int, int] | str] = set()
    for folder, below, names in os.walk(path, onerror=problems.append, followlinks=True):
        one = _identity(folder)
        if one in seen:
            below.clear()
            continue
        seen.add(one)
        below[:] = sorted(name for name in below if not is_litter(name))
        yield Path(folder), sorted(name for name in names if not is_litter(name)), ""
    for problem in problems:
        yield Path(problem.filename), [], f"{problem.filename}: cannot be opened ({problem.strerror}); left out"


def _identity(folder: str) -> tuple[int, int] | str:
    """What a folder and all links to it share: its number, since resolving a deep path takes a look at each part."""
    try:
        about = os.stat(folder)
    except OSError:
        return os.path.realpath(folder)
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder)

"""Folders and what is below them, links included, litter left out."""

import os
from collections.abc import Iterator
from pathlib import Path

from noiseflow.raw.file_names import is_litter

__all__ = ["walk"]


def walk(path: Path) -> Iterator[tuple[Path, list[str], str]]:
    """Folders below and including `path` in the order of their names, their files, and why one cannot be opened.

    Links to folders are followed, each folder once; what operating systems leave behind is passed over.
    """
    problems: list[OSError] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(path, onerror=problems.append, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not is_litter(name))
        yield Path(folder), sorted(name for name in names if not is_litter(name)), ""
    for problem in problems:
        yield Path(problem.filename), [], f"{problem.filename}: cannot be opened ({problem.strerror}); left out"

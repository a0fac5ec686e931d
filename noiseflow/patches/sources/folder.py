"""Folders of raw files: each sub-folder, and the folder itself, is one scene."""

import os
from collections.abc import Iterator
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.kinds import kind_of
from noiseflow.patches.sources.scene import Collection, Scene, file_frame
from noiseflow.raw.reading import is_raw, raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]


def recognises(path: Path) -> bool:
    """Whether there is a raw file in a folder or below it."""
    return path.is_dir() and any(is_raw(folder / name) for folder, names, _ in _walk(path) for name in names)


def gather(path: Path, settings: RawSettings) -> Collection:
    """Sort the raw files below a folder into scenes.

    Files of a second format, such as PNG previews beside camera raws, are left out and
    reported, as are folders that cannot be opened.
    """
    scenes, report = [], []
    for folder, names, problem in _walk(path):
        if problem:
            report.append(problem)
        files, others = raw_files(folder / name for name in names)
        if files:
            name = str(folder.relative_to(path))
            if folder == path and not (path / path.name).is_dir():
                name = path.name
            frames = tuple(file_frame(file, settings) for file in files)
            scenes.append(Scene(name, frames, subject=name, kind=kind_of(folder.name)))
        if others:
            suffixes = ", ".join(sorted({file.suffix for file in others}))
            report.append(f"{folder}: {len(others)} {suffixes} file(s) left out beside {files[0].suffix} files")
    if not scenes:
        raise RawError(f"{path}: no raw file in this folder, and no data set that we know")
    return Collection(tuple(scenes), report=tuple(report))


def _walk(path: Path) -> Iterator[tuple[Path, list[str], str]]:
    """Folders below and including `path` in the order of their names, their files, and why one cannot be opened."""
    problems: list[OSError] = []
    for folder, below, names in os.walk(path, onerror=problems.append):
        below.sort()
        yield Path(folder), sorted(names), ""
    for problem in problems:
        yield Path(problem.filename), [], f"{problem.filename}: cannot be opened ({problem.strerror}); left out"

"""The raw files of a foreign model: a single file, or all raw files in a folder."""

from pathlib import Path

from noiseflow.raw.reading import raw_files

__all__ = ["raw_paths"]


def raw_paths(path: Path) -> list[Path]:
    """Raw files at a path, sorted: the file itself, or all in the folder and its subfolders."""
    return raw_files(sorted(path.rglob("*")) if path.is_dir() else [path])[0]

"""Where frames come from: folders, files and data sets, sorted into scenes.

To add a data set, write a module with ``recognises(path)`` and ``gather(path, settings)``
and give it a line in `SOURCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.bad_frames import without_bad
from noiseflow.patches.sources.folder import holds_frames
from noiseflow.patches.sources.scene import Collection, Frame, Scene
from noiseflow.raw.file_names import is_litter
from noiseflow.raw.reading import unknown_reason
from noiseflow.raw.settings import RawSettings

__all__ = ["SOURCES", "Collection", "Frame", "Scene", "Source", "collect"]


@dataclass(frozen=True)
class Source:
    """A kind of source: its name, the test of a path, what gathers its scenes; and whether it is a published set."""

    kind: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path, RawSettings], Collection]
    published: bool = False

    @classmethod
    def in_module(cls, kind: str, name: str) -> "Source":
        """The source that the module of that name in this folder describes."""
        module = import_module(f"noiseflow.patches.sources.{name}")
        return cls(kind, module.recognises, module.gather, published=name.startswith(("sidd", "published.")))


FOLDER = "folder of raw files"

SOURCES: tuple[Source, ...] = (
    Source.in_module("EMVA 1288 data set", "emva"),
    Source.in_module("simulation", "simulation"),
    Source.in_module("synthesised pairs", "synthetic"),
    Source.in_module("SIDD", "sidd"),
    Source.in_module("SIDD blocks", "sidd_blocks"),
    Source.in_module("SID", "published.sid"),
    Source.in_module("ELD", "published.eld"),
    Source.in_module("LRID", "published.lrid"),
    Source.in_module("SMID", "published.smid"),
    Source.in_module("CRVD", "published.crvd"),
    Source.in_module("RawNIND", "published.rawnind"),
    Source.in_module(FOLDER, "folder"),
    Source.in_module("raw file", "single"),
)
"""Kinds of source; the first that recognises a path is taken."""

DEPTH, MOST_FOLDERS = 2, 200
"""Folders down to which a published data set is looked for, and the most folders of one depth: among more
none is looked for."""


def collect(path: str | Path, settings: RawSettings | None = None, *, skip_bad: bool = False) -> Collection:
    """Sort what is at a path into scenes.

    Parameters
    ----------
    path : path
        File, folder or data set.
    settings : RawSettings, optional
        What to take instead of what the files say; wins over side-car TOMLs.
    skip_bad : bool
        Whether to read every frame now, and leave out and report those that cannot be read.

    Raises
    ------
    RawError
        If nothing is there, or nothing that we know.
    """
    path = Path(path)
    settings = settings or RawSettings()
    try:
        if not path.exists():
            raise RawError(f"{path}: no such file or folder")
        for source in SOURCES:
            if source.recognises(path):
                if source.kind == FOLDER and (below := _published_below(path)) != path:
                    found = collect(below, settings, skip_bad=skip_bad)
                    return replace(found, report=(f"{below}: taken as a published data set", *found.report))
                found = source.gather(path, settings)
                return without_bad(found) if skip_bad else found
        if path.is_dir():
            raise RawError(f"{path}: no raw file in this folder, and no data set that we know{_what_is_there(path)}")
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise RawError(unknown_reason(path))


def _published_below(path: Path) -> Path:
    """The published data set in a folder that holds nothing else, some folders down; that folder if there is none.

    Raises
    ------
    RawError
        The folder holds several, or other raw files beside one.
    """
    folders = [path]
    for _ in range(DEPTH):
        if any(map(holds_frames, folders)):
            break
        folders = [entry for folder in folders for entry in _folders(folder)]
        if len(folders) > MOST_FOLDERS:
            return path
        found = {folder: kind for folder in folders if (kind := _published(folder))}
        others = [folder for folder in folders if found and folder not in found and _holds_frames(folder)]
        if len(found) + len(others) > 1:
            names = ", ".join([*(f"{folder} ({kind})" for folder, kind in found.items()), *map(str, others)])
            raise RawError(f"{path}: holds a published data set beside other frames: ingest one of {names}")
        if found:
            return next(iter(found))
    return path


def _published(path: Path) -> str:
    """Name of the published data set that a folder is; empty if it is none."""
    return next((source.kind for source in SOURCES if source.published and source.recognises(path)), "")


def _holds_frames(path: Path) -> bool:
    """Whether there is a raw file in a folder or below it."""
    return any(source.kind == FOLDER and source.recognises(path) for source in SOURCES)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_litter(entry.name))


def _what_is_there(path: Path) -> str:
    suffixes = sorted({entry.suffix.lower() or "no suffix" for entry in path.rglob("*") if entry.is_file()})
    shown = ", ".join(suffixes[:8]) + (", …" if len(suffixes) > 8 else "")
    return f"; it holds files of {shown}" if suffixes else ""

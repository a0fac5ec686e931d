"""Sources of frames: folders, files and data sets, sorted into scenes.

To add a data set, write a module that defines ``recognises(path)`` and ``gather(path, settings)``,
and add a line to `SOURCES`.
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
    """A kind of source.

    Parameters
    ----------
    kind : str
        Name of the kind, for messages.
    recognises : callable
        path → whether it is a source of this kind.
    gather : callable
        (path, settings) → the collection of its scenes.
    published : bool
        Whether it is a published data set.
    """

    kind: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path, RawSettings], Collection]
    published: bool = False

    @classmethod
    def in_module(cls, kind: str, name: str) -> "Source":
        """Make the source that a module in `noiseflow.patches.sources` defines.

        Parameters
        ----------
        kind : str
            Name of the kind, for messages.
        name : str
            Name of the module.
        """
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
"""Kinds of source; the first that recognises a path is used."""

DEPTH, MOST_FOLDERS = 2, 200
"""Levels of folders that are searched for a published data set, and the largest number of folders on one level; if
there are more, the search ends."""


def collect(path: str | Path, settings: RawSettings | None = None, *, skip_bad: bool = False) -> Collection:
    """Sort the frames of a file, folder or data set into scenes.

    Parameters
    ----------
    path : path
        File, folder or data set.
    settings : RawSettings, optional
        Overrides of the files' levels and metadata; they also override side-car TOML files.
    skip_bad : bool
        Read every frame now, and leave out and report those that cannot be read.

    Raises
    ------
    RawError
        If the path does not exist or is no known source, or the source is damaged or ambiguous.
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
            raise RawError(f"{path}: no raw file in this folder, and not a known data set{_what_is_there(path)}")
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise RawError(unknown_reason(path))


def _published_below(path: Path) -> Path:
    """Find the only published data set in the folders below; return `path` itself if there is none.

    Raises
    ------
    RawError
        If there are several, or one next to other raw files.
    """
    folders = [path]
    for _ in range(DEPTH):
        if any(map(holds_frames, folders)):
            break
        folders = [entry for folder in folders for entry in _folders(folder) if _opens(entry)]
        if len(folders) > MOST_FOLDERS:
            return path
        found = {folder: kind for folder in folders if (kind := _published(folder))}
        others = [folder for folder in folders if found and folder not in found and _holds_frames(folder)]
        if len(found) + len(others) > 1:
            names = ", ".join([*(f"{folder} ({kind})" for folder, kind in found.items()), *map(str, others)])
            raise RawError(f"{path}: contains a published data set next to other frames: ingest one of {names}")
        if found:
            return next(iter(found))
    return path


def _published(path: Path) -> str:
    """Name of the published data set in a folder; empty if it is none."""
    return next((source.kind for source in SOURCES if source.published and source.recognises(path)), "")


def _holds_frames(path: Path) -> bool:
    """Whether there is a raw file in a folder or below it."""
    return any(source.kind == FOLDER and source.recognises(path) for source in SOURCES)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_litter(entry.name))


def _opens(path: Path) -> bool:
    """Whether a folder may be read; the walk for frames reports those that may not."""
    try:
        next(path.iterdir(), None)
    except PermissionError:
        return False
    return True


def _what_is_there(path: Path) -> str:
    suffixes = sorted({entry.suffix.lower() or "no suffix" for entry in path.rglob("*") if entry.is_file()})
    shown = ", ".join(suffixes[:8]) + (", …" if len(suffixes) > 8 else "")
    return f"; it contains {shown} files" if suffixes else ""

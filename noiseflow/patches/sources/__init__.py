"""Where frames come from: folders, files and data sets, sorted into scenes.

To add a data set, write a module with ``recognises(path)`` and ``gather(path, settings)``
and give it a line in `SOURCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.bad_frames import without_bad
from noiseflow.patches.sources.scene import Collection, Frame, Scene
from noiseflow.raw.reading import unknown_reason
from noiseflow.raw.settings import RawSettings

__all__ = ["SOURCES", "Collection", "Frame", "Scene", "Source", "collect"]


@dataclass(frozen=True)
class Source:
    """A kind of source: its name, the test of a path, and what gathers its scenes."""

    kind: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path, RawSettings], Collection]

    @classmethod
    def in_module(cls, kind: str, name: str) -> "Source":
        """The source that the module of that name in this folder describes."""
        module = import_module(f"noiseflow.patches.sources.{name}")
        return cls(kind, module.recognises, module.gather)


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
    Source.in_module("folder of raw files", "folder"),
    Source.in_module("raw file", "single"),
)
"""Kinds of source; the first that recognises a path is taken."""


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
                found = source.gather(path, settings)
                return without_bad(found) if skip_bad else found
        if path.is_dir():
            raise RawError(f"{path}: no raw file in this folder, and no data set that we know{_what_is_there(path)}")
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise RawError(unknown_reason(path))


def _what_is_there(path: Path) -> str:
    suffixes = sorted({entry.suffix.lower() or "no suffix" for entry in path.rglob("*") if entry.is_file()})
    shown = ", ".join(suffixes[:8]) + (", …" if len(suffixes) > 8 else "")
    return f"; it holds files of {shown}" if suffixes else ""

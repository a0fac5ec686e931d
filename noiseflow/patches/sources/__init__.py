"""Where frames come from: folders, files and data sets, sorted into scenes.

To add a data set, write a module with ``recognises(path)`` and ``gather(path, settings)``
and give it a line in `SOURCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources import emva, folder, sidd, sidd_blocks, simulation, single, synthetic
from noiseflow.patches.sources.bad_frames import without_bad
from noiseflow.patches.sources.scene import Collection, Frame, Scene
from noiseflow.raw.settings import RawSettings

__all__ = ["SOURCES", "Collection", "Frame", "Scene", "Source", "collect"]


@dataclass(frozen=True)
class Source:
    """A kind of source: its name, the test of a path, and what gathers its scenes."""

    kind: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path, RawSettings], Collection]


SOURCES: tuple[Source, ...] = (
    Source("EMVA 1288 data set", emva.recognises, emva.gather),
    Source("simulation", simulation.recognises, simulation.gather),
    Source("synthesised pairs", synthetic.recognises, synthetic.gather),
    Source("SIDD", sidd.recognises, sidd.gather),
    Source("SIDD blocks", sidd_blocks.recognises, sidd_blocks.gather),
    Source("folder of raw files", folder.recognises, folder.gather),
    Source("raw file", single.recognises, single.gather),
)
"""Kinds of source; the first that recognises a path is taken."""


def collect(path: str | Path, settings: RawSettings | None = None, *, skip_bad: bool = False) -> Collection:
    """Sort what is at a path into scenes.

    Parameters
    ----------
    path : path
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
    raise RawError(f"{path}: not a raw format we read ({path.suffix or 'no suffix'})")


def _what_is_there(path: Path) -> str:
    suffixes = sorted({entry.suffix.lower() or "no suffix" for entry in path.rglob("*") if entry.is_file()})
    shown = ", ".join(suffixes[:8]) + (", …" if len(suffixes) > 8 else "")
    return f"; it holds files of {shown}" if suffixes else ""

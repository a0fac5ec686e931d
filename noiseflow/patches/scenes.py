"""Where frames come from: folders and files, sorted into scenes.

To add a data set, write a module with ``recognises(path)`` and ``collect(path)`` and give
it a line in `SOURCES`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from noiseflow.errors import RawError
from noiseflow.raw.emva import is_emva, read_emva, read_frame
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import is_raw, read_raw
from noiseflow.simulate.write import MANIFEST

__all__ = ["SOURCES", "Collection", "Frame", "Scene", "collect"]


@dataclass(frozen=True)
class Frame:
    """A frame that can be read when it is wanted.

    Parameters
    ----------
    path : Path
        The file, for messages, checksums and provenance.
    read : callable
        Reads it.
    """

    path: Path
    read: Callable[[], RawImage]


@dataclass(frozen=True)
class Scene:
    """Frames of one static scene at one setting of the camera.

    Parameters
    ----------
    name : str
        Unique in its collection.
    frames : tuple of Frame
        Noisy frames.
    clean : Frame or None
        The clean twin, if there is one.
    subject : str
        What was pictured: scenes of one subject stay in one split.
    kind : str
        ``"dark"`` or ``"flat"`` where a listing or the folder's name says so; else empty.
    """

    name: str
    frames: tuple[Frame, ...]
    clean: Frame | None = None
    subject: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Collection:
    """Scenes found in one place, and the truth about their cameras if they are simulated."""

    scenes: tuple[Scene, ...]
    truth: Mapping[str, Any] = field(default_factory=dict)


def collect(path: str | Path) -> Collection:
    """Sort what is at a path into scenes.

    Raises
    ------
    RawError
        If nothing is there, or nothing that we know.
    """
    path = Path(path)
    if not path.exists():
        raise RawError(f"{path}: no such file or folder")
    for recognises, gather in SOURCES:
        if recognises(path):
            return gather(path)
    if path.is_dir():
        raise RawError(f"{path}: no raw file in this folder, and no data set that we know")
    raise RawError(f"{path}: not a raw format we read ({path.suffix or 'no suffix'})")


def _emva(path: Path) -> Collection:
    folder = read_emva(path)
    scenes = [
        Scene(
            name=f"{series.name}_{number:03d}",
            frames=tuple(Frame(file, partial(read_frame, folder, series, file)) for file in series.files),
            subject=f"{series.name}_{number:03d}",
            kind={"b": "flat", "d": "dark"}[series.kind],
        )
        for number, series in enumerate(folder.series)
    ]
    return Collection(tuple(scenes))


def _simulation(path: Path) -> Collection:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        scenes = tuple(
            Scene(
                name=f"{scene['name']}_ISO{float(scene['iso']):g}",
                frames=tuple(_file(path / name) for name in scene["noisy"]),
                clean=_file(path / scene["clean"]),
                subject=scene["name"],
            )
            for scene in manifest["scenes"]
        )
        truth = dict(manifest["truth"])
    except (KeyError, TypeError, ValueError) as error:
        raise RawError(f"{path / MANIFEST}: cannot understand it ({error!r}); simulate again") from error
    return Collection(scenes, truth)


def _folder(path: Path) -> Collection:
    """Each sub-folder, and the folder itself, is one scene of the raw files in it."""
    scenes = []
    for folder in sorted({path, *(entry for entry in path.rglob("*") if entry.is_dir())}):
        files = sorted(file for file in folder.iterdir() if file.is_file() and is_raw(file))
        if files:
            name = str(folder.relative_to(path)) if folder != path else path.name
            scenes.append(Scene(name, tuple(_file(file) for file in files), subject=name, kind=kind_of(folder.name)))
    return Collection(tuple(scenes))


KINDS = {
    "dark": {"dark", "darks", "darkframe", "darkframes", "bias", "biases"},
    "flat": {"flat", "flats", "flatfield", "flatfields", "flatframes"},
}
"""Words in a folder's name that say what its frames are."""


def kind_of(name: str) -> str:
    """Kind that a folder's name says: ``"dark"``, ``"flat"`` or none.

    >>> kind_of("ISO100_darks"), kind_of("darkroom")
    ('dark', '')
    """
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((kind for kind, names in KINDS.items() if words & names), "")


def _single(path: Path) -> Collection:
    return Collection((Scene(path.stem, (_file(path),), subject=path.stem),))


def _file(path: Path) -> Frame:
    return Frame(path, partial(read_raw, path))


def _has_raws(path: Path) -> bool:
    return path.is_dir() and any(is_raw(file) for file in path.rglob("*") if file.is_file())


SOURCES: tuple[tuple[Callable[[Path], bool], Callable[[Path], Collection]], ...] = (
    (is_emva, _emva),
    (lambda path: (path / MANIFEST).is_file(), _simulation),
    (_has_raws, _folder),
    (lambda path: path.is_file() and is_raw(path), _single),
)
"""Tests of a path and what gathers its scenes; the first that fits is taken."""

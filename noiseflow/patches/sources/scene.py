"""`Frame`, `Scene` and `Collection`: the types that every source returns.

They can be pickled and sent to worker processes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import frame_count, read_clean, read_frame
from noiseflow.raw.settings import RawSettings

__all__ = [
    "LONG_TWIN",
    "Collection",
    "Frame",
    "Scene",
    "clean_frame",
    "file_frame",
    "file_frames",
    "is_long",
    "kind_of",
    "same_exposure",
]


KIND_WORDS = {
    "dark": {"dark", "darks", "darkframe", "darkframes", "bias", "biases"},
    "flat": {"flat", "flats", "flatfield", "flatfields", "flatframes"},
}
"""Kind of a scene → words in a folder's name that mean it."""

LONG_TWIN: Mapping[str, str] = {"clean_twin": "long exposure"}
"""Facts of a scene whose clean twin is a longer exposure, or one at another ISO."""


SAME_EXPOSURE = 0.01
"""Exposure times that differ by at most this fraction count as equal, since files round them differently."""


@dataclass(frozen=True)
class Frame:
    """A frame that is read on demand.

    Parameters
    ----------
    path : Path
        The file, for messages, checksums and provenance.
    read : callable
        Reads the frame; a module-level function or a `functools.partial` of one.
    """

    path: Path
    read: Callable[[], RawImage]


@dataclass(frozen=True)
class Scene:
    """Frames of one static scene, taken with one setting of the camera.

    Parameters
    ----------
    name : str
        Name, unique in the collection.
    frames : tuple of Frame
        Noisy frames.
    clean : Frame or None
        The clean twin, if there is one.
    subject : str
        Name of what was photographed; scenes of one subject stay in one split.
    kind : str
        ``"dark"`` or ``"flat"`` if a listing or the folder's name says so; otherwise empty.
    split : str or None
        ``"train"``, ``"val"`` or ``"test"`` if the data set publishes it; None to assign one at random.
    facts : mapping
        JSON-able facts about the scene from the data set.
    grid : callable or None
        ((H, W) of the planes, patch size) → corners (y, x), shape (n, 2), of the patches
        that the data set publishes; None for all that fit side by side.
    """

    name: str
    frames: tuple[Frame, ...]
    clean: Frame | None = None
    subject: str = ""
    kind: str = ""
    split: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    grid: Callable[[tuple[int, ...], int], NDArray[Any]] | None = None


@dataclass(frozen=True)
class Collection:
    """Scenes found in one source.

    Parameters
    ----------
    scenes : tuple of Scene
        Scenes in a fixed order.
    truth : mapping
        Camera → its true parameters, if it is simulated.
    report : tuple of str
        Remarks for the user: what is missing, left out or unreadable.
    """

    scenes: tuple[Scene, ...]
    truth: Mapping[str, Any] = field(default_factory=dict)
    report: tuple[str, ...] = ()


def same_exposure(first: float | None, other: float | None) -> bool:
    """Whether two exposure times in seconds are equal to within `SAME_EXPOSURE`; None equals only None.

    >>> same_exposure(0.016683, 0.016684), same_exposure(0.01, None)
    (True, False)
    """
    if first is None or other is None:
        return first is other
    return abs(first - other) <= SAME_EXPOSURE * max(first, other)


def is_long(scene: Scene) -> bool:
    """Whether a scene's clean twin is a longer exposure, which must be scaled to each frame's exposure time and ISO."""
    return scene.facts.get("clean_twin") == LONG_TWIN["clean_twin"]


def kind_of(name: str) -> str:
    """Kind of frames according to a folder's name: ``"dark"``, ``"flat"`` or empty.

    >>> kind_of("ISO100_darks"), kind_of("darkroom")
    ('dark', '')
    """
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((kind for kind, names in KIND_WORDS.items() if words & names), "")


def file_frame(path: Path, settings: RawSettings) -> Frame:
    """Make the frame of a raw file with one noisy frame."""
    return Frame(path, partial(read_frame, path, settings))


def file_frames(path: Path, settings: RawSettings) -> tuple[Frame, ...]:
    """Make the frames of a raw file, which may be a stack of several noisy frames."""
    try:
        count = frame_count(path)
    except RawError:
        # Damaged: reading the frame will report how.
        count = 1
    if count == 1:
        return (file_frame(path, settings),)
    return tuple(Frame(path, partial(read_frame, path, settings, number)) for number in range(count))


def clean_frame(path: Path, settings: RawSettings) -> Frame:
    """Make the frame of a raw file with a clean signal."""
    return Frame(path, partial(read_clean, path, settings))

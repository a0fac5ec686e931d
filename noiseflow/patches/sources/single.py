"""One raw file: one scene of one frame."""

from pathlib import Path

from noiseflow.patches.sources.scene import Collection, Scene, file_frame
from noiseflow.raw.reading import is_raw
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

recognises = is_raw


def gather(path: Path, settings: RawSettings) -> Collection:
    """A scene of that file alone."""
    return Collection((Scene(path.stem, (file_frame(path, settings),), subject=path.stem),))

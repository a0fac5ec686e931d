"""One raw file: a scene of its frame, or of all frames of a stack."""

from pathlib import Path

from noiseflow.patches.sources.scene import Collection, Scene, file_frames, kind_of
from noiseflow.raw.reading import is_raw
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

recognises = is_raw


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make one scene of the file."""
    frames = file_frames(path, settings)
    kind = kind_of(path.stem) if len(frames) > 1 else ""
    return Collection((Scene(path.stem, frames, subject=path.stem, kind=kind),))

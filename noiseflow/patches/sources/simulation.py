"""Folders written by ``noiseflow simulate``: noisy frames with clean twins, and the true parameters."""

from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.output.checks import inside
from noiseflow.core.reading.text import read_json
from noiseflow.patches.sources.scene import Collection, Scene, clean_frame, file_frame
from noiseflow.raw.settings import RawSettings
from noiseflow.simulate.manifest import MANIFEST

__all__ = ["gather", "recognises"]


def recognises(path: Path) -> bool:
    """Whether a folder contains the manifest of a simulation."""
    return (path / MANIFEST).is_file()


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make the scenes that the manifest of a simulation lists.

    Raises
    ------
    RawError
        If the manifest is damaged.
    """
    try:
        manifest = read_json(path / MANIFEST, "the manifest of a simulation", RawError)
        scenes = tuple(
            Scene(
                name=f"{scene['name']}_ISO{float(scene['iso']):g}",
                frames=tuple(file_frame(inside(path, name, path / MANIFEST), settings) for name in scene["noisy"]),
                clean=clean_frame(inside(path, scene["clean"], path / MANIFEST), settings),
                subject=scene["name"],
            )
            for scene in manifest["scenes"]
        )
        truth = dict(manifest["truth"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RawError(f"{path / MANIFEST}: cannot be understood ({error!r}); simulate again") from error
    return Collection(scenes, truth)

"""LRID (from PMN): bursts of 10 still frames of an IMX686 at ISO 6400, for several digital gains.

Folders are named ``LRID/indoor_x5/6400/1/000/*.dng``: subset, ISO, digital gain (how much too dark the exposure is),
scene.  The published references (``npy/GT_align_ours``) are fused frames in a unit of their own and are not
used: a frame's clean signal is the mean of the other nine.

References
----------
Feng, Wang, Li, Wang, Huang: Learnability Enhancement for Low-Light Raw Image Denoising, TPAMI 2023.
"""

from collections.abc import Iterator
from pathlib import Path

from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import Collection, Scene, file_frame
from noiseflow.raw.reading import raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["FRAMES", "SUBSETS", "gather", "recognises"]

ISO = str(manifest("lrid")["iso"])
FRAMES: int = manifest("lrid")["frames"]
SUBSETS = manifest("lrid")["subsets"]
"""Subset → numbers of the scenes used for evaluation in the authors' code, and of those taken with a hot sensor."""


def recognises(path: Path) -> bool:
    """Whether a folder is a subset, or contains subsets."""
    return path.is_dir() and any(_bursts(path))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each burst, with the authors' split; all gains of a scene are in one split."""
    scenes, report = [], ["the authors' evaluation scenes are for testing, the others for training"]
    short = 0
    for subset, gain, folder in _bursts(path):
        files, _ = raw_files(folder.iterdir())
        short += len(files) < FRAMES
        number = int(folder.name) if folder.name.isdecimal() else None
        scenes.append(
            Scene(
                name=f"{subset}/{gain}/{folder.name}",
                frames=tuple(file_frame(file, settings) for file in files),
                subject=f"{subset}/{folder.name}",
                split="test" if number in SUBSETS[subset]["test"] else "train",
                facts={"digital_gain": int(gain), "hot_sensor": number in SUBSETS[subset]["hot"]},
            )
        )
    if short:
        report.append(f"{path}: {short} of {len(scenes)} scenes have fewer than {FRAMES} frames")
    return Collection(tuple(scenes), report=tuple(report))


def _bursts(path: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield subset, digital gain and folder of each burst."""
    subsets = [path] if path.name in SUBSETS else [path / name for name in SUBSETS]
    for subset in subsets:
        if (subset / ISO).is_dir():
            for gain in sorted(entry for entry in (subset / ISO).iterdir() if entry.name.isdecimal()):
                for folder in sorted(entry for entry in gain.iterdir() if entry.is_dir()):
                    if raw_files(folder.iterdir())[0]:
                        yield subset.name, gain.name, folder

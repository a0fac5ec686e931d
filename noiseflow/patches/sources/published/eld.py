"""ELD: 10 scenes of 16 frames for each of four cameras; frames 1, 6, 11 and 16 are references.

Files are named ``ELD/SonyA7S2/scene-1/IMG_0001.ARW``.  The other frames are low-light frames at three ISOs and two
exposure ratios; their clean signal is the reference with the nearest number.  Files with the cameras' own names are
numbered in order of name, as the authors do.

References
----------
Wei, Fu, Yang, Huang: A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising, CVPR 2020.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.reading import is_raw
from noiseflow.raw.settings import RawSettings

__all__ = ["FRAMES", "REFERENCES", "gather", "recognises"]

FRAMES = range(1, manifest("eld")["frames"] + 1)
REFERENCES: tuple[int, ...] = tuple(manifest("eld")["references"])
CAMERAS: tuple[str, ...] = tuple(manifest("eld")["cameras"])

SCENE = re.compile(r"scene-(\d+)", re.IGNORECASE)
NAME = re.compile(r"IMG_(\d{4})\.\w+", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Whether a folder is that of one camera, or contains such folders."""
    return path.is_dir() and any(_scenes(path))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each reference with its low-light frames; all are for testing, missing frames are reported.

    Raises
    ------
    RawError
        If no scene has a reference and a low-light frame.
    """
    scenes, report = [], [f"{path}: this data set is for testing; train on another one"]
    for name, folder in _scenes(path):
        files, note = _numbered(folder)
        report += note
        missing = [number for number in FRAMES if number not in files]
        if missing:
            report.append(f"{folder}: {len(missing)} of {len(FRAMES)} frames missing: {missing}")
        noisy: dict[int, list[Path]] = defaultdict(list)
        for number, file in files.items():
            reference = min(REFERENCES, key=lambda each: abs(each - number))
            if number not in REFERENCES and reference in files:
                noisy[reference].append(file)
        scenes += [
            Scene(
                name=f"{name}/{reference:02d}",
                frames=tuple(file_frame(file, settings) for file in shorts),
                clean=clean_frame(files[reference], settings),
                subject=name,
                split="test",
                facts=LONG_TWIN,
            )
            for reference, shorts in sorted(noisy.items())
        ]
    if not scenes:
        raise RawError(
            f"{path}: has the folders of ELD, but no low-light frame together with its reference (1, 6, 11, 16)"
        )
    return Collection(tuple(scenes), report=tuple(report))


def _numbered(folder: Path) -> tuple[dict[int, Path], list[str]]:
    """Frames of a scene by number, and remarks about it."""
    raws = [file for file in sorted(folder.iterdir()) if is_raw(file)]
    named = {int(match[1]): file for file in raws if (match := NAME.fullmatch(file.name)) and int(match[1]) in FRAMES}
    if named or not raws:
        return named, []
    if len(raws) != len(FRAMES):
        return {}, [
            f"{folder}: left out: its {len(raws)} raw files are not named IMG_0001 to IMG_{FRAMES[-1]:04d}, so the "
            "references are unknown"
        ]
    return dict(zip(FRAMES, raws, strict=True)), [f"{folder}: files were numbered 1 to {len(raws)} in order of name"]


def _scenes(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each scene of each camera."""
    cameras = [path] if path.name in CAMERAS else [path / camera for camera in CAMERAS if (path / camera).is_dir()]
    for camera in cameras:
        found = [(int(match[1]), folder) for folder in camera.iterdir() if (match := SCENE.fullmatch(folder.name))]
        for number, folder in sorted(found):
            yield f"{camera.name}/scene-{number}", folder

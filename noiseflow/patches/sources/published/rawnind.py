"""RawNIND: scenes of one camera at several ISOs, with clean frames in a folder ``gt``.

``RawNIND/src/Bayer/SCENE/*.CR2`` are the noisy frames, ``…/SCENE/gt/*.CR2`` the clean ones.  ``X-Trans``, next to
``Bayer``, has other planes and needs a store of its own.  The download is one flat folder of files
``Bayer_SCENE_[GT_]ISO100_sha1=….arw``, which can be read directly.

References
----------
Brummer, De Vleeschouwer: Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image
Noise Dataset, 2025 (arXiv 2501.08924).
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.reading import raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

KINDS: tuple[str, ...] = tuple(manifest("rawnind")["kinds"])
CLEAN = "gt"
TEST_MARK: str = manifest("rawnind")["test_mark"]
NAME = re.compile(rf"({'|'.join(KINDS)})_(.+?)_(GT_)?ISO\d+_sha1=[0-9a-f]+\.\w+")


class Found(NamedTuple):
    """Noisy and clean files of one scene, taken with one kind of sensor."""

    kind: str
    name: str
    noisy: list[Path]
    clean: list[Path]


def recognises(path: Path) -> bool:
    """Whether a folder contains scenes with clean frames, in folders or by file name."""
    return path.is_dir() and bool(_scenes(path))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each set of noisy frames with the first of its clean frames.

    Scenes of Bayer cameras are used if there are any, otherwise those of X-Trans cameras.

    Raises
    ------
    RawError
        If no scene has both a noisy and a clean frame.
    """
    found = _scenes(path)
    kinds = [kind for kind in KINDS if any(scene.kind == kind for scene in found)]
    whole = [scene for scene in found if scene.kind == kinds[0] and scene.noisy and scene.clean]
    if not whole:
        raise RawError(f"{path}: is named like RawNIND, but has no scene with both a noisy and a clean frame")
    scenes = tuple(
        Scene(
            name=scene.name,
            frames=tuple(file_frame(file, settings) for file in scene.noisy),
            clean=clean_frame(scene.clean[0], settings),
            subject=scene.name,
            split="test" if TEST_MARK in scene.name else "train",
            facts=LONG_TWIN,
        )
        for scene in whole
    )
    report = [
        f"{path}: {len(scenes)} scenes; those named {TEST_MARK}… are for testing, as the authors hold them out",
        "the clean signal is the first file in gt/, scaled to each frame by the ratio of exposure time × ISO; frames "
        "are not aligned: check for motion",
    ]
    report += [
        f"{path / kind}: left out, since another colour filter array needs a store of its own: "
        + (
            "ingest this folder"
            if (path / kind).is_dir()
            else "move its files into a folder of that name, and ingest it"
        )
        for kind in kinds[1:]
    ]
    alone = [scene.name for scene in found if scene.kind == kinds[0] and not (scene.noisy and scene.clean)]
    if alone:
        report.append(
            f"{path}: {counted(len(alone), 'scene')} without a noisy or a clean frame left out: {', '.join(alone[:5])}"
        )
    return Collection(scenes, report=tuple(report))


def _scenes(path: Path) -> list[Found]:
    """Find scenes in folders, or else by the names of the files."""
    roots = [path] if path.name in KINDS else [path / kind for kind in KINDS if (path / kind).is_dir()]
    found = [
        Found(root.name, folder.name, raw_files(folder.iterdir())[0], raw_files((folder / CLEAN).iterdir())[0])
        for root in roots
        if root.is_dir()
        for folder in sorted(entry for entry in root.iterdir() if (entry / CLEAN).is_dir())
    ]
    return found or _by_name(path)


def _by_name(path: Path) -> list[Found]:
    """Find the scenes of a flat folder by the names of its files."""
    files: dict[tuple[str, str], tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for file in sorted(path.iterdir()):
        if match := NAME.fullmatch(file.name):
            files[match[1], match[2]][bool(match[3])].append(file)
    return [Found(kind, name, noisy, clean) for (kind, name), (noisy, clean) in sorted(files.items())]

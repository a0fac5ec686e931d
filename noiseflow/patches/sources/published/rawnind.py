"""RawNIND: scenes of one camera at several ISOs, with clean frames in a folder ``gt``.

``RawNIND/src/Bayer/SCENE/*.CR2`` with ``…/SCENE/gt/*.CR2``; ``X-Trans`` beside ``Bayer``, whose
planes need a store of their own.

References
----------
Brummer, De Vleeschouwer: Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image
Noise Dataset, 2025 (arXiv 2501.08924).
"""

from collections.abc import Iterator
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.reading import raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

KINDS, CLEAN = ("Bayer", "X-Trans"), "gt"


def recognises(path: Path) -> bool:
    """Whether a folder is, or holds, a folder ``Bayer`` or ``X-Trans`` of scenes with a folder ``gt`` in each."""
    return path.is_dir() and any(_scenes(_root(path)))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Sort the frames of each scene beside the first of its clean ones, of the Bayer cameras if they are there.

    Raises
    ------
    RawError
        No scene has a noisy and a clean frame.
    """
    root = _root(path)
    scenes = tuple(
        Scene(
            name=folder.name,
            frames=tuple(file_frame(file, settings) for file in noisy),
            clean=clean_frame(clean[0], settings),
            subject=folder.name,
            facts=LONG_TWIN,
        )
        for folder, noisy, clean in _scenes(root)
    )
    if not scenes:
        raise RawError(f"{path}: folders of RawNIND, but no scene with a noisy and a clean frame")
    report = [
        f"{path}: {len(scenes)} scenes; no split is published for single frames, one is drawn by scene",
        "the clean signal is the first file of gt/, brought to each frame by the ratio of exposure and ISO; frames "
        "are not aligned: check for motion",
    ]
    report += [
        f"{path / kind}: left out: another colour filter array needs a store of its own: ingest this folder"
        for kind in KINDS
        if (path / kind).is_dir() and path / kind != root
    ]
    return Collection(scenes, report=tuple(report))


def _root(path: Path) -> Path:
    """The folder of the scenes of one kind of sensor."""
    kinds = [path / kind for kind in KINDS if (path / kind).is_dir()]
    return path if path.name in KINDS or not kinds else kinds[0]


def _scenes(root: Path) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """Folder, noisy and clean files of each scene."""
    if root.name not in KINDS or not root.is_dir():
        return
    for folder in sorted(entry for entry in root.iterdir() if (entry / CLEAN).is_dir()):
        noisy, clean = raw_files(folder.iterdir())[0], raw_files((folder / CLEAN).iterdir())[0]
        if noisy and clean:
            yield folder, noisy, clean

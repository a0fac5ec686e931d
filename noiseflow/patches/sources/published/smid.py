"""SMID (Seeing Motion in the Dark): short static videos, each with a long exposure.

``SMID/short/0001/*.ARW`` belongs to ``SMID/long/0001/*.ARW``.  If ``train_list.txt``, ``val_list.txt`` and
``test_list.txt`` exist next to them, they give the numbers of each split; otherwise the published
split is used.

References
----------
Chen, Chen, Do, Koltun: Seeing Motion in the Dark, ICCV 2019.
"""

import re
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.reading import raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

SPLITS = ("train", "val", "test")
NUMBER = re.compile(r"\d{4}")
PUBLISHED = {f"{number:04d}": split for split, numbers in manifest("smid")["split"].items() for number in numbers}
"""Number of a video → its split in the authors' code."""


def recognises(path: Path) -> bool:
    """Whether a folder contains numbered folders of short and of long exposures."""
    return bool(_numbered(path / "short")) and bool(_numbered(path / "long"))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each short video with the first of its long exposures.

    Raises
    ------
    RawError
        If no video has a long exposure.
    """
    short, long = _numbered(path / "short"), _numbered(path / "long")
    splits = _splits(path)
    report = [
        "split by the lists next to the folders" if splits else f"{path}: no split lists; the published one is used",
        "the clean signal is the first long exposure, scaled to the short one by the ratio of exposure time × ISO",
    ]
    alone = sorted(short.keys() - long.keys())
    if alone:
        report.append(
            f"{path}: {counted(len(alone), 'short video')} without a long exposure left out: {', '.join(alone[:5])}"
        )
    scenes = tuple(
        Scene(
            name=number,
            frames=tuple(file_frame(file, settings) for file in files),
            clean=clean_frame(long[number][0], settings),
            subject=number,
            split=(splits or PUBLISHED).get(number),
            facts=LONG_TWIN,
        )
        for number, files in sorted(short.items())
        if number in long
    )
    if not scenes:
        raise RawError(f"{path}: has the folders of SMID, but no short video with a long exposure of the same number")
    return Collection(scenes, report=tuple(report))


def _numbered(path: Path) -> dict[str, list[Path]]:
    """Raw files of each numbered folder."""
    if not path.is_dir():
        return {}
    found = {folder.name: raw_files(folder.iterdir())[0] for folder in path.iterdir() if NUMBER.fullmatch(folder.name)}
    return {number: files for number, files in found.items() if files}


def _splits(path: Path) -> dict[str, str]:
    """Number of each video → its split, from the lists; empty if there are none."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        listing = path / f"{split}_list.txt"
        if listing.is_file():
            splits |= dict.fromkeys(NUMBER.findall(listing.read_text(encoding="utf-8", errors="replace")), split)
    return splits

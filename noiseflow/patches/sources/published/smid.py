"""SMID (Seeing Motion in the Dark): short static videos with a long exposure of each.

``SMID/short/0001/*.ARW`` with ``SMID/long/0001/*.ARW``; ``train_list.txt``, ``val_list.txt`` and
``test_list.txt`` beside them, if they are there, hold the numbers of each split; without them the
published ones count.

References
----------
Chen, Chen, Do, Koltun: Seeing Motion in the Dark, ICCV 2019.
"""

import re
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.reading import raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

SPLITS = ("train", "val", "test")
NUMBER = re.compile(r"\d{4}")
PUBLISHED = {f"{number:04d}": split for split, numbers in manifest("smid")["split"].items() for number in numbers}
"""Split of each video, as the authors' code lists them."""


def recognises(path: Path) -> bool:
    """Whether a folder holds numbered folders of short and of long exposures."""
    return bool(_numbered(path / "short")) and bool(_numbered(path / "long"))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Sort the frames of each short video into a scene with the first of its long exposures.

    Raises
    ------
    RawError
        No video has a long exposure.
    """
    short, long = _numbered(path / "short"), _numbered(path / "long")
    splits = _splits(path)
    report = [
        "split by the lists beside the folders" if splits else f"{path}: no list of a split; the published one counts",
        "the clean signal is the first long exposure, brought to the short one by the ratio of exposure and ISO",
    ]
    alone = sorted(short.keys() - long.keys())
    if alone:
        report.append(f"{path}: {len(alone)} short video(s) without a long exposure left out: {', '.join(alone[:5])}")
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
        raise RawError(f"{path}: folders of SMID, but no short video with a long exposure of the same number")
    return Collection(scenes, report=tuple(report))


def _numbered(path: Path) -> dict[str, list[Path]]:
    """Raw files of each numbered folder."""
    if not path.is_dir():
        return {}
    found = {folder.name: raw_files(folder.iterdir())[0] for folder in path.iterdir() if NUMBER.fullmatch(folder.name)}
    return {number: files for number, files in found.items() if files}


def _splits(path: Path) -> dict[str, str]:
    """Split of each number, by the lists."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        listing = path / f"{split}_list.txt"
        if listing.is_file():
            splits |= dict.fromkeys(NUMBER.findall(listing.read_text(encoding="utf-8", errors="replace")), split)
    return splits

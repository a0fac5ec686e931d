"""SID (See-in-the-Dark): short exposures with a long exposure of the same scene, paired by the published lists.

``Sony_train_list.txt`` has lines ``./Sony/short/00001_00_0.04s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8``.
``…_val_list.txt`` and ``…_test_list.txt`` have the same form, as have ``Fuji_…`` for the X-Trans camera, whose
planes need a store of their own.

References
----------
Chen, Chen, Xu, Koltun: Learning to See in the Dark, CVPR 2018.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

SPLITS = ("train", "val", "test")
CAMERAS = {code: f"{camera['name']}, {camera['cfa']}" for code, camera in manifest("sid")["cameras"].items()}
MISALIGNED = frozenset(manifest("sid")["misaligned"])
"""Pictures of the Sony whose long exposure is not aligned with the short ones, according to the authors."""


def recognises(path: Path) -> bool:
    """Whether a folder contains one of the lists, or is the folder of one camera next to them."""
    return path.is_dir() and any(_lists(*_root(path)))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each long exposure with its short ones, with the published split.

    From the folder of the data set, the Bayer camera is used if it is there; from the folder of one
    camera, that camera.  Pictures that the authors call misaligned are left out.  The report names these,
    missing files, lists that are longer or shorter than the published ones, and a camera that was left out.

    Raises
    ------
    RawError
        If a line cannot be parsed, or no pair has both files.
    """
    report: list[str] = []
    pairs: dict[Path, list[Path]] = defaultdict(list)
    splits: dict[Path, str] = {}
    missing: list[Path] = []
    misaligned: set[str] = set()
    path, chosen = _root(path)
    chosen = chosen or next(camera for camera, *_ in _lists(path))
    for camera, split, file in _lists(path):
        if camera != chosen:
            report.append(f"{file}: left out: {CAMERAS[camera]} needs a store of its own: ingest {path / camera}")
            continue
        listed = list(_pairs(path, file))
        report += _unlike_the_published(file, camera, split, listed)
        for short, long in listed:
            if camera == "Sony" and _picture(long) in MISALIGNED:
                misaligned.add(_picture(long))
                continue
            gone = [each for each in (short, long) if not each.is_file()]
            if gone:
                missing += gone
                continue
            pairs[long].append(short)
            splits[long] = split
    if misaligned:
        names = ", ".join(sorted(misaligned))
        report.append(f"{path}: pictures {names} left out: the authors call their long exposure misaligned")
    if missing:
        count, first = len(set(missing)), min(missing)
        # Lists may name files outside the folder.
        first = first.relative_to(path) if first.is_relative_to(path) else first
        report.append(f"{path}: {counted(count, 'listed file')} missing, the first {first}")
    if not pairs:
        raise RawError(f"{path}: has lists of SID, but no pair with both files; {'; '.join(report)}")
    scenes = tuple(
        Scene(
            name=long.stem,
            frames=tuple(file_frame(short, settings) for short in sorted(shorts)),
            clean=clean_frame(long, settings),
            subject=_picture(long),
            split=splits[long],
            facts=LONG_TWIN,
        )
        for long, shorts in sorted(pairs.items())
    )
    return Collection(scenes, report=("published split by the lists", *report))


def _picture(file: Path) -> str:
    """Number of the picture from a file's name; its first digit gives the split."""
    return file.stem.split("_")[0]


def _unlike_the_published(file: Path, camera: str, split: str, listed: Sequence[tuple[Path, Path]]) -> Iterator[str]:
    """Yield a remark if a list is longer or shorter than the published one."""
    published = manifest("sid")["lists"][camera].get(split)
    found = {"short": len(listed), "long": len({long for _, long in listed})}
    if published not in (None, found):
        yield (
            f"{file}: {found['short']} short and {found['long']} long exposures; "
            f"the published list has {published['short']} and {published['long']}"
        )


def _root(path: Path) -> tuple[Path, str]:
    """Folder of the data set, and the camera if `path` is a camera's folder; otherwise empty."""
    return (path.parent, path.name) if path.name in CAMERAS else (path, "")


def _lists(path: Path, chosen: str = "") -> Iterator[tuple[str, str, Path]]:
    """Yield camera, split and file of each existing list, of one camera or of all."""
    for camera in [chosen] if chosen else CAMERAS:
        for split in SPLITS:
            file = path / f"{camera}_{split}_list.txt"
            if file.is_file():
                yield camera, split, file


def _pairs(path: Path, listing: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the short and the long file of each line."""
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2:
            raise RawError(
                f"{listing}: line {number}: expected a short and a long file, ISO and aperture; got {line!r}"
            )
        yield _there(path / words[0]), _there(path / words[1])


def _there(file: Path) -> Path:
    """The file, or the one with its suffix in the other case if only that exists."""
    other = file.with_suffix(file.suffix.swapcase())
    return other if other.is_file() and not file.is_file() else file

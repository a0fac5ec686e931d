"""SID (See-in-the-Dark): short exposures with a long one of the same scene, as its lists pair them.

``Sony_train_list.txt`` has lines ``./Sony/short/00001_00_0.04s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8``;
likewise ``…_val_list.txt`` and ``…_test_list.txt``, and ``Fuji_…`` for the X-Trans camera, whose
planes need a store of their own.

References
----------
Chen, Chen, Xu, Koltun: Learning to See in the Dark, CVPR 2018.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import LONG_TWIN, Collection, Scene, clean_frame, file_frame
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

SPLITS = ("train", "val", "test")
CAMERAS = {code: f"{camera['name']}, {camera['cfa']}" for code, camera in manifest("sid")["cameras"].items()}
MISALIGNED = frozenset(manifest("sid")["misaligned"])
"""Pictures of the Sony whose long exposure does not lie on the short ones, as the authors say."""


def recognises(path: Path) -> bool:
    """Whether a folder holds one of the lists, or is the folder of one camera beside them."""
    return path.is_dir() and any(_lists(*_root(path)))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Sort the short exposures into scenes by their long one, with the published split.

    Of the dataset's folder the Bayer camera is taken, if it is there; of the folder of one camera
    that one.  Files that the lists name and that are not there are reported, as are lists of another
    length than the published ones, a camera that is left out, and the pictures that the authors
    call misaligned, which are left out.

    Raises
    ------
    RawError
        A line that cannot be understood, or no pair of which both files are there.
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
            report.append(f"{file}: left out: {CAMERAS[camera]}, needs a store of its own: ingest {path / camera}")
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
        report.append(f"{path}: pictures {names} left out: their long exposure is misaligned, as the authors say")
    if missing:
        count, first = len(set(missing)), min(missing)
        # A list may name files anywhere.
        first = first.relative_to(path) if first.is_relative_to(path) else first
        report.append(f"{path}: {count} listed file(s) missing, the first {first}")
    if not pairs:
        raise RawError(f"{path}: lists of SID, but no pair of which both files are there; {'; '.join(report)}")
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
    """Number of the picture in a file's name, its first digit the split."""
    return file.stem.split("_")[0]


def _unlike_the_published(file: Path, camera: str, split: str, listed: Sequence[tuple[Path, Path]]) -> Iterator[str]:
    """Whether a list is longer or shorter than the published one."""
    published = manifest("sid")["lists"][camera].get(split)
    found = {"short": len(listed), "long": len({long for _, long in listed})}
    if published not in (None, found):
        yield (
            f"{file}: {found['short']} short and {found['long']} long exposures; "
            f"the published list has {published['short']} and {published['long']}"
        )


def _root(path: Path) -> tuple[Path, str]:
    """The dataset's folder, and the camera whose folder `path` is; empty if it is the dataset's."""
    return (path.parent, path.name) if path.name in CAMERAS else (path, "")


def _lists(path: Path, chosen: str = "") -> Iterator[tuple[str, str, Path]]:
    """Camera, split and file of each list that is there, of one camera or of all."""
    for camera in [chosen] if chosen else CAMERAS:
        for split in SPLITS:
            file = path / f"{camera}_{split}_list.txt"
            if file.is_file():
                yield camera, split, file


def _pairs(path: Path, listing: Path) -> Iterator[tuple[Path, Path]]:
    """Short and long file of each line."""
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
    """The file, or the one whose suffix is in the other case, as some programs copy it."""
    other = file.with_suffix(file.suffix.swapcase())
    return other if other.is_file() and not file.is_file() else file

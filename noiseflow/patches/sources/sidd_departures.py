"""What a SIDD folder has, or lacks, compared with what is published about the data set, for the report of a reader."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from noiseflow.core.text import counted
from noiseflow.patches.sources.scene import Scene
from noiseflow.patches.sources.sidd_published import published
from noiseflow.raw.formats.sidd import SceneName

__all__ = ["BLOCKS_SHAPE", "departures", "shape_departure"]

BLOCKS_SHAPE = (40, 32, 256, 256)
"""Published shape of a block file: instances, blocks, and (H, W) of a block."""

NEAR_ISO, NEAR_EXPOSURE = 0.02, 0.1
"""Fractions by which ISO and exposure time of a metadata file may differ from the folder's name, which rounds them."""


def departures(path: Path, found: Mapping[Path, SceneName], scenes: Sequence[Scene]) -> Iterator[str]:
    """Yield a line for each kind of difference between a folder and the published data set.

    Parameters
    ----------
    path : Path
        The folder, for messages.
    found : mapping of Path to SceneName
        Folders of all scene instances, and their parsed names.
    scenes : sequence of Scene
        The frames that are used; their facts are those of the metadata.
    """
    yield from _instances(path, found)
    yield from _frames(path, scenes)
    yield from _metadata(path, scenes)


def shape_departure(path: Path, shape: Sequence[int]) -> Iterator[str]:
    """Yield a line if a block file has another shape than the published one.

    Parameters
    ----------
    path : Path
        The file, for messages.
    shape : sequence of int
        Shape of its array.
    """
    if tuple(shape) != BLOCKS_SHAPE:
        yield f"{path}: has the shape {_times(shape)}; the published file has {_times(BLOCKS_SHAPE)}"


def _instances(path: Path, found: Mapping[Path, SceneName]) -> Iterator[str]:
    numbers = {name.instance for name in found.values()}
    for split in ("train", "test"):
        wanted = {number for number, its in published().split.items() if its == split}
        if missing := sorted(wanted - numbers):
            yield f"{path}: {len(missing)} of {len(wanted)} published {split} scenes missing: {_short(missing)}"
    known = {int(name[:4]): name for name in published().scenes + published().blocks}
    if extra := sorted(numbers - known.keys()):
        yield f"{path}: {counted(len(extra), 'scene')} that the data set does not have: {_short(extra)}"
    renamed = [(folder, name) for folder, name in found.items() if known.get(name.instance, folder.name) != folder.name]
    if renamed:
        folder, name = renamed[0]
        yield (
            f"{path}: {counted(len(renamed), 'scene folder')} not named as published, such as {folder.name}, which is "
            f"published as {known[name.instance]}; the folder's name gives the camera"
        )


def _frames(path: Path, scenes: Sequence[Scene]) -> Iterator[str]:
    wanted = set(published().frames)
    of_instance: dict[int, set[str]] = {}
    for scene in scenes:
        of_instance.setdefault(int(scene.facts["instance"]), set()).add(scene.name.split("/")[1])
    listed = " and ".join(published().frames)
    if lacking := sorted(number for number, its in of_instance.items() if not wanted <= its):
        yield f"{path}: {counted(len(lacking), 'scene')} without frame {listed.replace('and', 'or')}: {_short(lacking)}"
    if further := sum(len(its - wanted) for its in of_instance.values()):
        yield (
            f"{path}: the published code uses frames {listed} of each scene; {counted(further, 'frame')} more used too"
        )


def _metadata(path: Path, scenes: Sequence[Scene]) -> Iterator[str]:
    for key, near, unit in (("iso", NEAR_ISO, ""), ("exposure_s", NEAR_EXPOSURE, " s")):
        unlike = []
        for scene in scenes:
            name = SceneName.parse(scene.name.split("/")[0])
            own, named = float(scene.facts[key]), float(getattr(name, key))
            if abs(own - named) > near * named:
                unlike.append(f"{scene.name} has {own:.4g}{unit} for {named:.4g}{unit}")
        if unlike:
            what = {"iso": "ISO", "exposure_s": "exposure"}[key]
            yield (
                f"{path}: the metadata of {counted(len(unlike), 'frame')} give another {what} than the scene's name: "
                f"{unlike[0]}; the metadata are used"
            )


def _short(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:04d}" for number in numbers[:8])
    return shown + (", …" if len(numbers) > 8 else "")


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape)

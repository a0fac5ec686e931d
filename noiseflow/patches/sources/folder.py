"""Folders of raw files: pairs with clean twins by name; otherwise one scene per folder, ISO and exposure time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.sources.scene import (
    LONG_TWIN,
    Collection,
    Scene,
    clean_frame,
    file_frames,
    kind_of,
    same_exposure,
)
from noiseflow.patches.sources.twins import Twins, find_twins
from noiseflow.raw.file_names import walk
from noiseflow.raw.reading import glance, is_raw, raw_files
from noiseflow.raw.settings import RawSettings

__all__ = ["Group", "gather", "grouped", "holds_frames", "names_of", "recognises"]

SHOWN = 3
"""Number of names shown in a line of the report."""


def recognises(path: Path) -> bool:
    """Whether a folder or a folder below it contains a raw file."""
    return path.is_dir() and any(is_raw(folder / name) for folder, names, _ in walk(path) for name in names)


def holds_frames(path: Path) -> bool:
    """Whether a folder contains a raw file, not counting folders below it."""
    return any(is_raw(entry) for entry in path.iterdir())


def gather(path: Path, settings: RawSettings) -> Collection:
    """Sort the raw files below a folder into scenes.

    If any file has a clean twin by its name, each twin makes a scene.  Otherwise each folder makes
    a scene, or several if it has frames of several ISOs or exposure times.  Files of a second
    format, such as PNG previews next to camera raw files, and folders that cannot be opened are
    left out and reported.

    Parameters
    ----------
    path : Path
        The folder.
    settings : RawSettings
        The user's settings.

    Raises
    ------
    RawError
        If there is no raw file.
    """
    report: list[str] = []
    folders: dict[Path, list[Path]] = {}
    for folder, names, problem in walk(path):
        if problem:
            report.append(problem)
        files, others = raw_files([folder / name for name in names])
        if files:
            folders[folder] = files
        if others:
            suffixes = ", ".join(sorted({file.suffix for file in others}))
            report.append(
                f"{folder}: {counted(len(others), f'{suffixes} file')} left out next to {files[0].suffix} files"
            )
    if not folders:
        raise RawError(f"{path}: no raw file in this folder, and not a known data set")
    twins = find_twins(path, [file for files in folders.values() for file in files])
    if twins is not None:
        report += _said(path, twins)
        return Collection(tuple(_pairs(path, twins, settings)), report=tuple(report))
    scenes: list[Scene] = []
    for folder, files in folders.items():
        scenes += _scenes(path, folder, files, settings, report)
    return Collection(tuple(scenes), report=tuple(report))


def _scenes(path: Path, folder: Path, files: list[Path], settings: RawSettings, report: list[str]) -> Iterator[Scene]:
    """Yield a scene for each setting of one folder; several settings are reported."""
    name = str(folder.relative_to(path))
    if folder == path and not (path / path.name).is_dir():
        name = path.name
    kind = kind_of(folder.name)
    groups = grouped(files, settings, by_exposure=kind != "flat")
    if len(groups) > 1:
        report.append(f"{folder}: frames of {len(groups)} settings, each a scene: {_listed(names_of(name, groups))}")
    for group, scene in zip(groups, names_of(name, groups), strict=True):
        frames = tuple(frame for file in group.files for frame in file_frames(file, settings))
        yield Scene(scene, frames, subject=name, kind=kind)


def _pairs(path: Path, twins: Twins, settings: RawSettings) -> Iterator[Scene]:
    """Yield a scene for each clean twin."""
    for clean, noisy in twins.pairs.items():
        name = str(clean.relative_to(path).with_suffix(""))
        frames = tuple(frame for file in noisy for frame in file_frames(file, settings))
        facts = LONG_TWIN if clean in twins.long else {}
        yield Scene(name, frames, clean_frame(clean, settings), subject=name, facts=facts)


def _said(path: Path, twins: Twins) -> Iterator[str]:
    clean, noisy = next(iter(twins.pairs.items()))
    count = sum(len(each) for each in twins.pairs.values())
    how = "; the clean signal is scaled to the short exposure by the ratio of exposure time × ISO" if twins.long else ""
    yield (
        f"{path}: {counted(count, 'noisy file')} paired by name with {counted(len(twins.pairs), 'clean one')}, such as "
        f"{_below(path, noisy[0])} with {_below(path, clean)}{how}"
    )
    for files, words in ((twins.alone, "without a clean twin by name"), (twins.unused, "clean without a noisy one")):
        if files:
            shown = _listed([_below(path, file) for file in files])
            yield f"{path}: {counted(len(files), 'file')} {words} left out: {shown}"


def _below(path: Path, file: Path) -> str:
    return str(file.relative_to(path))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


@dataclass
class Group:
    """Files with one setting.

    Parameters
    ----------
    iso : float or None
        ISO of all files; None if unknown.
    exposure_s : float or None
        Exposure time of the first file in seconds; None if unknown or ignored.
    files : list of Path
        Files of the group.
    """

    iso: float | None
    exposure_s: float | None
    files: list[Path] = field(default_factory=list)

    def takes(self, iso: float | None, exposure_s: float | None) -> bool:
        """Whether a file with this ISO and exposure time in seconds belongs to the group."""
        return self.iso == iso and same_exposure(self.exposure_s, exposure_s)


def grouped(files: Iterable[Path], settings: RawSettings, *, by_exposure: bool = True) -> list[Group]:
    """Group files by ISO, and by exposure time to within 1 %; files keep their order in a group.

    Parameters
    ----------
    files : iterable of Path
        Raw files of one folder.
    settings : RawSettings
        The user's settings; they override the files.
    by_exposure : bool
        Whether to separate exposure times; flats of one series have several.
    """
    groups: list[Group] = []
    for file in files:
        try:
            iso, exposure_s = glance(file, settings)
        except RawError:
            # Damaged: reading the file will report how.
            iso = exposure_s = None
        exposure_s = exposure_s if by_exposure else None
        group = next((each for each in groups if each.takes(iso, exposure_s)), None)
        if group is None:
            group = Group(iso, exposure_s)
            groups.append(group)
        group.files.append(file)
    return groups


def names_of(name: str, groups: list[Group]) -> list[str]:
    """Name each group of files after its folder, with ISO and exposure time if these differ between groups.

    Parameters
    ----------
    name : str
        Name of the folder.
    groups : list of Group
        Groups of its files.

    Examples
    --------
    >>> names_of("desk", [Group(100, 0.1), Group(800, 0.1)])
    ['desk_ISO100', 'desk_ISO800']
    """
    if len(groups) == 1:
        return [name]
    isos, exposures = ({getattr(group, what) for group in groups} for what in ("iso", "exposure_s"))
    names = []
    for group in groups:
        iso = f"_ISO{group.iso:g}" if len(isos) > 1 and group.iso is not None else ""
        exposure = f"_{group.exposure_s:g}s" if len(exposures) > 1 and group.exposure_s is not None else ""
        names.append(name + iso + exposure)
    return [each if names.count(each) == 1 else f"{each}_{number}" for number, each in enumerate(names)]

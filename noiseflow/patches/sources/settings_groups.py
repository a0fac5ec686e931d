"""Frames of one folder sorted by ISO and exposure time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.raw.reading import glance
from noiseflow.raw.settings import RawSettings

__all__ = ["SAME_EXPOSURE", "Group", "grouped", "names_of", "same_exposure"]

SAME_EXPOSURE = 0.01
"""Exposure times that differ by less than this part are one setting: files round them differently."""


def same_exposure(first: float | None, other: float | None) -> bool:
    """Whether two exposure times in s are one setting.

    >>> same_exposure(0.016683, 0.016684), same_exposure(0.01, None)
    (True, False)
    """
    if first is None or other is None:
        return first is other
    return abs(first - other) <= SAME_EXPOSURE * max(first, other)


@dataclass
class Group:
    """Files of one setting.

    Parameters
    ----------
    iso : float or None
    exposure_s : float or None
        Of the first file, in seconds.
    files : list of Path
    """

    iso: float | None
    exposure_s: float | None
    files: list[Path] = field(default_factory=list)

    def takes(self, iso: float | None, exposure_s: float | None) -> bool:
        """Whether a file of these settings belongs here."""
        return self.iso == iso and same_exposure(self.exposure_s, exposure_s)


def grouped(files: Iterable[Path], settings: RawSettings, *, by_exposure: bool = True) -> list[Group]:
    """Files by ISO, and by exposure time within 1 %; in their own order within a group.

    Parameters
    ----------
    files : iterable of Path
    settings : RawSettings
    by_exposure : bool
        Whether the exposure time counts; flats of one series differ by it.
    """
    groups: list[Group] = []
    for file in files:
        try:
            iso, exposure_s = glance(file, settings)
        except RawError:
            # Damaged: reading the file says how.
            iso = exposure_s = None
        exposure_s = exposure_s if by_exposure else None
        group = next((each for each in groups if each.takes(iso, exposure_s)), None)
        if group is None:
            group = Group(iso, exposure_s)
            groups.append(group)
        group.files.append(file)
    return groups


def names_of(name: str, groups: list[Group]) -> list[str]:
    """A name for each group of a scene: with its ISO and its exposure time, as far as they tell groups apart.

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

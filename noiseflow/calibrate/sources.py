"""What calibration reads: EMVA folders, photon-transfer tables, folders of raw frames."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.stack import FrameStack, StackSums
from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.raw import RawImage, raw_files, read_raw
from noiseflow.raw.formats.emva import EmvaFolder, is_emva, read_emva, read_frame

__all__ = ["Frames", "Group", "Table", "read_frames", "read_tables"]

Key = tuple[float, float, bool, int]
"""ISO, exposure time, dark, light."""

DARK_PART = 0.005
"""A frame whose median is less than this part of the range above black is dark."""


PAIR = 2
"""Frames of a level of the photon-transfer series of an EMVA folder; longer series are for DSNU and PRNU."""

SAME_LIGHT = 1.12
"""Ratio of levels up to which frames of one exposure time have one light: half of a third of a stop."""

LEAST_LIGHT = 10.0
"""Level above black, DN, from which frames are told apart by their light."""


@dataclass(eq=False)
class Group:
    """Frames of one ISO, exposure, light and kind: one stack a plane.

    Parameters
    ----------
    iso : float
    exposure : float
        Photons per pixel, or seconds.
    exposure_s : float
        Exposure time, seconds.
    dark : bool
    stacks : list of FrameStack
        One a plane.
    sources : list of str
        Files.
    spatial : bool
        A long stack of an EMVA folder for DSNU and PRNU, which is no point of the photon-transfer series: its
        listed exposure need not fit the others.
    light : int
        Numbers the groups of one exposure whose levels differ, as by another aperture or lamp.
    """

    iso: float
    exposure: float
    exposure_s: float
    dark: bool
    stacks: list[FrameStack]
    sources: list[str]
    spatial: bool = False
    light: int = 0


@dataclass(eq=False)
class Frames:
    """All groups of one camera.

    Parameters
    ----------
    camera, layout : str
    black : tuple of float
        Black levels that the files declare, DN, one a plane.
    white : float
    groups : list of Group
    cautions : list of str
    """

    camera: str
    layout: str
    black: tuple[float, ...]
    white: float
    groups: list[Group]
    cautions: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Table:
    """A photon-transfer table: rows of ISO, exposure in s, mean DN, temporal σ in DN; shape (N, 4)."""

    path: Path
    rows: NDArray[np.float64]


def read_frames(sources: Sequence[Path], progress: Progress = silent) -> Frames:
    """Read and sum all frames of some folders and files, one at a time.

    A frame is dark if a folder or file name says so (dark…, bias…), or if no name says
    flat… and its median is within 0.5 % of the range from black.

    Raises
    ------
    DataError
        Frames of two cameras, no ISO or exposure in a file, no raw file at all.
    RawError
        A file that cannot be read.
    """
    if len(sources) == 1 and is_emva(sources[0]):
        return _emva(read_emva(sources[0]), progress)
    files = sorted({file for source in sources for file in _files(source)})
    if not files:
        raise DataError(f"{sources[0]}: no raw frames, no EMVA listing and no table; expected flats and darks")
    first = read_raw(files[0])
    sums: dict[Key, list[StackSums]] = {}
    names: dict[Key, list[str]] = {}
    lights: dict[tuple[float, float], list[list[float]]] = {}
    cautions: list[str] = []
    for done, file in enumerate(files):
        image = first if done == 0 else read_raw(file)
        _same_camera(first, image)
        if image.iso is None or image.exposure_s is None:
            raise DataError(f"{file}: says no ISO or exposure time; frames of unknown settings cannot be grouped")
        dark, caution = _is_dark(image, file)
        cautions += caution
        light = 0 if dark else _light(lights.setdefault((image.iso, image.exposure_s), []), image)
        key = (image.iso, image.exposure_s, dark, light)
        planes = image.planes()
        if key not in sums:
            sums[key] = [StackSums((plane.shape[0], plane.shape[1]), image.white) for plane in planes]
            names[key] = []
        for total, plane in zip(sums[key], planes, strict=True):
            total.add(plane, str(file))
        names[key].append(str(file))
        progress(done + 1, len(files), file.name)
    _join_single_frames(sums, names, first)
    groups = []
    for key in sorted(sums):
        iso, exposure, dark, light = key
        stacks = [total.finish() for total in sums.pop(key)]
        groups.append(Group(iso, exposure, exposure, dark, stacks, names[key], light=light))
    black = tuple(float(level) for level in first.levels()[0].ravel())
    return Frames(first.camera, first.layout, black, first.white, groups, cautions)


def _join_single_frames(sums: dict[Key, list[StackSums]], names: dict[Key, list[str]], first: RawImage) -> None:
    """Sum anew, as one stack, what its light would leave in single frames: of these nothing temporal can be had."""
    for lone in [key for key, files in names.items() if len(files) == 1]:
        alike = [key for key in names if key[:3] == lone[:3]]
        if len(alike) < 2:
            continue
        files = sorted(file for key in alike for file in names.pop(key))
        for key in alike:
            del sums[key]
        joined = (*lone[:3], 0)
        sums[joined] = [StackSums((plane.shape[0], plane.shape[1]), first.white) for plane in first.planes()]
        names[joined] = files
        for file in files:
            for total, plane in zip(sums[joined], read_raw(file).planes(), strict=True):
                total.add(plane, file)


def _light(known: list[list[float]], image: RawImage) -> int:
    """Which of the lights seen at an ISO and exposure time a frame has: its own level decides, not the file's words."""
    level = float(image.mosaic.mean()) - float(np.mean(image.black))
    for index, levels in enumerate(known):
        mean = sum(levels) / len(levels)
        close = abs(level - mean) < LEAST_LIGHT or 1 / SAME_LIGHT < level / max(mean, 1e-9) < SAME_LIGHT
        if close:
            levels.append(level)
            return index
    known.append([level])
    return len(known) - 1


def _emva(folder: EmvaFolder, progress: Progress) -> Frames:
    groups, done = [], 0
    total = sum(len(series.files) for series in folder.series)
    for series in folder.series:
        sums = StackSums(folder.shape, 2.0**folder.bits - 1)
        frame: RawImage | None = None
        for file in series.files:
            frame = read_frame(folder, series, file)
            sums.add(frame.mosaic, str(file))
            done += 1
            progress(done, total, file.name)
        if frame is None or frame.iso is None:
            raise DataError(f"{folder.path}: the series of {series.exposure_ns:g} ns lists no frames")
        exposure_s = series.exposure_ns * 1e-9
        exposure = series.photons or exposure_s
        sources = [str(file) for file in series.files]
        spatial = len(series.files) > PAIR
        groups.append(Group(frame.iso, exposure, exposure_s, series.kind == "d", [sums.finish()], sources, spatial))
        camera = frame.camera
    return Frames(camera, "mono", (folder.black,), 2.0**folder.bits - 1, groups)


def _files(source: Path) -> Iterator[Path]:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_dir():
        for folder in (source, *(entry for entry in source.rglob("*") if entry.is_dir())):
            yield from raw_files(folder.iterdir())[0]
    else:
        yield source


def _same_camera(first: RawImage, other: RawImage) -> None:
    for what, a, b in (
        ("camera", first.camera, other.camera),
        ("colour filter array", first.cfa, other.cfa),
        ("size", first.mosaic.shape, other.mosaic.shape),
        ("white level", first.white, other.white),
    ):
        if a != b:
            raise DataError(
                f"{other.source}: {what} {b}, but {first.source} has {a}; two cameras cannot be calibrated together"
            )


def _is_dark(image: RawImage, file: Path) -> tuple[bool, list[str]]:
    black = float(np.mean(image.black))
    part = (float(np.median(image.mosaic)) - black) / (image.white - black)
    words = [word.lower() for word in (*file.parts[-2:-1], file.stem)]
    if any(word.startswith(("dark", "bias")) for word in words):
        if part > DARK_PART:
            return True, [
                f"{file}: named dark, but its median is {100 * part:.2g} % of the range above black: light leak?"
            ]
        return True, []
    if any(word.startswith("flat") for word in words):
        return False, []
    return part < DARK_PART, []


def read_tables(paths: Iterable[Path]) -> list[Table]:
    """Read photon-transfer tables: lines of ISO; exposure s; mean DN; temporal σ DN; no header.

    Raises
    ------
    DataError
        A line that is not four positive numbers.
    """
    tables = []
    for path in paths:
        rows: list[list[float]] = []
        for number, line in enumerate(_read(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = [float(word) for word in line.replace(",", ";").split(";")]
            except ValueError as error:
                raise DataError(
                    f"{path}: line {number}: {error}; expected ISO; exposure s; mean DN; sigma DN"
                ) from error
            if len(row) != 4 or not (np.isfinite(row).all() and min(row) > 0):
                raise DataError(
                    f"{path}: line {number}: expected four positive numbers, ISO; exposure s; mean DN; sigma DN"
                )
            rows.append(row)
        if not rows:
            raise DataError(f"{path}: an empty table; expected lines of ISO; exposure s; mean DN; sigma DN")
        tables.append(Table(path, np.array(rows)))
    return tables


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text; expected a table of ISO; exposure s; mean DN; sigma DN") from error

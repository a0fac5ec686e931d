"""Reading the frames of a calibration from EMVA 1288 folders and folders of raw files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.stack import FrameStack, StackSums
from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.raw import RawImage, RawSettings, frame_count, raw_files, read_frame
from noiseflow.raw.file_names import walk
from noiseflow.raw.formats.emva import NOMINAL_ISO, EmvaFolder, is_emva, read_emva, read_frame as read_emva_frame
from noiseflow.raw.inspection import gathered, quiet_words, shares_of_noise

__all__ = ["Frames", "Group", "raw_files_of", "read_frames"]

SAME_EXPOSURE, SAME_LEVEL = 0.01, 0.02
"""Largest relative difference within one setting, of exposure times and of levels of flats without exposure times."""

PAIR = 2
"""Frames per level in the photon-transfer series of an EMVA folder; longer series are for DSNU and PRNU."""

SAME_LIGHT = 1.12
"""Largest ratio of the levels of frames with one exposure time under one light: half of a third of a stop."""

LEAST_LIGHT = 10.0
"""Smallest difference of level, DN, by which frames of one exposure time are separated into several lights."""

DARK_PART = 0.005
"""Fraction of the range above black; a frame whose median signal is lower counts as dark."""


@dataclass(eq=False)
class Group:
    """Frames of one ISO and exposure, all dark or all illuminated.

    Parameters
    ----------
    iso : float
        ISO of the frames.
    exposure : float
        Number proportional to the light: seconds, photons per pixel, or the level itself in DN.
    exposure_s : float
        Exposure time, s; 0 where it is not known.
    dark : bool
        Whether the frames were taken without light.
    stacks : list of FrameStack
        Sums over the frames, one per plane.
    sources : list of str
        Names of the frames.
    black : tuple of float
        Black levels declared by the files, DN, one per plane; empty if those of `Frames` apply.
    reads : list of callable
        Functions that read each frame again.
    spatial : bool
        Whether this is a long stack of an EMVA folder for DSNU or PRNU.  It is not a point of the
        photon-transfer series, because its listed exposure need not fit the others.
    light : int
        Index among the groups of one exposure time whose levels differ, as by another aperture or lamp.
    timed : bool
        Whether the files state the exposure time.
    """

    iso: float
    exposure: float
    exposure_s: float
    dark: bool
    stacks: list[FrameStack]
    sources: list[str]
    black: tuple[float, ...] = ()
    reads: list[Callable[[], RawImage]] = field(default_factory=list)
    spatial: bool = False
    light: int = 0
    timed: bool = True


@dataclass(eq=False)
class Frames:
    """All frames of one camera.

    Parameters
    ----------
    camera, layout : str
        Name of the camera, and layout of its planes such as ``"bayer"``.
    black : tuple of float
        Black levels declared by the files, DN, one per plane.
    white : float
        White level, DN; the lowest if it differs between ISOs.
    groups : list of Group
        The frames, grouped by ISO, exposure, and dark or illuminated.
    cautions : list of str
        Limits of the frames, as sentences for the user.
    nominal_iso : bool
        Whether neither the files nor the user state an ISO, so that `NOMINAL_ISO` stands in for it.
    """

    camera: str
    layout: str
    black: tuple[float, ...]
    white: float
    groups: list[Group]
    cautions: list[str] = field(default_factory=list)
    nominal_iso: bool = False


def read_frames(sources: Sequence[Path], progress: Progress = silent, settings: RawSettings | None = None) -> Frames:
    """Read all frames of some folders and files, one at a time, and sum them by setting.

    A frame is dark if the name of its file or folder starts with "dark" or "bias".  If neither starts with "flat"
    either, it is dark if its median is less than 0.5 % of the range above black.  Exposure times within 1 % count as
    one.  Flats without an exposure time are grouped by their level.

    Parameters
    ----------
    sources : sequence of Path
        Files and folders of raw frames, or one EMVA 1288 folder.
    progress : Progress
        Called after each frame.
    settings : RawSettings, optional
        Values that replace those in the files.

    Returns
    -------
    Frames
        The frames, grouped by setting.

    Raises
    ------
    DataError
        Frames of two cameras, a file without an ISO beside files with one, or no raw file at all.
    RawError
        A file that cannot be read.
    """
    settings = settings or RawSettings()
    if len(sources) == 1 and is_emva(sources[0]):
        return _emva(read_emva(sources[0]), settings, progress)
    reads = [
        read
        for file in sorted({file for source in sources for file in raw_files_of(source)})
        for read in _reads(file, settings)
    ]
    if not reads:
        raise DataError(
            f"{sources[0]}: contains no raw frames, EMVA listing or table; expected raw files of flats and darks"
        )
    series: list[_Series] = []
    cautions: list[str] = []
    first: RawImage | None = None
    for done, (file, read) in enumerate(reads):
        image = read()
        first = first if first is not None else _without_pixels(image)
        _same_camera(first, image)
        if image.iso is None:
            if first.iso is not None:
                raise DataError(f"{image.source}: states no ISO, but {first.source} does; give the ISO with --iso")
            image = replace(image, iso=NOMINAL_ISO)
            cautions.append(f"{image.source}: {_NO_ISO}")
        dark, caution = _is_dark(image, file)
        cautions += [*image.cautions, *caution]
        one = _Series.of(image, dark=dark)
        taken = next((each for each in series if each.takes(one)), None)
        if taken is None:
            series.append(taken := one)
        taken.add(image, read)
        progress(done + 1, len(reads), file.name)
    assert first is not None
    if any(each.exposure_s is None for each in series):
        cautions.append(
            "some files state no exposure time: their flats were grouped by level, and the level is taken as the "
            "exposure; linearity and dark current are not measured from them"
        )
    whites = {each.white for each in series}
    if len(whites) > 1:
        shown = ", ".join(f"{white:g}" for white in sorted(whites))
        cautions.append(f"the white level differs between ISOs ({shown} DN); the profile contains the lowest")
    groups = [each.group() for each in sorted(_with_pairs(series), key=lambda each: each.order)]
    for index, each in enumerate(groups):
        earlier = [other for other in groups[:index] if (other.iso, other.dark) == (each.iso, each.dark)]
        each.light = 0 if each.dark else sum(other.exposure_s == each.exposure_s > 0 for other in earlier)
    black = tuple(float(level) for level in first.levels()[0].ravel())
    nominal = first.iso is None
    return Frames(first.camera, first.layout, black, min(whites), groups, list(gathered(cautions)), nominal)


_NO_ISO = f"states no ISO; its one gain is filed under ISO {NOMINAL_ISO:g}"


def _without_pixels(image: RawImage) -> RawImage:
    """Return the image with a mosaic of zeros that takes no memory."""
    return replace(image, mosaic=np.broadcast_to(image.mosaic.dtype.type(0), image.mosaic.shape))


def _reads(file: Path, settings: RawSettings) -> Iterator[tuple[Path, Callable[[], RawImage]]]:
    """Yield a file with a reading function, once per frame in it."""
    count = frame_count(file)
    for number in range(count):
        yield file, partial(read_frame, file, settings, number if count > 1 else None)


@dataclass(eq=False)
class _Series:
    """Frames of one setting while they are summed; `level` is the median of the first above black, DN."""

    iso: float
    exposure_s: float | None
    level: float
    dark: bool
    white: float
    black: tuple[float, ...]
    sums: list[StackSums] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    reads: list[Callable[[], RawImage]] = field(default_factory=list)

    @classmethod
    def of(cls, image: RawImage, *, dark: bool) -> "_Series":
        assert image.iso is not None
        level = float(np.median(image.mosaic)) - float(np.mean(image.black))
        black = tuple(float(each) for each in image.levels()[0].ravel())
        return cls(image.iso, image.exposure_s, level, dark, image.white, black)

    @property
    def order(self) -> tuple[float, float, float, bool]:
        return self.iso, self.exposure_s or 0.0, 0.0 if self.dark else self.level, self.dark

    def takes(self, other: "_Series") -> bool:
        if (self.iso, self.dark) != (other.iso, other.dark):
            return False
        if self.exposure_s is None or other.exposure_s is None:
            return self.exposure_s is other.exposure_s and (self.dark or _close(self.level, other.level, SAME_LEVEL))
        return _close(self.exposure_s, other.exposure_s, SAME_EXPOSURE) and (self.dark or self.one_light(other))

    def one_time(self, other: "_Series") -> bool:
        """Whether both are illuminated, of one ISO, and of the same known exposure time."""
        same = self.exposure_s is not None and self.exposure_s == other.exposure_s
        return same and self.iso == other.iso and not (self.dark or other.dark)

    def one_light(self, other: "_Series") -> bool:
        """Whether the levels are so close that the light was the same."""
        low, high = sorted((self.level, other.level))
        return high - low < LEAST_LIGHT or high < SAME_LIGHT * low

    def add(self, image: RawImage, read: Callable[[], RawImage]) -> None:
        planes, clips = image.planes(), image.clip_levels().ravel()
        if not self.sums:
            self.sums = [
                StackSums((plane.shape[0], plane.shape[1]), float(clip))
                for plane, clip in zip(planes, clips, strict=True)
            ]
        for total, plane, clip in zip(self.sums, planes, clips, strict=True):
            total.white = min(total.white or float(clip), float(clip))
            total.add(plane, image.source)
        self.sources.append(image.source)
        self.reads.append(read)

    def group(self) -> Group:
        light = self.exposure_s if self.exposure_s is not None else (0.0 if self.dark else self.level)
        stacks = [total.finish() for total in self.sums]
        values = np.concatenate([_unclipped(stack, total) for stack, total in zip(stacks, self.sums, strict=True)], 1)
        above = np.array([stack.frame_means for stack in stacks]) - np.reshape(self.black, (-1, 1))
        unlike = np.ptp(above, 1) > np.maximum(SAME_LEVEL * above.max(1), LEAST_LIGHT)
        # Two frames of different light are of two settings, which has its own message.
        if (len(self.sources) > 2 or not unlike.any()) and (
            quiet := quiet_words(self.sources, shares_of_noise(values))
        ):
            raise DataError(quiet)
        timed = self.exposure_s is not None
        return Group(
            self.iso,
            light,
            self.exposure_s or 0.0,
            self.dark,
            stacks,
            self.sources,
            self.black,
            self.reads,
            timed=timed,
        )


def _unclipped(stack: FrameStack, total: StackSums) -> NDArray[np.float32]:
    """Return sample pixels that clip in no frame, minus the frames' means, shape (frames, pixels)."""
    clip = np.inf if total.white is None else total.white
    seen = ((stack.sample > 0) & (stack.sample < clip)).all(0)
    return stack.sample[:, seen] - stack.frame_means[:, None].astype(np.float32)


def _with_pairs(series: list[_Series]) -> list[_Series]:
    """Merge the lights of an exposure time if one has a single frame, which alone gives no temporal noise."""
    found: list[_Series] = []
    left = list(series)
    while left:
        first = left.pop(0)
        alike = [each for each in left if first.one_time(each)]
        left = [each for each in left if each not in alike]
        if not alike or min(len(each.reads) for each in (first, *alike)) > 1:
            found += [first, *alike]
            continue
        joined = replace(first, sums=[], sources=[], reads=[])
        for read in (read for each in (first, *alike) for read in each.reads):
            joined.add(read(), read)
        found.append(joined)
    return found


def _close(first: float, other: float, part: float) -> bool:
    return abs(first - other) <= part * max(abs(first), abs(other))


def _emva(folder: EmvaFolder, settings: RawSettings, progress: Progress) -> Frames:
    groups, done = [], 0
    white = settings.white or 2.0**folder.bits - 1
    total = sum(len(series.files) for series in folder.series)
    for series in folder.series:
        sums = StackSums(folder.shape, white)
        frame: RawImage | None = None
        for file in series.files:
            frame = read_emva_frame(folder, series, file, settings)
            sums.add(frame.mosaic, str(file))
            done += 1
            progress(done, total, file.name)
        if frame is None or frame.iso is None:
            raise DataError(
                f"{folder.path}: the series of {series.exposure_ns:g} ns lists no frames; expected two or more"
            )
        exposure_s = series.exposure_ns * 1e-9
        exposure = series.photons or exposure_s
        sources = [str(file) for file in series.files]
        reads: list[Callable[[], RawImage]] = [
            partial(read_emva_frame, folder, series, file, settings) for file in series.files
        ]
        stacks = [sums.finish()]
        dark, spatial = series.kind == "d", len(series.files) > PAIR
        groups.append(Group(frame.iso, exposure, exposure_s, dark, stacks, sources, frame.black, reads, spatial))
        camera = frame.camera
    nominal = settings.iso is None
    cautions = [*folder.cautions, *([f"{folder.path}: {_NO_ISO}"] if nominal else [])]
    return Frames(camera, "mono", settings.black or (folder.black,), white, groups, cautions, nominal)


def raw_files_of(source: Path) -> Iterator[Path]:
    """Yield a file itself, or all raw files in a folder and its subfolders.

    Parameters
    ----------
    source : Path
        A file or folder.

    Raises
    ------
    DataError
        No such file or folder.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_dir():
        for folder, names, _ in walk(source):
            yield from raw_files([folder / name for name in names])[0]
    else:
        yield source


def _same_camera(first: RawImage, other: RawImage) -> None:
    for what, a, b in (
        ("camera", first.camera, other.camera),
        ("colour filter array", first.cfa, other.cfa),
        ("size", first.mosaic.shape, other.mosaic.shape),
        ("white level", first.white, other.white if first.iso == other.iso else first.white),
    ):
        if a != b:
            raise DataError(
                f"{other.source}: its {what} is {b}, but that of {first.source} is {a}; calibrate one camera at a time"
            )


def _is_dark(image: RawImage, file: Path) -> tuple[bool, list[str]]:
    black = float(np.mean(image.black))
    part = (float(np.median(image.mosaic)) - black) / (image.white - black)
    words = [word.lower() for word in (*file.parts[-2:-1], file.stem)]
    if any(word.startswith(("dark", "bias")) for word in words):
        if part > DARK_PART:
            return True, [
                f"{file}: is named dark, but its median is {100 * part:.2g} % of the range above black: a light leak?"
            ]
        return True, []
    if any(word.startswith("flat") for word in words):
        return False, []
    return part < DARK_PART, []

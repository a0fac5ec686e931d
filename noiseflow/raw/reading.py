"""One door for every raw format: a table of readers, tried in turn.

To add a format, write a module in `noiseflow.raw.formats` with ``SUFFIXES`` and a function
``read(path, settings) -> RawImage``, and give it a line in `READERS`.  If its files may hold
several frames, the function takes a third argument, ``frame``, and the module has
``count(path) -> int``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.file_names import is_litter, named_exposure_s, named_iso
from noiseflow.raw.formats import libraw, tiff
from noiseflow.raw.formats.tags.tiff_pages import is_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import inspected
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.side_cars import settings_for

__all__ = [
    "READERS",
    "Reader",
    "frame_count",
    "is_raw",
    "raw_files",
    "read_clean",
    "read_frame",
    "read_raw",
    "reader_of",
    "unknown_reason",
]


NORMALISED = 2.0
"""Fractions up to this are no codes in DN, under a white level above it."""


def _any(path: Path) -> bool:
    return True


@dataclass(frozen=True)
class Reader:
    """A raw format.

    Parameters
    ----------
    kind : str
        What its files are called, for messages.
    suffixes : frozenset of str
        Lower case, with the dot.
    read : callable
        (path, settings) to a `RawImage`.
    recognises : callable
        Whether a file of such a suffix is one of this format, where two formats share suffixes.
    count : callable or None
        Frames in a file, of formats that may hold several; `read` then takes their number.
    glance : callable or None
        ISO and exposure time in seconds of a file, without its pixels.
    """

    kind: str
    suffixes: frozenset[str]
    read: Callable[..., RawImage]
    recognises: Callable[[Path], bool] = _any
    count: Callable[[Path], int] | None = None
    glance: Callable[[Path], tuple[float | None, float | None]] | None = None

    @classmethod
    def in_module(cls, kind: str, name: str) -> "Reader":
        """The format that the module of that name in `noiseflow.raw.formats` reads."""
        module = import_module(f"noiseflow.raw.formats.{name}")
        optional = {each: getattr(module, each) for each in ("recognises", "count", "glance") if hasattr(module, each)}
        return cls(kind, module.SUFFIXES, module.read, **optional)


READERS: tuple[Reader, ...] = (
    Reader("camera raw files", libraw.SUFFIXES, libraw.read, glance=libraw.glance),
    Reader("DNG files", tiff.SUFFIXES, libraw.read, is_dng, glance=libraw.glance),
    Reader.in_module("SIDD MAT files", "sidd"),
    Reader.in_module("FITS files", "fits"),
    Reader("TIFF files", tiff.SUFFIXES, tiff.read, tiff.recognises, tiff.count, libraw.glance),
    Reader.in_module("SER films", "ser"),
    Reader.in_module("PNG files", "png"),
    Reader.in_module("headerless files", "headerless"),
    Reader.in_module("HDF5 files", "hdf5"),
    Reader.in_module("NumPy files", "numpy_arrays"),
)
"""Formats, in the order in which they are tried, and in which a mixed folder is taken."""


def reader_of(path: Path) -> Reader | None:
    """The first reader that knows a file's suffix and recognises the file."""
    suffix = path.suffix.lower()
    return next((reader for reader in READERS if suffix in reader.suffixes and reader.recognises(path)), None)


def is_raw(path: Path) -> bool:
    """Whether a file is one that a reader knows."""
    return not is_litter(path.name) and path.is_file() and reader_of(path) is not None


def frame_count(path: Path) -> int:
    """Frames in a raw file; 1 for all formats that hold one."""
    reader = reader_of(path)
    return reader.count(path) if reader is not None and reader.count is not None else 1


def glance(path: Path, settings: RawSettings | None = None) -> tuple[float | None, float | None]:
    """ISO and exposure time in seconds of a raw file, without reading its pixels; None for what is not known so.

    By the settings, or else the file's header, or else its name.
    """
    known, reader = settings_for(path, settings), reader_of(path)
    iso, exposure_s = known.iso, known.exposure_s
    if (iso is None or exposure_s is None) and reader is not None and reader.glance is not None:
        found = reader.glance(path)
        iso, exposure_s = (
            ours if ours is not None else its for ours, its in zip((iso, exposure_s), found, strict=True)
        )
    iso = iso if iso is not None else named_iso(path)[0]
    return iso, exposure_s if exposure_s is not None else named_exposure_s(path)[0]


def raw_files(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The raw files among the files of one folder, and those left out beside them.

    A folder's frames are of one format.  Where there are several, as with PNG previews beside
    camera raws, the first in `READERS` is taken and the others are left out.

    Returns
    -------
    tuple of list of Path
        Both in the order of their names.
    """
    found: dict[int, list[Path]] = {}
    for file in sorted(files):
        if not is_litter(file.name) and file.is_file() and (reader := reader_of(file)) is not None:
            # One library behind both: a DNG may be named .tif.
            place = next(n for n, known in enumerate(READERS) if known.read is reader.read)
            found.setdefault(place, []).append(file)
    if not found:
        return [], []
    first = min(found)
    return found[first], sorted(file for place in found if place != first for file in found[place])


def read_raw(path: str | Path, settings: RawSettings | None = None, frame: int | None = None) -> RawImage:
    """Read one raw frame.

    Parameters
    ----------
    path : path
        A file with a suffix in `READERS`.
    settings : RawSettings, optional
        What to take instead of what the file says; wins over a side-car TOML beside the file.
    frame : int, optional
        Number of the frame, from 0, in a file of several; without it the first is read, and
        the image says so.

    Raises
    ------
    RawError
        The file is missing, of an unknown kind, damaged, changes while it is read, is larger
        than `noiseflow.raw.guards.MAX_PIXELS`, or of a sensor that is not supported; the
        message names the file and the reason.
    """
    path = Path(path)
    try:
        before = path.stat()
        if path.is_dir():
            raise RawError(f"{path}: is a folder; expected one raw file")
        reader = reader_of(path)
        if reader is None:
            raise RawError(unknown_reason(path))
        if not before.st_size:
            raise RawError(f"{path}: is empty; copy it again")
        image = _read(reader, path, settings_for(path, settings), frame)
        after = path.stat()
    except FileNotFoundError as error:
        raise RawError(f"{path}: no such file") from error
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror or error})") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise RawError(f"{path}: changed while it was read; try again when it is whole")
    return _with_name(image, path)


def read_frame(path: str | Path, settings: RawSettings | None = None, frame: int | None = None) -> RawImage:
    """Read one noisy frame for ingest or calibration: its pixels looked at, its black level one per plane.

    Raises
    ------
    RawError
        As `read_raw` does, or for pixels that cannot be what the levels say.
    """
    return inspected(read_raw(path, settings, frame)).levelled()


def read_clean(path: str | Path, settings: RawSettings | None = None, frame: int | None = None) -> RawImage:
    """Read a clean twin: as `read_frame`, without the tests that expect noise, its black level subtracted exactly."""
    image = read_raw(path, settings, frame)
    if image.mosaic.dtype.kind == "f" and image.white > NORMALISED and float(image.mosaic.max()) <= NORMALISED:
        raise RawError(
            f"{image.source}: its values lie within {float(image.mosaic.min()):.3g} and "
            f"{float(image.mosaic.max()):.3g}, under a white level of {image.white:g} DN: is it normalised? A clean "
            "twin is expected in DN: multiply it by (white − black) and add black"
        )
    if image.black_map is None:
        return image
    return replace(image, mosaic=image.mosaic.astype(np.float64)).levelled()


def _read(reader: Reader, path: Path, settings: RawSettings, frame: int | None) -> RawImage:
    if reader.count is None:
        if frame:
            raise RawError(f"{path}: holds one frame; there is no frame {frame}")
        return reader.read(path, settings)
    image = reader.read(path, settings, frame or 0)
    if frame is None and (frames := reader.count(path)) > 1:
        words = f"{path}: holds {frames} frames; the first was read"
        return replace(image, cautions=(*image.cautions, words))
    return image


def unknown_reason(path: Path) -> str:
    """Why no reader takes a file."""
    suffix = path.suffix.lower()
    kinds = [reader.kind for reader in READERS if suffix in reader.suffixes]
    if suffix == ".mat" and "srgb" in path.name.lower():
        return f"{path}: holds sRGB blocks, which are no raw frames; expected a file named …Raw.mat"
    if kinds:
        return (
            f"{path}: its name says {' or '.join(kinds)}, but its content is another; expected a raw frame of that kind"
        )
    known = ", ".join(sorted({each for reader in READERS for each in reader.suffixes}))
    return f"{path}: {path.suffix or 'no suffix'} is not a raw format we read; expected one of {known}"


def _with_name(image: RawImage, path: Path) -> RawImage:
    """The image, with the ISO and exposure time of the file's name where nothing else says them."""
    found: dict[str, float] = {}
    places, cautions = list(image.taken_from), list(image.cautions)
    for field, unit, named in (("iso", "ISO {:g}", named_iso), ("exposure_s", "exposure {:g} s", named_exposure_s)):
        if getattr(image, field) is None:
            value, name = named(path)
            if value is not None:
                found[field] = value
                places.append((field, f"the name {name}"))
                cautions.append(f"{path}: the file does not say it; {unit.format(value)} taken from the name {name}")
    if not found:
        return image
    return replace(image, **found, taken_from=tuple(places), cautions=tuple(cautions))  # type: ignore[arg-type]

"""Read raw files of any format, with a table of readers that are tried in turn.

To add a format, write a module in `noiseflow.raw.formats` with ``SUFFIXES`` and a function
``read(path, settings) -> RawImage``, and add a line to `READERS`.  If its files can contain
several frames, ``read`` takes a third argument, ``frame``, and the module also defines
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
"""A clean twin whose fractional values do not exceed this, under a higher white level, is taken as normalised."""


def _any(path: Path) -> bool:
    return True


@dataclass(frozen=True)
class Reader:
    """A raw format.

    Parameters
    ----------
    kind : str
        Name of its files, for messages.
    suffixes : frozenset of str
        Suffixes in lower case, with the dot.
    read : callable
        (path, settings) → `RawImage`; with a third argument, the index of the frame, if `count` is given.
    recognises : callable
        path → whether the file has this format, for formats that share suffixes.
    count : callable or None
        path → number of frames, for formats whose files can contain several.
    glance : callable or None
        path → ISO and exposure time in seconds, without decoding pixels.
    """

    kind: str
    suffixes: frozenset[str]
    read: Callable[..., RawImage]
    recognises: Callable[[Path], bool] = _any
    count: Callable[[Path], int] | None = None
    glance: Callable[[Path], tuple[float | None, float | None]] | None = None

    @classmethod
    def in_module(cls, kind: str, name: str) -> "Reader":
        """Make the reader of a module in `noiseflow.raw.formats`.

        Parameters
        ----------
        kind : str
            Name of its files, for messages.
        name : str
            Name of the module.
        """
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
"""Formats in the order in which they are tried; in a folder with several, the first one is read."""


def reader_of(path: Path) -> Reader | None:
    """Find the first reader with a file's suffix that recognises the file; None if there is none."""
    suffix = path.suffix.lower()
    return next((reader for reader in READERS if suffix in reader.suffixes and reader.recognises(path)), None)


def is_raw(path: Path) -> bool:
    """Whether a path is an existing file that one of the `READERS` reads."""
    return not is_litter(path.name) and path.is_file() and reader_of(path) is not None


def frame_count(path: Path) -> int:
    """Number of frames in a raw file.

    Parameters
    ----------
    path : Path
        The raw file.

    Raises
    ------
    RawError
        If the file is damaged.
    """
    reader = reader_of(path)
    return reader.count(path) if reader is not None and reader.count is not None else 1


def glance(path: Path, settings: RawSettings | None = None) -> tuple[float | None, float | None]:
    """ISO and exposure time in seconds of a raw file, without decoding pixels; None for each that is unknown.

    They come from the settings, otherwise from the file's header, otherwise from its name.

    Parameters
    ----------
    path : Path
        The raw file.
    settings : RawSettings, optional
        The user's settings; side-cars are added.
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
    """Select the raw files of one format among the files of a folder.

    If there are several formats, such as PNG previews next to camera raw files, the first one in
    `READERS` is used.

    Parameters
    ----------
    files : iterable of Path
        Files of the folder; those that no reader knows are ignored.

    Returns
    -------
    used : list of Path
        Raw files of the chosen format, sorted by name.
    left_out : list of Path
        Raw files of other formats, sorted by name.
    """
    found: dict[int, list[Path]] = {}
    for file in sorted(files):
        if not is_litter(file.name) and file.is_file() and (reader := reader_of(file)) is not None:
            # Readers with the same function count as one format: a DNG may be named .tif.
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
        A file in one of the formats in `READERS`.
    settings : RawSettings, optional
        Overrides of the file's levels and metadata; they also override side-car TOML files.
    frame : int, optional
        Index of the frame, from 0, in a file with several; by default the first, with a
        caution that there are more.

    Returns
    -------
    RawImage
        Codes as stored, with levels and metadata.

    Raises
    ------
    RawError
        If the file is missing, of an unknown format, damaged, changed while it was read, larger
        than `noiseflow.raw.guards.MAX_PIXELS`, or from an unsupported sensor; the message
        names the file and the reason.
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
        raise RawError(f"{path}: changed while it was read; try again when it is complete")
    return _with_name(image, path)


def read_frame(path: str | Path, settings: RawSettings | None = None, frame: int | None = None) -> RawImage:
    """Read one noisy frame for ingest or calibration: test its pixels and reduce its black level to one per plane.

    Parameters
    ----------
    path, settings, frame
        As in `read_raw`.

    Raises
    ------
    RawError
        As in `read_raw`, or if the pixels contradict the levels.
    """
    return inspected(read_raw(path, settings, frame)).levelled()


def read_clean(path: str | Path, settings: RawSettings | None = None, frame: int | None = None) -> RawImage:
    """Read a clean twin: like `read_frame`, but without tests that expect noise and with the black map applied exactly.

    Parameters
    ----------
    path, settings, frame
        As in `read_raw`.

    Raises
    ------
    RawError
        As in `read_raw`, or if the values seem to be normalised instead of in DN.
    """
    image = read_raw(path, settings, frame)
    if image.mosaic.dtype.kind == "f" and image.white > NORMALISED and float(image.mosaic.max()) <= NORMALISED:
        raise RawError(
            f"{image.source}: its values lie between {float(image.mosaic.min()):.3g} and "
            f"{float(image.mosaic.max()):.3g}, but the white level is {image.white:g} DN: is it normalised? A clean "
            "twin must be in DN: multiply it by (white − black) and add black"
        )
    if image.black_map is None:
        return image
    return replace(image, mosaic=image.mosaic.astype(np.float64)).levelled()


def _read(reader: Reader, path: Path, settings: RawSettings, frame: int | None) -> RawImage:
    if reader.count is None:
        if frame:
            raise RawError(f"{path}: contains one frame, number 0; there is no frame {frame}")
        return reader.read(path, settings)
    image = reader.read(path, settings, frame or 0)
    if frame is None and (frames := reader.count(path)) > 1:
        words = f"{path}: contains {frames} frames; the first was read"
        return replace(image, cautions=(*image.cautions, words))
    return image


def unknown_reason(path: Path) -> str:
    """Explain why no reader can read a file; the message names the file and the expected formats."""
    suffix = path.suffix.lower()
    kinds = [reader.kind for reader in READERS if suffix in reader.suffixes]
    if suffix == ".mat" and "srgb" in path.name.lower():
        return f"{path}: contains sRGB blocks, which are not raw frames; expected a file named …Raw.mat"
    if kinds:
        return (
            f"{path}: its suffix is that of {' or '.join(kinds)}, but its content is not; expected a raw frame in that "
            "format"
        )
    known = ", ".join(sorted({each for reader in READERS for each in reader.suffixes}))
    return f"{path}: {path.suffix or 'no suffix'} is not a supported raw format; expected one of {known}"


def _with_name(image: RawImage, path: Path) -> RawImage:
    """Fill in a missing ISO or exposure time from the file's name, with a caution."""
    found: dict[str, float] = {}
    places, cautions = list(image.taken_from), list(image.cautions)
    for field, unit, named in (("iso", "ISO {:g}", named_iso), ("exposure_s", "exposure {:g} s", named_exposure_s)):
        if getattr(image, field) is None:
            value, name = named(path)
            if value is not None:
                found[field] = value
                places.append((field, f"the name {name}"))
                cautions.append(f"{path}: {unit.format(value)} was taken from the name {name}; the file has none")
    if not found:
        return image
    return replace(image, **found, taken_from=tuple(places), cautions=tuple(cautions))  # type: ignore[arg-type]

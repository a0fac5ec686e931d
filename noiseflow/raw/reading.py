"""One door for every raw format: a table of readers, asked in turn.

To add a format, write a module with a function ``read(path, settings) -> RawImage`` and
give it a line in `READERS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.raw.formats import fits, hdf5, headerless, libraw, numpy_arrays, png, sidd, tiff
from noiseflow.raw.formats.tiff_pages import is_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings, settings_for

__all__ = ["READERS", "Reader", "is_raw", "raw_files", "read_raw", "reader_of"]


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
    """

    kind: str
    suffixes: frozenset[str]
    read: Callable[[Path, RawSettings], RawImage]
    recognises: Callable[[Path], bool] = _any


READERS: tuple[Reader, ...] = (
    Reader("camera raw files", libraw.SUFFIXES, libraw.read),
    Reader("DNG files", tiff.SUFFIXES, libraw.read, is_dng),
    Reader("SIDD MAT files", sidd.SUFFIXES, sidd.read, sidd.recognises),
    Reader("FITS files", fits.SUFFIXES, fits.read),
    Reader("TIFF files", tiff.SUFFIXES, tiff.read, tiff.recognises),
    Reader("PNG files", png.SUFFIXES, png.read),
    Reader("headerless files", headerless.SUFFIXES, headerless.read),
    Reader("HDF5 files", hdf5.SUFFIXES, hdf5.read, hdf5.recognises),
    Reader("NumPy files", numpy_arrays.SUFFIXES, numpy_arrays.read),
)
"""Formats, in the order in which they are asked, and in which a mixed folder is taken."""


def reader_of(path: Path) -> Reader | None:
    """The first reader that knows a file's suffix and recognises the file."""
    suffix = path.suffix.lower()
    return next((reader for reader in READERS if suffix in reader.suffixes and reader.recognises(path)), None)


def is_raw(path: Path) -> bool:
    """Whether a file is one that a reader knows."""
    return path.is_file() and reader_of(path) is not None


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
        if file.is_file() and (reader := reader_of(file)) is not None:
            # One library behind both: a DNG may be named .tif.
            place = next(n for n, known in enumerate(READERS) if known.read is reader.read)
            found.setdefault(place, []).append(file)
    if not found:
        return [], []
    first = min(found)
    return found[first], sorted(file for place in found if place != first for file in found[place])


def read_raw(path: str | Path, settings: RawSettings | None = None) -> RawImage:
    """Read one raw file.

    Parameters
    ----------
    path : path
        A file with a suffix in `READERS`.
    settings : RawSettings, optional
        What to take instead of what the file says; wins over a side-car TOML beside the file.

    Raises
    ------
    RawError
        The file is missing, of an unknown kind, damaged, changes while it is read, is larger
        than `noiseflow.raw.limits.MAX_PIXELS`, or of a sensor that is not supported; the
        message names the file and the reason.
    """
    path = Path(path)
    try:
        before = path.stat()
        if path.is_dir():
            raise RawError(f"{path}: is a folder; expected one raw file")
        reader = reader_of(path)
        if reader is None:
            known = ", ".join(sorted({suffix for known in READERS for suffix in known.suffixes}))
            raise RawError(f"{path}: {path.suffix or 'no suffix'} is not a raw format we read; expected one of {known}")
        if not before.st_size:
            raise RawError(f"{path}: is empty; copy it again")
        image = reader.read(path, settings_for(path, settings))
        after = path.stat()
    except FileNotFoundError as error:
        raise RawError(f"{path}: no such file") from error
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror or error})") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise RawError(f"{path}: changed while it was read; try again when it is whole")
    return image

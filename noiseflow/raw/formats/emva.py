"""Folders of the EMVA 1288 reference data sets: monochrome frames listed in one text file.

The listing has ``n BITS WIDTH HEIGHT``, then series: ``b EXPOSURE_NS PHOTONS`` (illuminated) or
``d EXPOSURE_NS`` (dark), each followed by its frames, ``i PATH``.

References
----------
EMVA Standard 1288, release 3.0, appendix on the data format.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.guards import decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import MONO
from noiseflow.raw.settings import RawSettings

__all__ = ["LISTING", "LISTINGS", "NOMINAL_ISO", "EmvaFolder", "Series", "is_emva", "read_emva", "read_frame"]

LISTING = "EMVA1288_Data.txt"
LISTINGS = (LISTING, "EMVA1288_Descriptor_File.txt", "EMVA1288_Descriptor.txt", "EMVA1288.txt")
"""Names of the listing used by the standard's data sets and by other tools."""

NOMINAL_ISO = 100.0
"""ISO given to frames of a machine-vision camera, which has none; models need a number."""


@dataclass(frozen=True)
class Series:
    """Frames taken at one exposure.

    Parameters
    ----------
    kind : str
        ``"b"`` illuminated, ``"d"`` dark.
    exposure_ns : float
        Exposure time in nanoseconds.
    photons : float
        Mean photons per pixel, as listed; 0 for darks.
    files : tuple of Path
        Its frames, in the order of the listing.
    """

    kind: str
    exposure_ns: float
    photons: float
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Short name made from the kind, the number of frames and the exposure time in µs."""
        return f"{self.kind}_{len(self.files):03d}x_{self.exposure_ns / 1e3:.0f}us"


@dataclass(frozen=True)
class EmvaFolder:
    """An EMVA 1288 folder: the content of its listing and the black level of its dark frames.

    Parameters
    ----------
    path : Path
        The folder.
    bits : int
        Bits per code.
    shape : tuple of int
        (H, W) of every frame.
    series : tuple of Series
        Series in the order of the listing.
    black : float
        Black level in DN: the mean of the dark frames at the shortest exposure, where dark current is smallest.
    shift : int
        Number of empty low bits in the stored values; readers shift left-aligned codes right by this.
    """

    path: Path
    bits: int
    shape: tuple[int, int]
    series: tuple[Series, ...]
    black: float
    shift: int = 0

    @property
    def cautions(self) -> tuple[str, ...]:
        """Warnings to show to the user."""
        if not self.shift:
            return ()
        return (
            f"{self.path}: the listing says {self.bits} bits, but all values are multiples of {1 << self.shift}; "
            f"they were taken as left-aligned {self.bits}-bit codes",
        )


def is_emva(path: Path) -> bool:
    """Whether a folder is an EMVA 1288 data set."""
    return _listing(path) is not None


MOST_BITS = 16
"""Most bits per code: frames are kept as uint16."""


def _listing(path: Path) -> Path | None:
    return next((path / name for name in LISTINGS if (path / name).is_file()), None)


def read_emva(path: str | Path) -> EmvaFolder:
    """Read the listing of a folder and measure its black level from its dark frames.

    Parameters
    ----------
    path : path
        The folder.

    Raises
    ------
    RawError
        If the listing is missing or cannot be parsed, names a missing file, lists no dark frames, or
        gives fewer bits than its values need.
    """
    path = Path(path)
    listing = _listing(path)
    if listing is None:
        raise RawError(f"{path}: no {LISTING}; expected the folder of an EMVA 1288 data set")
    size, series = _parsed(listing)
    if size is None:
        raise RawError(f"{listing}: no line 'n BITS WIDTH HEIGHT'")
    darks = [entry for entry in series if entry.kind == "d" and entry.files]
    if not darks:
        raise RawError(f"{listing}: lists no dark frames, which are needed for the black level")
    missing = [file for entry in series for file in entry.files if not file.is_file()]
    if missing:
        raise RawError(f"{missing[0]}: listed in {listing.name} but missing ({counted(len(missing), 'such file')})")
    bits, shape = size[0], size[1:]
    shift = _empty_bits(series, bits, shape)
    shortest = min(darks, key=lambda entry: entry.exposure_ns)
    black = float(np.mean([(_pixels(file, shape) >> shift).mean() for file in shortest.files]))
    return EmvaFolder(path, bits, shape, tuple(series), black, shift)


def _parsed(listing: Path) -> tuple[tuple[int, int, int] | None, list[Series]]:
    """Parse a listing into (bits, height, width) and its series; numbers may have decimal commas."""
    size: tuple[int, int, int] | None = None
    series: list[Series] = []
    for number, line in enumerate(listing.read_text(encoding="latin-1").splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            key, rest = words
            if key == "n":
                bits, width, height = map(int, rest.split())
                if not 1 <= bits <= MOST_BITS:
                    raise ValueError
                size = (bits, height, width)
            elif key in "bd":
                exposure, photons = ([float(word.replace(",", ".")) for word in rest.split()] + [0.0])[:2]
                series.append(Series(key, exposure, photons, ()))
            elif key == "i":
                last = series.pop()
                file = listing.parent / rest.strip().replace("\\", "/")
                series.append(Series(last.kind, last.exposure_ns, last.photons, (*last.files, file)))
        except (ValueError, IndexError) as error:
            raise RawError(f"{listing}: line {number}: cannot understand {line!r}") from error
    return size, series


def _empty_bits(series: list[Series], bits: int, shape: tuple[int, int]) -> int:
    """Number of empty low bits in the brightest series, if its values exceed the bits of the listing; else 0.

    Raises
    ------
    RawError
        If the values exceed the bits of the listing and are not left-aligned.
    """
    lit = [entry for entry in series if entry.files]
    file = max(lit, key=lambda entry: (entry.kind == "b", entry.photons, entry.exposure_ns)).files[0]
    values = _pixels(file, shape)
    top, used = int(values.max()), int(np.bitwise_or.reduce(values, axis=None))
    if top < 1 << bits:
        return 0
    shift = (used & -used).bit_length() - 1
    if top >> shift >= 1 << bits:
        raise RawError(
            f"{file}: contains values up to {top}, but its listing says {bits} bits; expected at most {2**bits - 1}"
        )
    return min(shift, 16 - bits) if top >> (16 - bits) else shift


def read_frame(folder: EmvaFolder, series: Series, file: Path, settings: RawSettings | None = None) -> RawImage:
    """Read one frame of a folder.

    Parameters
    ----------
    folder : EmvaFolder
        The folder.
    series : Series
        The series that the frame belongs to; its exposure time is used.
    file : Path
        The frame.
    settings : RawSettings, optional
        The user's settings; they override the listing.

    Raises
    ------
    RawError
        If the file is damaged or has another size than listed.
    """
    return (settings or RawSettings()).image(
        _pixels(file, folder.shape) >> folder.shift,
        str(file),
        cfa=MONO,
        black=(folder.black,),
        white=float(2**folder.bits - 1),
        iso=NOMINAL_ISO,
        exposure_s=series.exposure_ns * 1e-9,
        make="EMVA1288",
        model=folder.path.name.removeprefix("EMVA1288_"),
        where={
            "cfa": "EMVA 1288",
            "black": "dark frames of the shortest exposure",
            "white": "bits of the listing",
            "iso": "nominal",
        },
    )


def _pixels(file: Path, shape: tuple[int, int]) -> NDArray[Any]:
    with decoding(file, "an image"):
        pixels = np.asarray(skimage.io.imread(file))
    if pixels.shape != shape:
        raise RawError(f"{file}: expected {shape[1]}×{shape[0]} pixels of one channel; got an array of {pixels.shape}")
    return pixels.astype(np.uint16)

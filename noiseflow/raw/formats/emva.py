"""Folders of the EMVA 1288 reference data sets: monochrome frames listed in one text file.

``EMVA1288_Data.txt`` has ``n BITS WIDTH HEIGHT``, then series: ``b EXPOSURE_NS PHOTONS``
(illuminated) or ``d EXPOSURE_NS`` (dark), each followed by its frames, ``i PATH``.

References
----------
EMVA Standard 1288, release 3.0, appendix on the data format.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import MONO
from noiseflow.raw.decoding import decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings

__all__ = ["LISTING", "NOMINAL_ISO", "EmvaFolder", "Series", "is_emva", "read_emva", "read_frame"]

LISTING = "EMVA1288_Data.txt"
NOMINAL_ISO = 100.0
"""A machine-vision camera at one gain has no ISO; models need a number for it."""


@dataclass(frozen=True)
class Series:
    """Frames of one exposure.

    Parameters
    ----------
    kind : str
        ``"b"`` illuminated, ``"d"`` dark.
    exposure_ns : float
        Exposure time in nanoseconds.
    photons : float
        Mean photons per pixel, as listed; 0 for darks.
    files : tuple of Path
    """

    kind: str
    exposure_ns: float
    photons: float
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Short name, from kind, frames and exposure time."""
        return f"{self.kind}_{len(self.files):03d}x_{self.exposure_ns / 1e3:.0f}us"


@dataclass(frozen=True)
class EmvaFolder:
    """What the listing of one folder says.

    Parameters
    ----------
    path : Path
    bits : int
    shape : tuple of int
        (H, W) of every frame.
    series : tuple of Series
    black : float
        DN: mean of the dark frames of the shortest exposure, where dark current is least.
    """

    path: Path
    bits: int
    shape: tuple[int, int]
    series: tuple[Series, ...]
    black: float


def is_emva(path: Path) -> bool:
    """Whether a folder is an EMVA 1288 data set."""
    return (path / LISTING).is_file()


def read_emva(path: str | Path) -> EmvaFolder:
    """Read the listing of a folder, and its black level from its dark frames.

    Raises
    ------
    RawError
        If the listing is missing or cannot be understood, names a file that is not there,
        or lists no dark frames.
    """
    path = Path(path)
    listing = path / LISTING
    if not listing.is_file():
        raise RawError(f"{path}: no {LISTING}; expected the folder of an EMVA 1288 data set")
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
                size = (bits, height, width)
            elif key in "bd":
                exposure, photons = ([float(word) for word in rest.split()] + [0.0])[:2]
                series.append(Series(key, exposure, photons, ()))
            elif key == "i":
                last = series.pop()
                file = path / rest.strip().replace("\\", "/")
                series.append(Series(last.kind, last.exposure_ns, last.photons, (*last.files, file)))
        except (ValueError, IndexError) as error:
            raise RawError(f"{listing}: line {number}: cannot understand {line!r}") from error
    if size is None:
        raise RawError(f"{listing}: no line 'n BITS WIDTH HEIGHT'")
    darks = [entry for entry in series if entry.kind == "d" and entry.files]
    if not darks:
        raise RawError(f"{listing}: lists no dark frames; the black level is not known")
    missing = [file for entry in series for file in entry.files if not file.is_file()]
    if missing:
        raise RawError(f"{missing[0]}: listed in {LISTING} but not there ({len(missing)} such file(s))")
    shortest = min(darks, key=lambda entry: entry.exposure_ns)
    black = float(np.mean([_pixels(file, size[1:]).mean() for file in shortest.files]))
    return EmvaFolder(path, size[0], size[1:], tuple(series), black)


def read_frame(folder: EmvaFolder, series: Series, file: Path, settings: RawSettings | None = None) -> RawImage:
    """Read one frame of a folder; `settings` win over the listing."""
    return (settings or RawSettings()).image(
        _pixels(file, folder.shape),
        str(file),
        cfa=MONO,
        black=(folder.black,),
        white=float(2**folder.bits - 1),
        iso=NOMINAL_ISO,
        exposure_s=series.exposure_ns * 1e-9,
        make="EMVA1288",
        model=folder.path.name.removeprefix("EMVA1288_"),
    )


def _pixels(file: Path, shape: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    with decoding(file, "an image"):
        pixels = np.asarray(skimage.io.imread(file))
    if pixels.shape != shape:
        raise RawError(f"{file}: expected {shape[1]}×{shape[0]} pixels of one channel; got an array of {pixels.shape}")
    return pixels.astype(np.uint16)

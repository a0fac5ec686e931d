"""What a user says about raw files: overrides of what the files say, or all there is to know.

A flag wins over the side-car, the side-car over the file.  A side-car is a small TOML
file: ``NAME.toml`` beside ``NAME.raw``, or ``noiseflow.toml`` for a whole folder, the
former winning::

    cfa = "RGGB"
    black = 600                  # or of R, G1, G2, B: [600, 601, 601, 600]
    white = 16383
    iso = 200
    size = [768, 512]            # width, height; of a file without header
    dtype = "<u2"
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, offsets, shifted
from noiseflow.raw.image import RawImage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["FOLDER_SIDE_CAR", "RawSettings", "black_of_area", "settings_for"]

FOLDER_SIDE_CAR = "noiseflow.toml"

Area = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""


@dataclass(frozen=True)
class RawSettings:
    """What is known of a raw file beside the file; None leaves it to the file.

    Parameters
    ----------
    cfa : str, optional
        ``"RGGB"``, ``"GRBG"``, ``"GBRG"``, ``"BGGR"`` or ``"MONO"``, at the first pixel
        that the file holds.
    black : tuple of float, optional
        DN; one for all planes, or one each for R, G1, G2, B.
    white : float, optional
        DN.
    iso : float, optional
    exposure_s : float, optional
        Seconds.
    camera : str, optional
    size : tuple of int, optional
        (width, height) in pixels, of a file without header.
    dtype : str, optional
        Of a file without header, as numpy spells it: ``"<u2"``, ``">u2"``, ``"u1"``.
    header_bytes : int, optional
        Bytes before the pixels of a file without header.
    crop : tuple of int, optional
        Active area: (top, left, height, width); the rest is left out.
    masked : tuple of int, optional
        Area (top, left, height, width) of masked pixels, whose mean is the black level of each
        plane if `black` is not given.

    Raises
    ------
    RawError
        A value that cannot be.
    """

    cfa: str | None = None
    black: tuple[float, ...] | None = None
    white: float | None = None
    iso: float | None = None
    exposure_s: float | None = None
    camera: str | None = None
    size: tuple[int, int] | None = None
    dtype: str | None = None
    header_bytes: int | None = None
    crop: Area | None = None
    masked: Area | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        if self.cfa is not None and self.cfa != MONO and self.cfa not in BAYER_PHASES:
            raise RawError(f"cfa: expected {', '.join(BAYER_PHASES)} or {MONO}; got {self.cfa!r}")
        if self.black is not None and len(self.black) not in (1, 4):
            raise RawError(f"black: expected one level, or four of R, G1, G2, B; got {self.black}")
        for name in ("iso", "exposure_s", "white"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise RawError(f"{name}: expected a number above 0; got {value}")
        if self.size is not None and min(self.size) < 1:
            raise RawError(f"size: expected a width and a height of 1 or more; got {self.size}")
        if self.header_bytes is not None and self.header_bytes < 0:
            raise RawError(f"header_bytes: expected 0 or more; got {self.header_bytes}")
        for name in ("crop", "masked"):
            area = getattr(self, name)
            if area is not None and (min(area) < 0 or min(area[2:]) < 1):
                raise RawError(f"{name}: expected top, left, height, width; got {area}")
        if self.dtype is not None:
            _dtype(self.dtype)

    def over(self, other: "RawSettings") -> "RawSettings":
        """These settings, with those of `other` where these say nothing."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{name: value for name, value in said.items() if value is not None})

    def image(
        self,
        pixels: NDArray[Any],
        source: str,
        *,
        cfa: str | None = None,
        black: tuple[float, ...] | None = None,
        white: float | None = None,
        **said: Any,
    ) -> RawImage:
        """A raw image of what a file says, overridden by these settings.

        Parameters
        ----------
        pixels : ndarray, shape (H, W)
            As stored, of any byte order; floats that are all whole become integers.
        source : str
        cfa, black, white
            What the file says; `cfa` at the first pixel of `pixels`.
        **said
            Other fields of `RawImage` that the file says.

        Raises
        ------
        RawError
            Neither the file nor the settings say what is needed; pixels of another kind.
        """
        pixels = _plain(pixels, source)
        cfa, white = self.cfa or cfa, self.white or white
        black = self.black or black
        if cfa is not None and self.black is None and self.masked is not None:
            black = black_of_area(pixels, cfa, self.masked, source)
        unknown = [name for name, value in (("cfa", cfa), ("black", black), ("white", white)) if value is None]
        if cfa is None or black is None or white is None:
            raise RawError(
                f"{source}: the file does not say its {', '.join(unknown)}; give {' '.join('--' + n for n in unknown)} "
                f"or a line for each in {Path(source).with_suffix('.toml').name}"
            )
        if self.crop is not None:
            top, left, _, _ = self.crop
            pixels, cfa = _cut(pixels, self.crop, "crop", source), shifted(cfa, top, left)
        if self.crop is not None or pixels.strides[1] != pixels.itemsize:
            # A margin beside each row may stay: without it the frame would be copied.
            pixels = np.ascontiguousarray(pixels)
        planes = 1 if cfa == MONO else 4
        said.update({name: value for name in ("iso", "exposure_s") if (value := getattr(self, name)) is not None})
        if self.camera is not None:
            said.update(make="", model=self.camera)
        return RawImage(
            mosaic=pixels,
            cfa=cfa,
            black=tuple(float(level) for level in (black if len(black) == planes else black[:1] * planes)),
            white=float(white),
            source=source,
            **said,
        )


def black_of_area(pixels: NDArray[Any], cfa: str, area: Area, source: str) -> tuple[float, ...]:
    """Mean code of each plane, in DN, over an area of masked pixels.

    Raises
    ------
    RawError
        The area is not within the image, or holds no pixel of a plane.
    """
    top, left, height, width = area
    within = _cut(pixels, area, "masked", source)
    if cfa == MONO:
        return (float(within.mean()),)
    if min(height, width) < 2:
        raise RawError(f"{source}: masked: {height}×{width} pixels hold not every colour; expected 2×2 or more")
    return tuple(float(within[(row - top) % 2 :: 2, (column - left) % 2 :: 2].mean()) for row, column in offsets(cfa))


def settings_for(path: Path, flags: RawSettings | None = None) -> RawSettings:
    """The settings of one file: flags over ``NAME.toml`` over ``noiseflow.toml`` of its folder.

    Raises
    ------
    RawError
        A side-car that is no TOML, or has an unknown key or a value of a wrong type.
    """
    settings = flags or RawSettings()
    for side_car in (path.with_suffix(".toml"), path.parent / FOLDER_SIDE_CAR):
        if side_car != path and side_car.is_file():
            settings = settings.over(read_side_car(side_car))
    return settings


def read_side_car(path: Path) -> RawSettings:
    """Read the settings that a TOML file holds."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RawError(f"{path}: cannot be read as TOML ({error})") from error
    try:
        return RawSettings(**_typed(table))
    except RawError as error:
        raise RawError(f"{path}: {error}") from error


KINDS: dict[str, tuple[str, type | tuple[type, ...], int]] = {
    "cfa": ("a text", str, 0),
    "black": ("a number or a list of four", (int, float), 4),
    "white": ("a number", (int, float), 0),
    "iso": ("a number", (int, float), 0),
    "exposure_s": ("a number of seconds", (int, float), 0),
    "camera": ("a text", str, 0),
    "size": ("a list of width and height", int, 2),
    "dtype": ("a text such as '<u2'", str, 0),
    "header_bytes": ("a whole number", int, 0),
    "crop": ("a list of top, left, height, width", int, 4),
    "masked": ("a list of top, left, height, width", int, 4),
}
"""Keys of a side-car: what is expected, the type, and the length of a list."""


def _typed(table: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KINDS:
            raise RawError(f"unknown key {key!r}; expected {', '.join(KINDS)}")
        expected, kind, length = KINDS[key]
        items = value if isinstance(value, list) else [value]
        lengths = {"black": (1, 4)}.get(key, (length or 1,))
        fits = len(items) in lengths and isinstance(value, list) == (len(items) > 1)
        if not fits or not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
            raise RawError(f"{key}: expected {expected}; got {value!r}")
        values[key] = tuple(items) if length else value
    return values


def _dtype(name: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        raise RawError(f"dtype: expected a numpy type such as '<u2', '>u2' or 'u1'; got {name!r}") from error
    if dtype.kind not in "uif":
        raise RawError(f"dtype: expected integers or floats such as '<u2'; got {name!r}")
    return dtype


def _plain(pixels: NDArray[Any], source: str) -> NDArray[Any]:
    if pixels.ndim != 2:
        raise RawError(f"{source}: holds an array of shape {pixels.shape}; expected one mosaic of shape (H, W)")
    if pixels.dtype.kind not in "uif":
        raise RawError(f"{source}: holds values of type {pixels.dtype}; expected integers or floats")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind != "f" or not pixels.size:
        return pixels
    pixels = pixels.astype(np.float64 if pixels.dtype.itemsize > 4 else np.float32, copy=False)
    if not np.isfinite(pixels).all():
        raise RawError(f"{source}: holds NaN or infinite values; expected codes in DN")
    if np.abs(pixels).max() < 2**31 and (np.rint(pixels) == pixels).all():
        fits = pixels.min() >= 0 and pixels.max() < 2**16
        return pixels.astype(np.uint16 if fits else np.int32)
    return pixels


def _cut(pixels: NDArray[Any], area: Area, what: str, source: str) -> NDArray[Any]:
    top, left, height, width = area
    if top + height > pixels.shape[0] or left + width > pixels.shape[1]:
        raise RawError(
            f"{source}: {what} {height}×{width} at row {top}, column {left} is not within its "
            f"{pixels.shape[0]}×{pixels.shape[1]} pixels"
        )
    return pixels[top : top + height, left : left + width]

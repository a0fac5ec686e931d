"""The user's settings for raw files: overrides of levels and metadata, and the layout of headerless files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.black_levels import BlackMap, plane_levels, said_of_leak
from noiseflow.raw.image import RawImage
from noiseflow.raw.packed_bits import PACKINGS
from noiseflow.raw.patterns import BAYER_PHASES, LEVEL_COUNTS, MONO, cell_side, known_cfa, offsets, shifted

__all__ = ["RawSettings", "black_of_area"]

LONGEST_EXPOSURE_S = 2.0**32 - 1
"""Longest exposure time that a raw file's tag can store, as a 32-bit ratio; 136 years."""

Area = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""


@dataclass(frozen=True)
class RawSettings:
    """Settings that override a raw file's levels and metadata; None keeps the file's value.

    Parameters
    ----------
    cfa : str, optional
        Colour filter array at the first pixel of the file: ``"RGGB"``, ``"GRBG"``, ``"GBRG"``,
        ``"BGGR"`` or ``"MONO"``; ``"QUAD"`` or ``"XTRANS"``, if necessary with the rows and
        columns by which it is shifted from `noiseflow.raw.patterns.CELLS`, as in
        ``"XTRANS+1+0"``; or the colours of the cell in raster order, slashes between rows allowed.
    black : tuple of float, optional
        Black level in DN; one for all planes, or one for each (R, G1, G2, B, or those of a larger cell).
    white : float, optional
        White level in DN.
    iso : float, optional
        ISO.
    exposure_s : float, optional
        Exposure time in seconds.
    camera : str, optional
        Name of the camera.
    size : tuple of int, optional
        (width, height) in pixels of a headerless file.
    dtype : str, optional
        Type of the pixels of a headerless file: a numpy type such as ``"<u2"``, ``">u2"``, ``"u1"``; or a
        packing in `noiseflow.raw.packed_bits.PACKINGS` such as ``"RAW10"``, ``"Mono12p"``.
    header_bytes : int, optional
        Bytes to skip before the pixels of a headerless file.
    stride : int, optional
        Bytes from one row to the next in a headerless file, padding included.
    shift : int, optional
        Number of low bits to drop from each code of left-aligned data: 4 for 12 bits in 16.
        `black` and `white` given here refer to the codes after the shift.
    crop : tuple of int, optional
        Active area (top, left, height, width) in pixels; pixels outside it are dropped.
    masked : tuple of int, optional
        Area (top, left, height, width) of masked pixels; the mean of each plane there is its black
        level, unless `black` is given.
    places : tuple of (str, str)
        Fields set by a side-car, and the side-car's path.

    Raises
    ------
    RawError
        If a value is out of range or has the wrong form.
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
    stride: int | None = None
    shift: int | None = None
    crop: Area | None = None
    masked: Area | None = None
    places: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values out of range, and normalise the name of the array."""
        if self.cfa is not None:
            # Flags and side-cars accept upper and lower case.
            cfa = known_cfa(self.cfa)
            if cfa is None:
                raise RawError(
                    f"cfa: expected {', '.join(BAYER_PHASES)}, {MONO}, QUAD, XTRANS or the colours of such a cell in "
                    f"raster order; got {self.cfa!r}"
                )
            object.__setattr__(self, "cfa", cfa)
        if self.black is not None and len(self.black) not in LEVEL_COUNTS:
            raise RawError(f"black: expected one level, or one for each plane (R, G1, G2, B); got {self.black}")
        for name in ("iso", "white"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise RawError(f"{name}: expected a number above 0; got {value}")
        if self.camera is not None and "\0" in self.camera:
            raise RawError(f"camera: expected a name without the character NUL; got {self.camera!r}")
        if self.exposure_s is not None and not 0 <= self.exposure_s <= LONGEST_EXPOSURE_S:
            raise RawError(f"exposure_s: expected seconds, 0 to {LONGEST_EXPOSURE_S:g}; got {self.exposure_s}")
        if self.shift is not None and not 0 <= self.shift < 16:
            raise RawError(f"shift: expected 0 to 15 bits; got {self.shift}")
        if self.stride is not None and self.stride < 1:
            raise RawError(f"stride: expected bytes per row, 1 or more; got {self.stride}")
        if self.size is not None and min(self.size) < 1:
            raise RawError(f"size: expected a width and a height of 1 or more; got {self.size}")
        if self.header_bytes is not None and self.header_bytes < 0:
            raise RawError(f"header_bytes: expected 0 or more; got {self.header_bytes}")
        for name in ("crop", "masked"):
            area = getattr(self, name)
            if area is not None and (min(area) < 0 or min(area[2:]) < 1):
                raise RawError(f"{name}: expected top, left, height, width; got {area}")
        if self.dtype is not None and self.dtype not in PACKINGS:
            _dtype(self.dtype)

    def given(self) -> dict[str, Any]:
        """Settings that are not None, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "places"}
        return {name: value for name, value in values.items() if value is not None}

    def over(self, other: "RawSettings") -> "RawSettings":
        """Fill the settings that are None from `other`."""
        own = self.given()
        places = (*self.places, *(place for place in other.places if place[0] not in own))
        return replace(other, **own, places=places)

    def place_of(self, name: str) -> str:
        """Source of a setting: the side-car's path, or the flag of the command line."""
        return dict(self.places).get(name, f"--{name.removesuffix('_s').replace('_', '-')}")

    def image(
        self,
        pixels: NDArray[Any],
        source: str,
        *,
        cfa: str | None = None,
        black: tuple[float, ...] | BlackMap | None = None,
        white: float | None = None,
        where: Mapping[str, str] | None = None,
        **said: Any,
    ) -> RawImage:
        """Make a raw image from the content of a file, overridden by these settings.

        Parameters
        ----------
        pixels : ndarray, shape (H, W)
            Codes as stored, in any byte order; floats become integers if all values are whole.
        source : str
            Name of the file, for messages.
        cfa : str, optional
            Colour filter array at the first pixel, according to the file.
        black : tuple of float or BlackMap, optional
            Black level in DN according to the file; a map starts at the first pixel.
        white : float, optional
            White level in DN according to the file.
        where : mapping, optional
            Field → its place in the file.
        **said
            Other fields of `RawImage` according to the file.

        Raises
        ------
        RawError
            If neither the file nor the settings give the array or a level, or the pixels are no 2-D numbers.
        """
        pixels = _plain(pixels, source)
        if self.shift:
            pixels, black, white = _shifted(pixels, black, white, self.shift, source)
        # Readers say MONO where a file has no colours, as most FITS files.
        if self.cfa and cfa and (known_cfa(cfa) or cfa) not in (self.cfa, MONO):
            words = f"{source}: the file gives the colours as {cfa}; {self.cfa} of {self.place_of('cfa')} was taken"
            said["cautions"] = (*said.get("cautions", ()), words)
        cfa, white, black = self.cfa or (cfa and known_cfa(cfa)) or cfa, self.white or white, self.black or black
        if cfa is not None and self.black is None and self.masked is not None:
            black = black_of_area(pixels, cfa, self.masked, source)
            area = _cut(pixels, self.masked, "masked", source)
            leak = said_of_leak(area, 1 if cfa == MONO else cell_side(cfa), white or float(area.max()))
            if leak:
                said["cautions"] = (*said.get("cautions", ()), f"{source}: {leak}")
        unknown = [name for name, value in (("cfa", cfa), ("black", black), ("white", white)) if value is None]
        if cfa is None or black is None or white is None:
            raise RawError(
                f"{source}: the file lacks {', '.join(unknown)}; give {' '.join('--' + n for n in unknown)} "
                f"or a line for each in {Path(source).with_suffix('.toml').name}"
            )
        if self.crop is not None:
            pixels, cfa, black = self._cropped(pixels, cfa, black, source)
        if self.crop is not None or pixels.strides[1] != pixels.itemsize:
            # Padding after each row may stay; only strided pixels and crops are copied.
            pixels = np.ascontiguousarray(pixels)
        said.update({name: value for name in ("iso", "exposure_s") if (value := getattr(self, name)) is not None})
        if self.camera is not None:
            said.update(make="", model=self.camera)
        levels, black_map = _levels(black, cfa, pixels.shape, source)
        return RawImage(
            mosaic=pixels,
            cfa=cfa,
            black=levels,
            white=float(white),
            source=source,
            black_map=black_map,
            taken_from=tuple(self._places(where or {}, said)),
            **said,
        )

    def _cropped(
        self, pixels: NDArray[Any], cfa: str, black: tuple[float, ...] | BlackMap, source: str
    ) -> tuple[NDArray[Any], str, tuple[float, ...] | BlackMap]:
        """Pixels, colour filter array and black level of the area `crop`."""
        assert self.crop is not None
        pixels = _cut(pixels, self.crop, "crop", source)
        return (
            pixels,
            shifted(cfa, self.crop[0], self.crop[1]),
            black.cropped(*self.crop) if isinstance(black, BlackMap) else black,
        )

    def _places(self, where: Mapping[str, str], said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield fields and their sources, for `RawImage.taken_from`."""
        for name in ("cfa", "black", "white", "iso", "exposure_s", "camera"):
            if getattr(self, name) is not None:
                yield name, self.place_of(name)
            elif name == "black" and self.masked is not None:
                yield name, f"masked area of {self.place_of('masked')}"
            elif name in where:
                yield name, where[name]
            elif name in ("cfa", "black", "white") or said.get(name) is not None:
                yield name, "the file"


def _levels(
    black: tuple[float, ...] | BlackMap, cfa: str, shape: tuple[int, ...], source: str
) -> tuple[tuple[float, ...], BlackMap | None]:
    """Black level of each plane in DN, and the map if the level varies within a plane."""
    if isinstance(black, BlackMap):
        return plane_levels(black, cfa, (shape[0], shape[1]))
    planes = 1 if cfa == MONO else cell_side(cfa) ** 2
    if len(black) not in (1, planes) and len(set(black)) > 1:
        raise RawError(
            f"{source}: {len(black)} black levels for {counted(planes, 'plane')}; expected one, or one for each"
        )
    return tuple(float(level) for level in (black if len(black) == planes else black[:1] * planes)), None


def _shifted(
    pixels: NDArray[Any], black: tuple[float, ...] | BlackMap | None, white: float | None, shift: int, source: str
) -> tuple[NDArray[Any], tuple[float, ...] | BlackMap | None, float | None]:
    """Shift codes right by `shift` bits, and divide the file's levels by 2^shift.

    Raises
    ------
    RawError
        If a code is not a multiple of 2^shift, so that the data are not left-aligned by that many bits.
    """
    if pixels.dtype.kind == "f":
        raise RawError(f"{source}: shift: contains fractional values; expected whole codes")
    if pixels.size and int(np.bitwise_or.reduce(pixels, axis=None)) & ((1 << shift) - 1):
        raise RawError(f"{source}: shift: not all codes are multiples of {1 << shift}; expected left-aligned codes")
    if isinstance(black, BlackMap):
        black = black.times(0.5**shift)
    elif black is not None:
        black = tuple(level / (1 << shift) for level in black)
    # Rounded down: files may say 65535 where the largest code is 4095·16.
    return pixels >> shift, black, None if white is None else float(int(white) >> shift)


def black_of_area(pixels: NDArray[Any], cfa: str, area: Area, source: str) -> tuple[float, ...]:
    """Mean code of each plane in DN over an area of masked pixels.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)
        All stored pixels in DN.
    cfa : str
        Colour filter array at the first pixel.
    area : tuple of int
        Top, left, height, width in pixels.
    source : str
        Name of the file, for messages.

    Raises
    ------
    RawError
        If the area is not within the image, or is smaller than a cell.
    """
    top, left, height, width = area
    within = _cut(pixels, area, "masked", source)
    if cfa == MONO:
        return (float(within.mean()),)
    side = cell_side(cfa)
    if min(height, width) < side:
        raise RawError(
            f"{source}: masked: {height}×{width} pixels do not contain every plane; expected at least {side}×{side}"
        )
    return tuple(
        float(within[(row - top) % side :: side, (column - left) % side :: side].mean()) for row, column in offsets(cfa)
    )


def _dtype(name: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        packed = ", ".join(PACKINGS)
        raise RawError(
            f"dtype: expected a numpy type such as '<u2', '>u2' or 'u1', or a packing: {packed}; got {name!r}"
        ) from error
    if dtype.kind not in "uif":
        raise RawError(f"dtype: expected integers or floats such as '<u2'; got {name!r}")
    return dtype


def _plain(pixels: NDArray[Any], source: str) -> NDArray[Any]:
    if pixels.ndim != 2:
        raise RawError(f"{source}: contains an array of shape {pixels.shape}; expected one mosaic of shape (H, W)")
    if pixels.dtype.kind not in "uif":
        raise RawError(f"{source}: contains values of type {pixels.dtype}; expected integers or floats")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind != "f" or not pixels.size:
        return pixels
    pixels = pixels.astype(np.float64 if pixels.dtype.itemsize > 4 else np.float32, copy=False)
    if not np.isfinite(pixels).all():
        raise RawError(f"{source}: contains NaN or infinite values; expected codes in DN")
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

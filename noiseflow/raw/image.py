"""`RawImage`: a raw mosaic as stored, with its colour filter array, levels and metadata."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.bayer import pack, plane_names, unpack
from noiseflow.raw.black_levels import BlackMap
from noiseflow.raw.patterns import BAYER_PHASES, CFAS, MONO, cell_side, cfa_name, layout_of, offsets

__all__ = ["RawImage", "fits_layout"]

SMALLEST_DN = 1e-3
"""Deviation of a black level, in DN, that is too small to report."""


@dataclass(frozen=True, eq=False)
class RawImage:
    """One frame of raw sensor data.

    Parameters
    ----------
    mosaic : ndarray of integers, shape (H, W)
        Raw codes in DN as stored: no black level subtracted, nothing clipped.  Floats, also in
        DN, if the file has fractional values, as a mean of frames does.
    cfa : str
        Colour filter array at the first pixel, one of `noiseflow.raw.patterns.CFAS`: ``"RGGB"``,
        ``"GRBG"``, ``"GBRG"``, ``"BGGR"``, ``"MONO"``, or the colours of a Quad Bayer or X-Trans
        cell in raster order.
    black : tuple of float
        Black level in DN of each plane (R, G1, G2, B, or those of a larger cell); one value for
        ``"MONO"``.  The mean over each plane if `black_map` is given.
    white : float
        Declared code in DN at which the sensor or its converter saturates.
    iso : float or None
        ISO, if known.
    exposure_s : float or None
        Exposure time in seconds, if known.
    make, model : str
        Maker and model of the camera; empty if unknown.
    source : str
        Name of the file, for messages and provenance.
    noise_profile : tuple of (float, float)
        (S, O) per plane, or once for all: the variance of the normalised signal is S·signal + O,
        as in the DNG tag NoiseProfile; empty if the file has none.
    neutral : tuple of float or None
        Response to a white surface in R, G, B under the light of the scene, at most 1 (the
        inverse white-balance gains), if known.
    black_map : BlackMap or None
        Black level of each pixel in DN, if it varies within a plane.
    clip : tuple of float
        Code in DN of each plane at and above which a pixel is clipped, if the pixels
        show that it is below `white`; empty otherwise.
    taken_from : tuple of (str, str)
        Fields and the source of each: ``("black", "BlackLevel tag")``.
    cautions : tuple of str
        Sentences for the user: contradictions, guesses, suspicious codes.
    levelled_by : BlackMap or None
        The map that `levelled` subtracted from integer codes, rounded to whole DN; None if it did not.

    Raises
    ------
    RawError
        If the fields contradict each other.
    """

    mosaic: NDArray[Any]
    cfa: str
    black: tuple[float, ...]
    white: float
    iso: float | None = None
    exposure_s: float | None = None
    make: str = ""
    model: str = ""
    source: str = ""
    noise_profile: tuple[tuple[float, float], ...] = field(default=())
    neutral: tuple[float, float, float] | None = None
    black_map: BlackMap | None = None
    clip: tuple[float, ...] = ()
    taken_from: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()
    levelled_by: BlackMap | None = None

    def __post_init__(self) -> None:
        """Refuse fields that contradict each other."""
        where = self.source or "raw image"
        if self.mosaic.ndim != 2 or not self.mosaic.size:
            raise RawError(f"{where}: expected a mosaic of shape (H, W); got {self.mosaic.shape}")
        if self.cfa not in CFAS:
            raise RawError(
                f"{where}: colour filter array {cfa_name(self.cfa)!r} is not supported; expected "
                f"{', '.join(BAYER_PHASES)}, Quad Bayer, X-Trans or {MONO}"
            )
        planes = 1 if self.cfa == MONO else cell_side(self.cfa) ** 2
        if len(self.black) != planes:
            raise RawError(f"{where}: expected {counted(planes, 'black level')} for {self.pattern}; got {self.black}")
        if not all(level < self.white for level in self.black):
            raise RawError(f"{where}: white level {self.white} is not above the black levels {self.black}")

    @property
    def whole(self) -> bool:
        """Whether all codes are integers in 0 … 65535."""
        fits = self.mosaic.dtype in (np.uint8, np.uint16)
        return fits or (self.mosaic.dtype.kind in "ui" and bool(self.mosaic.min() >= 0 and self.mosaic.max() < 2**16))

    @property
    def camera(self) -> str:
        """Make and model as one name; the make is not repeated if the model starts with it."""
        if self.model.lower().startswith(self.make.lower()):
            return self.model.strip() or "unknown"
        return f"{self.make} {self.model}".strip()

    @property
    def pattern(self) -> str:
        """Name of the colour filter array for messages: ``"X-Trans GBGGRG/…"``."""
        return cfa_name(self.cfa)

    @property
    def layout(self) -> str:
        """The plane layout this image packs to by default: ``"bayer"``, ``"mono2x2"``, ``"quad"`` or ``"xtrans"``."""
        return layout_of(self.cfa)

    @property
    def side(self) -> int:
        """Rows, and columns, of the repeating cell."""
        return cell_side(self.cfa)

    @property
    def cube(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of the planes in the default layout."""
        side = self.side
        return side**2, self.mosaic.shape[0] // side, self.mosaic.shape[1] // side

    @property
    def clips_at(self) -> tuple[float, ...]:
        """Code in DN of each plane of `black` at and above which a pixel is clipped."""
        return tuple(min(self.white, level) for level in self.clip) or (self.white,) * len(self.black)

    def clip_levels(self, layout: str | None = None) -> NDArray[np.float64]:
        """Code in DN at and above which a pixel is clipped, for each plane of a layout, shape (C, 1, 1).

        Parameters
        ----------
        layout : str, optional
            Plane layout; the image's default if None.
        """
        count = len(plane_names(layout or self.layout))
        levels = self.clips_at
        return np.asarray(levels if len(levels) == count else levels * count, np.float64).reshape(count, 1, 1)

    def levels(self, layout: str | None = None) -> tuple[NDArray[np.float64], float]:
        """Black and white level in DN.

        Parameters
        ----------
        layout : str, optional
            Plane layout; the image's default if None.

        Returns
        -------
        black : ndarray, shape (C, 1, 1) or (C, h, w)
            Black level of each plane, or of each pixel if there is a black map.
        white : float
            White level.
        """
        count = len(plane_names(layout or self.layout))
        if self.black_map is not None:
            everywhere = self.black_map.pixels((self.mosaic.shape[0], self.mosaic.shape[1]))
            return replace(self, mosaic=everywhere, black_map=None).planes(layout), float(self.white)
        black = np.asarray(self.black if len(self.black) == count else self.black * count, np.float64)
        return black.reshape(count, 1, 1), float(self.white)

    def planes(self, layout: str | None = None) -> NDArray[Any]:
        """Pack the mosaic into planes in DN; rows and columns after the last whole cell are dropped.

        Parameters
        ----------
        layout : str, optional
            Plane layout; the image's default if None.

        Returns
        -------
        ndarray, shape (C, H//s, W//s) for a cell of side s, or (1, H, W) for ``"mono"``

        Raises
        ------
        RawError
            If the colour filter array cannot be packed to the layout.
        """
        layout = layout or self.layout
        if layout != self.layout and not (self.cfa == MONO and layout == "mono"):
            raise RawError(f"{self.source}: a {self.pattern} mosaic cannot be packed as {layout!r}")
        if layout == "mono":
            return np.array(self.mosaic[None])
        height, width = (size - size % self.side for size in self.mosaic.shape)
        return pack(self.mosaic[:height, :width], self.cfa)

    def normalised(self, layout: str | None = None, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Planes of the normalised signal, (DN − black) / (white − black), not clipped.

        Parameters
        ----------
        layout : str, optional
            Plane layout; the image's default if None.
        dtype : dtype
            Floating type of the result; the computation is in float64.

        Returns
        -------
        ndarray, shape (C, h, w)
        """
        black, white = self.levels(layout)
        planes = self.planes(layout)
        signal = np.empty(planes.shape, dtype)
        # One plane at a time, so that the second step finds the result of the first in the cache.
        above = np.empty(planes.shape[1:], np.float64)
        for plane, codes, level in zip(signal, planes, black, strict=True):
            np.subtract(codes, level, out=above)
            np.divide(above, white - level, out=plane, dtype=np.float64, casting="same_kind")
        return signal

    def with_signal(self, signal: NDArray[Any], *, iso: float | None = None) -> "RawImage":
        """Copy of the frame with another signal, quantised as a converter does.

        The signal is converted to DN, rounded to whole codes and clipped to [0, white].  Rows and columns
        after the last whole cell keep their codes, rounded.

        Parameters
        ----------
        signal : ndarray, shape (C, h, w)
            Normalised planes; C = 1 for ``"mono"``, otherwise as returned by `planes`.
        iso : float, optional
            ISO of the result; by default that of this frame.

        Raises
        ------
        RawError
            If the number of planes does not match the colour filter array.
        """
        fits = np.uint16 if self.white < 2**16 else np.uint32
        mosaic = np.rint(self.mosaic).astype(fits) if self.mosaic.dtype.kind == "f" else self.mosaic.copy()
        found = replace(self, mosaic=mosaic, iso=iso or self.iso)
        if signal.size:
            found.put_signal(signal)
        return found

    def put_signal(self, signal: NDArray[Any]) -> None:
        """Overwrite the integer mosaic with a signal, in place; otherwise as `with_signal`.

        Parameters
        ----------
        signal : ndarray, shape (C, h, w)
            Normalised planes, as for `with_signal`.

        Raises
        ------
        RawError
            If the number of planes does not match the colour filter array.
        """
        layout = "mono" if len(signal) == 1 else self.layout
        black, white = self.levels(layout)
        side, places = (1, ((0, 0),)) if layout == "mono" else (self.side, offsets(self.cfa))
        if len(signal) != len(places):
            raise RawError(f"{self.source}: expected {len(places)} planes of a {self.pattern} frame; got {len(signal)}")
        height, width = signal.shape[1:]
        codes = np.empty((height, width), np.float64)
        for plane, level, (row, column) in zip(signal, black, places, strict=True):
            np.multiply(plane, white - level, out=codes, dtype=np.float64)
            np.rint(np.add(codes, level, out=codes), out=codes)
            np.clip(codes, 0, white, out=codes)
            self.mosaic[row : side * height : side, column : side * width : side] = codes

    def levelled(self) -> "RawImage":
        """Subtract the black map's deviations, so that one black level per plane remains.

        Integer codes move by the deviation rounded to whole DN, which leaves the noise unchanged.  The
        rounding remainder of up to half a DN stays in the signal (`left_by_levelling`).  The mean
        remainder of each plane is added to its black level, so that the remainders sum to 0 and do not
        bias the gain.  Fractional mosaics are corrected exactly.  Clipped pixels stay clipped.

        Returns
        -------
        RawImage
            This frame if it has no black map; otherwise a copy with a caution that gives the size.
        """
        if self.black_map is None:
            return self
        whole = self.mosaic.dtype.kind in "ui"
        moves, left, black = self._moves(self.black_map, whole=whole)
        clip = self._per_pixel(self.clips_at)
        kept = (self.mosaic <= 0) | (self.mosaic >= clip)
        moved = np.where(kept, self.mosaic, self.mosaic - moves)
        if whole:
            # A pixel that was not clipped must not become so.
            moved = np.where(kept, moved, np.clip(moved, 1, np.maximum(np.ceil(clip) - 1, 1)))
        words = f"{self.source}: the black level varies within a colour plane by {np.ptp(moves + left):.4g} DN"
        words += "; it was subtracted pixel by pixel"
        if (most := float(np.abs(left).max())) > SMALLEST_DN:
            words += f", rounded to whole DN (up to {most:.2g} DN remains in the clean signal, and none in the noise "
            words += "if all frames have this map)"
        mosaic, levelled_by = moved.astype(self.mosaic.dtype), self.black_map if whole else None
        cautions = (*self.cautions, words)
        return replace(self, mosaic=mosaic, black=black, black_map=None, cautions=cautions, levelled_by=levelled_by)

    def left_by_levelling(self) -> NDArray[np.float64] | None:
        """Deviations in DN that `levelled` left in each pixel, as planes with mean 0; None if there are none."""
        if self.levelled_by is None:
            return None
        _, left, _ = self._moves(self.levelled_by, whole=True)
        planes: NDArray[np.float64] = replace(self, mosaic=left, levelled_by=None).planes()
        return planes if np.abs(planes).max() > SMALLEST_DN else None

    def _moves(
        self, black_map: BlackMap, *, whole: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, ...]]:
        """Deviation that `levelled` removes and remainder that it leaves, both (H, W), and new black levels; in DN."""
        everywhere = black_map.pixels((self.mosaic.shape[0], self.mosaic.shape[1]))
        black = self._plane_means(everywhere)
        deviation = everywhere - self._per_pixel(black)
        if not whole:
            return deviation, np.zeros_like(deviation), black
        moves = np.rint(deviation)
        left = self._plane_means(deviation - moves)
        return moves, deviation - moves - self._per_pixel(left), tuple(np.add(black, left).tolist())

    def _plane_means(self, pixels: NDArray[np.float64]) -> tuple[float, ...]:
        """Mean of each plane of an array with the mosaic's shape."""
        return tuple(replace(self, mosaic=pixels, black_map=None, levelled_by=None).planes().mean((1, 2)).tolist())

    def _per_pixel(self, levels: tuple[float, ...]) -> NDArray[np.float64]:
        """Spread one level per plane over the pixels of the mosaic, shape (H, W)."""
        if len(levels) == 1:
            return np.full(self.mosaic.shape, levels[0])
        height, width = self.mosaic.shape
        cell = unpack(np.asarray(levels, np.float64)[:, None, None], self.cfa)
        repeats = (-(-height // self.side), -(-width // self.side))
        return np.asarray(np.tile(cell, repeats)[:height, :width], np.float64)


def fits_layout(image: RawImage, layout: str) -> bool:
    """Whether a frame can be packed into the planes of a layout.

    Parameters
    ----------
    image : RawImage
        The frame.
    layout : str
        One of `noiseflow.raw.bayer.LAYOUTS`.
    """
    return layout == image.layout or (image.cfa == MONO and layout == "mono")

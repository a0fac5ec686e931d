"""`RawImage`: a mosaic as the sensor stored it, with what is needed to read it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import pack, plane_names, unpack
from noiseflow.raw.black_levels import BlackMap
from noiseflow.raw.patterns import BAYER_PHASES, CFAS, MONO, cell_side, cfa_name, layout_of, offsets

__all__ = ["RawImage", "fits_layout"]

SMALLEST_DN = 1e-3
"""Rest of a black level that is not worth a word."""


@dataclass(frozen=True, eq=False)
class RawImage:
    """One frame of raw sensor data.

    Parameters
    ----------
    mosaic : ndarray of integers, shape (H, W)
        Raw codes, in DN, as stored: no black level subtracted, nothing clipped.  Floats, in
        DN all the same, where a file holds fractions of it, as a clean mean does.
    cfa : str
        Colour filter array at the first pixel, one of `noiseflow.raw.patterns.CFAS`: ``"RGGB"``,
        ``"GRBG"``, ``"GBRG"``, ``"BGGR"``, ``"MONO"``, or the colours of a Quad Bayer or X-Trans
        cell in raster order.
    black : tuple of float
        Black level in DN, per plane (R, G1, G2, B, or those of a larger cell); one value for
        ``"MONO"``.  The mean over the plane if `black_map` is given.
    white : float
        Code, in DN, at which the sensor or its converter saturates, as declared.
    iso : float or None
        ISO speed, where the file says it.
    exposure_s : float or None
        Exposure time in seconds.
    make, model : str
        Maker and model of the camera.
    source : str
        Where it came from, for messages and provenance.
    noise_profile : tuple of (float, float)
        (S, O) per plane or one for all, var = S·signal + O of the normalised signal,
        as in the DNG NoiseProfile tag; empty where the file has none.
    neutral : tuple of float or None
        What a white surface gives in R, G, B under the light of the scene, at most 1: the
        white balance, where the file says it.
    black_map : BlackMap or None
        Black level of each pixel, where a plane has more than one.
    clip : tuple of float
        Code, in DN, per plane, at and above which a pixel is clipped, where the pixels
        show that it is below `white`; empty otherwise.
    taken_from : tuple of (str, str)
        What was believed, and where it came from: ``("black", "BlackLevel tag")``.
    cautions : tuple of str
        Sentences that the user must read: contradictions, guesses, suspicious codes.
    levelled_by : BlackMap or None
        The map whose deviations from `black` `levelled` took out of whole codes, to whole DN.

    Raises
    ------
    RawError
        If the parts contradict each other.
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
        """Refuse parts that contradict each other."""
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
            raise RawError(f"{where}: expected {planes} black level(s) for {self.pattern}; got {self.black}")
        if not all(level < self.white for level in self.black):
            raise RawError(f"{where}: white level {self.white} is not above the black level(s) {self.black}")

    @property
    def whole(self) -> bool:
        """Whether the mosaic holds whole codes of 16 bits, as a camera's converter gives them."""
        fits = self.mosaic.dtype in (np.uint8, np.uint16)
        return fits or (self.mosaic.dtype.kind in "ui" and bool(self.mosaic.min() >= 0 and self.mosaic.max() < 2**16))

    @property
    def camera(self) -> str:
        """Make and model in one name, without the make said twice."""
        if self.model.lower().startswith(self.make.lower()):
            return self.model.strip() or "unknown"
        return f"{self.make} {self.model}".strip()

    @property
    def pattern(self) -> str:
        """The colour filter array for people to read: ``"X-Trans GBGGRG/…"``."""
        return cfa_name(self.cfa)

    @property
    def layout(self) -> str:
        """The plane layout this image packs to by default: ``"bayer"``, ``"mono2x2"``, ``"quad"`` or ``"xtrans"``."""
        return layout_of(self.cfa)

    @property
    def side(self) -> int:
        """Rows, and columns, of the cell whose places are planes by default."""
        return cell_side(self.cfa)

    @property
    def cube(self) -> tuple[int, int, int]:
        """(C, h, w) of the planes by default."""
        side = self.side
        return side**2, self.mosaic.shape[0] // side, self.mosaic.shape[1] // side

    @property
    def clips_at(self) -> tuple[float, ...]:
        """Code, in DN, per plane of `black`, at and above which a pixel is clipped."""
        return tuple(min(self.white, level) for level in self.clip) or (self.white,) * len(self.black)

    def clip_levels(self, layout: str | None = None) -> NDArray[np.float64]:
        """`clips_at` per plane of a layout, shaped (C, 1, 1), in DN."""
        count = len(plane_names(layout or self.layout))
        levels = self.clips_at
        return np.asarray(levels if len(levels) == count else levels * count, np.float64).reshape(count, 1, 1)

    def levels(self, layout: str | None = None) -> tuple[NDArray[np.float64], float]:
        """Black level in DN, per plane, shaped (C, 1, 1), or per pixel, (C, h, w), if it varies; and white level."""
        count = len(plane_names(layout or self.layout))
        if self.black_map is not None:
            everywhere = self.black_map.pixels((self.mosaic.shape[0], self.mosaic.shape[1]))
            return replace(self, mosaic=everywhere, black_map=None).planes(layout), float(self.white)
        black = np.asarray(self.black if len(self.black) == count else self.black * count, np.float64)
        return black.reshape(count, 1, 1), float(self.white)

    def planes(self, layout: str | None = None) -> NDArray[Any]:
        """The mosaic packed to planes, in DN; last rows and columns beyond whole cells are left out.

        Returns
        -------
        ndarray, shape (C, H//s, W//s) of a cell of side s, or (1, H, W) for ``"mono"``
        """
        layout = layout or self.layout
        if layout != self.layout and not (self.cfa == MONO and layout == "mono"):
            raise RawError(f"{self.source}: a {self.pattern} mosaic cannot be packed as {layout!r}")
        if layout == "mono":
            return np.array(self.mosaic[None])
        height, width = (size - size % self.side for size in self.mosaic.shape)
        return pack(self.mosaic[:height, :width], self.cfa)

    def normalised(self, layout: str | None = None, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Planes as (DN − black) / (white − black), computed in float64, in a floating dtype, not clipped."""
        black, white = self.levels(layout)
        planes = self.planes(layout)
        signal = np.empty(planes.shape, dtype)
        # Plane by plane and into the result: what one step leaves is still in the cache for the next.
        above = np.empty(planes.shape[1:], np.float64)
        for plane, codes, level in zip(signal, planes, black, strict=True):
            np.subtract(codes, level, out=above)
            np.divide(above, white - level, out=plane, dtype=np.float64, casting="same_kind")
        return signal

    def with_signal(self, signal: NDArray[Any], *, iso: float | None = None) -> "RawImage":
        """The same frame with other content, quantised as a converter does.

        Parameters
        ----------
        signal : ndarray, shape (C, h, w)
            Normalised planes, C = 1 for ``"mono"`` and else as of `planes`.  Rounded to whole DN
            and clipped to [0, white]; rows and columns beyond whole cells keep their codes, rounded.
        iso : float, optional
            ISO of the result; that of this frame if None.
        """
        fits = np.uint16 if self.white < 2**16 else np.uint32
        mosaic = np.rint(self.mosaic).astype(fits) if self.mosaic.dtype.kind == "f" else self.mosaic.copy()
        found = replace(self, mosaic=mosaic, iso=iso or self.iso)
        if signal.size:
            found.put_signal(signal)
        return found

    def put_signal(self, signal: NDArray[Any]) -> None:
        """Write other content into the mosaic, whose codes are whole, as `with_signal` does.

        Parameters
        ----------
        signal : ndarray, shape (C, h, w)
            As of `with_signal`.
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
        """The frame with one black level per plane: each code moved by its pixel's deviation, to whole DN.

        The noise stays as it is.  Where deviations are no whole numbers, up to half a DN of
        them stays in the signal (`left_by_levelling`): codes are whole, and the rest is no noise
        that the clean signal could lack.  Its mean over a plane goes into the plane's level, so
        that it adds up to 0 and the gain is found without bias.  Fractions, as clean means are, are
        exact.  Clipped pixels stay clipped.
        """
        if self.black_map is None:
            return self
        whole = self.mosaic.dtype.kind in "ui"
        moves, left, black = self._moves(self.black_map, whole=whole)
        clip = self._per_pixel(self.clips_at)
        kept = (self.mosaic <= 0) | (self.mosaic >= clip)
        moved = np.where(kept, self.mosaic, self.mosaic - moves)
        if whole:
            # A pixel that was not clipped stays just above 0 and below the clip.
            moved = np.where(kept, moved, np.clip(moved, 1, np.maximum(np.ceil(clip) - 1, 1)))
        words = f"{self.source}: the black level varies within a colour plane by {np.ptp(moves + left):.4g} DN"
        words += "; it was subtracted pixel by pixel"
        if (most := float(np.abs(left).max())) > SMALLEST_DN:
            words += f", to whole DN (up to {most:.2g} DN of it stays in the clean signal; none in the noise where all "
            words += "frames have this map)"
        mosaic, levelled_by = moved.astype(self.mosaic.dtype), self.black_map if whole else None
        cautions = (*self.cautions, words)
        return replace(self, mosaic=mosaic, black=black, black_map=None, cautions=cautions, levelled_by=levelled_by)

    def left_by_levelling(self) -> NDArray[np.float64] | None:
        """What `levelled` left in the signal of each pixel, DN, as planes whose mean is 0; None if nothing."""
        if self.levelled_by is None:
            return None
        _, left, _ = self._moves(self.levelled_by, whole=True)
        planes: NDArray[np.float64] = replace(self, mosaic=left, levelled_by=None).planes()
        return planes if np.abs(planes).max() > SMALLEST_DN else None

    def _moves(
        self, black_map: BlackMap, *, whole: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, ...]]:
        """What `levelled` takes from each pixel and what it leaves, (H, W), and the level of each plane; all in DN."""
        everywhere = black_map.pixels((self.mosaic.shape[0], self.mosaic.shape[1]))
        black = self._plane_means(everywhere)
        deviation = everywhere - self._per_pixel(black)
        if not whole:
            return deviation, np.zeros_like(deviation), black
        moves = np.rint(deviation)
        left = self._plane_means(deviation - moves)
        return moves, deviation - moves - self._per_pixel(left), tuple(np.add(black, left).tolist())

    def _plane_means(self, pixels: NDArray[np.float64]) -> tuple[float, ...]:
        """Mean of each plane of something as large as the mosaic."""
        return tuple(replace(self, mosaic=pixels, black_map=None, levelled_by=None).planes().mean((1, 2)).tolist())

    def _per_pixel(self, levels: tuple[float, ...]) -> NDArray[np.float64]:
        """One level per plane at each pixel of the mosaic, (H, W)."""
        if len(levels) == 1:
            return np.full(self.mosaic.shape, levels[0])
        height, width = self.mosaic.shape
        cell = unpack(np.asarray(levels, np.float64)[:, None, None], self.cfa)
        repeats = (-(-height // self.side), -(-width // self.side))
        return np.asarray(np.tile(cell, repeats)[:height, :width], np.float64)


def fits_layout(image: RawImage, layout: str) -> bool:
    """Whether a frame can be packed to the planes of a layout.

    Parameters
    ----------
    image : RawImage
        The frame.
    layout : str
        One of `noiseflow.raw.bayer.LAYOUTS`.
    """
    return layout == image.layout or (image.cfa == MONO and layout == "mono")

"""`RawImage`: a mosaic as the sensor stored it, with what is needed to read it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, pack, unpack

__all__ = ["RawImage"]


@dataclass(frozen=True, eq=False)
class RawImage:
    """One frame of raw sensor data.

    Parameters
    ----------
    mosaic : ndarray of integers, shape (H, W)
        Raw codes, in DN, as stored: no black level subtracted, nothing clipped.  Floats, in
        DN all the same, where a file holds fractions of it, as a clean mean does.
    cfa : str
        Phase of the colour filter array at the first pixel: ``"RGGB"``, ``"GRBG"``,
        ``"GBRG"``, ``"BGGR"``, or ``"MONO"``.
    black : tuple of float
        Black level in DN, per plane (R, G1, G2, B); one value for ``"MONO"``.
    white : float
        Code, in DN, at which the sensor or its converter saturates.
    iso : float or None
        ISO speed, where the file says it.
    exposure_s : float or None
        Exposure time in seconds.
    make, model : str
        Of the camera.
    source : str
        Where it came from, for messages and provenance.
    noise_profile : tuple of (float, float)
        (S, O) per plane or one for all, var = S·signal + O of the normalised signal,
        as in the DNG NoiseProfile tag; empty where the file has none.
    neutral : tuple of float or None
        What a white surface gives in R, G, B under the light of the scene, at most 1: the
        white balance, where the file says it.

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

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other."""
        where = self.source or "raw image"
        if self.mosaic.ndim != 2 or not self.mosaic.size:
            raise RawError(f"{where}: expected a mosaic of shape (H, W); got {self.mosaic.shape}")
        if self.cfa != MONO and self.cfa not in BAYER_PHASES:
            raise RawError(
                f"{where}: colour filter array {self.cfa!r} is not supported; expected "
                f"{', '.join(BAYER_PHASES)} or {MONO}"
            )
        planes = 1 if self.cfa == MONO else 4
        if len(self.black) != planes:
            raise RawError(f"{where}: expected {planes} black level(s) for {self.cfa}; got {self.black}")
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
    def layout(self) -> str:
        """The plane layout this image packs to by default: ``"bayer"`` or ``"mono2x2"``."""
        return "mono2x2" if self.cfa == MONO else "bayer"

    def levels(self, layout: str | None = None) -> tuple[NDArray[np.float64], float]:
        """Black level per plane, shaped (C, 1, 1), and white level, in DN."""
        count = 1 if (layout or self.layout) == "mono" else 4
        black = np.asarray(self.black if len(self.black) == count else self.black * count, np.float64)
        return black.reshape(count, 1, 1), float(self.white)

    def planes(self, layout: str | None = None) -> NDArray[Any]:
        """The mosaic packed to planes, in DN; an odd last row or column is left out.

        Returns
        -------
        ndarray, shape (C, H//2, W//2), or (1, H, W) for ``"mono"``
        """
        layout = layout or self.layout
        if (layout == "bayer") != (self.cfa != MONO):
            raise RawError(f"{self.source}: a {self.cfa} mosaic cannot be packed as {layout!r}")
        if layout == "mono":
            return np.array(self.mosaic[None])
        height, width = (size - size % 2 for size in self.mosaic.shape)
        return pack(self.mosaic[:height, :width], self.cfa)

    def normalised(self, layout: str | None = None) -> NDArray[np.float64]:
        """Planes as (DN − black) / (white − black), float64, not clipped."""
        black, white = self.levels(layout)
        signal: NDArray[np.float64] = (self.planes(layout) - black) / (white - black)
        return signal

    def with_signal(self, signal: NDArray[Any], *, iso: float | None = None) -> "RawImage":
        """The same frame with other content, quantised as a converter does.

        Parameters
        ----------
        signal : ndarray, shape (C, h, w)
            Normalised planes, C = 1 for ``"mono"`` and else 4.  Rounded to whole DN and
            clipped to [0, white]; an odd last row or column keeps its codes, rounded.
        iso : float, optional
            Another ISO to say.
        """
        layout = "mono" if len(signal) == 1 else self.layout
        black, white = self.levels(layout)
        fits = np.uint16 if white < 2**16 else np.uint32
        kept = np.rint(self.mosaic).astype(fits) if self.mosaic.dtype.kind == "f" else self.mosaic
        codes = np.clip(np.rint(signal * (white - black) + black), 0, white).astype(kept.dtype)
        whole = codes[0] if layout == "mono" else unpack(codes, self.cfa)
        mosaic = kept.copy()
        mosaic[: whole.shape[0], : whole.shape[1]] = whole
        return replace(self, mosaic=mosaic, iso=iso or self.iso)

"""Maps of one body, and what they make of a signal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError

__all__ = ["DEFECT_KINDS", "BodyMaps", "DarkMap", "GainMap"]

Map = NDArray[np.float32]

DEFECT_KINDS = ("hot", "telegraph")
"""Kinds of pixels that a body's maps list."""

SAME_ISO = 0.01
"""ISOs that differ by less than this fraction are one."""

SAME_TIME = 0.01
"""Exposure times that differ by less than this fraction are one."""


@dataclass(frozen=True, eq=False)
class DarkMap:
    """What every dark frame of one ISO has in common, pixel by pixel, beside the black level of its plane.

    Parameters
    ----------
    iso : float
        ISO of the darks.
    offset : ndarray of float32, shape (H, W)
        Departure from the mean of the pixel's plane at no exposure, DN: dark shading, rows, columns and pixels.
    offset_error : float
        Standard error of a pixel's offset, DN.
    noise : float
        Temporal σ of a pixel of one frame, DN: the median over pixels.
    frames : int
        Number of dark frames.
    exposures_s : tuple of float
        Their exposure times, s, rising; empty where no file says one.
    current : ndarray of float32, shape (H, W), or None
        What the offset gains with the exposure time, DN/s; None with one exposure time, whose map `offset` is.
    current_error : float
        Standard error of a pixel's current, DN/s; infinite where there is none.
    """

    iso: float
    offset: Map
    offset_error: float
    noise: float
    frames: int
    exposures_s: tuple[float, ...]
    current: Map | None = None
    current_error: float = math.inf

    def at(self, exposure_s: float | None) -> Map | None:
        """The map at an exposure time in s, DN, shape (H, W); None where it grows with a time that is not known."""
        if self.current is None:
            return self.offset
        return None if exposure_s is None else np.asarray(self.offset + np.float32(exposure_s) * self.current)

    def gap(self, exposure_s: float | None) -> str:
        """What the map does not know of a frame of an exposure time in s; empty if nothing."""
        if not self.exposures_s:
            return "its darks say no exposure time: how the pattern grows with it is not known"
        low, high = self.exposures_s[0], self.exposures_s[-1]
        if exposure_s is None:
            return f"the frame says no exposure time: its pattern is taken for that of the darks, of {low:g} s"
        if low * (1 - SAME_TIME) <= exposure_s <= high * (1 + SAME_TIME):
            return ""
        if self.current is None:
            return f"its darks are of {low:g} s alone: what the pattern gains or loses at {exposure_s:g} s is left in"
        return f"its darks are of {low:g} to {high:g} s: the pattern at {exposure_s:g} s is extrapolated"

    @cached_property
    def pattern_sigma(self) -> float:
        """Standard deviation of the pattern over pixels, its own error taken off, DN."""
        return math.sqrt(max(float(np.var(self.offset, dtype=np.float64)) - self.offset_error**2, 0.0))

    @property
    def line_sigmas(self) -> tuple[float, float]:
        """Standard deviations of the rows' and of the columns' means of the pattern, their errors taken off, DN."""
        lines = ((self.offset.mean(axis, dtype=np.float64), self.offset.shape[axis]) for axis in (1, 0))
        rows, columns = (max(float(mean.var()) - self.offset_error**2 / length, 0.0) for mean, length in lines)
        return math.sqrt(rows), math.sqrt(columns)

    def frames_for(self, error: float) -> int:
        """Number of frames at which a pixel's offset is known to a standard error in DN."""
        return math.ceil(self.frames * (self.offset_error / error) ** 2)


@dataclass(frozen=True, eq=False)
class GainMap:
    """Photo response of each pixel relative to the pixels of its plane around it.

    Parameters
    ----------
    gain : ndarray of float32, shape (H, W)
        About 1; without the lamp's and the lens's slow fall to the corners.
    error : float
        Standard error of a pixel's gain.
    frames : int
        Number of flat frames.
    """

    gain: Map
    error: float
    frames: int

    @cached_property
    def prnu(self) -> float:
        """Standard deviation of the gain over pixels, its own error taken off."""
        return math.sqrt(max(float(np.var(self.gain, dtype=np.float64)) - self.error**2, 0.0))


@dataclass(frozen=True, eq=False)
class BodyMaps:
    """Maps of one body, in the layout of its mosaic.

    Parameters
    ----------
    camera : str
        Name of the camera.
    cfa : str
        Phase of the mosaic.
    darks : tuple of DarkMap
        One an ISO, rising.
    gain : GainMap or None
        Photo response; None without flats.
    defects : ndarray of int, shape (K, 3)
        Row and column in the mosaic of each defective pixel, and its index in `DEFECT_KINDS`.
    provenance : mapping of str to str
        Tool, sources, frames that were left out and why.
    """

    camera: str
    cfa: str
    darks: tuple[DarkMap, ...]
    gain: GainMap | None
    defects: NDArray[np.int32]
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the mosaic."""
        one = self.darks[0].offset if self.darks else self.gain.gain if self.gain else np.zeros((0, 0))
        return int(one.shape[0]), int(one.shape[1])

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs of the darks."""
        return tuple(each.iso for each in self.darks)

    def dark_of(self, iso: float | None) -> DarkMap:
        """The dark map of an ISO.

        Raises
        ------
        DataError
            There are no darks of that ISO.
        """
        for each in self.darks:
            if iso is not None and abs(iso - each.iso) <= SAME_ISO * each.iso:
                return each
        known = ", ".join(f"{each:g}" for each in self.isos) or "none"
        raise DataError(
            f"body of {self.camera}: no dark map of ISO {'unknown' if iso is None else f'{iso:g}'}; it has {known}: "
            "take darks of that ISO and measure the maps again"
        )

    def dark_at(self, iso: float | None, exposure_s: float | None) -> Map:
        """What every frame of an ISO and exposure time has beside its black level, DN, shape (H, W); 0 without darks.

        Raises
        ------
        DataError
            There are no darks of that ISO, or they grow with the exposure time, which is not known.
        """
        if not self.darks:
            return np.zeros(self.shape, np.float32)
        dark = self.dark_of(iso).at(exposure_s)
        if dark is None:
            raise DataError(
                f"body of {self.camera}: its dark pattern of ISO {iso:g} grows with the exposure time, and the frame "
                "says none; give it with --exposure, or measure maps from darks of the frames' own exposure time"
            )
        return dark

    def gaps(self, iso: float | None, exposure_s: float | None) -> list[str]:
        """What the maps do not know of a frame of an ISO and exposure time in s, in sentences."""
        where = f"body of {self.camera}"
        lines = []
        if len(self.darks) == 1:
            lines.append(f"{where}: darks of ISO {self.isos[0]:g} alone; frames of another ISO are refused")
        if self.darks and (gap := self.dark_of(iso).gap(exposure_s)):
            lines.append(f"{where}: ISO {iso:g}: {gap}")
        if self.gain is None:
            lines.append(f"{where}: no map of the photo response: PRNU stays in the noise")
        return lines

    def check_size(self, shape: tuple[int, int], cfa: str, source: str) -> None:
        """Refuse a frame of another sensor size or phase.

        Parameters
        ----------
        shape : tuple of int
            (H, W) of the frame's mosaic.
        cfa : str
            Its phase.
        source : str
            The frame, for the message.

        Raises
        ------
        DataError
            It is not of the size or phase that the maps were measured at.
        """
        if (tuple(shape), cfa) != (self.shape, self.cfa):
            raise DataError(
                f"{source}: {cfa}, {shape[1]}×{shape[0]} pixels; the body maps of {self.camera} are {self.cfa}, "
                f"{self.shape[1]}×{self.shape[0]}: of another camera, mode or crop"
            )

    @property
    def defect_mask(self) -> NDArray[np.bool_]:
        """True at hot pixels, shape (H, W); telegraph pixels are noise, and are listed only."""
        mask = np.zeros(self.shape, bool)
        hot = self.defects[self.defects[:, 2] == DEFECT_KINDS.index("hot")]
        mask[hot[:, 0], hot[:, 1]] = True
        return mask

    def said(self) -> list[str]:
        """What the maps hold, their errors, and the frames that they would need to be better, in sentences."""
        lines = []
        for each in self.darks:
            sigma = each.pattern_sigma
            line = f"ISO {each.iso:g}: dark pattern of {sigma:.3g} DN ("
            line += "rows {:.3g}, columns {:.3g} DN), ".format(*each.line_sigmas)
            line += f"each pixel known to {each.offset_error:.3g} DN"
            line += f" by {each.frames} frames (temporal noise {each.noise:.3g} DN)"
            if sigma > 0:
                line += f"; {each.frames_for(sigma / 3):,} frames would make that a third of the pattern"
            if each.current is None:
                line += "; one exposure time" if each.exposures_s else "; no exposure time is said"
                line += ": how the pattern grows with it is not known"
            lines.append(line)
        if self.gain is not None:
            lines.append(
                f"photo response: PRNU {100 * self.gain.prnu:.3g} %, each pixel known to {100 * self.gain.error:.3g} % "
                f"by {self.gain.frames} frames"
            )
        else:
            lines.append("no flats with enough light: no map of the photo response")
        counts = ", ".join(f"{number} {kind}" for kind, number in self.counts().items())
        lines.append(f"pixels listed: {counts}")
        return [*lines, *filter(None, [self.provenance.get("left_out")])]

    def counts(self) -> dict[str, int]:
        """Number of pixels of each kind."""
        return {kind: int((self.defects[:, 2] == index).sum()) for index, kind in enumerate(DEFECT_KINDS)}

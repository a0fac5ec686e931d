"""`BodyMaps`: the fixed pattern of one camera body, and its dark and gain maps."""

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
"""Kinds of defective pixels that the maps of a body list."""

SAME_ISO = 0.01
"""Relative difference up to which two ISOs count as equal."""

SAME_TIME = 0.01
"""Relative difference up to which two exposure times count as equal."""


@dataclass(frozen=True, eq=False)
class DarkMap:
    """Fixed pattern of the dark frames of one ISO, relative to the mean of each plane.

    Parameters
    ----------
    iso : float
        ISO of the darks.
    offset : ndarray of float32, shape (H, W)
        Departure of each pixel from the mean of its plane, DN: dark shading, rows, columns and pixels.  It is at zero
        exposure time if `current` is given, and otherwise at that of the darks.
    offset_error : float
        Standard error of a pixel's offset, DN.
    noise : float
        Temporal standard deviation of a typical pixel in one frame, DN.
    frames : int
        Number of dark frames.
    exposures_s : tuple of float
        Exposure times of the darks, s, rising; empty where no file states one.
    current : ndarray of float32, shape (H, W), or None
        Change of the offset per second of exposure, DN/s; None with only one exposure time.
    current_error : float
        Standard error of a pixel's current, DN/s; infinite without a current.
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
        """Return the pattern at an exposure time.

        Parameters
        ----------
        exposure_s : float or None
            Exposure time, s; None if unknown.

        Returns
        -------
        ndarray of float32, shape (H, W), or None
            Departure from the plane's mean, DN; None if it depends on an exposure time that is unknown.
        """
        if self.current is None:
            return self.offset
        return None if exposure_s is None else np.asarray(self.offset + np.float32(exposure_s) * self.current)

    def gap(self, exposure_s: float | None) -> str:
        """Return a sentence on the map's limits for a frame of an exposure time; empty if there are none.

        Parameters
        ----------
        exposure_s : float or None
            Exposure time of the frame, s; None if unknown.
        """
        if not self.exposures_s:
            return "its darks state no exposure time: how the pattern changes with it is unknown"
        low, high = self.exposures_s[0], self.exposures_s[-1]
        if exposure_s is None:
            return f"the frame states no exposure time: its pattern is taken to be that of the darks of {low:g} s"
        if low * (1 - SAME_TIME) <= exposure_s <= high * (1 + SAME_TIME):
            return ""
        if self.current is None:
            return f"its darks are of {low:g} s only: the change of the pattern at {exposure_s:g} s is not corrected"
        return f"its darks are of {low:g} to {high:g} s: the pattern at {exposure_s:g} s is extrapolated"

    @cached_property
    def pattern_sigma(self) -> float:
        """Standard deviation of the pattern over pixels, DN, corrected for the map's own error."""
        return math.sqrt(max(float(np.var(self.offset, dtype=np.float64)) - self.offset_error**2, 0.0))

    @property
    def line_sigmas(self) -> tuple[float, float]:
        """Standard deviations of the pattern's row means and column means, DN, corrected for their own errors."""
        lines = ((self.offset.mean(axis, dtype=np.float64), self.offset.shape[axis]) for axis in (1, 0))
        rows, columns = (max(float(mean.var()) - self.offset_error**2 / length, 0.0) for mean, length in lines)
        return math.sqrt(rows), math.sqrt(columns)

    def frames_for(self, error: float) -> int:
        """Return the number of frames needed to know a pixel's offset to a standard error, given in DN."""
        return math.ceil(self.frames * (self.offset_error / error) ** 2)


@dataclass(frozen=True, eq=False)
class GainMap:
    """Photo response of each pixel relative to its neighbourhood in its plane.

    Parameters
    ----------
    gain : ndarray of float32, shape (H, W)
        Relative response, about 1; it does not include the slow fall-off of lamp and lens.
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
        """Standard deviation of the gain over pixels, corrected for the map's own error."""
        return math.sqrt(max(float(np.var(self.gain, dtype=np.float64)) - self.error**2, 0.0))


@dataclass(frozen=True, eq=False)
class BodyMaps:
    """Maps of one camera body, in the layout of its mosaic.

    Parameters
    ----------
    camera : str
        Name of the camera.
    cfa : str
        Colour filter array with its phase, such as ``"RGGB"``.
    darks : tuple of DarkMap
        Dark maps, one per ISO, by rising ISO.
    gain : GainMap or None
        Photo response; None without flats.
    defects : ndarray of int, shape (K, 3)
        Row and column in the mosaic of each defective pixel, and its index in `DEFECT_KINDS`.
    provenance : mapping of str to str
        Tool, sources, and frames that were left out, with the reason.
    """

    camera: str
    cfa: str
    darks: tuple[DarkMap, ...]
    gain: GainMap | None
    defects: NDArray[np.int32]
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the mosaic in pixels; (0, 0) without any map."""
        one = self.darks[0].offset if self.darks else self.gain.gain if self.gain else np.zeros((0, 0))
        return int(one.shape[0]), int(one.shape[1])

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs of the dark maps, rising."""
        return tuple(each.iso for each in self.darks)

    def dark_of(self, iso: float | None) -> DarkMap:
        """Return the dark map of an ISO.

        Parameters
        ----------
        iso : float or None
            ISO of a frame; None if unknown.

        Raises
        ------
        DataError
            There is no dark map of that ISO.
        """
        for each in self.darks:
            if iso is not None and abs(iso - each.iso) <= SAME_ISO * each.iso:
                return each
        known = ", ".join(f"{each:g}" for each in self.isos) or "none"
        raise DataError(
            f"body of {self.camera}: no dark map of ISO {'unknown' if iso is None else f'{iso:g}'}; its ISOs are: "
            f"{known}. Take darks of that ISO and measure the maps again"
        )

    def dark_at(self, iso: float | None, exposure_s: float | None) -> Map:
        """Return the dark pattern of a frame relative to its black level.

        Parameters
        ----------
        iso : float or None
            ISO of the frame; None if unknown.
        exposure_s : float or None
            Exposure time of the frame, s; None if unknown.

        Returns
        -------
        ndarray of float32, shape (H, W)
            Dark pattern, DN; 0 everywhere if the body has no dark maps.

        Raises
        ------
        DataError
            There is no dark map of that ISO, or it depends on an exposure time that is unknown.
        """
        if not self.darks:
            return np.zeros(self.shape, np.float32)
        dark = self.dark_of(iso).at(exposure_s)
        if dark is None:
            raise DataError(
                f"body of {self.camera}: its dark pattern at ISO {iso:g} depends on the exposure time, and the frame "
                "states none; give it with --exposure, or measure maps from darks of the frames' own exposure time"
            )
        return dark

    def gaps(self, iso: float | None, exposure_s: float | None) -> list[str]:
        """Return the limits of the maps for a frame, as sentences for the user.

        Parameters
        ----------
        iso : float or None
            ISO of the frame; None if unknown.
        exposure_s : float or None
            Exposure time of the frame, s; None if unknown.

        Raises
        ------
        DataError
            There are dark maps, but none of that ISO.
        """
        where = f"body of {self.camera}"
        lines = []
        if len(self.darks) == 1:
            lines.append(f"{where}: its darks are of ISO {self.isos[0]:g} only; frames of another ISO are refused")
        if self.darks and (gap := self.dark_of(iso).gap(exposure_s)):
            lines.append(f"{where}: ISO {iso:g}: {gap}")
        if self.gain is None:
            lines.append(f"{where}: there is no map of the photo response: PRNU remains in the noise")
        return lines

    def check_size(self, shape: tuple[int, int], cfa: str, source: str) -> None:
        """Refuse a frame of another sensor size or phase.

        Parameters
        ----------
        shape : tuple of int
            (H, W) of the frame's mosaic.
        cfa : str
            Colour filter array of the frame with its phase.
        source : str
            Name of the frame, for the message.

        Raises
        ------
        DataError
            The frame's size or phase is not that of the maps.
        """
        if (tuple(shape), cfa) != (self.shape, self.cfa):
            raise DataError(
                f"{source}: is {cfa}, {shape[1]}×{shape[0]} pixels, but the body maps of {self.camera} are {self.cfa}, "
                f"{self.shape[1]}×{self.shape[0]}: it is from another camera, mode or crop"
            )

    @property
    def defect_mask(self) -> NDArray[np.bool_]:
        """Boolean mask of hot pixels, shape (H, W); telegraph pixels are noise, and not part of it."""
        mask = np.zeros(self.shape, bool)
        hot = self.defects[self.defects[:, 2] == DEFECT_KINDS.index("hot")]
        mask[hot[:, 0], hot[:, 1]] = True
        return mask

    def summary(self) -> list[str]:
        """Describe the maps, their errors, and how many frames would improve them, as sentences for the user."""
        lines = []
        for each in self.darks:
            sigma = each.pattern_sigma
            line = f"ISO {each.iso:g}: dark pattern of {sigma:.3g} DN ("
            line += "rows {:.3g}, columns {:.3g} DN), ".format(*each.line_sigmas)
            line += f"standard error {each.offset_error:.3g} DN per pixel"
            line += f" from {each.frames} frames (temporal noise {each.noise:.3g} DN)"
            if sigma > 0:
                line += f"; {each.frames_for(sigma / 3):,} frames would reduce it to a third of the pattern"
            if each.current is None:
                line += "; only one exposure time" if each.exposures_s else "; the exposure time is unknown"
                line += ": how the pattern changes with it is not measured"
            lines.append(line)
        if self.gain is not None:
            lines.append(
                f"photo response: PRNU {100 * self.gain.prnu:.3g} %, standard error {100 * self.gain.error:.3g} % per "
                f"pixel from {self.gain.frames} frames"
            )
        else:
            lines.append("no map of the photo response: there are no pairs of bright, unclipped flats at these ISOs")
        counts = ", ".join(f"{number} {kind}" for kind, number in self.counts().items())
        lines.append(f"defective pixels: {counts}")
        return [*lines, *filter(None, [self.provenance.get("left_out")])]

    def counts(self) -> dict[str, int]:
        """Return the number of defective pixels of each kind."""
        return {kind: int((self.defects[:, 2] == index).sum()) for index, kind in enumerate(DEFECT_KINDS)}

"""Data passed through a calibration: the frames of one ISO and plane, and the results from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.body.body_maps import BodyMaps
from noiseflow.calibrate.estimators.censored import CensoredDark, censored_dark
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.measurements.banding import Spectrum
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.dark_current import DarkSeries
from noiseflow.calibrate.measurements.photon_transfer import QUANTISATION, PhotonTransfer
from noiseflow.calibrate.measurements.signal_to_noise import General
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.single_frame.estimate import PictureNoise
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import Components, FrameStack, components, mean_error

__all__ = ["Calibration", "Evidence", "Measured", "Take"]

Array = NDArray[np.float64]

CENSORED = 1e-3
"""Fraction of dark pixels at code 0 from which the codes are treated as censored observations."""


@dataclass(eq=False)
class Evidence:
    """Curves and fits of one ISO and plane for the report's figures; None where not measured.

    Parameters
    ----------
    curve : Curve, optional
        All points of the photon-transfer curve.
    chosen : ndarray of bool, shape (P,), optional
        Points within the linear range.
    fit, likelihood : PhotonTransfer, optional
        Fits by EMVA 1288's least squares and by maximum likelihood.
    deviations : ndarray, shape (P,), optional
        Departure of each level from linearity, percent.
    noise : ndarray, optional
        Temporal noise of dark pixels, DN.
    rows, columns : Spectrum, optional
        Spectra of row and column noise.
    shading : ndarray, optional
        Slow part of the dark's fixed pattern, DN.
    general : General, optional
        SNR by EMVA 1288's general model.
    picture : PictureNoise, optional
        Measurement from a single picture.
    """

    curve: Curve | None = None
    chosen: NDArray[np.bool_] | None = None
    fit: PhotonTransfer | None = None
    likelihood: PhotonTransfer | None = None
    deviations: Array | None = None
    noise: NDArray[np.float32] | None = None
    rows: Spectrum | None = None
    columns: Spectrum | None = None
    shading: Array | None = None
    general: General | None = None
    picture: PictureNoise | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """Result of a calibration.

    Parameters
    ----------
    profile : Profile
        The camera's noise parameters with error bars.
    evidence : mapping of (float, str) to Evidence
        Curves and fits behind the profile, by ISO and plane name.
    body : BodyMaps, optional
        Maps of the camera body, if they were requested.
    """

    profile: Profile
    evidence: Mapping[tuple[float, str], Evidence] = field(default_factory=dict)
    body: BodyMaps | None = None


@dataclass(frozen=True)
class Dark:
    """Two or more dark frames of one exposure.

    Parameters
    ----------
    exposure_s : float
        Exposure time, s; 0 where it is not known.
    stack : FrameStack
        Sums over the frames.
    noise : Components
        Temporal variances, DN².
    spatial : bool
        Whether this is the long stack of an EMVA folder for DSNU, not a point of the series.
    censored : CensoredDark, optional
        Fit to codes clipped at 0; None where too few are clipped.
    timed : bool
        Whether the files state the exposure time.
    """

    exposure_s: float
    stack: FrameStack
    noise: Components
    spatial: bool = False
    censored: CensoredDark | None = None
    timed: bool = True

    @classmethod
    def of(cls, group: Group, stack: FrameStack) -> "Dark":
        """Measure the temporal noise of a stack; censored likelihood where codes are clipped at 0."""
        noise = components(stack)
        if stack.at_black < CENSORED:
            return cls(group.exposure_s, stack, noise, group.spatial, timed=group.timed)
        found = censored_dark(stack.sample)
        total = found.variance + QUANTISATION
        noise = replace(noise, total=total, pixel=total, row=0.0, column=0.0, total_error=found.variance_error)
        return cls(group.exposure_s, stack, noise, group.spatial, found, group.timed)

    @property
    def level(self) -> float:
        """Mean of the analogue value, DN; lower than the mean code where codes are clipped at 0."""
        return self.stack.level if self.censored is None else self.censored.level

    @property
    def level_error(self) -> float:
        """Standard error of the level, DN, without drift."""
        return mean_error(self.stack, self.noise) if self.censored is None else self.censored.level_error


@dataclass(frozen=True, eq=False)
class Take:
    """All frames of one ISO, seen in one plane.

    Parameters
    ----------
    iso : float
        ISO of the frames.
    plane : str
        Name of the colour plane, such as ``"G1"``.
    index : int
        Index of the plane.
    lights, darks_taken : list of Group
        Illuminated and dark frames, one group per exposure.
    frames : Frames
        All frames of the camera, with the facts they share.
    pictures : dict of int to PictureNoise
        Cached measurements of single pictures, by index of their group; shared by the planes of an ISO.
    """

    iso: float
    plane: str
    index: int
    lights: list[Group]
    darks_taken: list[Group]
    frames: Frames
    pictures: dict[int, PictureNoise] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """ISO and plane as text, for messages."""
        return f"ISO {self.iso:g}, plane {self.plane}"

    @property
    def black(self) -> float:
        """Black level declared by the files, DN."""
        own = next((group.black for group in (*self.lights, *self.darks_taken)), ())
        return (own or self.frames.black)[self.index]

    @cached_property
    def darks(self) -> list[Dark]:
        """Dark exposures with two frames or more, with their temporal noise."""
        stacks = [(group, group.stacks[self.index]) for group in self.darks_taken]
        return [Dark.of(group, stack) for group, stack in stacks if stack.frames > 1]

    @property
    def dark_series(self) -> list[Dark]:
        """Darks of the exposure-time series.

        Leaves out spatial stacks and darks of unknown exposure time, unless nothing else would remain.
        """
        series = [dark for dark in self.darks if not dark.spatial] or self.darks
        return [dark for dark in series if dark.timed] or series

    @property
    def light_series(self) -> list[Group]:
        """Flats of the photon-transfer series; spatial stacks are left out unless there is nothing else."""
        return [group for group in self.lights if not group.spatial] or self.lights

    @property
    def light_known(self) -> bool:
        """Whether the light is proportional to the exposure: times are known, each with one light level."""
        return any(group.exposure_s for group in self.lights) and not any(group.light for group in self.lights)


@dataclass(eq=False)
class Measured:
    """Results so far for one ISO and plane; each frame kind adds its own.

    Parameters
    ----------
    estimates : dict of str to Measurement
        Measured quantities by their names in a profile.
    covariance : tuple of tuple of float
        2×2 covariance of K (DN/e⁻) and read variance (DN²); empty where not known.
    facts : dict of str to Any
        Numbers without an error bar, by name.
    kind : str
        Origin of the numbers: one of `noiseflow.calibrate.profiles.profile.SETTING_KINDS`.
    cautions : list of str
        Limits of the numbers, as sentences for the user.
    absent : dict of str to str
        Reason for each quantity that could not be measured.
    series : DarkSeries, optional
        Black level, dark current and noise from the darks.
    method : str
        Method, for the provenance.
    evidence : Evidence
        Curves and fits for the report.
    """

    estimates: dict[str, Measurement] = field(default_factory=dict)
    covariance: tuple[tuple[float, ...], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    kind: str = "measured"
    cautions: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    series: DarkSeries | None = None
    method: str = "EMVA 1288 release 4.0 photon transfer, linear model; likelihood on pixels"
    evidence: Evidence = field(default_factory=Evidence)

    def setting(self, take: Take) -> Setting:
        """Return the results as an entry of a profile."""
        return Setting(
            take.iso,
            take.plane,
            self.estimates,
            self.covariance,
            self.facts,
            self.kind,
            tuple(self.cautions),
            self.absent,
        )

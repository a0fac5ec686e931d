"""What travels through a calibration: the frames of one ISO and plane, and what was found of them."""

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
"""Part of a dark frame's pixels at code 0 from which its codes are censored observations."""


@dataclass(eq=False)
class Evidence:
    """What a report draws for one ISO and plane; empty where it was not measured."""

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
    """A profile and what it rests on, by (ISO, plane); and the maps of the body, where they were wanted."""

    profile: Profile
    evidence: Mapping[tuple[float, str], Evidence] = field(default_factory=dict)
    body: BodyMaps | None = None


@dataclass(frozen=True)
class Dark:
    """Two dark frames or more of one exposure."""

    exposure_s: float
    stack: FrameStack
    noise: Components
    spatial: bool = False
    censored: CensoredDark | None = None
    timed: bool = True

    @classmethod
    def of(cls, group: Group, stack: FrameStack) -> "Dark":
        """Of a stack; where codes are clipped at 0 by the likelihood of censored observations."""
        noise = components(stack)
        if stack.at_black < CENSORED:
            return cls(group.exposure_s, stack, noise, group.spatial, timed=group.timed)
        found = censored_dark(stack.sample)
        total = found.variance + QUANTISATION
        noise = replace(noise, total=total, pixel=total, row=0.0, column=0.0, total_error=found.variance_error)
        return cls(group.exposure_s, stack, noise, group.spatial, found, group.timed)

    @property
    def level(self) -> float:
        """Mean of the analogue value, DN: below that of the codes where these are clipped at 0."""
        return self.stack.level if self.censored is None else self.censored.level

    @property
    def level_error(self) -> float:
        """Standard error of the level, DN; drift is not in it."""
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
        Groups of one exposure each.
    frames : Frames
        What all frames share.
    pictures : dict of int to PictureNoise
        What single pictures said, by the number of their group; shared by the planes of an ISO.
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
        """For messages."""
        return f"ISO {self.iso:g}, plane {self.plane}"

    @property
    def black(self) -> float:
        """Black level that the files declare, DN."""
        own = next((group.black for group in (*self.lights, *self.darks_taken)), ())
        return (own or self.frames.black)[self.index]

    @cached_property
    def darks(self) -> list[Dark]:
        """Darks of which there are two or more, with their temporal noise."""
        stacks = [(group, group.stacks[self.index]) for group in self.darks_taken]
        return [Dark.of(group, stack) for group, stack in stacks if stack.frames > 1]

    @property
    def dark_series(self) -> list[Dark]:
        """The darks of the series over exposure time, without those of no known time; all where there is no other."""
        series = [dark for dark in self.darks if not dark.spatial] or self.darks
        return [dark for dark in series if dark.timed] or series

    @property
    def light_series(self) -> list[Group]:
        """The flats of the photon-transfer series; all of them where there is no other."""
        return [group for group in self.lights if not group.spatial] or self.lights

    @property
    def light_known(self) -> bool:
        """Whether the exposures are in proportion to the light: times are known, and have one light each."""
        return any(group.exposure_s for group in self.lights) and not any(group.light for group in self.lights)


@dataclass(eq=False)
class Measured:
    """What is known so far of one ISO and plane; each kind of source adds to it."""

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
        """As an entry of a profile."""
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

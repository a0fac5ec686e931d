"""What travels through a calibration: the frames of one ISO and plane, and what was found of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.estimate import Estimate
from noiseflow.calibrate.measurements.banding import Spectrum
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.dark_current import DarkSeries
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import Components, Stack, components

__all__ = ["Calibration", "Evidence", "Measured", "Take"]

Array = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class Calibration:
    """A profile and what it rests on, by (ISO, plane)."""

    profile: Profile
    evidence: Mapping[tuple[float, str], Evidence] = field(default_factory=dict)


@dataclass(frozen=True)
class Dark:
    """Two dark frames or more of one exposure."""

    exposure_s: float
    stack: Stack
    noise: Components


@dataclass(frozen=True, eq=False)
class Take:
    """All frames of one ISO, seen in one plane.

    Parameters
    ----------
    iso : float
    plane : str
    index : int
        Of the plane.
    lights, darks_taken : list of Group
        Groups of one exposure each.
    frames : Frames
        What all frames share.
    """

    iso: float
    plane: str
    index: int
    lights: list[Group]
    darks_taken: list[Group]
    frames: Frames

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
        stacks = [(group.exposure_s, group.stacks[self.index]) for group in self.darks_taken]
        return [Dark(seconds, stack, components(stack)) for seconds, stack in stacks if stack.frames > 1]


@dataclass(eq=False)
class Measured:
    """What is known so far of one ISO and plane; each kind of source adds to it."""

    estimates: dict[str, Estimate] = field(default_factory=dict)
    covariance: tuple[tuple[float, ...], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    kind: str = "measured"
    cautions: list[str] = field(default_factory=list)
    series: DarkSeries | None = None
    evidence: Evidence = field(default_factory=Evidence)

    def setting(self, take: Take) -> Setting:
        """As an entry of a profile."""
        return Setting(
            take.iso, take.plane, self.estimates, self.covariance, self.facts, self.kind, tuple(self.cautions)
        )

"""What each kind of frames says of a camera; a new kind is one file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass

from noiseflow.calibrate.kinds import burst, darks, flats, single_frame
from noiseflow.calibrate.measured import Measured, Take

__all__ = ["FRAME_KINDS", "FrameKind"]


@dataclass(frozen=True)
class FrameKind:
    """A kind of source.

    Parameters
    ----------
    name : str
        Name of the kind, as a group carries it.
    present : Callable
        Whether a take holds frames of this kind.
    measure : Callable
        Adds to `Measured` what they say.
    """

    name: str
    present: Callable[[Take], bool]
    measure: Callable[[Take, Measured], None]


FRAME_KINDS: tuple[FrameKind, ...] = (
    # The darks first: what follows takes black level and dark noise from them.
    FrameKind("darks", darks.present, darks.measure),
    FrameKind("flats", flats.present, flats.measure),
    FrameKind("burst", burst.present, burst.measure),
    FrameKind("single frame", single_frame.present, single_frame.measure),
)
"""Kinds in the order in which they are tried; more than one may be present."""

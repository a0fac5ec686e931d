"""Kinds of frames and the measurements from each; a new kind is one file, and one line here."""

from collections.abc import Callable
from dataclasses import dataclass

from noiseflow.calibrate.kinds import burst, darks, flats, single_frame
from noiseflow.calibrate.measured import Measured, Take

__all__ = ["FRAME_KINDS", "FrameKind"]


@dataclass(frozen=True)
class FrameKind:
    """A kind of frames.

    Parameters
    ----------
    name : str
        Name of the kind.
    present : Callable
        Returns whether a `Take` contains frames of this kind.
    measure : Callable
        Measures them and adds the results to a `Measured`.
    """

    name: str
    present: Callable[[Take], bool]
    measure: Callable[[Take, Measured], None]


FRAME_KINDS: tuple[FrameKind, ...] = (
    # Darks come first: the later kinds use their black level and dark noise.
    FrameKind("darks", darks.present, darks.measure),
    FrameKind("flats", flats.present, flats.measure),
    FrameKind("burst", burst.present, burst.measure),
    FrameKind("single frame", single_frame.present, single_frame.measure),
)
"""The kinds, in the order in which they are measured; more than one may be present."""

"""Check the pixels of frames for faults before they are used."""

from noiseflow.raw.inspection.across_frames import (
    COMPARED,
    QUIET,
    NoiseInCommon,
    equal_steps,
    gathered,
    in_time,
    loud_words,
    quiet_words,
    shares_of_noise,
)
from noiseflow.raw.inspection.frame import inspected
from noiseflow.raw.inspection.unlike_noise import structure_of, unlike_words

__all__ = [
    "COMPARED",
    "QUIET",
    "NoiseInCommon",
    "equal_steps",
    "gathered",
    "in_time",
    "inspected",
    "loud_words",
    "quiet_words",
    "shares_of_noise",
    "structure_of",
    "unlike_words",
]

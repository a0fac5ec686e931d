"""A static burst of any scene: shot and read noise by the leave-one-out mean."""

import itertools

from noiseflow.calibrate.measured import Measured, Take
from noiseflow.calibrate.measurements.burst import burst_noise

__all__ = ["measure", "present"]

FRAMES = 3
"""Fewest frames of a burst."""


def present(take: Take) -> bool:
    """Whether there are enough frames of one scene, and no darks."""
    return one_scene(take) and sum(len(group.sources) for group in take.lights) >= FRAMES


def one_scene(take: Take) -> bool:
    """Whether all frames are illuminated and of one exposure time; the light itself may have changed."""
    return not take.darks_taken and len({group.exposure for group in take.lights}) == 1


def measure(take: Take, found: Measured) -> None:
    """Measure K and read noise, and add cautions about movement and flicker."""
    reads = itertools.chain.from_iterable(group.reads for group in take.lights)
    images = [read().planes()[take.index] for read in reads]
    burst = burst_noise(images, take.black, take.frames.white)
    found.estimates |= {"gain_dn_per_e": burst.gain, "read_noise_dn": burst.read_noise}
    found.covariance = tuple(tuple(float(x) for x in row) for row in burst.covariance)
    found.cautions += [
        "measured from a burst of one scene; the black level is the one declared by the file",
        *burst.cautions,
    ]

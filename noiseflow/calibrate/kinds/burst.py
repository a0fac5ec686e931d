"""A static burst of any scene: shot and read noise by the leave-one-out mean."""

from noiseflow.calibrate.measured import Measured, Take
from noiseflow.calibrate.measurements.burst import burst_noise

__all__ = ["measure", "present"]

FRAMES = 3


def present(take: Take) -> bool:
    """Whether the frames are of one scene, with no darks, and enough to say what stood still."""
    return not take.darks_taken and len(take.lights) == 1 and take.lights[0].stacks[0].frames >= FRAMES


def measure(take: Take, found: Measured) -> None:
    """K and read noise, with what moved or flickered."""
    images = [read().planes()[take.index] for read in take.lights[0].reads]
    burst = burst_noise(images, take.black, take.frames.white)
    found.estimates |= {"gain_dn_per_e": burst.gain, "read_noise_dn": burst.read_noise}
    found.covariance = tuple(tuple(float(x) for x in row) for row in burst.covariance)
    found.cautions += ["from a burst of one scene; the black level is what the file declares", *burst.cautions]

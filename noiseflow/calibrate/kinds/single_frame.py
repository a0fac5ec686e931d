"""A single raw picture of any scene: K, read noise, row noise and black level with error bars."""

from noiseflow.calibrate.kinds.burst import FRAMES, one_scene
from noiseflow.calibrate.measured import Measured, Take
from noiseflow.calibrate.single_frame.estimate import PictureNoise, measure_picture

__all__ = ["measure", "present"]

CAVEAT = "measured from one picture: unequal response of the pixels may be counted as noise; a burst is more accurate"

NO_BLACK = "the picture contradicts the declared black level"

NO_ROWS = "too few rows contain several flat parts"


def present(take: Take) -> bool:
    """Whether there is one scene with fewer frames than a burst needs, and no darks."""
    return one_scene(take) and sum(len(group.sources) for group in take.lights) < FRAMES


def measure(take: Take, found: Measured) -> None:
    """Add the results of one plane; the picture is measured once for all planes."""
    picture = _measured(take)
    index = min(take.index, len(picture.gain) - 1)
    found.estimates |= {"gain_dn_per_e": picture.gain[index], "black_dn": picture.black[index]}
    read = picture.read_noise[index]
    if read is not None:
        found.estimates["read_noise_dn"] = read
    else:
        found.absent["read_noise_dn"] = NO_BLACK
    if picture.row_noise is not None:
        found.estimates["row_noise_dn"] = picture.row_noise
    else:
        found.absent["row_noise_dn"] = NO_ROWS
    found.facts |= {"flat_blocks": picture.flat_blocks, "response_spread_percent": picture.spread_percent}
    found.cautions += [CAVEAT, *picture.cautions]
    found.method = "one picture: variance of its flat blocks"
    found.evidence.picture = picture


def _measured(take: Take) -> PictureNoise:
    """Return the measurement of the first picture, from the cache if a plane was measured before."""
    if 0 not in take.pictures:
        take.pictures[0] = measure_picture(take.lights[0].reads[0]())
    return take.pictures[0]

"""One raw frame: bounds."""

from noiseflow.calibrate.estimate import Estimate
from noiseflow.calibrate.kinds.burst import FRAMES
from noiseflow.calibrate.measured import Measured, Take
from noiseflow.calibrate.measurements.single_frame import CAVEAT, single_frame_bound

__all__ = ["measure", "present"]


def present(take: Take) -> bool:
    """Whether there is one scene in fewer frames than a burst needs, and no dark."""
    return not take.darks_taken and len(take.lights) == 1 and take.lights[0].stacks[0].frames < FRAMES


def measure(take: Take, found: Measured) -> None:
    """Bounds of K and of the noise at black."""
    image = take.lights[0].reads[0]().planes()[take.index]
    bound = single_frame_bound(image, take.black, take.frames.white)
    low, high = (max(end, 0.0) ** 0.5 for end in bound.variance_at_black.interval)
    value = max(bound.variance_at_black.value, 0.0) ** 0.5
    noise = Estimate(value, bound.variance_at_black.standard_error / max(2 * value, 1e-9), (low, high), "DN")
    found.estimates |= {"gain_dn_per_e": bound.gain, "read_noise_dn": noise}
    found.kind = "bound"
    found.cautions.append(CAVEAT)

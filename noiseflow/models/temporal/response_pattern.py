"""Fixed pattern under light (PRNU): a gain of each pixel."""

import math
from collections.abc import Mapping
from typing import ClassVar

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import PixelPart
from noiseflow.ops.random.sampling import Stream

__all__ = ["ResponsePattern"]


class ResponsePattern(PixelPart):
    """PRNU: a gain 1 + N(0, σ²) of each pixel, the same in every frame.

    The gain acts on the signal of each frame, so the pattern stays in place on the sensor when the scene moves.

    Parameter of the part: ``log_sigma``, the log of σ, relative to the signal.

    References
    ----------
    EMVA Standard 1288, release 4.0, section 8.
    """

    stream = Stream.OWN_RESPONSE
    of_light = True
    starts: ClassVar[Mapping[str, float]] = {"log_sigma": math.log(1e-3)}

    def facts(self, cond: Resolved) -> dict[str, float]:
        """PRNU: σ of the gains, in % of the signal."""
        return {"prnu_percent": 100 * float(self.at("log_sigma", cond)[0].exp())}

"""Fixed pattern in the dark (DSNU): an offset of each pixel."""

import math
from collections.abc import Mapping
from typing import ClassVar

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import PixelPart
from noiseflow.ops.random.sampling import Stream

__all__ = ["DarkPattern"]


class DarkPattern(PixelPart):
    """DSNU: an offset N(0, σ²) of each pixel, the same in every frame.

    Parameter of the part: ``log_sigma``, the log of σ, normalised.

    References
    ----------
    EMVA Standard 1288, release 4.0, section 8.
    """

    stream = Stream.OWN_OFFSET
    of_light = False
    starts: ClassVar[Mapping[str, float]] = {"log_sigma": math.log(1e-4)}

    def facts(self, cond: Resolved) -> dict[str, float]:
        """DSNU: σ of the offsets, normalised."""
        return {"dsnu": float(self.at("log_sigma", cond)[0].exp())}

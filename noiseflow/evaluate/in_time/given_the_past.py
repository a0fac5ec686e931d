"""Gain of log-density in the later half of a sequence from knowing the earlier frames."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["GivenThePast", "given_the_past"]


@dataclass(frozen=True)
class GivenThePast(Score):
    """Log-density of the later frames given the earlier ones, minus that of independent frames.

    Parameters
    ----------
    first_frame : int
        Index of the first frame of the later half.
    gain : mapping of str to Interval
        Gain of each model, nats/dim, with an interval over tiles.
    """

    first_frame: int
    gain: Mapping[str, Interval]


def given_the_past(measured: MeasuredSequences) -> GivenThePast:
    """Compute the gain of each model over the later half of the frames."""
    first = measured.frames // 2
    count = np.full(len(measured.alone), float((measured.frames - first) * measured.values_of_frame))
    gain = {
        name: ratio_of_sums(
            numerator=(values - measured.alone)[:, first:].sum(1).numpy(), denominator=count, level=VERDICT
        )
        for name, values in measured.log_prob.items()
    }
    return GivenThePast(first, gain)

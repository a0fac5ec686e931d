"""Registry of the metrics in time; a new metric is one file, and one line here."""

from collections.abc import Callable

from noiseflow.core.registry import Registry
from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["METRICS_IN_TIME"]

METRICS_IN_TIME = Registry[Callable[[MeasuredSequences], Score]](
    {
        "given_the_past": "noiseflow.evaluate.in_time.given_the_past:given_the_past",
        "frame_correlation": "noiseflow.evaluate.in_time.frame_correlation:frame_correlation",
        "mean_of_frames": "noiseflow.evaluate.in_time.mean_of_frames:mean_of_frames",
        "jumps": "noiseflow.evaluate.in_time.jumps:jumps",
        "row_spectrum": "noiseflow.evaluate.in_time.row_spectrum:row_spectrum",
    }
)
"""Functions that compute each score, by its name in the JSON file, in the order of the table."""

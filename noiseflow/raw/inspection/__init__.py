"""A look at the pixels before they are believed."""

from noiseflow.raw.inspection.frame import inspected
from noiseflow.raw.inspection.noise_shares import QUIET, quiet_words, shares_of_noise

__all__ = ["QUIET", "inspected", "quiet_words", "shares_of_noise"]

"""Fitting by maximum likelihood."""

from noiseflow.fit.fit import FitResult, FitSettings, fit, spec_for
from noiseflow.fit.pairs import NOISY_PAIR, PairResult, PairSettings, fit_pairs
from noiseflow.fit.statistics import gather

__all__ = [
    "NOISY_PAIR",
    "FitResult",
    "FitSettings",
    "PairResult",
    "PairSettings",
    "fit",
    "fit_pairs",
    "gather",
    "spec_for",
]

"""Fit noise models to patches, noisy pairs and sequences by maximum likelihood."""

from noiseflow.fit.batches import gather
from noiseflow.fit.fit_model import FitResult, FitSettings, fit, spec_for
from noiseflow.fit.noisy_pairs.pairs import NOISY_PAIR, PairResult, PairSettings, fit_pairs

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

"""Fitting by maximum likelihood."""

from noiseflow.fit.fit import FitResult, FitSettings, fit, spec_for
from noiseflow.fit.statistics import gather

__all__ = ["FitResult", "FitSettings", "fit", "gather", "spec_for"]

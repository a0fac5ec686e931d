"""The table of presenters; a metric without one is shown as a plain table."""

from typing import Any

from noiseflow.evaluate.presentation.distribution import ConditionalPresenter, MarginalPresenter
from noiseflow.evaluate.presentation.likelihood import CodeLikelihoodPresenter, DensityLikelihoodPresenter
from noiseflow.evaluate.presentation.moments import MeanVariancePresenter, TailsPresenter
from noiseflow.evaluate.presentation.presenter import Presenter
from noiseflow.evaluate.presentation.sample_checks import (
    LegacyKlPresenter,
    PitCalibrationPresenter,
    QuantisationPresenter,
    TemporalPresenter,
    TwoSamplePresenter,
)
from noiseflow.evaluate.presentation.structure import RowNoisePresenter, StructurePresenter

__all__ = ["PRESENTERS", "presenter_of"]

PRESENTERS: dict[str, Presenter[Any]] = {
    "likelihood": DensityLikelihoodPresenter(),
    "codes": CodeLikelihoodPresenter(),
    "calibration": PitCalibrationPresenter(),
    "marginal": MarginalPresenter(),
    "mean_variance": MeanVariancePresenter(),
    "conditional": ConditionalPresenter(),
    "tails": TailsPresenter(),
    "row_noise": RowNoisePresenter(),
    "structure": StructurePresenter(),
    "temporal": TemporalPresenter(),
    "quantisation": QuantisationPresenter(),
    "two_sample": TwoSamplePresenter(),
    "legacy_kl": LegacyKlPresenter(),
}
"""Name of the metric in `noiseflow.evaluate.metrics.registry.METRICS` → its presenter."""


def presenter_of(name: str) -> Presenter[Any]:
    """The presenter of a metric, a plain one if it has none."""
    return PRESENTERS.get(name) or Presenter(name)

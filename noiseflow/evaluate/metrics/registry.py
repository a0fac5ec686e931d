"""The table of metrics: a new one is a new file and a new line here."""

from collections.abc import Callable

from noiseflow.evaluate.metric import Metric, Setup
from noiseflow.evaluate.metrics.conditional import ConditionalMetric
from noiseflow.evaluate.metrics.legacy_kl import LegacyKlMetric
from noiseflow.evaluate.metrics.likelihood import CodeLikelihoodMetric, DensityLikelihoodMetric
from noiseflow.evaluate.metrics.marginal import MarginalMetric
from noiseflow.evaluate.metrics.mean_variance import MeanVarianceMetric
from noiseflow.evaluate.metrics.pit_calibration import PitCalibrationMetric
from noiseflow.evaluate.metrics.quantisation import QuantisationMetric
from noiseflow.evaluate.metrics.row_noise import RowNoiseMetric
from noiseflow.evaluate.metrics.structure import StructureMetric
from noiseflow.evaluate.metrics.tails import TailsMetric
from noiseflow.evaluate.metrics.temporal import TemporalMetric
from noiseflow.evaluate.metrics.two_sample import TwoSampleMetric

__all__ = ["LEGACY", "METRICS"]

METRICS: dict[str, Callable[[Setup], Metric]] = {
    "likelihood": DensityLikelihoodMetric,
    "codes": CodeLikelihoodMetric,
    "calibration": PitCalibrationMetric,
    "marginal": MarginalMetric,
    "mean_variance": MeanVarianceMetric,
    "conditional": ConditionalMetric,
    "tails": TailsMetric,
    "row_noise": RowNoiseMetric,
    "structure": StructureMetric,
    "temporal": TemporalMetric,
    "quantisation": QuantisationMetric,
    "two_sample": TwoSampleMetric,
}
"""Name in ``metrics.json`` → metric, in the order of the report."""

LEGACY: dict[str, Callable[[Setup], Metric]] = {"legacy_kl": LegacyKlMetric}
"""Only with ``--legacy-kl``."""

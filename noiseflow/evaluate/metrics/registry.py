"""The table of metrics: a new one is a new file and a new line here."""

from noiseflow.evaluate.metric import Metric
from noiseflow.evaluate.metrics.conditional import ConditionalMetric
from noiseflow.evaluate.metrics.legacy_kl import LegacyKlMetric
from noiseflow.evaluate.metrics.likelihood import LikelihoodMetric
from noiseflow.evaluate.metrics.mean_variance import MeanVarianceMetric
from noiseflow.evaluate.metrics.pit_calibration import CalibrationMetric
from noiseflow.evaluate.metrics.quantisation import QuantisationMetric
from noiseflow.evaluate.metrics.row_noise import RowNoiseMetric
from noiseflow.evaluate.metrics.tails import TailsMetric
from noiseflow.evaluate.metrics.temporal import TemporalMetric
from noiseflow.evaluate.metrics.two_sample import TwoSampleMetric
from noiseflow.evaluate.statistics.code_statistics import CodesMetric
from noiseflow.evaluate.statistics.residual_statistics import MarginalMetric
from noiseflow.evaluate.statistics.spatial_statistics import StructureMetric

__all__ = ["LEGACY", "METRICS"]

METRICS: dict[str, type[Metric]] = {
    "likelihood": LikelihoodMetric,
    "codes": CodesMetric,
    "calibration": CalibrationMetric,
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

LEGACY: dict[str, type[Metric]] = {"legacy_kl": LegacyKlMetric}
"""Only where it is asked for."""

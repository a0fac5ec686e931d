"""The table of metrics: a new one is a new file and a new line here."""

from noiseflow.evaluate.calibration import CalibrationMetric
from noiseflow.evaluate.codes import CodesMetric
from noiseflow.evaluate.conditional import ConditionalMetric
from noiseflow.evaluate.legacy import LegacyKlMetric
from noiseflow.evaluate.likelihood import LikelihoodMetric
from noiseflow.evaluate.marginal import MarginalMetric
from noiseflow.evaluate.mean_variance import MeanVarianceMetric
from noiseflow.evaluate.metric import Metric
from noiseflow.evaluate.quantisation import QuantisationMetric
from noiseflow.evaluate.row_noise import RowNoiseMetric
from noiseflow.evaluate.structure import StructureMetric
from noiseflow.evaluate.tails import TailsMetric
from noiseflow.evaluate.temporal import TemporalMetric
from noiseflow.evaluate.two_sample import TwoSampleMetric

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

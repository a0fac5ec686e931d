"""The table of metrics: a new one is a new file and a new line here."""

from noiseflow.evaluate.likelihood import LikelihoodMetric
from noiseflow.evaluate.marginal import MarginalMetric
from noiseflow.evaluate.mean_variance import MeanVarianceMetric
from noiseflow.evaluate.metric import Metric
from noiseflow.evaluate.row_noise import RowNoiseMetric

__all__ = ["METRICS"]

METRICS: dict[str, type[Metric]] = {
    "likelihood": LikelihoodMetric,
    "marginal": MarginalMetric,
    "mean_variance": MeanVarianceMetric,
    "row_noise": RowNoiseMetric,
}
"""Name in ``metrics.json`` → metric, in the order of the report."""

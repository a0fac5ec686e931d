"""Score noise models: likelihood, divergence, mean and variance, structure; and the report."""

from noiseflow.evaluate.evaluation import evaluate
from noiseflow.evaluate.metrics import METRICS
from noiseflow.evaluate.report import write_report
from noiseflow.evaluate.result import Data, Evaluation

__all__ = ["METRICS", "Data", "Evaluation", "evaluate", "write_report"]

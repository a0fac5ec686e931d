"""Evaluation of noise models against real noise: likelihood, divergence, moments and structure, and the report."""

from noiseflow.evaluate.evaluate_models import evaluate
from noiseflow.evaluate.metrics.registry import METRICS
from noiseflow.evaluate.report.evaluation_result import Data, Evaluation
from noiseflow.evaluate.report.report import write_report

__all__ = ["METRICS", "Data", "Evaluation", "evaluate", "write_report"]

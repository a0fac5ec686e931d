"""Registry of the metrics; a new metric is one file, and one line here."""

from collections.abc import Callable

from noiseflow.core.registry import Registry
from noiseflow.evaluate.metric import Metric, Setup

__all__ = ["METRICS", "OPTIONAL"]

METRICS = Registry[Callable[[Setup], Metric]](
    {
        "likelihood": "noiseflow.evaluate.metrics.likelihood:DensityLikelihoodMetric",
        "codes": "noiseflow.evaluate.metrics.likelihood:CodeLikelihoodMetric",
        "calibration": "noiseflow.evaluate.metrics.sample_checks:PitCalibrationMetric",
        "marginal": "noiseflow.evaluate.metrics.distribution:MarginalMetric",
        "mean_variance": "noiseflow.evaluate.metrics.moments:MeanVarianceMetric",
        "conditional": "noiseflow.evaluate.metrics.distribution:ConditionalMetric",
        "tails": "noiseflow.evaluate.metrics.moments:TailsMetric",
        "row_noise": "noiseflow.evaluate.metrics.row_noise:RowNoiseMetric",
        "structure": "noiseflow.evaluate.metrics.structure:StructureMetric",
        "temporal": "noiseflow.evaluate.metrics.sample_checks:TemporalMetric",
        "quantisation": "noiseflow.evaluate.metrics.sample_checks:QuantisationMetric",
        "two_sample": "noiseflow.evaluate.metrics.two_sample:TwoSampleMetric",
        "denoising": "noiseflow.evaluate.metrics.denoising:DenoisingMetric",
    }
)
"""Metrics by their names in ``metrics.json``, in the order of the report."""

OPTIONAL = Registry[Callable[[Setup], Metric]](
    {
        "judges": "noiseflow.evaluate.metrics.judges:JudgesMetric",
        "proper_scores": "noiseflow.evaluate.metrics.proper_scores:ProperScoresMetric",
        "samples_digest": "noiseflow.evaluate.metrics.samples_digest:SamplesDigestMetric",
        "legacy_kl": "noiseflow.evaluate.metrics.legacy_kl:LegacyKlMetric",
    }
)
"""Metrics that are computed only with ``--metrics``; ``--legacy-kl`` adds the last."""

"""Gaussian noise of one variance: the baseline that knows nothing of the signal."""

import math

import torch
from torch import Tensor, nn

from noiseflow.flows import draws
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.draws import Source
from noiseflow.flows.transform import sum_per_sample
from noiseflow.models.model import NoiseModel, register
from noiseflow.models.spec import ModelSpec
from noiseflow.models.statistics import NoiseStatistics

__all__ = ["Gaussian", "gaussian_log_prob"]


def gaussian_log_prob(noise: Tensor, log_variance: Tensor) -> Tensor:
    """Log-density of zero-mean Gaussian noise, nats, summed per sample, shape (B,)."""
    return -0.5 * sum_per_sample(noise.square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))


@register("gaussian")
class Gaussian(NoiseModel):
    """N(0, σ²) with one σ for all cameras, ISOs and signals; additive white noise."""

    closed_form = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.log_variance = nn.Parameter(torch.tensor(math.log(1e-4)))

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        return gaussian_log_prob(noise, self.log_variance.expand_as(noise))

    def _sample(self, cond: Conditions, generator: Source, temperature: float) -> Tensor:
        return draws.normal(cond.clean, generator) * (temperature * (0.5 * self.log_variance).exp())

    def linear_variance(self, cond: Conditions) -> tuple[Tensor, Tensor] | None:
        """0 and σ²."""
        variance = self.log_variance.exp().expand(len(self.checked(cond).clean), 1, 1, 1)
        return torch.zeros_like(variance), variance

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Maximum likelihood: σ² is the mean square of the noise."""
        mean_square = (statistics.count * statistics.square).sum() / statistics.count.sum()
        with torch.no_grad():
            self.log_variance.fill_(float(mean_square.log()))

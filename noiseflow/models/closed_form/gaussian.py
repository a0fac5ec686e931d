"""Gaussian noise: the base class of models with independent Gaussian pixels, and the model with a single variance."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.transform import sum_per_sample
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.censored_fit import maximise_code_likelihood
from noiseflow.models.model import ModelSpec, NoiseModel, register
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source

__all__ = ["Gaussian", "GaussianModel", "gaussian_log_prob"]


def gaussian_log_prob(noise: Tensor, log_variance: Tensor, observed: Tensor | None = None) -> Tensor:
    """Log-density of zero-mean Gaussian noise, nats, summed per sample over the observed values, shape (B,)."""
    terms = noise.square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)
    return -0.5 * sum_per_sample(terms if observed is None else terms.masked_fill(~observed, 0.0))


class GaussianModel(NoiseModel):
    """Independent N(0, variance(cond)) at each pixel; a subclass implements `variance`."""

    closed_form = True
    elementwise = True

    @abstractmethod
    def variance(self, cond: Resolved) -> Tensor:
        """Noise variance, normalised, (B, C, H, W)."""

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """Exact σ of the noise at each pixel, (B, C, H, W), normalised."""
        return self.variance(cond).sqrt()

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Noise divided by its σ, (B, C, H, W)."""
        return noise / self.variance(cond).sqrt()

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Maximise the likelihood of the integer codes, including clipped ones."""
        self.load_state_dict(maximise_code_likelihood(self, codes, cond, levels).state_dict())

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        return gaussian_log_prob(noise, self.variance(cond).log(), cond.observed)

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self._log_prob(noise, cond)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        return sampling.normal(cond.clean, generator) * (temperature * self.variance(cond).sqrt())


@register("gaussian")
class Gaussian(GaussianModel):
    """Additive white Gaussian noise, N(0, σ²) with one σ for all cameras, ISOs and signals."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.log_variance = nn.Parameter(torch.tensor(math.log(1e-4)))

    def variance(self, cond: Resolved) -> Tensor:
        """The single variance σ², expanded to (B, C, H, W)."""
        return self.log_variance.exp().expand_as(cond.clean)

    def linear_variance(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """The coefficients β₁ = 0 and β₂ = σ², each (B, 1, 1, 1)."""
        variance = self.log_variance.exp().expand(len(cond.clean), 1, 1, 1)
        return torch.zeros_like(variance), variance

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Set σ² to the mean square of the noise, its maximum-likelihood value."""
        mean_square = (statistics.count * statistics.square).sum() / statistics.count.sum()
        with torch.no_grad():
            self.log_variance.fill_(float(mean_square.log()))

"""Optional capabilities of noise models, and a function for each that returns it or None.

A model has a capability if it has the methods of the protocol; it does not have to inherit from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.adc_levels import Cells, Levels, log_cells
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = [
    "CodesByLatent",
    "ExactCodes",
    "HasDrawnSamples",
    "HasLatent",
    "HasLinearVariance",
    "HasMarginals",
    "HasScale",
    "HasSigma",
    "HasVariance",
    "approximate_sigma",
    "exact_codes",
    "latent",
    "linear_variance",
    "marginal_codes",
    "of_one_frame",
]

RESOLVED = 1e-4
"""Smallest width of an interval of latents, relative to its ends, that is computed in float32: to 0.1 %."""

SIGMA_SAMPLES = 8
"""Number of samples for `approximate_sigma` of a model without a σ; averaged over 25 pixels, the error is 5 %."""


@runtime_checkable
class HasLatent(Protocol):
    """A model that maps noise to a standard normal latent: z of a flow, noise/σ of a Gaussian."""

    @property
    def elementwise(self) -> bool:
        """Whether each latent depends on one noise value only and rises with it, so that Φ(z) is its CDF."""

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Latent of the noise under resolved conditions, (B, C, H, W)."""


@runtime_checkable
class ExactCodes(Protocol):
    """A model that knows the probability of integer codes."""

    def log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor:
        """Log-probability of codes in DN, nats, float64.

        Parameters
        ----------
        codes : Tensor, shape (B, C, H, W)
            Whole numbers in DN.
        cond : Conditions
            Clean signal, ISO and camera of the codes.
        levels : Levels
            Black and white levels of the codes.

        Returns
        -------
        Tensor, shape (B, C, H, W) or (B,)
            Log-probability of each pixel, or of each element as a whole if its pixels depend on each other.
        """


@runtime_checkable
class HasLinearVariance(Protocol):
    """A model whose noise variance is linear in the clean signal."""

    def linear_variance(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """β₁ and β₂ of the variance β₁·clean + β₂ under resolved conditions, (B, C or 1, 1, 1)."""


@runtime_checkable
class HasVariance(Protocol):
    """A model that knows the exact noise variance at each pixel."""

    def variance(self, cond: Resolved) -> Tensor:
        """Variance of the normalised noise under resolved conditions, (B, C, H, W)."""


@runtime_checkable
class HasScale(Protocol):
    """A model that scales its noise by a known function of signal, ISO and camera; other steps change σ little."""

    def scale_variance(self, cond: Resolved) -> Tensor:
        """Square of that scale at each pixel under resolved conditions, (B, C, H, W), normalised."""


@runtime_checkable
class HasSigma(Protocol):
    """A model that knows the approximate σ of its noise without sampling."""

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """Approximate σ of the noise at each pixel under resolved conditions, (B, C, H, W), normalised."""


@runtime_checkable
class HasMarginals(Protocol):
    """A model whose pixels depend on each other, and that knows the distribution of each by itself."""

    @property
    def knows_marginals(self) -> bool:
        """Whether it does, with its present parameters."""

    @property
    def trains_dependence(self) -> bool:
        """Whether parameters of what pixels share are trained, which the distributions of single pixels do not show."""

    def marginal_latent(self, noise: Tensor, cond: Resolved) -> Tensor | None:
        """Standard normal latent of each value by itself, which rises with it, (B, C, H, W); None if not known."""


@runtime_checkable
class HasDrawnSamples(Protocol):
    """A model that holds samples drawn earlier for the patches of one store."""

    def samples_of(self, rows: NDArray[np.int64], clean: Tensor, table: NDArray[Any]) -> Tensor:
        """Normalised noise drawn for these rows of the store, (B, C, h, w), given their clean signal and table rows."""


@dataclass(frozen=True, eq=False)
class CodesByLatent:
    """Exact probabilities of codes for an elementwise model, from its CDF at the ends of each code's interval.

    Parameters
    ----------
    model : NoiseModel
        The model.
    latent : HasLatent
        The same model, as a map to the standard normal.
    """

    model: NoiseModel
    latent: HasLatent

    def log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor:
        """Log-probability of each code, nats, float64, (B, C, H, W)."""
        cond = checked_conditions(self.model, cond)
        found = _log_cells(lambda end: self.latent.latent(end, cond), levels.cells(codes, cond.clean), cond.clean.dtype)
        assert found is not None
        return found


def latent(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor | None:
    """Map noise to the model's standard normal latent, (B, C, H, W); None if the model has no latent."""
    return model.latent(noise, checked_conditions(model, cond)) if isinstance(model, HasLatent) else None


def exact_codes(model: NoiseModel) -> ExactCodes | None:
    """The model as a source of exact code probabilities; None if only a bound is possible (`discrete_log_prob`)."""
    if isinstance(model, ExactCodes):
        return model
    return CodesByLatent(model, model) if isinstance(model, HasLatent) and model.elementwise else None


def marginal_codes(model: NoiseModel, codes: Tensor, cond: Resolved, levels: Levels) -> Tensor | None:
    """Log-probability of each integer code by itself, nats, (B, C, H, W); None if the model does not know it.

    Their product is a distribution of codes too, which leaves out what pixels share.
    """
    if not isinstance(model, HasMarginals) or not model.knows_marginals:
        return None
    cells = levels.cells(codes, cond.clean)
    return _log_cells(lambda end: model.marginal_latent(end, cond), cells, cond.clean.dtype)


def _log_cells(latent: Callable[[Tensor], Tensor | None], cells: Cells, dtype: torch.dtype) -> Tensor | None:
    """Log-probability of each code from the latents of its ends; gradients are computed in the model's `dtype`.

    Kernels run in float32, in which a step of training takes a fraction of the time.  Results without gradients, and
    batches with an interval that float32 does not resolve, are computed in float64.
    """
    for precision in dict.fromkeys((dtype if torch.is_grad_enabled() else torch.float64, torch.float64)):
        low, high = latent(cells.low.to(precision)), latent(cells.high.to(precision))
        if low is None or high is None:
            return None
        if precision is torch.float64 or bool((high - low > RESOLVED * (low.abs() + high.abs())).all()):
            return log_cells(low, high, cells)
    raise AssertionError("float64 comes last")


def linear_variance(model: NoiseModel) -> HasLinearVariance | None:
    """The model as a source of its linear variance β₁·clean + β₂ before clipping; None if it is not linear."""
    return model if isinstance(model, HasLinearVariance) else None


def of_one_frame(model: NoiseModel) -> NoiseModel:
    """The model of a single frame: the frame model of a sequence model, else the model itself."""
    frame: NoiseModel = getattr(model, "frame", model)
    return frame


def approximate_sigma(model: NoiseModel, cond: Conditions, generator: torch.Generator | None = None) -> Tensor:
    """Approximate σ of the noise at each pixel, (B, C, H, W), normalised; from samples if the model has no σ."""
    if isinstance(model, HasSigma):
        return model.approximate_sigma(checked_conditions(model, cond))
    square = torch.stack([model.sample(cond, generator).square() for _ in range(SIGMA_SAMPLES)]).mean(0)
    wide = functional.avg_pool2d(square, 5, 1, 2, count_include_pad=False)
    return wide.clamp(min=torch.finfo(wide.dtype).tiny).sqrt()

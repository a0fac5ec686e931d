"""Likelihood of integer codes: exact if the model can compute it, else a lower bound by dequantisation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import approximate_sigma, exact_codes, marginal_codes
from noiseflow.models.integers.dequantise import Dequantiser
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["DiscreteLogProb", "discrete_log_prob"]


@dataclass(frozen=True, eq=False)
class DiscreteLogProb:
    """Log-probability of integer codes, nats, exact or a bound.

    Parameters
    ----------
    values : Tensor of float64, shape (B,)
        Log-probability, summed over the C·H·W pixels, or over the observed ones.
    exact : bool
        Whether the values are exact; if False, they are lower bounds in expectation.
    alone : bool
        Whether they are sums over the codes, each by itself: the model's pixels share a little more.
    samples : int
        Number of samples of a bound; 0 for an exact value.
    per_plane : Tensor of float64, shape (B, C), or None
        Log-probability of each plane; None for a joint density, which cannot be split by plane.
    """

    values: Tensor
    exact: bool
    samples: int = 0
    per_plane: Tensor | None = None
    alone: bool = False

    @property
    def words(self) -> str:
        """Description for reports."""
        if self.exact:
            return "exact, of each code by itself" if self.alone else "exact"
        return "a lower bound (ELBO)" if self.samples == 1 else f"a lower bound ({self.samples} importance samples)"


def discrete_log_prob(
    model: NoiseModel,
    codes: Tensor,
    cond: Conditions,
    levels: Levels,
    *,
    samples: int = 1,
    dequantiser: Dequantiser | None = None,
    scale: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> DiscreteLogProb:
    """Log-probability of integer codes under a noise model.

    The probability of code c is ∫ p(x) dx over the noise x that puts the signal between c − ½ and c + ½.  Because a
    sensor clips, code 0 has the whole lower tail and the white level the whole upper one.  The probabilities sum to
    1.  In nats per pixel the result does not depend on the normalisation of the signal, is at most 0, and its mean
    over data is at most minus the entropy of the data.

    The result is exact if the model has exact code probabilities (`noiseflow.models.capabilities.exact_codes`).  If
    its pixels share a little, such as faint row noise, it is the sum over the codes, each by itself
    (`noiseflow.models.capabilities.marginal_codes`), which is exact too, and far closer than the ELBO; a dequantiser or
    more samples give the joint bound.
    Otherwise it is log (1/K) Σₖ p(xₖ)/q(xₖ|codes) with K draws from a dequantiser q: in expectation a lower bound
    that rises with K; K = 1 is the ELBO.  The weights p/q are those of whole patches, so K helps less, the more
    pixels a patch has.

    Parameters
    ----------
    model : NoiseModel
        Model to evaluate.
    codes : Tensor, shape (B, C, H, W)
        Whole numbers of 0 or more, DN; those above the white level count as that level.
    cond : Conditions
        Clean signal, ISO and camera of the codes.
    levels : Levels
        Black and white levels of each element.
    samples : int
        Number of draws K for a bound.
    dequantiser : Dequantiser, optional
        Computes a bound with this dequantiser, even if the model could be exact.  If None, a bound uses the
        normal distribution with the model's σ, truncated to each code.
    scale : Tensor, shape (B, C, H, W), optional
        Approximate σ of the noise for a bound, normalised; if None, `approximate_sigma` of the model.
    generator : torch.Generator, optional
        Random generator of the draws.

    Returns
    -------
    DiscreteLogProb
        Log-probability of each element, and whether it is exact.

    Raises
    ------
    DataError
        Codes that are not whole numbers or do not have the shape of the clean signal; `samples` below 1.
    ModelError
        The model has no density.

    References
    ----------
    Burda, Grosse, Salakhutdinov: Importance weighted autoencoders, ICLR 2016, eq. 8 and
    theorem 1; Nielsen et al.: SurVAE flows, NeurIPS 2020.

    Examples
    --------
    >>> import noiseflow
    >>> model = noiseflow.build(noiseflow.ModelSpec("nlf", layout="mono"))
    >>> levels = Levels(torch.tensor([[2.0]]), torch.tensor([15.0]))
    >>> codes = torch.arange(16.0)[None, None, None]
    >>> cond = noiseflow.Conditions(torch.full(codes.shape, 0.1), iso=100.0)
    >>> found = discrete_log_prob(model, codes, cond, levels)
    >>> found.words, found.per_plane is None
    ('exact', False)
    """
    if samples < 1:
        raise DataError(f"samples: expected 1 or more; got {samples}")
    if dequantiser is None and (exact := exact_codes(model)) is not None:
        log_prob = exact.log_prob_of_codes(codes, cond, levels)
        if log_prob.ndim == 1:
            return DiscreteLogProb(log_prob, exact=True)
        return _summed(log_prob, cond)
    cond = checked_conditions(model, cond)
    if dequantiser is None and samples == 1 and (each := marginal_codes(model, codes, cond, levels)) is not None:
        return _summed(each, cond, alone=True)
    dequantiser = dequantiser or Dequantiser()
    cells = levels.cells(codes, cond.clean)
    if scale is None:
        scale = approximate_sigma(model, cond, generator)
    weights = []
    for _ in range(samples):
        noise, log_q = dequantiser(cells, cond, scale, generator)
        log_p = model.log_prob(noise.to(cond.clean.dtype), cond)
        if cond.observed is not None:
            log_q = log_q.masked_fill(~cond.observed, 0.0)
        weights.append(log_p.double() - log_q.sum((1, 2, 3)))
    values = torch.stack(weights).logsumexp(0) - math.log(samples)
    return DiscreteLogProb(values, exact=False, samples=samples)


def _summed(log_prob: Tensor, cond: Conditions, *, alone: bool = False) -> DiscreteLogProb:
    """Sums of the log-probabilities of single codes, (B, C, H, W), over the observed ones."""
    if cond.observed is not None:
        log_prob = log_prob.masked_fill(~cond.observed, 0.0)
    per_plane = log_prob.sum((2, 3))
    return DiscreteLogProb(per_plane.sum(1), exact=True, per_plane=per_plane, alone=alone)

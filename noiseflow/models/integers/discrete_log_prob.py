"""Likelihood of the integer codes themselves: exact where a model has a distribution function, else a bound."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.dequantise import Dequantiser
from noiseflow.models.model import NoiseModel

__all__ = ["DiscreteLogProb", "discrete_log_prob"]


@dataclass(frozen=True, eq=False)
class DiscreteLogProb:
    """Log-probability of integer codes, nats, and what kind of number it is.

    Parameters
    ----------
    values : Tensor of float64, shape (B,)
        Summed over C·H·W pixels.
    exact : bool
        If not, a lower bound: in expectation at most the exact value.
    samples : int
        Of a bound; 0 for an exact value.
    per_plane : Tensor of float64, shape (B, C), or None
        Where the model gives each pixel its own probability.  A joint density gives no share
        to a plane.
    """

    values: Tensor
    exact: bool
    samples: int = 0
    per_plane: Tensor | None = None

    @property
    def words(self) -> str:
        """What kind of number it is."""
        if self.exact:
            return "exact"
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

    Code c has the probability ∫ p(x) dx over the noise x between c − ½ and c + ½; code 0 takes
    the whole lower tail and the white level the whole upper one, as a sensor clips.  Over all
    codes it sums to 1.  In nats per pixel it does not depend on how the signal is normalised,
    is 0 or less, and its mean over data is at most minus the data's entropy.

    Where the model gives each pixel's probability (`NoiseModel.log_prob_of_codes`) it is exact.
    Else it is log (1/K) Σₖ p(xₖ)/q(xₖ|codes) with K draws of a dequantiser q, a lower bound in
    expectation that rises with K; K = 1 is the ELBO.  The weights are those of whole patches: the more
    pixels a patch has, the less K helps.

    Parameters
    ----------
    model : NoiseModel
    codes : Tensor, shape (B, C, H, W)
        DN, whole numbers of 0 or more; any above the white level count as that level.
    cond : Conditions
    levels : Levels
        Black and white levels of each element.
    samples : int
        K, for a bound.
    dequantiser : Dequantiser, optional
        Asks for a bound by this one, even of a model that could be exact.  Without it a bound is by
        the normal of the model's own σ cut to each code.
    scale : Tensor, shape (B, C, H, W), optional
        About the σ of the noise, normalised, for a bound; `NoiseModel.scale` without it.
    generator : torch.Generator, optional
        Of a bound's draws.

    Raises
    ------
    DataError
        Codes that are not whole or do not fit the clean signal, no sample.
    ModelError
        A model without a density.

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
    if dequantiser is None:
        each = model.log_prob_of_codes(codes, cond, levels)
        if each is not None:
            per_plane = each.sum((2, 3))
            return DiscreteLogProb(per_plane.sum(1), exact=True, per_plane=per_plane)
        joint = model.joint_log_prob_of_codes(codes, cond, levels)
        if joint is not None:
            return DiscreteLogProb(joint, exact=True)
        dequantiser = Dequantiser()
    cond = model.checked(cond)
    cells = levels.cells(codes, cond.clean)
    if scale is None:
        scale = model.scale(cond, generator)
    weights = []
    for _ in range(samples):
        noise, log_q = dequantiser(cells, cond, scale, generator)
        log_p = model.log_prob(noise.to(cond.clean.dtype), cond)
        weights.append(log_p.double() - log_q.sum((1, 2, 3)))
    values = torch.stack(weights).logsumexp(0) - math.log(samples)
    return DiscreteLogProb(values, exact=False, samples=samples)

"""Base class of models of integer codes, whose density is constant over each code."""

from abc import abstractmethod

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["CodesModel"]


class CodesModel(NoiseModel):
    """A noise model that is a distribution of integer codes, with its own black and white levels.

    A subclass implements `levels` and `_log_prob_of_codes`.  `log_prob` is log P(code) + log(white − black)
    for each value; noise that does not correspond to whole codes is rounded to them.
    """

    @abstractmethod
    def levels(self, cond: Resolved) -> Levels:
        """Black and white levels of each element under resolved conditions."""

    @abstractmethod
    def _log_prob_of_codes(self, codes: Tensor, cond: Resolved) -> Tensor:
        """Log-probability of float64 codes within `levels`, float64, (B, C, H, W)."""

    def log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor:
        """Log-probability of each code, nats, float64, (B, C, H, W).

        If the clean signal is an estimate, the noise is divided by its spread (see `Levels`) and rounded; the result
        is then the probability of the nearest code, divided by the spread.

        Raises
        ------
        ModelError
            Levels that differ from the model's.
        """
        cond = checked_conditions(self, cond)
        own = self.levels(cond)
        for name, ours, theirs in (("black", own.black, levels.black), ("white", own.white, levels.white)):
            if not torch.allclose(ours.double(), theirs.double().to(ours.device), rtol=0, atol=1e-3):
                raise ModelError(
                    f"{self.spec.model}: expected a {name} level of {ours.flatten()[0]:g} DN; the codes have "
                    f"{theirs.flatten()[0]:g} DN: they come from another camera or setting"
                )
        if levels.spread is None or (levels.spread == 1).all():
            return self._log_prob_of_codes(torch.minimum(codes.double(), own.top()), cond)
        cells = levels.cells(codes, cond.clean)
        nearest = own.codes((cells.low + cells.high) / 2, cond.clean)
        return self._log_prob_of_codes(nearest, cond) - levels.spread.double().log()[:, None, None, None]

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        own = self.levels(cond)
        log_prob = self._log_prob_of_codes(own.codes(noise, cond.clean), cond)
        terms = log_prob - own.log_code()[:, :, None, None]
        total = (terms if cond.observed is None else terms.masked_fill(~cond.observed, 0.0)).sum((1, 2, 3))
        return total.to(torch.promote_types(noise.dtype, torch.float32))

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self._log_prob(noise, cond)

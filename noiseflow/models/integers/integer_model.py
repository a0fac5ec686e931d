"""What models of the integers themselves share: the density that is flat over each code."""

from abc import abstractmethod

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import NoiseModel

__all__ = ["CodesModel"]


class CodesModel(NoiseModel):
    """A distribution of integer codes at levels of its own.

    A subclass writes `levels` and `_log_prob_of_codes`.  `log_prob` is log P(code) +
    log(white − black) for each value; noise that is not of whole codes is rounded to them.
    """

    @property
    def exact_codes(self) -> bool:
        """It is of the codes."""
        return True

    @abstractmethod
    def levels(self, cond: Conditions) -> Levels:
        """Its black and white levels, for checked conditions."""

    @abstractmethod
    def _log_prob_of_codes(self, codes: Tensor, cond: Conditions) -> Tensor:
        """Log-probability of float64 codes within its levels, float64, (B, C, H, W)."""

    def log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor:
        """Log-probability of each code, nats, float64, (B, C, H, W).

        Where the clean signal is an estimate the noise is first divided by its spread, as
        `log_prob` takes it, and rounded; P is then that of the code nearest, over the spread.

        Raises
        ------
        ModelError
            If the levels are not the ones that it is of.
        """
        cond = self.checked(cond)
        own = self.levels(cond)
        for name, ours, theirs in (("black", own.black, levels.black), ("white", own.white, levels.white)):
            if not torch.allclose(ours.double(), theirs.double().to(ours.device), rtol=0, atol=1e-3):
                raise ModelError(
                    f"{self.spec.model}: made for a {name} level of {ours.flatten()[0]:g} DN; the codes have "
                    f"{theirs.flatten()[0]:g}: they are of another camera or setting"
                )
        if levels.spread is None or (levels.spread == 1).all():
            return self._log_prob_of_codes(torch.minimum(codes.double(), own.top()), cond)
        cells = levels.cells(codes, cond.clean)
        nearest = own.codes((cells.low + cells.high) / 2, cond.clean)
        return self._log_prob_of_codes(nearest, cond) - levels.spread.double().log()[:, None, None, None]

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        own = self.levels(cond)
        log_prob = self._log_prob_of_codes(own.codes(noise, cond.clean), cond)
        total = (log_prob - own.log_code()[:, :, None, None]).sum((1, 2, 3))
        return total.to(torch.promote_types(noise.dtype, torch.float32))

"""Objective of a fit to integer codes: their exact likelihood, or a dequantisation bound."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.fit.batches import conditions_of, integer_codes
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.signal_of_few_frames import FEW
from noiseflow.fit.training.objective import StepPosition
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import HasMarginals, approximate_sigma, exact_codes
from noiseflow.models.integers.dequantise import Dequantiser
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.patches import PatchBatch

__all__ = ["DiscretisedObjective", "codes_of"]


def codes_of(batch: PatchBatch, device: torch.device | str = "cpu") -> tuple[Tensor, Resolved, Levels]:
    """Restore the integer codes of a batch in DN; return them with the batch's conditions and levels."""
    codes, levels = integer_codes(batch)
    cond = conditions_of(batch, device)
    if float(batch.table["clean_variance"].max(initial=0)) > FEW:
        levels = replace(levels, origin=batch.clean)
    return codes.to(device), cond, levels.to(torch.device(device))


@dataclass
class DiscretisedObjective(LikelihoodObjective):
    """NLL of the integer codes, in the unit of the continuous NLL (nats/dim of the normalised signal).

    −log P(codes) − Σ log(white − black): the NLL of a density that is constant over each code.  A model that knows
    only the probability of each code by itself, given the offsets of its rows, is fitted to that: for codes that are
    coarse compared with σ, the bound is highest at a σ that is too large, by 2 to 4 % at 0.3 to 0.4 DN.  Otherwise
    log P is the ELBO with one draw per step.  Clipped codes contribute the probability of the tail.

    Parameters
    ----------
    proposal : NoiseModel, optional
        Model on `device` whose σ shapes the draws within each code; by default the fitted model itself.
    """

    proposal: NoiseModel | None = None

    def batch(self, position: StepPosition) -> Any:
        """Codes, conditions and levels of a step."""
        return codes_of(self.batches.read(position), self.device)

    def loss(self, model: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean NLL of the batch."""
        codes, cond, levels = batch
        return self._nll(model, codes, cond, levels, generator).sum() / cond.counts().sum(), {}

    @torch.no_grad()
    def held_out(self, model: nn.Module) -> float:
        """Mean NLL of the held-out patches, with the same draws at every validation."""
        store, rows, size = self.batches.store, self.held_out_rows, 256
        generator = torch.Generator(self.device).manual_seed(0)
        total = values = 0.0
        for start in range(0, len(rows), size):
            codes, cond, levels = codes_of(store.read(rows[start : start + size]), self.device)
            total += float(self._nll(model, codes, cond, levels, generator).sum())
            values += float(cond.counts().sum())
        return total / values

    def _nll(
        self, model: nn.Module, codes: Tensor, cond: Resolved, levels: Levels, generator: torch.Generator
    ) -> Tensor:
        assert isinstance(model, NoiseModel)
        exact = exact_codes(model) is not None
        scale = None if self.proposal is None or exact else approximate_sigma(self.proposal, cond)
        # Single codes do not show what pixels share: parameters of that need the joint density.
        joint = not exact and isinstance(model, HasMarginals) and model.trains_dependence
        by = Dequantiser() if joint else None
        found = discrete_log_prob(model, codes, cond, levels, dequantiser=by, scale=scale, generator=generator)
        return (self._pixels(codes, cond) * levels.log_code()).sum(1) - found.values

    @staticmethod
    def _pixels(codes: Tensor, cond: Resolved) -> Tensor | int:
        """Values of each plane that count."""
        return codes.shape[2] * codes.shape[3] if cond.observed is None else cond.observed.sum((2, 3))

"""Fitting by the likelihood of the integers: exact where a model has it, a dequantisation bound elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.fit.batches import conditions_of
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.training.objective import Place
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.store import PatchBatch

__all__ = ["DiscretisedObjective", "codes_of"]


def codes_of(batch: PatchBatch, device: torch.device | str = "cpu") -> tuple[Tensor, Conditions, Levels]:
    """The integers of a batch, DN, with their conditions and levels."""
    levels = Levels.of(batch.table)
    codes = levels.codes(batch.noise, batch.clean)
    return codes.to(device), conditions_of(batch, device), levels.to(torch.device(device))


@dataclass
class DiscretisedObjective(LikelihoodObjective):
    """The NLL of the integers, spread over each code so that it is in nats/dim like the continuous one.

    −log P(codes) − Σ log(white − black): minus the ELBO with one draw a step where the model has no
    distribution function.  Clipped codes count as the tails that they are.

    Parameters
    ----------
    proposal : NoiseModel, optional
        Whose σ the draws within each code are made by, on `device`; the model's own without it.
    """

    proposal: NoiseModel | None = None

    def batch(self, place: Place) -> Any:
        """Codes, conditions and levels of a step."""
        return codes_of(self.batches.read(place), self.device)

    def loss(self, model: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean NLL of the batch."""
        codes, cond, levels = batch
        return self._nll(model, codes, cond, levels, generator).mean() / codes[0].numel(), {}

    @torch.no_grad()
    def held_out(self, model: nn.Module) -> float:
        """Mean NLL of the held-out patches, by the same draws at every look."""
        store, rows, size = self.batches.store, self.held_out_rows, 256
        generator = torch.Generator(self.device).manual_seed(0)
        total = 0.0
        for start in range(0, len(rows), size):
            codes, cond, levels = codes_of(store.read(rows[start : start + size]), self.device)
            total += float(self._nll(model, codes, cond, levels, generator).sum())
        return total / (len(rows) * math.prod(store.patch_shape))

    def _nll(
        self, model: nn.Module, codes: Tensor, cond: Conditions, levels: Levels, generator: torch.Generator
    ) -> Tensor:
        assert isinstance(model, NoiseModel)
        scale = None if model.exact_codes or self.proposal is None else self.proposal.scale(cond)
        found = discrete_log_prob(model, codes, cond, levels, scale=scale, generator=generator)
        pixels = codes.shape[2] * codes.shape[3]
        return pixels * levels.log_code().sum(1) - found.values

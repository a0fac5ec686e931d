"""Objective of a fit to patches: the negative log-likelihood of the noise."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.fit.batches import PatchBatches, conditions_of
from noiseflow.fit.training.objective import StepPosition
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.patches import Patches

__all__ = ["LikelihoodObjective", "mean_nll", "record_of"]

SHOWN = 4
"""Number of held-out patches shown in a picture."""


@dataclass
class LikelihoodObjective:
    """NLL of the continuous density, nats/dim.

    Parameters
    ----------
    batches : PatchBatches
        Batches of training rows.
    held_out_rows : ndarray of int
        Rows to validate on.
    device : torch.device
        Device to train on.
    references : mapping
        Held-out NLL of the baselines by name, nats/dim.
    """

    batches: PatchBatches
    held_out_rows: NDArray[np.int64]
    device: torch.device
    references: Mapping[str, float] = field(default_factory=dict)
    name: str = "nll"
    unit: str = "nats/dim"

    def batch(self, position: StepPosition) -> tuple[Tensor, Resolved]:
        """Read the noise and conditions of a step."""
        batch = self.batches.read(position)
        return batch.noise.to(self.device, non_blocking=True), conditions_of(batch, self.device)

    def count(self, position: StepPosition) -> int:
        """Number of patches in a step."""
        return self.batches.count(position)

    def loss(
        self, model: nn.Module, batch: tuple[Tensor, Resolved], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean NLL of the batch."""
        noise, cond = batch
        if cond.observed is None:
            return -model(noise, cond).mean() / noise[0].numel(), {}
        return -model(noise, cond).sum() / cond.counts().sum(), {}

    def held_out(self, model: nn.Module) -> float:
        """Mean NLL of the held-out patches."""
        assert isinstance(model, NoiseModel)
        return mean_nll(model, self.batches.store, self.held_out_rows, self.device)

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        """Row numbers and patches of a step."""
        batch = self.batches.read(position)
        return record_of(self.batches, position, noise=batch.noise, clean=batch.clean, iso=batch.iso)

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Clean signal, real noise and sampled noise of some held-out patches; noise is scaled to ±4 σ."""
        assert isinstance(model, NoiseModel)
        batch = self.batches.store.read(self.held_out_rows[:: max(1, len(self.held_out_rows) // SHOWN)][:SHOWN])
        cond = conditions_of(batch, self.device)
        sampled = model.sample(cond, torch.Generator(self.device).manual_seed(0)).cpu()
        sigma = batch.noise.std((1, 2, 3), keepdim=True).clamp(min=1e-12)
        rows = [batch.clean.clamp(0, 1), *(0.5 + noise / (8 * sigma) for noise in (batch.noise, sampled))]
        # One column per patch, showing its first plane: clean, real, sampled.
        columns = [torch.cat([row[index, 0] for row in rows]) for index in range(len(batch.noise))]
        return {"clean, real, sampled": torch.cat(columns, 1).nan_to_num().clamp(0, 1)[None]}


def record_of(batches: PatchBatches, position: StepPosition, **tensors: Tensor) -> tuple[str, dict[str, Tensor]]:
    """Describe the batch of a step, and add its row numbers to the tensors: see `Objective.record`."""
    rows = batches.chosen(position)
    first = ", ".join(map(str, rows[:5].tolist())) + (", …" if len(rows) > 5 else "")
    return f"patches {first} of {batches.store.path}", {"row": torch.from_numpy(rows), **tensors}


@torch.no_grad()
def mean_nll(
    model: NoiseModel, store: Patches, rows: NDArray[np.int64], device: torch.device | str = "cpu", size: int = 256
) -> float:
    """Mean NLL of the observed values of patches, nats/dim.

    Parameters
    ----------
    model : NoiseModel
        The model, on `device`.
    store : Patches
        The patches.
    rows : ndarray of int
        Row numbers.
    device : torch.device or str
        Device to compute on.
    size : int
        Number of patches per batch.
    """
    total = values = 0.0
    for start in range(0, len(rows), size):
        batch = store.read(rows[start : start + size])
        cond = conditions_of(batch, device)
        total -= float(model.log_prob(batch.noise.to(device), cond).double().sum())
        values += float(cond.counts().sum())
    return total / values

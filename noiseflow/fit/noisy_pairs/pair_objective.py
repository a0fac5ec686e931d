"""Objective of a joint fit of noise model and denoiser to noisy pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.fit.batches import PatchBatches
from noiseflow.fit.likelihood_objective import record_of
from noiseflow.fit.noisy_pairs.noise_target import PAIR_NOISE, unexplained
from noiseflow.fit.noisy_pairs.pair_dataset import NoisyPairs, PairBatch, denoised
from noiseflow.fit.training.objective import StepPosition
from noiseflow.flows.conditions import Resolved
from noiseflow.models.denoiser import Denoiser
from noiseflow.models.model import NoiseModel
from noiseflow.models.noise_statistics import is_closed_form

__all__ = ["NoiseAndDenoiser", "PairObjective", "PairSettings", "PairValues"]

SHOWN = 4
"""Number of held-out pairs shown in a picture."""


@dataclass(frozen=True)
class PairSettings:
    """Settings of a fit to pairs, in addition to `FitSettings`.

    Parameters
    ----------
    noise : str
        How the noise of a pair is computed, a name in `PAIR_NOISE`: ``"difference"``, or ``"residual"`` as published.
    weight : float
        Weight λ of the denoiser's error in the loss.
    width, depth : int
        Hidden planes and convolutions of the denoiser.
    """

    noise: str = "difference"
    weight: float = 1.0
    width: int = 24
    depth: int = 6

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.noise not in PAIR_NOISE:
            raise DataError(f"noise of pairs {self.noise!r} is not known; expected {', '.join(PAIR_NOISE)}")
        if not self.weight > 0:
            raise DataError(f"weight of the denoiser's error: expected a positive number; got {self.weight}")


class PairValues(NamedTuple):
    """Means over pairs: NLL of the noise (nats/dim), half the Noise2Noise loss, and the denoiser's error ε."""

    nll: Tensor
    crossed: Tensor
    error: Tensor


class NoiseAndDenoiser(nn.Module):
    """Noise model and denoiser as one module, to be trained together."""

    def __init__(self, model: NoiseModel, denoiser: Denoiser, settings: PairSettings) -> None:
        super().__init__()
        self.model, self.denoiser, self.settings = model, denoiser, settings

    def forward(self, batch: PairBatch) -> PairValues:
        """Evaluate both on a batch of pairs."""
        pair = denoised(self.denoiser, batch)
        noise, clean = PAIR_NOISE[self.settings.noise](pair)
        repeats = len(noise) // len(batch.iso)
        cond = Resolved(clean, batch.iso.repeat(repeats), batch.camera.repeat(repeats))
        nll = -self.model(noise, cond).mean() / noise[0].numel()
        return PairValues(nll, 0.5 * pair.crossed.mean(), unexplained(pair).mean())

    def total(self, values: PairValues) -> Tensor:
        """Total loss; without the NLL of a closed-form model, which is already fitted."""
        weighted = self.settings.weight * values.crossed
        return weighted if is_closed_form(self.model) else weighted + values.nll


@dataclass
class PairObjective:
    """NLL of the noise in the pairs plus the Noise2Noise loss of the denoiser: see `fit_pairs`.

    Parameters
    ----------
    pairs : NoisyPairs
        Pairs to read.
    batches : PatchBatches
        Batches of training rows.
    held_out_rows : ndarray of int
        Rows to validate on.
    device : torch.device
        Device to train on.
    """

    pairs: NoisyPairs
    batches: PatchBatches
    held_out_rows: NDArray[np.int64]
    device: torch.device
    references: Mapping[str, float] = field(default_factory=dict)
    name: str = "loss"
    unit: str = "nats/dim"

    def batch(self, position: StepPosition) -> PairBatch:
        """Pairs of a step."""
        return self.pairs.read(self.batches.chosen(position), self.device)

    def count(self, position: StepPosition) -> int:
        """Patches of a step."""
        return self.batches.count(position)

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean loss of a batch, and its parts."""
        values: PairValues = model(batch)
        assert isinstance(model, NoiseAndDenoiser)
        return model.total(values), {"nll": values.nll.detach(), "denoiser_error": values.error}

    @torch.no_grad()
    def held_out_values(self, model: NoiseAndDenoiser) -> PairValues:
        """Means over the held-out pairs."""
        totals = torch.zeros(3, dtype=torch.float64)
        for start in range(0, len(self.held_out_rows), 128):
            rows = self.held_out_rows[start : start + 128]
            totals += len(rows) * torch.stack(model(self.pairs.read(rows, self.device))).double().cpu()
        return PairValues(*(totals / len(self.held_out_rows)))

    def held_out(self, model: nn.Module) -> float:
        """Mean loss of the held-out pairs."""
        assert isinstance(model, NoiseAndDenoiser)
        return float(model.total(self.held_out_values(model)))

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        """Row numbers and pairs of a step."""
        return record_of(self.batches, position, **self.batch(position)._asdict())

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """First frame and its denoised version, of some held-out pairs."""
        assert isinstance(model, NoiseAndDenoiser)
        rows = self.held_out_rows[:: max(1, len(self.held_out_rows) // SHOWN)][:SHOWN]
        batch = self.pairs.read(rows, self.device)
        clean = model.denoiser(batch.first, batch.iso, batch.camera)
        columns = [torch.cat([batch.first[index, 0], clean[index, 0]]) for index in range(len(rows))]
        return {"noisy, denoised": torch.cat(columns, 1).clamp(0, 1)[None].cpu()}

"""What a noise model and a denoiser are trained together by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.fit.batches import PatchBatches
from noiseflow.fit.noisy_pairs.noise_target import PAIR_NOISE, unexplained
from noiseflow.fit.noisy_pairs.pair_dataset import NoisyPairs, PairBatch, denoised
from noiseflow.fit.training.objective import Place
from noiseflow.flows.conditions import Conditions
from noiseflow.models.denoiser import Denoiser
from noiseflow.models.model import NoiseModel

__all__ = ["NoiseAndDenoiser", "PairObjective", "PairSettings", "PairValues"]

SHOWN = 4
"""Held-out pairs in a picture."""


@dataclass(frozen=True)
class PairSettings:
    """What a fit to pairs knows beside `FitSettings`.

    Parameters
    ----------
    noise : str
        Name in `PAIR_NOISE`: ``"difference"``, or ``"residual"``, the published one.
    weight : float
        λ of the denoiser's error in the loss.
    width, depth : int
        Of the denoiser.
    """

    noise: str = "difference"
    weight: float = 1.0
    width: int = 24
    depth: int = 6

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises
        ------
        DataError
        """
        if self.noise not in PAIR_NOISE:
            raise DataError(f"noise of pairs {self.noise!r} is not known; expected {', '.join(PAIR_NOISE)}")
        if not self.weight > 0:
            raise DataError(f"weight of the denoiser's error: expected a positive number; got {self.weight}")


class PairValues(NamedTuple):
    """Means over pairs: NLL of the noise, nats/dim; noise2noise's error; the denoiser's own, ε."""

    nll: Tensor
    crossed: Tensor
    error: Tensor


class NoiseAndDenoiser(nn.Module):
    """Noise model and denoiser, trained as one."""

    def __init__(self, model: NoiseModel, denoiser: Denoiser, settings: PairSettings) -> None:
        super().__init__()
        self.model, self.denoiser, self.settings = model, denoiser, settings

    def forward(self, batch: PairBatch) -> PairValues:
        """What a batch of pairs says of both."""
        pair = denoised(self.denoiser, batch)
        noise, clean = PAIR_NOISE[self.settings.noise](pair)
        repeats = len(noise) // len(batch.iso)
        cond = Conditions(clean, batch.iso.repeat(repeats), batch.camera.repeat(repeats))
        nll = -self.model(noise, cond).mean() / noise[0].numel()
        return PairValues(nll, 0.5 * pair.crossed.mean(), unexplained(pair).mean())

    def total(self, values: PairValues) -> Tensor:
        """The loss; the NLL of a model that is fitted already is no part of it."""
        weighted = self.settings.weight * values.crossed
        return weighted if self.model.closed_form else weighted + values.nll


@dataclass
class PairObjective:
    """NLL of the noise that pairs show, and noise2noise's error of the denoiser: see `fit_pairs`.

    Parameters
    ----------
    pairs : NoisyPairs
    batches : PatchBatches
        Which pairs to train on.
    held_out_rows : ndarray of int
        To judge by.
    device : torch.device
    """

    pairs: NoisyPairs
    batches: PatchBatches
    held_out_rows: NDArray[np.int64]
    device: torch.device
    references: Mapping[str, float] = field(default_factory=dict)
    name: str = "loss"
    unit: str = "nats/dim"

    def batch(self, place: Place) -> PairBatch:
        """The pairs of a step."""
        return self.pairs.read(self.batches.chosen(place), self.device)

    def count(self, place: Place) -> int:
        """Patches of a step."""
        return self.batches.count(place)

    def loss(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean loss of a batch, and its parts."""
        values: PairValues = model(batch)
        assert isinstance(model, NoiseAndDenoiser)
        return model.total(values), {"nll": values.nll.detach(), "denoiser_error": values.error}

    @torch.no_grad()
    def judged(self, model: NoiseAndDenoiser) -> PairValues:
        """What the held-out pairs say."""
        totals = torch.zeros(3, dtype=torch.float64)
        for start in range(0, len(self.held_out_rows), 128):
            rows = self.held_out_rows[start : start + 128]
            totals += len(rows) * torch.stack(model(self.pairs.read(rows, self.device))).double().cpu()
        return PairValues(*(totals / len(self.held_out_rows)))

    def held_out(self, model: nn.Module) -> float:
        """Mean loss of the held-out pairs."""
        assert isinstance(model, NoiseAndDenoiser)
        return float(model.total(self.judged(model)))

    def record(self, place: Place) -> tuple[str, dict[str, Tensor]]:
        """A step's pairs."""
        rows, batch = self.batches.chosen(place), self.batch(place)
        first = ", ".join(map(str, rows[:5].tolist())) + (", …" if len(rows) > 5 else "")
        return f"pairs {first} of {self.pairs.store.path}", {"row": torch.from_numpy(rows), **batch._asdict()}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """First frame and what the denoiser makes of it, of some held-out pairs."""
        assert isinstance(model, NoiseAndDenoiser)
        rows = self.held_out_rows[:: max(1, len(self.held_out_rows) // SHOWN)][:SHOWN]
        batch = self.pairs.read(rows, self.device)
        clean = model.denoiser(batch.first, batch.iso, batch.camera)
        columns = [torch.cat([batch.first[index, 0], clean[index, 0]]) for index in range(len(rows))]
        return {"noisy, denoised": torch.cat(columns, 1).clamp(0, 1)[None].cpu()}

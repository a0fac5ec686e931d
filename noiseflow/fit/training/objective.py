"""The contract between the engine and what it trains for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Length", "Objective", "Place"]

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Place:
    """Where in a training a step stands: all that its batch and its random numbers depend on.

    Parameters
    ----------
    step : int
        Over all epochs, from 0.
    epoch : int
        From 0.
    index : int
        Step of the epoch, from 0.
    rank, world : int
        Of this process, and how many share a batch.
    """

    step: int
    epoch: int
    index: int
    rank: int = 0
    world: int = 1

    def share(self, count: int) -> slice:
        """The rank's own part of `count` things; all of them where they are fewer than the ranks."""
        if count < self.world:
            return slice(0, count)
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def weight(self, count: int) -> float:
        """What the rank's own mean counts in the mean of all."""
        if count < self.world:
            return 1 / self.world
        own = self.share(count)
        return len(range(own.start, own.stop)) / count


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Parameters
    ----------
    steps : int
        In all.
    look : int
        Steps between two looks at the held-out figure: an epoch.  The last may be shorter.
    samples : int
        Patches a step.
    """

    steps: int
    look: int
    samples: int

    def place(self, step: int, rank: int = 0, world: int = 1) -> Place:
        """The place of a step."""
        return Place(step, step // self.look, step % self.look, rank, world)


class Objective(Protocol[Batch]):
    """What is trained: batches, a loss on one, and a held-out figure to bring down.

    An objective holds its data and its settings and changes nothing when it is called: the
    engine may ask for any batch, in another thread too, and for the same one again.  The model
    is whatever the objective takes; the engine only steps its parameters.
    """

    name: str
    """Of the loss in histories: ``"nll"`` makes ``train_nll`` and ``held_out_nll``."""

    unit: str
    """Of the loss."""

    references: Mapping[str, float]
    """Held-out figures to compare with, by name, such as those of the baselines."""

    def batch(self, place: Place) -> Batch:
        """The batch of a step, on the device that trains: a function of the place alone.

        With several ranks, this one's share of it.
        """

    def count(self, place: Place) -> int:
        """How many samples the batch of a step has, those of all ranks together."""

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss of a batch, and other means to log by name; all of them scalars.

        Parameters
        ----------
        model : nn.Module
            In training mode.
        batch : Batch
        generator : torch.Generator
            Seeded by the place, on the device that trains.
        """

    def held_out(self, model: nn.Module) -> float:
        """The figure to bring down, of the model in evaluation mode, without gradients."""

    def record(self, place: Place) -> tuple[str, dict[str, Tensor]]:
        """A step's batch for whoever looks for a fault: what it is in words, and its tensors."""

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Pictures of how the model stands, (3 or 1, H, W) from 0 to 1, by name; there may be none."""

"""The contract between the engine and what it trains: steps, batches, a loss, a held-out loss."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Objective", "Prefetcher", "StepPosition", "TrainingLength"]

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class StepPosition:
    """Position of a step in a training; batch and random numbers of the step depend only on it and on the seed.

    Parameters
    ----------
    step : int
        Step over all epochs, from 0.
    epoch : int
        Epoch, from 0.
    index : int
        Step within the epoch, from 0.
    rank, world : int
        Rank of this process, and the number of processes that share a batch.
    """

    step: int
    epoch: int
    index: int
    rank: int = 0
    world: int = 1

    def share(self, count: int) -> slice:
        """Slice of `count` samples that this rank takes; all of them if there are fewer samples than ranks."""
        if count < self.world:
            return slice(0, count)
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def weight(self, count: int) -> float:
        """Weight of this rank's mean in the mean over all ranks."""
        if count < self.world:
            return 1 / self.world
        own = self.share(count)
        return len(range(own.start, own.stop)) / count


@dataclass(frozen=True)
class TrainingLength:
    """Length of a training.

    Parameters
    ----------
    steps : int
        Total number of steps.
    validate_every : int
        Validation interval in steps: one epoch.  The last epoch may be shorter.
    samples : int
        Patches per step.
    """

    steps: int
    validate_every: int
    samples: int

    @classmethod
    def of_epochs(cls, epochs: int, steps: int, most: int | None, samples: int) -> "TrainingLength":
        """Make the length of a training in epochs.

        Parameters
        ----------
        epochs : int
            Number of epochs.
        steps : int
            Steps in a pass over the data.
        most : int or None
            Largest number of steps per epoch; None for a whole pass.
        samples : int
            Patches per step.
        """
        epoch = min(steps, most or steps)
        return cls(epochs * epoch, epoch, samples)

    def position(self, step: int, rank: int = 0, world: int = 1) -> StepPosition:
        """Position of a step."""
        return StepPosition(step, step // self.validate_every, step % self.validate_every, rank, world)


class Objective(Protocol[Batch]):
    """What the engine trains: batches, the loss of a batch, and a held-out loss to minimise.

    An objective has its data and settings, and no call changes it: the engine may request any batch, from
    another thread, and more than once.  The engine uses only the parameters and buffers of the model.
    """

    name: str
    """Name of the loss in histories: ``"nll"`` gives ``train_nll`` and ``held_out_nll``."""

    unit: str
    """Unit of the loss."""

    references: Mapping[str, float]
    """Held-out losses to compare with, by name, such as those of the baselines."""

    def batch(self, position: StepPosition) -> Batch:
        """Share of this rank in the batch of a step, on the training device; depends only on the position."""

    def count(self, position: StepPosition) -> int:
        """Number of samples in the batch of a step, over all ranks."""

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean loss of a batch, and other means to log, by name; all are scalar tensors.

        Parameters
        ----------
        model : nn.Module
            The model, in training mode.
        batch : Batch
            A batch from `batch`.
        generator : torch.Generator
            Random numbers of the step, seeded by its position, on the training device.
        """

    def held_out(self, model: nn.Module) -> float:
        """Held-out loss of the model in evaluation mode, without gradients."""

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        """Describe the batch of a step for debugging, and return its tensors by name."""

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Pictures of the current model by name, (3 or 1, H, W) from 0 to 1; may be empty."""


class Prefetcher:
    """Reads the batch of the next step in a thread while the current step runs.

    Use it as a context manager; it yields a function from step to batch.

    Parameters
    ----------
    objective : Objective
        Source of the batches.
    length : TrainingLength
        Length of the training.
    rank, world : int
        Rank of this process, and the number of processes.
    """

    def __init__(self, objective: Objective[Any], length: TrainingLength, rank: int, world: int) -> None:
        self.objective, self.length, self.rank, self.world = objective, length, rank, world
        self.pool = ThreadPoolExecutor(1)
        self.next: tuple[int, Future[Any]] | None = None

    def __enter__(self) -> Callable[[int], Any]:
        return self.take

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> Any:
        """Return the batch of a step, and start reading that of the next step."""
        ahead = self.next[1] if self.next is not None and self.next[0] == step else self._start(step)
        batch = ahead.result()
        if step + 1 < self.length.steps:
            self._start(step + 1)
        return batch

    def _start(self, step: int) -> Future[Any]:
        future = self.pool.submit(self.objective.batch, self.length.position(step, self.rank, self.world))
        self.next = step, future
        return future

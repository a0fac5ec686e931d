"""Batches by step, the next one read while the last is trained on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from noiseflow.fit.training.objective import Length, Objective
from noiseflow.fit.training.ranks import Ranks

__all__ = ["Ahead"]


class Ahead:
    """Within its block a function from step to batch, of this rank's part.

    Parameters
    ----------
    objective : Objective
    length : Length
    ranks : Ranks
    """

    def __init__(self, objective: Objective[Any], length: Length, ranks: Ranks) -> None:
        self.objective, self.length, self.ranks = objective, length, ranks
        self.pool = ThreadPoolExecutor(1)
        self.next: tuple[int, Future[Any]] | None = None

    def __enter__(self) -> Callable[[int], Any]:
        return self.take

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> Any:
        """The batch of a step; that of the next one is asked for."""
        if self.next is None or self.next[0] != step:
            self._ask(step)
        assert self.next is not None
        batch = self.next[1].result()
        if step + 1 < self.length.steps:
            self._ask(step + 1)
        return batch

    def _ask(self, step: int) -> None:
        place = self.length.place(step, self.ranks.rank, self.ranks.world)
        self.next = step, self.pool.submit(self.objective.batch, place)

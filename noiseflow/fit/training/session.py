"""One sitting at a training: what fits of every kind do before and around it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noiseflow.core.output.checks import writing
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.training.batch_size import fastest_batch
from noiseflow.fit.training.device import device_of
from noiseflow.fit.training.engine import train
from noiseflow.fit.training.events import Events, events
from noiseflow.fit.training.objective import Length, Objective
from noiseflow.fit.training.ranks import Ranks, joined
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.fit.training.state import TrainState, read_state
from noiseflow.models.io.run_folder import STATE, holds_state, release, reserve

__all__ = ["Sitting", "begun"]


@dataclass(frozen=True)
class Sitting:
    """Where a training runs, who shares it, and whether it goes on with an earlier one.

    Parameters
    ----------
    out : Path
        Run folder, which is this training's own now.
    device : torch.device
    ranks : Ranks
        Of which the first alone writes into `out`.
    resume : bool
    log : Events or None
    progress : Progress
    began : float
        By `time.monotonic`.
    """

    out: Path
    device: torch.device
    ranks: Ranks
    resume: bool
    log: Events | None
    progress: Progress
    began: float

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def batch(
        self, said: int | None, model: nn.Module, objective_of: Callable[[int], Objective[Any]], patches: int
    ) -> int:
        """Patches a step: what was said, else what the training had that goes on, else what is fastest here.

        See `fastest_batch`; of several processes the first one finds its own, and all have that.
        """

        def found() -> int:
            if self.resume:
                return int(read_state(self.out / STATE)[0].arguments["batch"])
            return min(self.ranks.world * fastest_batch(model, objective_of, patches, self.device), patches)

        return self.ranks.first(found) if said is None else said

    def train(
        self,
        model: nn.Module,
        objective: Objective[Any],
        settings: TrainSettings,
        length: Length,
        arguments: Mapping[str, Any],
    ) -> TrainState:
        """Bring an objective down: see `noiseflow.fit.training.engine.train`."""
        return train(
            model,
            objective,
            settings,
            length,
            self.out,
            arguments=arguments,
            device=self.device,
            resume=self.resume,
            log=self.log,
            progress=self.progress,
            ranks=self.ranks,
        )


@contextmanager
def begun(
    out: str | Path,
    device: str,
    *,
    resume: bool,
    overwrite: bool,
    inputs: Iterable[str | Path] = (),
    progress: Progress = silent,
) -> Iterator[Sitting]:
    """Begin a training, or go on with it, together with the other processes where torchrun started several.

    Parameters
    ----------
    out : path
        Run folder.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    resume : bool
        Go on with what `out` holds.  A process that torchrun started anew does so unasked.
    overwrite : bool
        Whether a run in `out` may be replaced.
    inputs : iterable of path
        Files and folders that are read; `out` must neither be, hold nor lie in one of them.
    progress : Progress
        Told by the first process alone.

    Raises
    ------
    OutputError
        `out` holds a run already or what is not ours, or another process writes it.
    ModelError
        The device is not there.
    """
    folder, began = Path(out), time.monotonic()
    with joined() as ranks, ExitStack() as stack:
        chosen = device_of(device, ranks.local)

        def goes_on() -> bool:
            stack.enter_context(writing(folder, folder=True, inputs=inputs, goes_on=True))
            if resume or (ranks.restarted and holds_state(folder)):
                return True
            reserve(folder, overwrite=overwrite)
            stack.callback(release, folder)
            return False

        going_on = ranks.first(goes_on)
        with events(folder) if ranks.leads else nullcontext() as log:
            yield Sitting(folder, chosen, ranks, going_on, log, progress if ranks.leads else silent, began)

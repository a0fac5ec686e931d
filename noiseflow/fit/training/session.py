"""A training session: device, ranks, run folder, logs and resume, shared by all fits."""

import csv
import io
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.listed import write_listed
from noiseflow.core.output.manifest import record as list_file
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import counted
from noiseflow.core.version import __version__
from noiseflow.fit.training.batch_size import fastest_batch
from noiseflow.fit.training.objective import Objective
from noiseflow.fit.training.ranks import ALONE, Ranks, joined
from noiseflow.fit.training.state import adopt_state, events_in, read_state
from noiseflow.models.io.run_folder import SPEC, STATE, WEIGHTS, finish, holds_state, release, reserve, where_state_is

__all__ = ["EpochLog", "TrainingSession", "device_of", "open_session", "repeatable"]


class EpochLog:
    """TensorBoard events in a run folder; does nothing if TensorBoard is not installed (extra ``[train]``).

    Parameters
    ----------
    folder : Path
        Run folder, the argument of ``tensorboard --logdir``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def write(self, epoch: int, row: Mapping[str, float], pictures: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write the numbers and pictures of an epoch; `pictures` is not called without TensorBoard."""
        if self.writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            # The file keeps growing, so it is listed by the random end of its name instead of its content.
            token = token_hex(8)
            list_file(self.folder, {"growing": f"events.out.tfevents.*.{token}"})
            self.writer = SummaryWriter(str(self.folder), filename_suffix=f".{token}")
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(f"fit/{name}", value, epoch)
        for name, picture in pictures().items():
            self.writer.add_image(f"fit/{name}", picture, epoch)
        self.writer.flush()

    def take_over(self, finished: Path) -> None:
        """Copy the events of the finished run that this one continues."""
        for path in events_in(finished):
            list_file(self.folder, {"growing": path.name})
            shutil.copy2(path, self.folder)

    def close(self) -> None:
        """Close the file of events, if there is one."""
        if self.writer is not None:
            self.writer.close()


@dataclass(frozen=True)
class TrainingSession:
    """Device, processes and run folder of a training, and whether it resumes an earlier one.

    Parameters
    ----------
    out : Path
        Folder into which the training writes.
    device : torch.device
        Device to train on.
    ranks : Ranks
        Processes that share the training; only the first writes into `out`.
    resume : bool
        Continue from the state in `out`.
    log : EpochLog, optional
        Receives the numbers and pictures of each validation.
    progress : Progress
        Called after each step.
    began : float
        Start of the session by `time.monotonic`, seconds.
    place : Path, optional
        Final run folder, if an earlier run stays there until this one is complete; by default `out`.
    finished : Path, optional
        Finished run whose last state is continued in `out`, and which stays as it is.
    """

    out: Path
    device: torch.device
    ranks: Ranks = ALONE
    resume: bool = False
    log: EpochLog | None = None
    progress: Progress = silent
    began: float = field(default_factory=time.monotonic)
    place: Path | None = None
    finished: Path | None = None

    @property
    def resumed_from(self) -> Path:
        """Run folder with the state to resume."""
        return self.finished or self.out

    @property
    def final(self) -> Path:
        """Final run folder."""
        return self.place or self.out

    @property
    def seconds(self) -> float:
        """Seconds since the session began."""
        return time.monotonic() - self.began

    def batch_size(
        self, chosen: int | None, model: nn.Module, objective_of: Callable[[int], Objective[Any]], patches: int
    ) -> int:
        """Number of patches per step: the chosen one, that of the resumed training, or the fastest here.

        The first of several processes decides for all.

        Parameters
        ----------
        chosen : int or None
            The user's choice; None to use the resumed training's, or to measure (`fastest_batch`).
        model : nn.Module
            Model on the device.
        objective_of : callable
            Batch size → objective.
        patches : int
            Number of patches in a pass over the data.
        """

        def found() -> int:
            if self.resume:
                return int(read_state(self.resumed_from / STATE)[0].arguments["batch"])
            return min(self.ranks.world * fastest_batch(model, objective_of, patches, self.device), patches)

        return self.ranks.first(found) if chosen is None else chosen

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write ``history.csv`` atomically."""
        table = io.StringIO()
        # The row of the start lacks the metrics of steps, so these cells stay empty.
        columns = dict.fromkeys(name for row in history for name in row)
        writer = csv.DictWriter(table, list(columns))
        writer.writeheader()
        writer.writerows(history)
        write_listed(self.out, "history.csv", table.getvalue().encode())

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write ``fit.json`` atomically: versions, and the record of a fit."""
        versions = {"tool": f"noiseflow {__version__}", "torch": torch.__version__, "python": platform.python_version()}
        write_listed(self.out, "fit.json", (json.dumps({**versions, **record}, indent=2) + "\n").encode())


@contextmanager
def open_session(
    out: str | Path,
    device: str,
    *,
    resume: bool,
    overwrite: bool,
    inputs: Iterable[str | Path] = (),
    epochs: int | None = None,
    progress: Progress = silent,
) -> Iterator[TrainingSession]:
    """Start or resume a training, together with the other processes if torchrun started several.

    Parameters
    ----------
    out : path
        Run folder.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    resume : bool
        Resume the training in `out`.  A process that torchrun restarted does so without being told.
    overwrite : bool
        Replace an existing run in `out`.
    inputs : iterable of path
        Files and folders that are read; `out` must not be one of them, contain one, or be inside one.
    epochs : int, optional
        Length of the training, by which a finished run in `out` is resumed for more epochs.  It stays in place
        until the longer training is complete.  Without it, or if torchrun restarted this process, the last state of
        a finished run is resumed as that of any other.
    progress : Progress
        Called by the first process only.

    Raises
    ------
    OutputError
        If `out` contains a run that may not be replaced or other files, or another process is writing it.
    ModelError
        If the device is not available, or the run to resume is finished and not shorter than `epochs`, or has no state.
    """
    folder, began = Path(out), time.monotonic()
    with joined() as ranks, ExitStack() as stack:
        chosen = device_of(device, ranks.local)

        def started() -> tuple[bool, Path, Path | None]:
            stack.enter_context(writing(folder, folder=True, inputs=inputs, goes_on=True))
            work = where_state_is(folder)
            finished = resume and not ranks.restarted and work == folder and _is_finished(folder)
            if finished and not holds_state(folder):
                raise ModelError(
                    f"{folder}: has a fitted model and no state of a training to resume; fit it again with "
                    "--overwrite, or into another folder"
                )
            if finished and epochs is not None:
                _check_longer(folder, epochs)
                adopt_state(folder / STATE)
                work = reserve(folder, overwrite=True)
                stack.callback(release, work)
                return True, work, folder
            # A restarted process resumes the state of this training, never that of the run to be replaced.
            replaced = overwrite and work == folder and (folder / SPEC).is_file()
            if resume or (ranks.restarted and holds_state(work) and not replaced):
                return True, work, None
            work = reserve(folder, overwrite=overwrite)
            stack.callback(release, work)
            return False, work, None

        resuming, work, finished = ranks.first(started)
        if not ranks.leads:
            yield TrainingSession(work, chosen, ranks, resuming, began=began, place=folder, finished=finished)
            return
        log = EpochLog(work)
        if finished is not None:
            log.take_over(finished)
        try:
            yield TrainingSession(work, chosen, ranks, resuming, log, progress, began, folder, finished)
        finally:
            log.close()
        finish(work, folder)


def _is_finished(folder: Path) -> bool:
    return (folder / SPEC).is_file() and (folder / WEIGHTS).is_file()


def _check_longer(folder: Path, epochs: int) -> None:
    """Refuse to resume a finished run that is not shorter than `epochs`; one that stopped early is."""
    state, _ = read_state(folder / STATE)
    had = int(state.arguments.get("epochs", state.epoch))
    if epochs < had or state.epoch >= epochs:
        raise ModelError(
            f"{folder}: the fit is finished, with {counted(had, 'epoch')}; to train it for longer, pass --resume with "
            f"--epochs above {had}; got {epochs}"
        )


def device_of(name: str, local_rank: int = 0) -> torch.device:
    """Device with a name; ``"auto"`` is the GPU if there is one.

    Parameters
    ----------
    name : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    local_rank : int
        Rank of this process on its machine, which selects its GPU.

    Raises
    ------
    ModelError
        If the name is unknown or there is no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: expected auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: PyTorch finds no GPU; use --device cpu or auto")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return device


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Use deterministic kernels on a GPU where they exist; CPU kernels are always deterministic."""
    if device.type == "cpu":
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)

"""State of a training: copies and averages of weights, and checkpoints from which it resumes exactly."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.core.output.listed import adopt, remove_listed, write_listed_folder
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.schema import ListOf, MapOf, Number, Plain, Table, checked
from noiseflow.core.reading.system import refused_by_system
from noiseflow.core.reading.text import read_json

__all__ = [
    "STATES_KEPT",
    "Tensors",
    "TrainState",
    "WeightAverage",
    "adopt_state",
    "copied",
    "events_in",
    "holding",
    "read_state",
    "write_state",
]

STATES_KEPT = 2
"""Number of states kept on disk; if the last one is damaged, the one before is used."""

STATE_FILES = ("tensors.safetensors", "state.json")
"""Files of a state."""

EVENTS = re.compile(r"events\.out\.tfevents\..+\.[0-9a-f]{16}")
"""Name of a file of TensorBoard events of ours, which ends in random digits; the user may log to the folder too."""

WHAT = "the state of a training"

COUNT = Number(0, 2**53, whole=True)

STATE_SCHEMA = Table(
    {
        "step": COUNT,
        "epoch": COUNT,
        "best_epoch": COUNT,
        "best": Number(-math.inf, math.inf, nan=True),
        "seconds": Number(0),
        "history": ListOf(MapOf(Number(-math.inf, math.inf, nan=True))),
        "arguments": MapOf(Plain()),
    },
    {"continued": ListOf(COUNT)},
)
"""Schema of ``state.json``."""

Weights = dict[str, Tensor]

Tensors = dict[str, Weights]
"""Tensors of a state by group (model, best, average, optimiser, …) and name."""


def copied(model: nn.Module) -> Weights:
    """Copy a model's parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def holding(model: nn.Module, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Load other weights into a model for the duration of the block; None keeps its own."""
    if weights is None:
        yield
        return
    own = copied(model)
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)


class WeightAverage:
    """Exponential moving average of weights: w̄ ← d·w̄ + (1 − d)·w at each step.

    After k steps d is min(decay, (1 + k)/(10 + k)), so that the start soon loses its weight.

    Parameters
    ----------
    model : nn.Module
        Model whose weights are the initial average.
    decay : float
        Largest d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = copied(model)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after a step; integer buffers, such as counts, are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - keep)
            else:
                self.weights[name].copy_(value)


@dataclass
class TrainState:
    """Progress of a training; the position in the data and the random numbers follow from the step.

    Parameters
    ----------
    step : int
        Number of steps done.
    epoch : int
        Number of validations done.
    best_epoch : int
        Epoch with the lowest held-out loss; 0 is the start.
    best : float
        The lowest held-out loss.
    seconds : float
        Seconds spent so far, over all sessions.
    history : list of dict
        One row per validation.
    arguments : dict
        Settings and fingerprints that must be the same on resume.
    continued : list of int
        Epochs at which a finished training was given more epochs.
    """

    step: int = 0
    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    continued: list[int] = field(default_factory=list)


def write_state(folder: Path, state: TrainState, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a state atomically into a folder named after its step, and remove all but the last `STATES_KEPT`.

    Parameters
    ----------
    folder : Path
        Folder of the states, in the run folder.
    state : TrainState
        Progress of the training.
    tensors : mapping of str to mapping
        Group → name → tensor.
    """
    flat = {f"{group}/{name}": value for group, values in tensors.items() for name, value in values.items()}
    weights = save({name: value.detach().cpu().contiguous().clone() for name, value in flat.items()})
    run, below = folder.parent, folder.name
    contents = {"tensors.safetensors": weights, "state.json": json.dumps(asdict(state)).encode()}
    write_listed_folder(run, f"{below}/{state.step:09d}", contents)
    for old in _states(folder)[:-STATES_KEPT]:
        remove_listed(run, f"{below}/{old.name}")


def events_in(run: Path) -> list[Path]:
    """Return the files of TensorBoard events that a fit wrote into its run folder."""
    return [path for path in run.iterdir() if EVENTS.fullmatch(path.name) and path.is_file() and not path.is_symlink()]


def adopt_state(folder: Path) -> None:
    """Make the list of files of a run from an earlier version without lists, before it is resumed."""
    states = [f"{folder.name}/{state.name}/{name}" for state in _states(folder) for name in STATE_FILES]
    events = [path.name for path in events_in(folder.parent)]
    adopt(folder.parent, ["history.csv", "fit.json", "spec.json", "model.safetensors", *events, *states])


def read_state(folder: Path) -> tuple[TrainState, Tensors]:
    """Read the last complete state: the progress, and the tensors by group and name.

    Parameters
    ----------
    folder : Path
        Folder of the states, in the run folder.

    Raises
    ------
    ModelError
        If there is none, or all are damaged.
    """
    found = _states(folder)
    if not found:
        raise ModelError(f"{folder.parent}: contains no state to resume; fit without --resume")
    for path in reversed(found):
        try:
            check_file(path / "state.json", ModelError)
            table = read_json(path / "state.json", WHAT, ModelError, constants=True)
            state = TrainState(**checked(table, STATE_SCHEMA, f"{path.name}/state.json", ModelError))
            flat = _tensors(path / "tensors.safetensors")
        except ModelError as error:
            reason = error
            continue
        tensors: Tensors = {}
        for name, value in flat.items():
            group, _, rest = name.partition("/")
            tensors.setdefault(group, {})[rest] = value
        return state, tensors
    raise ModelError(f"{folder}: cannot read the state of the fit ({reason}); fit without --resume") from reason


def _tensors(path: Path) -> Weights:
    check_file(path, ModelError)
    try:
        tensors: Weights = load_file(path)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path}: {refused_by_system(path, error) or f'is damaged ({error})'}") from error
    return tensors


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Weights:
    """State of an optimiser, by parameter number and slot."""
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, slots in optimiser.state_dict()["state"].items()
        for name, value in slots.items()
    }


def fill_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state of an optimiser from the result of `optimiser_tensors`."""
    slots: dict[int, Weights] = {}
    for name, value in tensors.items():
        index, _, slot = name.partition("/")
        slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdecimal())

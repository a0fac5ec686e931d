"""What a training needs to go on exactly where it was, as safetensors and JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.core.output.listed import adopt, remove_listed, write_listed_folder

__all__ = ["KEPT", "Tensors", "TrainState", "adopt_state", "read_state", "write_state"]

KEPT = 2
"""States on disk: should the last be damaged, there is the one before."""

STATE_FILES = ("tensors.safetensors", "state.json")

Tensors = dict[str, dict[str, Tensor]]
"""Tensors of a state by group (model, best, average, optimiser, …) and name."""


@dataclass
class TrainState:
    """Where a training stands.  Position in the data and random numbers follow from the step.

    Parameters
    ----------
    step : int
        Steps done.
    epoch : int
        Looks done.
    best_epoch : int
        After which the held-out figure was lowest; 0 is the start.
    best : float
        That figure.
    seconds : float
        Spent so far, all sittings together.
    history : list of dict
        A row a look.
    arguments : dict
        Settings and fingerprints that must be the same when it goes on.
    """

    step: int = 0
    epoch: int = 0
    best_epoch: int = 0
    best: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)


def write_state(folder: Path, state: TrainState, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a state as a folder named by its step, which takes its name when it is whole; the last two are kept."""
    flat = {f"{group}/{name}": value for group, values in tensors.items() for name, value in values.items()}
    weights = save({name: value.detach().cpu().contiguous().clone() for name, value in flat.items()})
    run, below = folder.parent, folder.name
    contents = {"tensors.safetensors": weights, "state.json": json.dumps(asdict(state)).encode()}
    write_listed_folder(run, f"{below}/{state.step:09d}", contents)
    for old in _states(folder)[:-KEPT]:
        remove_listed(run, f"{below}/{old.name}")


def adopt_state(folder: Path) -> None:
    """List the files of a run of an earlier version, whose state was found to be the one to go on with."""
    states = [f"{folder.name}/{state.name}/{name}" for state in _states(folder) for name in STATE_FILES]
    adopt(folder.parent, ["history.csv", "fit.json", "spec.json", "model.safetensors", *states])


def read_state(folder: Path) -> tuple[TrainState, Tensors]:
    """Read the last state that is whole.

    Raises
    ------
    ModelError
        If there is none, or all are damaged.
    """
    found = _states(folder)
    if not found:
        raise ModelError(f"{folder.parent}: holds no state to go on from; fit without --resume")
    for path in reversed(found):
        try:
            state = TrainState(**json.loads((path / "state.json").read_text(encoding="utf-8")))
            flat = load_file(path / "tensors.safetensors")
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            reason = error
            continue
        tensors: Tensors = {}
        for name, value in flat.items():
            group, _, rest = name.partition("/")
            tensors.setdefault(group, {})[rest] = value
        return state, tensors
    raise ModelError(f"{folder}: cannot read the state of the fit ({reason}); fit without --resume") from reason


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers, by parameter number and slot."""
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, slots in optimiser.state_dict()["state"].items()
        for name, value in slots.items()
    }


def fill_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser what `optimiser_tensors` said."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, slot = name.partition("/")
        slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdecimal())

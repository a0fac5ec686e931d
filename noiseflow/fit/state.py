"""What a fit needs to go on exactly where it was, as safetensors and JSON."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from noiseflow.errors import ModelError

__all__ = ["FitState", "read_state", "write_state"]


@dataclass
class FitState:
    """Where a fit stands after a whole epoch.

    Parameters
    ----------
    epoch : int
        Epochs done.
    best_epoch : int
        After which the held-out NLL was lowest; 0 is the start.
    best_nll : float
        That NLL, nats/dim.
    history : list of dict
        A row an epoch.
    arguments : dict
        Settings and fingerprints that must be the same when it goes on.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_nll: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)


def write_state(
    folder: Path, state: FitState, model: dict[str, Tensor], best: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> None:
    """Write the state as a folder that takes its name when it is whole."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {f"model/{name}": value for name, value in model.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in slots.items()}
    save_file(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        partial / "tensors.safetensors",
    )
    (partial / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        os.replace(folder, previous)
    os.replace(partial, folder)
    shutil.rmtree(previous, ignore_errors=True)


def read_state(folder: Path, optimiser: torch.optim.Optimizer) -> tuple[FitState, dict[str, Tensor], dict[str, Tensor]]:
    """Read what `write_state` wrote, fill the optimiser; the state, model and best weights.

    Raises
    ------
    ModelError
        If there is no state, or it is damaged.
    """
    if not folder.is_dir():
        # A kill between the two renames leaves the last state under its other name.
        folder = folder.with_name(folder.name + ".previous")
    if not folder.is_dir():
        raise ModelError(f"{folder.parent}: holds no state to go on from; fit without --resume")
    try:
        state = FitState(**json.loads((folder / "state.json").read_text(encoding="utf-8")))
        tensors = load_file(folder / "tensors.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot read the state of the fit ({error}); fit without --resume") from error
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser/"):
            _, index, slot = name.split("/")
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
    model, best = (
        {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)}
        for part in ("model/", "best/")
    )
    return state, model, best

"""Automatic batch size: double the batch as long as that trains more patches per second."""

import copy
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.fit.training.objective import Objective, StepPosition

__all__ = ["SIZES", "fastest_batch"]

SIZES: tuple[int, ...] = tuple(2**power for power in range(5, 14))
"""Batch sizes to try, in patches: 32 to 8,192."""

GAIN = 1.07
"""Smallest ratio of patches per second for which the batch is doubled."""

STEPS, TRIES = 3, 2
"""Number of steps timed together, and number of timings, of which the best counts; one step before them warms up."""

FEWEST = 10
"""Smallest number of steps in a pass over the data."""

MEMORY = 0.5
"""Fraction of the free memory that activations kept for the gradient may use."""


def fastest_batch(
    model: nn.Module, objective_of: Callable[[int], Objective[Any]], patches: int, device: torch.device
) -> int:
    """Find the smallest batch that trains about as fast as larger ones, by timing a few steps of a copy of the model.

    The batch is doubled as long as that raises patches per second, the next batch fits into half of the free
    memory, and a pass over the data has at least ten steps.

    Parameters
    ----------
    model : nn.Module
        Model on `device`; left unchanged.
    objective_of : callable
        Batch size → objective with such batches.
    patches : int
        Number of patches in a pass over the data.
    device : torch.device
        Device to train on.
    """
    model = copy.deepcopy(model).train()
    best: int = SIZES[0]
    best_rate = 0.0
    for size in SIZES:
        if size > SIZES[0] and size * FEWEST > patches:
            break
        objective = objective_of(min(size, patches))
        step = partial(_step, model, objective, objective.batch(StepPosition(0, 0, 0)), device)
        kept = _bytes_kept(step)
        rate = size * STEPS / min(_seconds(step, device) for _ in range(TRIES))
        if rate < GAIN * best_rate:
            break
        best, best_rate = size, rate
        if 2 * kept > MEMORY * _free(device):
            break
    return min(best, patches)


def _step(model: nn.Module, objective: Objective[Any], batch: Any, device: torch.device) -> None:
    loss, _ = objective.loss(model, batch, torch.Generator(device).manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _bytes_kept(step: Callable[[], None]) -> int:
    """Bytes that a step keeps for its gradient."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(storages.values())


def _free(device: torch.device) -> float:
    """Bytes of free memory; infinite if the system does not report it."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf

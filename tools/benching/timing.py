"""Shortest times of several things, taken by turns so that a busy moment meets all of them.

Of one thread they are times of the processor, which other work on the machine adds little to.
"""

import time
from collections.abc import Callable, Mapping

import torch

from tools.benching.subjects import GENERATED, Point, Work, work

__all__ = ["Times", "best_by_turns", "times_at"]

Times = dict[str, dict[str, float]]
"""Seconds by what is done (``training``, ``sampling``) and by whom."""

ENOUGH_S = 0.4
"""Of one thing, after which it is not called again."""

LEAST, MOST = 2, 12
"""Calls that are timed, after one that is not."""


def best_by_turns(calls: Mapping[str, Callable[[], object]], device: str = "cpu") -> dict[str, float]:
    """Shortest time of each call, s: the processor's for one thread of a CPU, else by the clock."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for turn in range(MOST):
        for name, call in calls.items():
            if turn < LEAST or sum(spent[name]) < ENOUGH_S:
                spent[name].append(_seconds(call, device, clock))
    return {name: min(each) for name, each in spent.items()}


def _seconds(call: Callable[[], object], device: str, clock: Callable[[], float]) -> float:
    wait(device)
    began = clock()
    call()
    wait(device)
    return clock() - began


def wait(device: str) -> None:
    """For a GPU, which works on after a call has returned."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def times_at(point: Point, names: tuple[str, ...], device: str = "cpu") -> Times:
    """Times of a step of training and a pass of sampling at one point."""
    before = torch.get_num_threads()
    torch.set_num_threads(point.threads)
    try:
        works: dict[str, Work] = {name: work(name, point, device) for name in (*names, GENERATED)}
        training = {name: each.training for name, each in works.items() if each.training is not None}
        return {
            "training": best_by_turns(training, device),
            "sampling": best_by_turns({name: each.sampling for name, each in works.items()}, device),
        }
    finally:
        torch.set_num_threads(before)

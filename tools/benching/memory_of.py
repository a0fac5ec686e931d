"""Peak memory of training and sampling, above what the process had."""

from dataclasses import replace

import torch

from tools.benching.subjects import Point, work
from tools.workloads.memory import Peaks, in_fresh_process, watched

__all__ = ["peaks_of"]


def peaks_of(name: str, points: list[Point]) -> list[dict[str, float]]:
    """MiB of sampling and of training at points of rising size, all in one fresh process.

    What libraries keep from their first use on is not counted: one patch goes before.
    """
    found: list[dict[str, float]] = in_fresh_process(_peaks, name, points)
    return found


def _peaks(name: str, points: list[Point]) -> list[dict[str, float]]:
    torch.set_num_threads(1)
    first = work(name, replace(points[0], batch=2))
    for call in (first.sampling, first.training):
        if call is not None:
            call()
    before = Peaks()
    before.look()
    found = []
    for point in points:
        each = work(name, point)
        figures = {}
        for what, call in (("sampling", each.sampling), ("training", each.training)):
            if call is None:
                continue
            call()
            with watched() as peaks:
                call()
            figures[what] = peaks.own - before.own
        found.append(figures)
    return found

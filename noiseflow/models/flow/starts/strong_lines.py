"""Fit shot and read noise beside strong lines: from differences within them."""

from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.flows.camera.column_noise import ColumnNoise
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models.flow.starts.planes import LARGEST, start_planes
from noiseflow.models.flow.starts.rows import within_lines

__all__ = ["start_within_lines"]

ROUNDS, BOUND = 3, 0.999
"""Number of rounds, because each step is bounded; fraction of the bound above which a factor counts as undetermined."""


def start_within_lines(head: ShotReadScale, lines: list[LineNoise], noise: Tensor, cond: Resolved, planes: int) -> None:
    """Fit shot and read noise again, within rows, and within columns if there are; offsets keep their DN.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise.
    lines : list of LineNoise
        All line noise.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    planes : int
        Number of planes of a CFA cell.
    """
    within, observed = noise, cond.observed
    for axis in ("row", "column") if any(isinstance(each, ColumnNoise) for each in lines) else ("row",):
        within, observed = within_lines(within, planes, observed, axis)
    cond = replace(cond, observed=observed)
    before = head.log_beta2 + head.plane_beta2.mean(1)
    for _ in range(ROUNDS):
        start_planes(head, within, cond)
        shot, read = head.plane_beta1.mean(1), head.plane_beta2.mean(1)
        # Without light β₁ is not identified, and the fit ends at its bound.
        shot = torch.where(shot.abs() < BOUND * LARGEST, shot, 0.0)
        head.log_beta1.add_(shot)
        head.log_beta2.add_(read)
        head.plane_beta1.sub_(shot[:, None])
        head.plane_beta2.sub_(read[:, None])
    for each in lines:
        each.scale_offsets(before - head.log_beta2)

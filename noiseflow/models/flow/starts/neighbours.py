"""Row noise of a camera with correlated neighbours, estimated again once the neighbour filter is known."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from noiseflow.flows.camera.line_noise import NONE, LineNoise
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.neighbour_rows import NeighbourRows
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.row_noise import NO_FLICKER, RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models.flow.starts.rows import (
    FLICKER,
    SURE,
    WORTH,
    ChosenRows,
    _add_memory,
    _Bands,
    _bands,
    _fit_independent,
    _frames,
    _held_out_gain,
    measure_lines,
)

__all__ = ["rows_among_neighbours"]


@torch.no_grad()
def rows_among_neighbours(
    head: ShotReadScale,
    rows: LineNoise,
    neighbours: NeighbourFilter,
    noise: Tensor,
    cond: Resolved,
    bands: Tensor,
    *,
    planes: int,
    left_out: Collection[str] = (),
) -> ChosenRows:
    """Initialise row noise beside a neighbour filter, with memory if that still improves held-out bands.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, without the variance of `rows`.
    rows : LineNoise
        Row noise found before the neighbour filter.
    neighbours : NeighbourFilter
        The initialised filter.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    bands : Tensor of int, shape (B,) or (B, 2)
        Equal for patches on the same sensor rows.
    planes : int
        Planes of the noise.
    left_out : collection of str
        As in `choose_rows`.
    """
    size = (planes, *rows.log_variance.shape[:1], rows.log_isos.exp().tolist())
    alone = RowNoise(*size).to(noise)
    if isinstance(rows, RowMemory):
        # The likelihood of independent pixels attributed part of the neighbour correlation to rows; use moments.
        measure_lines(head, alone, noise, cond, bands)
    else:
        alone.load_state_dict(rows.state_dict(), strict=False)
    if "row_flicker" in left_out:
        alone.log_flicker.fill_(math.log(NO_FLICKER))
    if not alone.flickers and not bool((alone.log_variance.exp() > 2 * NONE).any()):
        plain = LineNoise(*size, in_read_noise=True).to(noise)
        plain.log_variance.copy_(alone.log_variance)
        return ChosenRows(plain, {}, ("row noise: none",))
    found = rows if isinstance(rows, NeighbourRows) else NeighbourRows(*size).to(noise)
    found.follow(neighbours)
    data, shared = _bands(head, alone, noise, cond, bands)
    found.log_frame.copy_(shared.log())
    gain, error = _held_out_gain(found, alone, data)
    wanted = "row_memory" not in left_out
    remembers = wanted and gain > SURE * error and gain > WORTH and _fitted(found, alone, data)
    found.to(noise.dtype)
    if remembers:
        worth = f"worth {gain:.5f} ± {2 * error:.5f} nats/dim on held-out rows"
        note = f"row noise correlated from row to row{_frames(found)}: {worth}"
        return ChosenRows(found, {"neighbour_rows": True, "row_memory": True}, (note,))
    found.log_memory.fill_(math.log(NO_FLICKER))
    found.log_frame.fill_(math.log(NO_FLICKER))
    found.log_variance.copy_(alone.log_variance)
    found.log_flicker.copy_(alone.log_flicker)
    if alone.flickers:
        return ChosenRows(found, {"neighbour_rows": True, "row_flicker": True}, (FLICKER,))
    return ChosenRows(found, {"neighbour_rows": True}, ("row noise",))


def _fitted(rows: NeighbourRows, alone: RowNoise, data: _Bands) -> bool:
    _fit_independent(rows, alone, data)
    return _add_memory(rows, alone, data)

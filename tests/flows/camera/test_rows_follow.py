"""The filter of rows has the coefficients of the neighbours that follow it, at their distance in rows of the mosaic."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from noiseflow.flows.camera.neighbour_filter import TAPS
from noiseflow.flows.camera.neighbour_rows import NeighbourRows


@pytest.mark.parametrize(("planes", "packed", "apart"), [(1, False, 1), (4, False, 2), (4, True, 1)])
def test_a_row_s_own_tap_is_one_less_those_beside_it_and_of_others_less_theirs(
    planes: int, packed: bool, apart: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    rows = NeighbourRows(planes, 2, (100.0, 400.0))
    weights = 0.1 * torch.randn(2, 2, len(TAPS), generator=draw)
    scale = 0.2 * torch.randn(2, 2, generator=draw)
    neighbours: Any = SimpleNamespace(packed=packed, weights=weights, log_scale=scale)
    rows.follow(neighbours)
    expected = torch.zeros_like(rows.taps)
    expected[..., 0] = 1.0
    for tap, (up, _) in enumerate(TAPS):
        expected[..., abs(up) * apart] -= weights[..., tap]
    torch.testing.assert_close(rows.taps, expected / scale.exp()[..., None])

"""Rows that flicker start at their own offset of each camera and ISO, and a flicker that says so at twice nothing."""

import math

import pytest
import torch

from noiseflow.flows.camera.row_noise import NO_FLICKER, RowNoise
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters

ISOS = (100.0, 400.0)
OFFSETS = ((0.3, 1.2), (4.0, 4.0))
"""r of each camera and ISO, in units of the read-noise variance; the second camera has been seen at one ISO alone."""

FLICKER, READ, COUNT = 3e-5, 2e-3, 320


@torch.no_grad()
def test_each_camera_and_iso_has_its_own_rows() -> None:
    """Rows of 48 pixels, 320 patches of 8 rows: r is known to about 2·(1/48 + r)/√(1,280) and the line's part."""
    draw = torch.Generator().manual_seed(1)
    number = torch.arange(COUNT)
    camera, knot = number % 2, number // 2 % 2 * (number % 2 == 0)
    clean = torch.linspace(0, 0.6, COUNT)[torch.randperm(COUNT, generator=draw)][:, None, None, None]
    clean = clean.expand(COUNT, 1, 8, 48).contiguous()
    # Read noise alone: σ² = β₂, so that d is 1 and e is y/σ.
    noise = NoiseParameters(clean, torch.full((COUNT, 1, 1, 1), 1e-12), torch.full((COUNT, 1, 1, 1), READ**2))
    r = torch.tensor(OFFSETS)[camera, knot][:, None, None, None]
    offsets, lamp = torch.randn(2, COUNT, 1, 8, 1, generator=draw)
    x = torch.randn(clean.shape, generator=draw) + r.sqrt() * offsets + math.sqrt(FLICKER) * lamp * clean / READ
    rows = RowNoise(1, 2, ISOS)
    rows.start_from(x, Resolved(clean, torch.tensor(ISOS)[knot], camera), noise)
    found = rows.log_variance.exp()
    for one, of_camera in enumerate(OFFSETS):
        for place, expected in enumerate(of_camera):
            assert float(found[one, place]) == pytest.approx(expected, rel=0.35), (one, place)
            assert float(rows.log_flicker[one, place].exp()) == pytest.approx(FLICKER, rel=0.35)


@pytest.mark.parametrize(("times", "flickers"), [(1.99, False), (2.01, True)])
def test_it_flickers_from_twice_the_smallest_on(times: float, flickers: bool) -> None:
    rows = RowNoise(1, 2, ISOS)
    with torch.no_grad():
        rows.log_flicker.fill_(math.log(NO_FLICKER))
        rows.log_flicker[1, 0] = math.log(times * NO_FLICKER)
    assert rows.flickers == flickers

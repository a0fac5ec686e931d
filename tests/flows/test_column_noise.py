"""Rows and columns whose offsets add: against the dense covariance, and with their sums over parts of a frame."""

import math

import pytest
import torch
from transform_table import CAMERAS, ISOS, generator

from noiseflow.flows.camera.column_noise import ColumnNoise
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.signal_model import NoiseParameters

ROWS, COLUMNS = 0.5, 0.3


def chain(planes: int) -> tuple[LineNoise, ColumnNoise]:
    rows = LineNoise(planes, CAMERAS, ISOS, start=ROWS, in_read_noise=True).double()
    columns = ColumnNoise(planes, CAMERAS, ISOS, COLUMNS).double()
    columns.follow(rows)
    return rows, columns


def given(planes: int, height: int, width: int, batch: int = 3) -> tuple[Conditions, NoiseParameters]:
    clean = torch.zeros(batch, planes, height, width, dtype=torch.float64)
    one = torch.ones(batch, planes, 1, 1, dtype=torch.float64)
    return Conditions(clean, 400.0, 1).resolve("ABC"), NoiseParameters(clean, one, one)


@torch.no_grad()
@pytest.mark.parametrize("planes", [1, 4])
def test_the_density_is_that_of_offsets_that_add(planes: int) -> None:
    """Of even light exactly: I + r·rows + c·columns of the mosaic."""
    cond, noise = given(planes, 4, 5)
    side = math.isqrt(planes)
    rows, columns = chain(planes)
    x = torch.randn(cond.clean.shape, generator=generator(2), dtype=torch.float64)
    whitened, first = rows(x, cond, noise)
    z, second = columns(whitened, cond, noise)
    found = first + second - 0.5 * z.square().sum((1, 2, 3))
    height, width = 4 * side, 5 * side
    down, across = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    same = [(each[:, None] == each).double() for each in (down, across)]
    covariance = torch.eye(height * width).double() + ROWS * same[0] + COLUMNS * same[1]
    mosaic = x.reshape(3, side, side, 4, 5).permute(0, 3, 1, 4, 2).reshape(3, -1)
    for element, values in zip(found.tolist(), mosaic, strict=True):
        expected = -0.5 * float(values @ torch.linalg.solve(covariance, values) + torch.logdet(covariance))
        assert element == pytest.approx(expected, rel=1e-8)
    torch.testing.assert_close(rows.inverse(columns.inverse(z, cond, noise), cond, noise), x, rtol=0, atol=1e-12)


@torch.no_grad()
def test_sums_of_parts_are_those_of_the_frame() -> None:
    cond, noise = given(4, 6, 7)
    _, columns = chain(4)
    z = torch.randn(cond.clean.shape, generator=generator(3), dtype=torch.float64)
    parts = []
    for rows in (slice(0, 2), slice(2, 6)):
        part = NoiseParameters(noise.clean[:, :, rows], noise.beta1, noise.beta2)
        parts.append(columns.sums(z[:, :, rows], part))
    torch.testing.assert_close(sum(parts), columns.sums(z, noise), rtol=1e-12, atol=0)


def test_columns_of_before_multiply() -> None:
    saved = LineNoise(4, CAMERAS, ISOS, "column", in_read_noise=True).state_dict()
    columns = ColumnNoise(4, CAMERAS, ISOS)
    columns.load_state_dict(saved)
    assert float(columns.log_rows.max()) < -60

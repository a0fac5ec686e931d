"""Rows that remember the rows before: against dense covariances, row by row, and in whole frames."""

import math

import pytest
import torch
from transform_table import conditions, noise_like, randomised, remembering_rows

from noiseflow.flows.camera import row_memory, row_process
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.row_process import RowProcess, colour, filtered, unfiltered, whiten


def process(batch: int = 2) -> RowProcess:
    draw = torch.Generator().manual_seed(4)
    variance, decay = (torch.rand(batch, 2, generator=draw).double() for _ in range(2))
    return RowProcess(variance, decay, torch.tensor([[0.0, 1.3]]).double().expand(batch, 2))


@torch.no_grad()
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("planes", [1, 4])
def test_the_density_is_that_of_the_rows_covariance(planes: int, flat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offset and light, independent and remembering, add, whether the light follows the offset along rows or not."""
    monkeypatch.setattr(row_memory, "APART", 1e-9)
    cond = conditions(3, planes, 6, 5)
    if flat:
        cond.clean[:] = 0.3
    transform = randomised(remembering_rows(planes), 0.3)
    rows, noise = transform.inner, transform.found(cond)
    assert isinstance(rows, RowMemory)
    x = noise_like(cond)
    z, log_det = rows(x, cond, noise)
    density = (log_det - 0.5 * z.square().sum((1, 2, 3))).tolist()
    d, e = rows._offset(x, noise), rows.relative_signal(x, noise)
    own = rows.log_density_of_rows(rows.sums(x, noise), cond) - 0.5 * x.square().sum((1, 2, 3))
    for element, found in enumerate(density):
        total = torch.eye(x[element].numel()).double()
        free = (rows.variance(cond)[element], rows.flicker(cond)[element])
        for along, process, variance in zip((d, e), rows.processes(cond), free, strict=True):
            lines = along.shape[1] * 6
            load = along[element].permute(2, 0, 1, 3).reshape(lines, -1)
            over_rows = float(variance) * torch.eye(lines).double() + process.covariance(lines)[element]
            total += torch.einsum("tx,ts,sy->txsy", load, over_rows, load).reshape(total.shape)
        values = x[element].reshape(d.shape[1:]).permute(2, 0, 1, 3).flatten()
        expected = -0.5 * float(values @ torch.linalg.solve(total, values) + torch.logdet(total))
        assert found == pytest.approx(expected, rel=1e-9)
        # The planes of four have gains of their own, by which light and offset part.
        if flat and planes == 1:
            assert float(own[element]) == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("taps", [None, (1.2, -0.3, 0.1), (0.9, 0.0, 0.2, 0.0, -0.1)])
@pytest.mark.parametrize(("processes", "each"), [(1, 1), (2, 1), (2, 2)])
def test_row_by_row_it_is_the_factorisation(
    taps: tuple[float, ...] | None, processes: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if taps is not None and each > 1:
        pytest.skip("the filter has one value a row")
    draw = torch.Generator().manual_seed(5)
    u, size = torch.rand(2, 40, generator=draw).double(), torch.rand(2, 40, processes, generator=draw).double()
    through = None if taps is None else torch.tensor([taps, [1.0] * len(taps)]).double()
    given = (size, [process()] * size.shape[2], through, each)
    found, log_det = whiten(u, *given)
    torch.testing.assert_close(colour(found, *given), u, rtol=0, atol=1e-12)
    monkeypatch.setattr(row_process, "LONG", 1)
    again, same = whiten(u, *given)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-10)
    torch.testing.assert_close(same, log_det, rtol=0, atol=1e-10)
    torch.testing.assert_close(colour(found, *given), u, rtol=0, atol=1e-10)


def test_a_filter_down_the_rows_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    taps = torch.tensor([[1.2, -0.3, 0.1], [0.9, 0.2, 0.0]]).double()
    u = torch.rand(2, 30, generator=torch.Generator().manual_seed(7)).double()
    assert float(filtered(u, taps)[0, 5]) == pytest.approx(float(1.2 * u[0, 5] - 0.3 * u[0, 4] + 0.1 * u[0, 3]))
    torch.testing.assert_close(unfiltered(filtered(u, taps), taps), u, rtol=0, atol=1e-12)
    monkeypatch.setattr(row_process, "LONG", 1)
    torch.testing.assert_close(unfiltered(filtered(u, taps), taps), u, rtol=0, atol=1e-12)


def test_a_sampled_row_has_the_covariance_wanted() -> None:
    """10,000 frames of 12 rows: each covariance is known to 1.5 % of a variance; five times that is allowed."""
    part = RowProcess(*(torch.tensor([each]).double().expand(10_000, 1) for each in (0.8, 0.9, math.pi / 3)))
    size = torch.full((10_000, 12, 1), 1.5).double()
    drawn = colour(torch.randn(10_000, 12, generator=torch.Generator().manual_seed(6)).double(), size, [part])
    expected = torch.eye(12).double() + 2.25 * part.covariance(12)[0]
    torch.testing.assert_close(drawn.T @ drawn / 10_000, expected, rtol=0, atol=5 * 0.015 * 2.8)

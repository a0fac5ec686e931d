"""Row noise of a camera with correlated neighbours: corrects for what the neighbour filter does to row offsets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.flows.camera.neighbour_filter import ABOVE, TAPS, NeighbourFilter
from noiseflow.flows.camera.row_memory import LEAST, Pair, RowMemory, _ordered, _unordered
from noiseflow.flows.camera.row_noise import NO_FLICKER
from noiseflow.flows.camera.row_process import RowProcess, both, colour, filtered, unfiltered, whiten
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso

__all__ = ["NeighbourRows"]

LAGS = 2 * ABOVE
"""How many mosaic rows above a row the filter of a plane reaches."""


class NeighbourRows(RowMemory):
    """Whiten rows, with or without memory, in front of a `NeighbourFilter` that decorrelates their pixels.

    Let S be the spectrum of the neighbour-correlated noise down the rows.  A row's mean then has the variance S + rD.
    A row layer that assumes independent pixels would, after the inverse filter, sample (1 + rD)·S instead: rows
    1.5 times too strong at a neighbour correlation ρ = 0.2, and correlated from row to row.  The filter is linear
    and acts on the projections û of rows on a unit offset as a filter H down the rows.  So H û = H √D g + ε with ε
    white and g the offset, with covariance k_a, plus the relative light change, with covariance k_b.  With
    L Lᵀ = I + H(√D_a k_a √D_a + √D_b k_b √D_b)Hᵀ

    z = x + d (H⁻¹ L⁻¹ H û − û)/|d|,  log|det dz/dx| = −Σ log Lₜₜ.

    The part of a row's light change that is not proportional to d along the row is ignored.

    Parameters
    ----------
    planes, cameras, isos, start, flicker, memory, drift, frame
        As in `RowMemory`; by default rows have no memory.
    """

    taps: Tensor

    def __init__(
        self,
        planes: int,
        cameras: int,
        isos: Sequence[float],
        start: float = 3e-3,
        flicker: float = NO_FLICKER,
        memory: float = NO_FLICKER,
        drift: float = NO_FLICKER,
        frame: float = NO_FLICKER,
    ) -> None:
        super().__init__(planes, cameras, isos, start, flicker, memory, drift, frame)
        taps = torch.zeros(cameras, len(isos), LAGS + 1)
        taps[..., 0] = 1.0
        self.register_buffer("taps", taps)

    @torch.no_grad()
    def follow(self, neighbours: NeighbourFilter) -> None:
        """Copy the coefficients of the neighbour filter that follows this layer."""
        self.taps.zero_()
        # Adjacent rows of a plane are two mosaic rows apart.
        apart = 1 if neighbours.packed or self.cells[0] == 1 else 2
        self.taps[..., 0] = 1.0
        for tap, (up, _) in enumerate(TAPS):
            self.taps[..., -up * apart] -= neighbours.weights[..., tap]
        self.taps.mul_((-neighbours.log_scale).exp()[..., None])

    def coefficients(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> tuple[Pair, Tensor]:
        """As `RowMemory.coefficients`; the factor on e is 0."""
        u, size, sizes, processes, taps = self._seen(sums, cond, memory=memory)
        moved, log_det = whiten(filtered(u, taps), sizes, processes, taps)
        return self._step(unfiltered(moved, taps) - u, size, sums), log_det

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """As `RowMemory.resolve`; the factor on e is 0."""
        u, size, sizes, processes, taps = self._seen(sums, cond, memory=True)
        moved = unfiltered(colour(filtered(u, taps), sizes, processes, taps), taps)
        return torch.stack(self._step(moved - u, size, sums))

    def log_density_of_rows(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> Tensor:
        """What row noise adds to the log-density of neighbour-correlated noise, nats, (B,), from the rows' `sums`."""
        u, _, sizes, processes, taps = self._seen(sums, cond, memory=memory)
        through = filtered(u, taps)
        moved, log_det = whiten(through, sizes, processes, taps)
        return log_det - 0.5 * (moved.square() - through.square()).sum(1)

    def _seen(
        self, sums: Tensor, cond: Resolved, *, memory: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[RowProcess], Tensor]:
        """Projections û, |d|, √D of offset and light, their row processes, and the filter taps."""
        first, _, dd, de, _ = sums.unbind()
        size = (dd + LEAST).sqrt()
        own = [_alone(each(cond)) for each in (self.variance, self.flicker)]
        processes = [both(*pair) for pair in zip(own, self.processes(cond), strict=True)] if memory else own
        sizes = torch.stack([_ordered(each) for each in (size, de / size)], 2)
        camera, knots = cond.camera, self.log_isos.to(self.taps.dtype)
        taps = torch.stack([at_iso(self.taps[camera, :, lag], knots, cond.iso) for lag in range(LAGS + 1)], 1)
        return _ordered(first / size), size, sizes, processes, taps

    def _step(self, change: Tensor, size: Tensor, sums: Tensor) -> Pair:
        step = _unordered(change, sums[0]) / size
        return step, torch.zeros_like(step)


def _alone(variance: Tensor) -> RowProcess:
    """A row process of this variance, (B,), that is independent from row to row."""
    none = torch.zeros_like(variance)[:, None]
    return RowProcess(variance[:, None], none, none)

"""Row noise of a camera whose neighbours correlate: their filter must neither strengthen nor smear the rows."""

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
"""Rows of the mosaic above a row that the filter of a plane takes in."""


class NeighbourRows(RowMemory):
    """Whiten rows, with a memory or none, whose pixels a `NeighbourFilter` behind it decorrelates.

    Whitened as if pixels were independent, rows of variance r get through the filter's inverse (1 + rD)·S where
    they and the noise have S + rD in truth, S the spectrum of the filtered noise down the rows: rows 1.5 times too
    strong at ρ = 0.2, which then correlate as neighbours do.  The filter is linear and knows of a row's projection
    on a unit offset only its sum, so that on projections it is a filter H down the rows.  With û the projections
    of data, H û = H √D g + ε, ε white, g the offset with the covariance k_a and, in its own size, the light with
    k_b; L Lᵀ = I + H(√D_a k_a √D_a + √D_b k_b √D_b)Hᵀ and

    z = x + d (H⁻¹ L⁻¹ H û − û)/|d|,  log|det dz/dx| = −Σ log Lₜₜ.

    What of a row's light does not follow d along the row is left out.  Parameters as of `RowMemory`.
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
        """Take the filter that comes behind."""
        self.taps.zero_()
        # The rows of a plane lie two rows of the mosaic apart.
        apart = 1 if neighbours.packed or self.cells[0] == 1 else 2
        self.taps[..., 0] = 1.0
        for tap, (up, _) in enumerate(TAPS):
            self.taps[..., -up * apart] -= neighbours.weights[..., tap]
        self.taps.mul_((-neighbours.log_scale).exp()[..., None])

    def coefficients(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> tuple[Pair, Tensor]:
        """As of `RowMemory`."""
        u, size, sizes, processes, taps = self._seen(sums, cond, memory=memory)
        moved, log_det = whiten(filtered(u, taps), sizes, processes, taps)
        return self._step(unfiltered(moved, taps) - u, size, sums), log_det

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """As of `RowMemory`."""
        u, size, sizes, processes, taps = self._seen(sums, cond, memory=True)
        moved = unfiltered(colour(filtered(u, taps), sizes, processes, taps), taps)
        return torch.stack(self._step(moved - u, size, sums))

    def log_density_of_rows(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> Tensor:
        """What the rows add to the log-density of noise that the filter whitens, nats, (B,), from their sums."""
        u, _, sizes, processes, taps = self._seen(sums, cond, memory=memory)
        through = filtered(u, taps)
        moved, log_det = whiten(through, sizes, processes, taps)
        return log_det - 0.5 * (moved.square() - through.square()).sum(1)

    def _seen(
        self, sums: Tensor, cond: Resolved, *, memory: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[RowProcess], Tensor]:
        """Projections û, |d|, √D of offset and light, their processes, and the filter."""
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
    """A part without a memory."""
    none = torch.zeros_like(variance)[:, None]
    return RowProcess(variance[:, None], none, none)

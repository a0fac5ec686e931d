"""Column noise of a sensor that also has row noise: the offsets of rows and columns add."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.ops.line_noise import unit_offset

__all__ = ["ColumnNoise"]

NO_ROWS = 1e-30
"""Row variance r of a camera without row noise; columns are then whitened as by `LineNoise`."""


class ColumnNoise(LineNoise):
    """Whiten pixels that share an offset of variance c along each column, after rows of variance r were whitened.

    Row and column offsets both change the mean of the frame.  Whitening rows and then columns would give that mean
    the variance (1 + rD̄)(1 + cĎ), but independent offsets add up to 1 + rD̄ + cĎ.  Here dⱼ is the size of a unit
    offset at the pixels of column j, Dⱼ = |dⱼ|², D = Σ Dⱼ, D̄ the mean of |d|² over rows and Ď = Σ Dⱼ²/D.
    The layer therefore first divides the frame's mean by s,

        s² = (1 + rD̄ + cĎ) / ((1 + rD̄)(1 + cĎ)),   x′ = x + d (dᵀx)(1/s − 1)/D,   log|det| = −log s,

    and then whitens the columns as `LineNoise` does.  For a uniform clean signal, rows and columns together then
    have exactly the covariance I + r·(same row) + c·(same column).

    Parameters
    ----------
    planes : int
        1, or the planes of a square CFA cell: 4, 16 or 36.
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising.
    start : float
        Initial c, in units of the read-noise variance.
    """

    log_rows: Tensor

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], start: float = 3e-3) -> None:
        super().__init__(planes, cameras, isos, "column", start, in_read_noise=True)
        self.register_buffer("log_rows", torch.full((cameras, len(isos)), math.log(NO_ROWS)))

    def follow(self, rows: LineNoise) -> None:
        """Copy the offset variance r of the row layer before this one, at each camera's fitted ISOs."""
        self.log_rows.copy_(rows.offset_variance().detach().clamp(min=NO_ROWS).log())

    def scale_offsets(self, log_factor: Tensor) -> None:
        """Multiply r and c by exp(`log_factor`), shape (cameras, isos)."""
        super().scale_offsets(log_factor)
        self.log_rows.add_(log_factor)

    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Σ d·x, Σ d² and the number of pixels of each column, shape (3, B, 1, columns of a cell, 1, W).

        The sums of the tiles of a frame add up to those of the frame.
        """
        d = unit_offset(x, *required(noise, self).line_signal, self.cells)
        terms = (d * x.reshape(d.shape), d.square(), torch.ones_like(d))
        return torch.stack([term.sum(self.along, keepdim=True) for term in terms])

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        projection, square, _ = sums = self.sums(x, noise)
        q, s = self._given(sums, cond)
        mean = _over_columns(projection) / _over_columns(square).clamp(min=NO_ROWS) * (1 / s - 1)
        root = (1 + q).sqrt()
        variance = self.variance(cond)[:, None, None, None, None]
        offsets = mean - (projection + square * mean) * variance / (root * (1 + root))
        log_det = -0.5 * q.log1p().flatten(1).sum(1) - s.log().flatten(1).sum(1)
        return self._add(x, noise, offsets), log_det

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """Offset of each column in read-noise σ, (1, B, 1, columns of a cell, 1, W), from the sums of a whole frame."""
        projection, square, _ = sums
        q, s = self._given(sums, cond)
        root = (1 + q).sqrt()
        own = projection * self.variance(cond).to(sums)[:, None, None, None, None] / (1 + root)
        mean = _over_columns(projection * root) / _over_columns(square).clamp(min=NO_ROWS)
        offsets: Tensor = own + (s - 1) * mean
        return offsets[None]

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return self.inverse_of_part(z, cond, self.resolve(self.sums(z, noise), cond), noise)

    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent to data on a tile of a frame, given the column offsets from `resolve`."""
        return self._add(z, noise, sums[0])

    def _given(self, sums: Tensor, cond: Resolved) -> tuple[Tensor, Tensor]:
        """The product cDⱼ of each column, and the factor s of the frame, (B, 1, 1, 1, 1)."""
        _, square, count = sums
        knots = self.log_isos.to(self.log_variance.dtype)
        rows = at_iso(self.log_rows.to(self.log_variance)[cond.camera], knots, cond.iso).exp()
        r, c = (each.to(sums)[:, None, None, None, None] for each in (rows, self.variance(cond)))
        total = _over_columns(square).clamp(min=NO_ROWS)
        along = r * total / count.amax((1, 2, 3, 4), keepdim=True)
        down = c * _over_columns(square.square()) / total
        return c * square, ((1 + along + down) / ((1 + along) * (1 + down))).sqrt()

    def _add(self, x: Tensor, noise: NoiseParameters | None, offsets: Tensor) -> Tensor:
        d = unit_offset(x, *required(noise, self).line_signal, self.cells)
        return x + (d * offsets).reshape(x.shape)

    def _bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Earlier versions had no r: their row and column whitenings simply multiplied."""
        weights.setdefault(f"{prefix}log_rows", torch.full_like(self.log_rows, math.log(NO_ROWS)))


def _over_columns(values: Tensor) -> Tensor:
    """Sum over the columns of a frame, (B, 1, 1, 1, 1)."""
    return values.sum((1, 2, 3, 4), keepdim=True)

"""Row and column noise: an offset that all pixels of a sensor row or column share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from noiseflow.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso import at_iso
from noiseflow.flows.transform import WHOLE_FRAME, Transform

__all__ = ["LineNoise"]


class LineNoise(Transform):
    """Whiten pixels of unit variance that share an offset of variance r along each line.

    A line's covariance is I + r·d dᵀ, with d = 1 or, after division by a standard deviation
    that differs from pixel to pixel, the size of a unit offset there.  With q = r·|d|²

    z = x − d (dᵀx) · r / (√(1+q)·(1 + √(1+q))),  log|det dz/dx| = −½ Σ log(1 + q) over lines.

    r is the offset's own variance, and means the same at every width.  In packed planes a
    sensor row spans planes 0, 1 (R, G1) and 2, 3 (G2, B), a column planes 0, 2 and 1, 3.
    A row needs its whole width only (`whole_rows`); columns need the whole frame
    (`reach` is `WHOLE_FRAME`).

    Parameters
    ----------
    planes : int
        1 or 4.
    cameras : int
    isos : sequence of float
        Fitted ISOs, rising; log r is linear in log ISO between them.
    axis : str
        ``"row"`` or ``"column"``.
    direction : callable, optional
        From conditions to d, shape (B, C, H, W); ones without it.
    start : float
        Starting r.
    """

    log_isos: Tensor

    def __init__(
        self,
        planes: int,
        cameras: int,
        isos: Sequence[float],
        axis: str = "row",
        direction: Callable[[Conditions], Tensor] | None = None,
        start: float = 3e-3,
    ) -> None:
        super().__init__()
        if planes not in (1, 4) or axis not in ("row", "column"):
            raise ModelError(f"line noise: expected 1 or 4 planes and axis row or column; got {planes}, {axis!r}")
        self.cells = (2, 2) if planes == 4 else (1, 1)
        self.along = (2, 4) if axis == "row" else (1, 3)
        self.whole_rows = axis == "row"
        self.reach = 0 if axis == "row" else WHOLE_FRAME
        self.direction = direction
        self.log_variance = nn.Parameter(torch.full((cameras, len(isos)), start).log())
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    def variance(self, cond: Conditions) -> Tensor:
        """R per element, (B, 1, 1, 1, 1)."""
        knots = self.log_isos.to(self.log_variance.dtype)
        return at_iso(self.log_variance[cond.camera_indices], knots, cond.isos).exp()[:, None, None, None, None]

    def parts(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """d, dᵀx, r and q, broadcastable to (B, 2, 2, H, W) for four planes."""
        split = (x.shape[0], *self.cells, *x.shape[2:])
        d = x.new_ones(x.shape) if self.direction is None else self.direction(cond)
        d = d.reshape(split)
        variance = self.variance(cond)
        projection = (d * x.reshape(split)).sum(self.along, keepdim=True)
        return d, projection, variance, variance * d.square().sum(self.along, keepdim=True)

    @torch.no_grad()
    def start_from(self, x: Tensor, cond: Conditions) -> None:
        """Data-dependent start by moments, one r for all cameras and ISOs.

        E(dᵀx)² = |d|² + r|d|⁴ on every line of x, which has unit variance per pixel; x is what
        enters this transform, and r at least 1e-4.
        """
        d, projection, _, _ = self.parts(x, cond)
        norm = d.expand(x.shape[0], *self.cells, *x.shape[2:]).square().sum(self.along, keepdim=True)
        moment = (projection.square() - norm).sum() / norm.square().sum()
        self.log_variance.fill_(float(moment.clamp(min=1e-4).log()))

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        d, projection, variance, q = self.parts(x, cond)
        root = (1 + q).sqrt()
        z = x - (d * projection * variance / (root * (1 + root))).reshape(x.shape)
        return z, -0.5 * q.log1p().flatten(1).sum(1)

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        d, projection, variance, q = self.parts(z, cond)
        return z + (d * projection * variance / (1 + (1 + q).sqrt())).reshape(z.shape)

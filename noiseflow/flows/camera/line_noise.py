"""Row and column noise: an offset that all pixels of a sensor row or column share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import WHOLE_FRAME, Transform
from noiseflow.ops.line_noise import line_sums, whitened, with_offsets
from noiseflow.ops.native import Kernels

__all__ = ["LineNoise"]

NONE = 1e-7
"""The r of a camera without line noise: at 10,000 pixels a line it adds 0.1 % to the variance of their mean."""

SURE = 4.0
"""Standard errors above 0 from which line noise is taken to be there."""


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
    start : float
        Starting r.
    in_read_noise : bool
        Whether r is counted in read-noise variances, for values already divided by their standard
        deviation s: d = √(β₂/s²).  Else d = 1.
    """

    log_isos: Tensor

    def __init__(
        self,
        planes: int,
        cameras: int,
        isos: Sequence[float],
        axis: str = "row",
        start: float = 3e-3,
        *,
        in_read_noise: bool = False,
    ) -> None:
        super().__init__()
        if planes not in (1, 4) or axis not in ("row", "column"):
            raise ModelError(f"line noise: expected 1 or 4 planes and axis row or column; got {planes}, {axis!r}")
        self.cells = (2, 2) if planes == 4 else (1, 1)
        self.along = (2, 4) if axis == "row" else (1, 3)
        self.whole_rows = axis == "row"
        self.reach = 0 if axis == "row" else WHOLE_FRAME
        self.in_read_noise = in_read_noise
        self.log_variance = nn.Parameter(torch.full((cameras, len(isos)), start).log())
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    def variance(self, cond: Conditions) -> Tensor:
        """R per element, (B, 1, 1, 1, 1)."""
        knots = self.log_isos.to(self.log_variance.dtype)
        return at_iso(self.log_variance[cond.camera_indices], knots, cond.isos).exp()[:, None, None, None, None]

    def unit_offset(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """The direction d, its planes as (2, 2) of a cell or (1, 1), (B, 2, 2, H, W) or (B, 1, 1, H, W)."""
        d = required(noise, self).read_share().sqrt() if self.in_read_noise else x.new_ones(x.shape)
        return d.reshape(x.shape[0], *self.cells, *x.shape[2:])

    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Σ d·x and Σ d² along each line, (2, B, 2 or 1, 2 or 1, H or 1, W or 1); those of a frame's parts add up."""
        found = None if torch.is_grad_enabled() else self._kernels(x, noise)
        if found is not None:
            kernels, light, side = found
            return line_sums(kernels, x, light, side)[:, :, :, None, :, None]
        d = self.unit_offset(x, noise)
        return torch.stack([term.sum(self.along, keepdim=True) for term in (d * x.reshape(d.shape), d.square())])

    def parts(
        self, x: Tensor, cond: Conditions, noise: NoiseParameters | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """d, dᵀx, r and q, broadcastable to (B, 2, 2, H, W) for four planes."""
        projection, square = self.sums(x, noise).unbind()
        variance = self.variance(cond)
        return self.unit_offset(x, noise), projection, variance, variance * square

    @torch.no_grad()
    def start_from(
        self,
        x: Tensor,
        cond: Conditions,
        noise: NoiseParameters | None = None,
        bands: Tensor | None = None,
    ) -> None:
        """Data-dependent start by moments, for each camera at each of its ISOs.

        Of two pixels of a line E(xᵢxⱼ) = r·dᵢdⱼ, whatever their own variances are: r is the sum of
        dᵢdⱼxᵢxⱼ, which is (dᵀx)² − Σdᵢ²xᵢ², over that of dᵢ²dⱼ², |d|⁴ − Σdᵢ⁴.  An r within `SURE`
        standard errors of 0 is replaced by that of the camera at all its ISOs, and by `NONE` if
        that is so too; what the data does not show is read off the camera's other ISOs.
        x is what enters this transform.

        Elements that `bands`, (B,) of int, numbers alike lie in the same sensor rows: their rows are
        one then, whose variance of estimate falls with the square of its length where r is small.
        """
        d, projection, _, _ = self.parts(x, cond, noise)
        d = d.expand(x.shape[0], *self.cells, *x.shape[2:])
        weighted = d * x.reshape(d.shape)
        norm, fourth, squares = (
            each.sum(self.along, keepdim=True) for each in (d.square(), d.pow(4), weighted.square())
        )
        sums = torch.stack([each.flatten(1) for each in (projection, squares, norm, fourth)])
        knots = self.log_isos.to(self.log_variance.dtype)
        index = (cond.isos.log()[:, None] - knots).abs().argmin(1)
        cameras = cond.camera_indices
        if bands is not None and self.whole_rows:
            first, band = _numbered(bands)
            sums = sums.new_zeros(len(sums), len(first), sums.shape[2]).index_add_(1, band, sums)
            index, cameras = index[first], cameras[first]
        projection, squares, norm, fourth = sums.unbind()
        products, expected = projection.square() - squares, norm.square() - fourth
        for camera in set(cameras.tolist()):
            own = cameras == camera
            pooled = _moment(products[own], expected[own], norm[own])
            seen = sorted(set(index[own].tolist()))
            cells = [own & (index == iso) for iso in seen]
            found = x.new_tensor([_moment(products[rows], expected[rows], norm[rows]) for rows in cells])
            values = torch.where(found > 0, found, max(pooled, NONE)).log().to(knots.dtype)
            self.log_variance[camera] = at_iso(values, knots[seen], knots.exp())

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        found = self._kernels(x, noise)
        if found is not None:
            kernels, light, side = found
            return whitened(kernels, x, light, self.variance(cond)[:, 0, 0, 0, 0], side)
        d, projection, variance, q = self.parts(x, cond, noise)
        root = (1 + q).sqrt()
        z = x - (d * projection * variance / (root * (1 + root))).reshape(x.shape)
        return z, -0.5 * q.log1p().flatten(1).sum(1)

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return self.inverse_of_part(z, cond, self.sums(z, noise), noise)

    def inverse_of_part(
        self, z: Tensor, cond: Conditions, sums: Tensor, noise: NoiseParameters | None = None
    ) -> Tensor:
        """Latent to data of a part of a frame, given the `sums` of its lines over the whole frame."""
        variance = self.variance(cond)
        projection, square = sums.unbind()
        offsets = projection * variance / (1 + (1 + variance * square).sqrt())
        found = None if torch.is_grad_enabled() else self._kernels(z, noise)
        if found is not None:
            kernels, light, side = found
            return with_offsets(kernels, z, light, offsets[:, :, 0, :, 0], side)
        return z + (self.unit_offset(z, noise) * offsets).reshape(z.shape)

    def _kernels(self, x: Tensor, noise: NoiseParameters | None) -> tuple[Kernels, NoiseParameters, int] | None:
        """Kernels, the noise parameters they take, and how many planes share a row; None where there are none."""
        if not (self.whole_rows and self.in_read_noise):
            return None
        light = required(noise, self)
        kernels = light.kernels("lines", x)
        return None if kernels is None else (kernels, light, self.cells[1])


def _numbered(bands: Tensor) -> tuple[Tensor, Tensor]:
    """The first element of each band, and the bands of all elements counted from 0."""
    _, band, count = torch.unique(bands, return_inverse=True, return_counts=True)
    order = band.argsort(stable=True)
    return order[count.cumsum(0) - count], band


def _moment(products: Tensor, expected: Tensor, norm: Tensor) -> float:
    """R by the products of each line, what they are at r = 1, and |d|²; 0 if it is not surely above.

    A line's own estimate has the variance 2(1/|d|² + r)², by which it is weighted.
    """
    value, usable = 0.0, expected > 0
    if not usable.any():
        return 0.0
    estimate, norm = products[usable] / expected[usable], norm[usable]
    for _ in range(3):
        weight = (1 / norm + max(value, 0.0)).square().reciprocal()
        total = float(weight.sum())
        value = float((weight * estimate).sum()) / total
    return value if value > SURE * (2 / total) ** 0.5 else 0.0

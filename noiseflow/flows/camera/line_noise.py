"""Row and column noise: an offset that all pixels of a sensor row or column share."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import WHOLE_FRAME, WholeLines
from noiseflow.ops.line_noise import COLUMNS, ROWS, add_lines, line_sums, unit_offset, whiten_lines

__all__ = ["NEAR", "NONE", "SURE", "LineNoise", "bands_of_rows", "near_products", "numbered"]

NONE = 1e-7
"""The r of a camera without line noise: at 10,000 pixels a line it adds 0.1 % to the variance of their mean."""

NEAR = 4
"""Distance on the sensor up to which pixels of a line may correlate as neighbours."""

SURE = 4.0
"""Standard errors above 0 from which line noise is taken to be there."""


class LineNoise(WholeLines):
    """Whiten pixels of unit variance that share an offset of variance r along each line.

    A line's covariance is I + r·d dᵀ, with d = 1 or, after division by a standard deviation
    that differs from pixel to pixel, the size of a unit offset there.  With q = r·|d|²

    z = x − d (dᵀx) · r / (√(1+q)·(1 + √(1+q))),  log|det dz/dx| = −½ Σ log(1 + q) over lines.

    r is the offset's own variance, and means the same at every width.  In packed planes a
    sensor row spans planes 0, 1 (R, G1) and 2, 3 (G2, B), a column planes 0, 2 and 1, 3; of larger
    cells each row of the cell.
    A row needs its whole width only (`whole_rows`); columns need the whole frame
    (`reach` is `WHOLE_FRAME`).

    Parameters
    ----------
    planes : int
        1, or those of a cell: 4, 16 or 36.
    cameras : int
        Number of cameras.
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

    leaves_out = True
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
        side = math.isqrt(planes)
        if planes < 1 or side**2 != planes or axis not in ("row", "column"):
            raise ModelError(
                f"line noise: expected 1, 4, 16 or 36 planes and axis row or column; got {planes}, {axis!r}"
            )
        self.cells = (side, side)
        self.along = ROWS if axis == "row" else COLUMNS
        self.whole_rows = axis == "row"
        self.reach = 0 if axis == "row" else WHOLE_FRAME
        self.in_read_noise = in_read_noise
        self.log_variance = nn.Parameter(torch.full((cameras, len(isos)), start).log())
        self._constant("log_isos", log_of(isos))

    def variance(self, cond: Resolved) -> Tensor:
        """R of each element, (B,)."""
        knots = self.log_isos.to(self.log_variance.dtype)
        return at_iso(self.log_variance[cond.camera], knots, cond.iso).exp()

    def offset_variance(self) -> Tensor:
        """Variance of the whole offset at the fitted ISOs, in the unit of r, (cameras, isos)."""
        return self.log_variance.exp()

    def scale_offsets(self, log_factor: Tensor) -> None:
        """Add to the logarithm of every variance of the offset, (cameras, isos)."""
        self.log_variance.add_(log_factor)

    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Σ d·x and Σ d² along each line; those of a frame's parts add up.

        Shape (2, B, rows of a cell or 1, columns of a cell or 1, H or 1, W or 1).
        """
        sums: Tensor = line_sums(x, *self._signal(noise), self.cells, self.along)
        return sums

    @torch.no_grad()
    def start_from(
        self,
        x: Tensor,
        cond: Resolved,
        noise: NoiseParameters | None = None,
        bands: Tensor | None = None,
    ) -> None:
        """Data-dependent start by moments, for each camera at each of its ISOs.

        Of two pixels of a line E(xᵢxⱼ) = r·dᵢdⱼ, whatever their own variances are: r is the sum of
        dᵢdⱼxᵢxⱼ, which is (dᵀx)² less the terms with i = j, over that of dᵢ²dⱼ², |d|⁴ less these.  Pixels up to
        `NEAR` apart are left out too: they may correlate as neighbours, which is no line noise.  An r within `SURE`
        standard errors of 0 is replaced by that of the camera at all its ISOs, and by `NONE` if that is so too or is
        more than the data allow; what the data does not show is read off the camera's other ISOs.
        x is what enters this transform.

        Elements that `bands`, (B,) or (B, K) of int, numbers alike lie in the same sensor rows: their rows are
        one then, whose variance of estimate falls with the square of its length where r is small.
        """
        projection = self.sums(x, noise)[0]
        clean, beta1, beta2 = self._signal(noise)
        d = unit_offset(x, clean, beta1, beta2, self.cells)
        weighted = d * x.reshape(d.shape)
        norm = d.square().sum(self.along, keepdim=True)
        fourth, squares = (near_products(each, self.along) for each in (d.square(), weighted))
        sums = torch.stack([each.flatten(1) for each in (projection, squares, norm, fourth)])
        knots = self.log_isos.to(self.log_variance.dtype)
        bands = bands if self.whole_rows else None
        sums, index, cameras = bands_of_rows(sums, self._knot(cond), cond.camera, bands)
        projection, squares, norm, fourth = sums.unbind()
        products, expected = projection.square() - squares, norm.square() - fourth
        for camera in set(cameras.tolist()):
            own = cameras == camera
            pooled = _moment(products[own], expected[own], norm[own])[0]
            seen = sorted(set(index[own].tolist()))
            cells = [own & (index == iso) for iso in seen]
            each = [_moment(products[rows], expected[rows], norm[rows]) for rows in cells]
            found = [value or (pooled if pooled < most else NONE) for value, most in each]
            values = x.new_tensor(found).clamp(min=NONE).log().to(knots.dtype)
            self.log_variance[camera] = at_iso(values, knots[seen], knots.exp())

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        signal = self._signal(noise)
        if not self.in_read_noise and cond.observed is not None:
            one = x.new_ones(x.shape[0], x.shape[1], 1, 1)
            signal = NoiseParameters(torch.zeros_like(x), one, one, observed=cond.observed).line_signal
        z, log_det = whiten_lines(x, *signal, self.variance(cond), self.cells, self.along)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return self.inverse_of_part(z, cond, self.sums(z, noise), noise)

    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data of a part of a frame, given the `sums` of its lines over the whole frame."""
        variance = self.variance(cond)[:, None, None, None, None]
        projection, square = sums.unbind()
        offsets = projection * variance / (1 + (1 + variance * square).sqrt())
        x: Tensor = add_lines(z, *self._signal(noise), offsets, self.cells, self.along)
        return x

    def _knot(self, cond: Resolved) -> Tensor:
        """Index of the fitted ISO next to each element's, (B,)."""
        return (cond.iso.log()[:, None] - self.log_isos.to(self.log_variance.dtype)).abs().argmin(1)

    def _signal(self, noise: NoiseParameters | None) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
        return required(noise, self).line_signal if self.in_read_noise else (None, None, None)


def near_products(values: Tensor, along: tuple[int, int]) -> Tensor:
    """Σ vᵢvⱼ over the pixels of each line that are at most `NEAR` apart, i = j among them.

    Parameters
    ----------
    values : Tensor, shape (B, 2 or 1, 2 or 1, H, W)
        Values of the planes of a cell.
    along : tuple of int
        `ROWS` or `COLUMNS`.

    Returns
    -------
    Tensor, shape (B, 2 or 1, 1, H, 1) or (B, 1, 2 or 1, 1, W)
        Short lines leave out fewer: a quarter of their length.
    """
    cell, axis = along
    # The pixels of a line in their order on the sensor: places first, those of a cell within them.
    line = values.movedim((axis, cell), (-2, -1)).flatten(-2)
    total = line.square().sum(-1)
    for lag in range(1, min(NEAR, line.shape[-1] // 4) + 1):
        total = total + 2 * (line[..., lag:] * line[..., :-lag]).sum(-1)
    return total.unsqueeze(cell).unsqueeze(axis)


def bands_of_rows(sums: Tensor, index: Tensor, cameras: Tensor, bands: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Sums along the rows of patches, (N, B, rows), of patches in the same sensor rows added up.

    Parameters
    ----------
    sums : Tensor, shape (N, B, rows)
        Sums along each row, of each patch.
    index, cameras : Tensor, shape (B,)
        ISO knot and camera of each patch.
    bands : Tensor of int, shape (B,) or (B, K), optional
        Equal for patches that lie in the same sensor rows; each patch is its own band without it.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        Sums, (N, bands, rows), ISO knots and cameras of the bands.
    """
    if bands is None:
        return sums, index, cameras
    first, band = numbered(bands)
    return (
        sums.new_zeros(len(sums), len(first), sums.shape[2]).index_add_(1, band, sums),
        index[first],
        cameras[first],
    )


def numbered(bands: Tensor) -> tuple[Tensor, Tensor]:
    """The first element of each band, and the bands of all elements counted from 0."""
    _, band, count = torch.unique(bands, return_inverse=True, return_counts=True, dim=0)
    order = band.argsort(stable=True)
    return order[count.cumsum(0) - count], band


def _moment(products: Tensor, expected: Tensor, norm: Tensor) -> tuple[float, float]:
    """R by the products of each line, what they are at r = 1, and |d|²; 0 if it is not surely above; and the most.

    A line's own estimate has the variance 2(1/|d|² + r)², by which it is weighted.
    """
    value, usable = 0.0, expected > 0
    if not usable.any():
        return 0.0, math.inf
    estimate, norm = products[usable] / expected[usable], norm[usable]
    for _ in range(3):
        weight = (1 / norm + max(value, 0.0)).square().reciprocal()
        total = float(weight.sum())
        value = float((weight * estimate).sum()) / total
    error = (2 / total) ** 0.5
    return value if value > SURE * error else 0.0, value + SURE * error

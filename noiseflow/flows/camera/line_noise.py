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
"""The r of a camera without line noise: it adds 0.1 % to the variance of the mean of a 10,000-pixel line."""

NEAR = 4
"""Distance in sensor pixels up to which pixels of a line may be correlated as neighbours."""

SURE = 4.0
"""Line noise counts as present when its estimate is this many standard errors above 0."""


class LineNoise(WholeLines):
    """Whiten pixels of unit variance that share an offset of variance r along each line.

    The covariance of a line is I + r·d dᵀ.  d is 1 or, if the values were divided by a standard deviation that
    differs from pixel to pixel, the size of a unit offset after that division.  With q = r·|d|²

    z = x − d (dᵀx) · r / (√(1+q)·(1 + √(1+q))),  log|det dz/dx| = −½ Σ log(1 + q) over lines.

    r does not depend on the length of the line.  In packed planes sensor rows alternate between planes 0, 1
    (R, G1) and planes 2, 3 (G2, B), and sensor columns between planes 0, 2 and planes 1, 3; larger cells work the
    same way.  Sampling a row needs its whole width only (`whole_rows`); sampling a column needs the whole frame
    (`reach` is `WHOLE_FRAME`).

    Parameters
    ----------
    planes : int
        1, or the planes of a square CFA cell: 4, 16 or 36.
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising; log r is linear in log ISO between them.
    axis : str
        ``"row"`` or ``"column"``.
    start : float
        Initial r.
    in_read_noise : bool
        Whether r is in units of the read-noise variance, for values already divided by their standard
        deviation s: d = √(β₂/s²).  If False, d = 1.

    Raises
    ------
    ModelError
        Planes that are not a square number, or an unknown axis.
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
        """Offset variance r of each element, (B,)."""
        knots = self.log_isos.to(self.log_variance.dtype)
        return at_iso(self.log_variance[cond.camera], knots, cond.iso).exp()

    def offset_variance(self) -> Tensor:
        """Variance of the total offset at the fitted ISOs, in the unit of r, (cameras, isos)."""
        return self.log_variance.exp()

    def scale_offsets(self, log_factor: Tensor) -> None:
        """Multiply every offset variance by exp(`log_factor`), shape (cameras, isos)."""
        self.log_variance.add_(log_factor)

    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Σ d·x and Σ d² along each line, (2, B, rows of a cell or 1, columns of a cell or 1, H or 1, W or 1).

        The sums of the tiles of a frame add up to those of the frame.
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
        """Initialise r by moments, per camera and ISO.

        For two different pixels of a line E(xᵢxⱼ) = r·dᵢdⱼ, whatever their own variances are.  So

            r = Σ dᵢdⱼxᵢxⱼ / Σ dᵢ²dⱼ²  over pairs i ≠ j of the line.

        Pairs up to `NEAR` pixels apart are left out as well: neighbours may be correlated without line noise.
        If r is within `SURE` standard errors of 0, the camera's estimate over all its ISOs takes its place, or
        `NONE` if that is not significant either or exceeds the upper limit at this ISO.  ISOs without data are
        interpolated from the camera's other ISOs.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Values that enter this transform.
        cond : Resolved
            Clean signal, ISO and camera of the values.
        noise : NoiseParameters, optional
            Their noise parameters; required with `in_read_noise`.
        bands : Tensor of int, shape (B,) or (B, K), optional
            Equal for patches that lie in the same sensor rows.  Their rows are joined into longer ones: where r is
            small, the variance of the estimate falls with the square of the length.
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
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        signal = self._signal(noise)
        if not self.in_read_noise and cond.observed is not None:
            one = x.new_ones(x.shape[0], x.shape[1], 1, 1)
            signal = NoiseParameters(torch.zeros_like(x), one, one, observed=cond.observed).line_signal
        z, log_det = whiten_lines(x, *signal, self.variance(cond), self.cells, self.along)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return self.inverse_of_part(z, cond, self.sums(z, noise), noise)

    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent to data on a tile of a frame, given the `sums` of its lines over the whole frame."""
        variance = self.variance(cond)[:, None, None, None, None]
        projection, square = sums.unbind()
        offsets = projection * variance / (1 + (1 + variance * square).sqrt())
        x: Tensor = add_lines(z, *self._signal(noise), offsets, self.cells, self.along)
        return x

    def _knot(self, cond: Resolved) -> Tensor:
        """Index of the fitted ISO nearest to that of each element, (B,)."""
        return (cond.iso.log()[:, None] - self.log_isos.to(self.log_variance.dtype)).abs().argmin(1)

    def _signal(self, noise: NoiseParameters | None) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
        return required(noise, self).line_signal if self.in_read_noise else (None, None, None)


def near_products(values: Tensor, along: tuple[int, int]) -> Tensor:
    """Sum vᵢvⱼ over all pairs of pixels of each line at most `NEAR` apart, including i = j.

    In short lines the distance is limited to a quarter of the line's length.

    Parameters
    ----------
    values : Tensor, shape (B, rows of a cell, columns of a cell, H, W)
        Values v, the planes arranged as in the CFA cell.
    along : tuple of int
        `ROWS` or `COLUMNS`.

    Returns
    -------
    Tensor, shape (B, rows of a cell, 1, H, 1) or (B, 1, columns of a cell, 1, W)
        One sum per line.
    """
    cell, axis = along
    # The pixels of a line in sensor order: position along the line, then the pixels of a cell.
    line = values.movedim((axis, cell), (-2, -1)).flatten(-2)
    total = line.square().sum(-1)
    for lag in range(1, min(NEAR, line.shape[-1] // 4) + 1):
        total = total + 2 * (line[..., lag:] * line[..., :-lag]).sum(-1)
    return total.unsqueeze(cell).unsqueeze(axis)


def bands_of_rows(sums: Tensor, index: Tensor, cameras: Tensor, bands: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Add up the row sums of all patches that lie in the same sensor rows.

    Parameters
    ----------
    sums : Tensor, shape (N, B, rows)
        N kinds of sums along each row of each patch.
    index, cameras : Tensor, shape (B,)
        ISO knot and camera of each patch.
    bands : Tensor of int, shape (B,) or (B, K), optional
        Equal for patches that lie in the same sensor rows; if None, each patch is a band of its own.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        Sums, (N, bands, rows); ISO knots, (bands,); cameras, (bands,).
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
    """Index of the first element of each band, and the band number of each element, counted from 0."""
    _, band, count = torch.unique(bands, return_inverse=True, return_counts=True, dim=0)
    order = band.argsort(stable=True)
    return order[count.cumsum(0) - count], band


def _moment(products: Tensor, expected: Tensor, norm: Tensor) -> tuple[float, float]:
    """Estimate r from all lines; return it, or 0 if it is not significant, and its upper limit.

    Each line gives the estimate products / expected, with the variance 2(1/|d|² + r)² used as inverse weight.

    Parameters
    ----------
    products : Tensor, shape (N,)
        Σ dᵢdⱼxᵢxⱼ over the pairs of each line.
    expected : Tensor, shape (N,)
        Its expectation at r = 1.
    norm : Tensor, shape (N,)
        |d|² of each line.
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

"""Noise correlated between neighbouring pixels: a causal linear filter over the mosaic, or over each plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["FILTERED_PLANES", "GRIDS", "NeighbourFilter"]

GRIDS = ("mosaic", "plane")
"""Grids on which pixels are neighbours: the whole mosaic, or each plane."""

FILTERED_PLANES = (1, 4)
"""Numbers of planes the filter supports: one plane as stored, or four packed from 2×2 cells."""

ABOVE, BESIDE = 2, 2
"""Size of the causal window: rows above a pixel, and pixels to its left and right."""

TAPS = (
    *((0, -x) for x in range(1, BESIDE + 1)),
    *((-y, x) for y in range(1, ABOVE + 1) for x in range(-BESIDE, BESIDE + 1)),
)
"""Row and column offset of each neighbour."""

FREQUENCIES = 64
"""Number of frequencies over which a spectrum is averaged."""

HALO = 24
"""Distance in pixels of a plane beyond which a pixel's influence on a sample is negligible: < 10⁻⁵ at Σ|w| = 0.6."""

Array = NDArray[np.float64]


class NeighbourFilter(Transform):
    """Predict each pixel from neighbours to the left and above; return the scaled residual.

    z = (x − Σ w_k x_k)/σ over the neighbours k of `TAPS`, which are 0 outside the frame.  The Jacobian is triangular
    in raster order, so log|det dz/dx| = −N log σ for N pixels.  The inverse goes row by row, each row by a recursion
    from left to right.  `start_from` sets w and σ by the Yule–Walker equations; training refines them.

    Parameters
    ----------
    planes, cameras : int
        Number of planes (1 or 4) and of cameras.
    isos : sequence of float
        Fitted ISOs, rising; w and log σ are linear in log ISO between them.
    grid : str
        ``"mosaic"`` or ``"plane"``, see `GRIDS`.

    Raises
    ------
    ModelError
        Another number of planes, or an unknown grid.

    References
    ----------
    Whittle: On stationary processes in the plane, Biometrika 1954, section 4.
    """

    reach = HALO
    sequential_inverse = True
    log_isos: Tensor

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], grid: str = "mosaic") -> None:
        super().__init__()
        if grid not in GRIDS or planes not in FILTERED_PLANES:
            raise ModelError(
                f"neighbour filter: expected 1 or 4 planes and a grid of {', '.join(GRIDS)}; got {planes}, {grid!r}"
            )
        self.grid = grid
        self.packed = planes == 4 and grid == "mosaic"
        self.weights = nn.Parameter(torch.zeros(cameras, len(isos), len(TAPS)))
        self.log_scale = nn.Parameter(torch.zeros(cameras, len(isos)))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return ABOVE

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        weights, log_scale = self._at(cond)
        picture = self.pictures(x)
        batch, channels, rows, columns = picture.shape
        weights = weights.to(x.dtype)
        # Zeros made from the weights, so that under `vmap` each member of an ensemble has its own kernel.
        kernel = weights.new_zeros(batch, ABOVE + 1, 2 * BESIDE + 1)
        y, x_ = (torch.tensor(each, device=x.device) for each in zip(*TAPS, strict=True))
        kernel[:, y + ABOVE, x_ + BESIDE] = -weights
        kernel[:, ABOVE, BESIDE] = 1.0
        kernel = (kernel * (-log_scale).exp()[:, None, None]).repeat_interleave(channels, 0)[:, None]
        padded = functional.pad(picture.reshape(1, batch * channels, rows, columns), (BESIDE, BESIDE, ABOVE, 0))
        z = functional.conv2d(padded, kernel, groups=batch * channels).reshape(picture.shape)
        return self._planes(z, x.shape), -log_scale * x[0].numel()

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        weights, log_scale = self._at(cond)
        x: Tensor = _Recursion.apply(  # type: ignore[no-untyped-call]
            self.pictures(z * log_scale.exp()[:, None, None, None]), weights
        )
        return self._planes(x, z.shape)

    def pictures(self, x: Tensor) -> Tensor:
        """The pixels on the filter's grid: (B, 1, 2H, 2W) for a packed mosaic, else (B, C, H, W)."""
        if not self.packed:
            return x
        batch, _, rows, columns = x.shape
        mosaic = x.reshape(batch, 2, 2, rows, columns).permute(0, 3, 1, 4, 2)
        return mosaic.reshape(batch, 1, 2 * rows, 2 * columns)

    @torch.no_grad()
    def start_from(self, x: Tensor, cond: Resolved) -> None:
        """Initialise w and σ by the Yule–Walker equations, per camera and ISO.

        An ISO with fewer than `FEWEST` values takes the filter estimated from all ISOs of the camera.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Values of unit variance that enter this transform.
        cond : Resolved
            Clean signal, ISO and camera of the values.
        """
        index = (cond.iso.log()[:, None] - self.log_isos.to(cond.iso.dtype)).abs().argmin(1)
        for camera in set(cond.camera.tolist()):
            own = cond.camera == camera
            pooled = _yule_walker(self.pictures(_some(x[own])))
            for knot in range(len(self.log_isos)):
                rows = own & (index == knot)
                enough = int(rows.sum()) * x[0].numel() >= FEWEST
                weights, scale = _yule_walker(self.pictures(_some(x[rows]))) if enough else pooled
                self.weights[camera, knot] = weights.to(self.weights)
                self.log_scale[camera, knot] = scale.log().to(self.log_scale)

    def spectrum_of_columns(self) -> Tensor:
        """Variance of the mean of a long column divided by that for independent pixels, (cameras, isos)."""
        # The spectrum at vertical frequency 0, averaged over all horizontal frequencies.
        frequency = 2 * torch.pi * torch.arange(FREQUENCIES, dtype=torch.float64) / FREQUENCIES
        beside = torch.tensor([float(x) for _, x in TAPS], dtype=torch.float64)
        waves = torch.polar(torch.ones(len(TAPS), FREQUENCIES, dtype=torch.float64), -beside[:, None] * frequency)
        response = 1 - self.weights.detach().double().to(torch.complex128) @ waves
        return self.log_scale.detach().double().mul(2).exp() * response.abs().square().reciprocal().mean(-1)

    def _at(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """The weights w, (B, taps), and log σ, (B,)."""
        camera, knots = cond.camera, self.log_isos.to(self.weights.dtype)
        weights = [at_iso(self.weights[camera, :, tap], knots, cond.iso) for tap in range(len(TAPS))]
        return torch.stack(weights, 1), at_iso(self.log_scale[camera], knots, cond.iso)

    def _planes(self, picture: Tensor, shape: torch.Size) -> Tensor:
        if not self.packed:
            return picture
        batch, _, rows, columns = shape
        return picture.reshape(batch, rows, 2, columns, 2).permute(0, 2, 4, 1, 3).reshape(shape)


FEWEST = 100_000
"""Fewest values at which an ISO gets its own filter; correlations then have a standard error of 0.003."""

MOST = 4_000_000
"""Most values from which correlations are estimated."""


def _some(x: Tensor) -> Tensor:
    return x[:: max(1, x.numel() // MOST)]


def _yule_walker(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the best linear prediction, (taps,), and the standard deviation of its residual; float64."""
    known: dict[tuple[int, int], float] = {}

    def covariance(dy: int, dx: int) -> float:
        if (dy, dx) < (0, 0):
            dy, dx = -dy, -dx
        if (dy, dx) not in known:
            rows, columns = picture.shape[2:]
            low, high = max(dx, 0), min(columns, columns + dx)
            one = picture[:, :, dy:, low:high]
            other = picture[:, :, : rows - dy, low - dx : high - dx]
            known[dy, dx] = float((one * other).mean(dtype=torch.float64)) if one.numel() else 0.0
        return known[dy, dx]

    matrix = torch.tensor([[covariance(a[0] - b[0], a[1] - b[1]) for b in TAPS] for a in TAPS], dtype=torch.float64)
    with_pixel = torch.tensor([covariance(-y, -x) for y, x in TAPS], dtype=torch.float64)
    matrix += 1e-6 * torch.eye(len(TAPS), dtype=torch.float64)
    weights = torch.linalg.solve(matrix, with_pixel)
    left = covariance(0, 0) - float(weights @ with_pixel)
    return weights, torch.tensor(max(left, 1e-3), dtype=torch.float64).sqrt()


class _Recursion(torch.autograd.Function):
    """Solve x = z + Σ w_k x_k with x_k = 0 outside the frame; its transpose is the recursion from the other corner."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor) -> Tensor:
        x = _recursion(z, weights)
        ctx.save_for_backward(weights, x)
        return x

    @staticmethod
    def backward(ctx: Any, of_x: Tensor) -> tuple[Tensor, Tensor | None]:
        weights, x = ctx.saved_tensors
        of_z: Tensor = _Recursion.apply(of_x.flip(2, 3), weights).flip(2, 3)  # type: ignore[no-untyped-call]
        if not ctx.needs_input_grad[1]:
            return of_z, None
        rows, columns = x.shape[2:]
        padded = functional.pad(x, (BESIDE, BESIDE, ABOVE, 0))
        neighbours = [padded[:, :, ABOVE + y :, BESIDE + x_ :][:, :, :rows, :columns] for y, x_ in TAPS]
        of_weights = torch.stack([(of_z * each).sum((1, 2, 3)) for each in neighbours], 1)
        return of_z, of_weights.to(weights.dtype)


def _recursion(z: Tensor, weights: Tensor) -> Tensor:
    values, taps = (each.detach().double().cpu().numpy() for each in (z, weights))
    found = np.empty_like(values)
    for element in range(len(values)):
        found[element] = _by_rows(values[element], taps[element])
    return torch.from_numpy(found).to(z)


def _by_rows(z: Array, weights: Array) -> Array:
    """Run the recursion on one element, (C, H, W), row by row."""
    # scipy.signal takes half a second to import, so it is imported only when needed.
    from scipy.signal import lfilter

    channels, rows, columns = z.shape
    beside = np.r_[1.0, -weights[:BESIDE]]
    above = weights[BESIDE:].reshape(ABOVE, 2 * BESIDE + 1)
    x = np.zeros((channels, ABOVE + rows, columns + 2 * BESIDE))
    inner = slice(BESIDE, BESIDE + columns)
    for row in range(rows):
        value = z[:, row].copy()
        for up in range(ABOVE):
            line = x[:, ABOVE + row - 1 - up]
            for place in range(2 * BESIDE + 1):
                value += above[up, place] * line[:, place : place + columns]
        x[:, ABOVE + row, inner] = lfilter([1.0], beside, value, axis=1)
    return x[:, ABOVE:, inner]

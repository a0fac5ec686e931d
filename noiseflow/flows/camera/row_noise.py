"""Row noise in two parts: an offset, and a relative light change common to a whole row (lamp flicker)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.line_noise import NONE, SURE, LineNoise, bands_of_rows, near_products
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.ops.line_noise import unit_offset

__all__ = ["RowNoise"]

NO_FLICKER = 1e-14
"""Relative light variance that counts as no flicker: the square of 10⁻⁷ of the signal, too small to measure."""

Symmetric = tuple[Tensor, Tensor, Tensor]
"""Entries (0, 0), (0, 1) and (1, 1) of symmetric 2×2 matrices."""


class RowNoise(LineNoise):
    """Whiten rows that share an offset and a relative change of their light.

    The noise of a pixel is s·ε + a·u + y·b·v, with ε, u, v standard normal, u and v common to a row.  s² is the
    variance of shot and read noise, a² = r·β₂ that of the offset and b² = f that of the row's relative light change.
    After division by s a row's covariance is I + A Aᵀ, A = [√r·d, √f·y/s], d = √(β₂/s²).  With the 2×2
    matrix S = I + AᵀA

    z = x − A S^(−1/2)(I + S^(1/2))^(−1) Aᵀx,  log|det dz/dx| = −½ Σ log det S over rows,
    x = z + A (I + S^(1/2))^(−1) Aᵀz.

    A rolling shutter under mains-powered light produces such rows, with f of 10⁻⁷ to 10⁻⁵.

    Parameters
    ----------
    planes : int
        1, or the planes of a square CFA cell: 4, 16 or 36.
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising; log r and log f are linear in log ISO between them.
    start : float
        Initial r, in units of the read-noise variance β₂.
    flicker : float
        Initial f, the relative variance of a row's light.
    """

    def __init__(
        self, planes: int, cameras: int, isos: Sequence[float], start: float = 3e-3, flicker: float = NO_FLICKER
    ) -> None:
        super().__init__(planes, cameras, isos, "row", start, in_read_noise=True)
        self.log_flicker = nn.Parameter(torch.full((cameras, len(isos)), flicker).log())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Accept weights of `LineNoise`: rows without flicker."""
        state_dict.setdefault(f"{prefix}log_flicker", torch.full_like(self.log_flicker, NO_FLICKER).log())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def flicker(self, cond: Resolved) -> Tensor:
        """Relative variance f of a row's light, for each element, (B,)."""
        knots = self.log_isos.to(self.log_flicker.dtype)
        return at_iso(self.log_flicker[cond.camera], knots, cond.iso).exp()

    def light_variance(self) -> Tensor:
        """Relative variance of the total light change at the fitted ISOs, (cameras, isos)."""
        return self.log_flicker.exp()

    def scale_light(self, log_factor: Tensor) -> None:
        """Multiply every relative light variance by exp(`log_factor`), shape (cameras, isos)."""
        self.log_flicker.add_(log_factor)

    def relative_signal(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Signal over noise σ, e = y/s, 0 at masked pixels, (B, rows of a cell, columns of a cell, H, W)."""
        found = required(noise, self)
        signal = found.clean if found.observed is None else found.clean * found.observed
        return (signal * found.variance().rsqrt()).reshape(x.shape[0], *self.cells, *x.shape[2:])

    def sums(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Sums dᵀx, eᵀx, dᵀd, dᵀe and eᵀe along each row, with e = y/s, (5, B, rows of a cell, 1, H, 1).

        The sums of the tiles of a row add up to those of the row.
        """
        d, e = self._offset(x, noise), self.relative_signal(x, noise)
        x = x.reshape(d.shape)
        return torch.stack([term.sum(self.along, keepdim=True) for term in (d * x, e * x, d * d, d * e, e * e)])

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        projections, s, sizes = self._rows(self.sums(x, noise), cond)
        root = _root(s)
        first, second = _times(_inverse(_product(root, _plus_one(root))), projections)
        z = x - self._spread(x, noise, first * sizes[0], second * sizes[1])
        return z, -0.5 * _determinant(s).log().flatten(1).sum(1)

    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent to data on a tile of a frame, given the `sums` of its rows over the whole width."""
        projections, s, sizes = self._rows(sums, cond)
        first, second = _times(_inverse(_plus_one(_root(s))), projections)
        return z + self._spread(z, noise, first * sizes[0], second * sizes[1])

    @torch.no_grad()
    def start_from(
        self,
        x: Tensor,
        cond: Resolved,
        noise: NoiseParameters | None = None,
        bands: Tensor | None = None,
    ) -> None:
        """Initialise r and f by moments, per camera and ISO.  Parameters as in `LineNoise.start_from`.

        For two different pixels of a row E(xᵢxⱼ) = r·dᵢdⱼ + f·eᵢeⱼ, e = y/s.  Summed with the weights dᵢdⱼ and
        divided by the same sum at r = 1, f = 0, each row gives an estimate of r + f·κ, with
        κ = ((dᵀe)² − Σd²e²)/(|d|⁴ − Σd⁴), the row's squared signal in units of the read-noise variance.
        r and f are the intercept and slope of a line through all rows.  Flicker comes from the lamp and does not
        depend on the ISO, so an ISO whose f is not `SURE` standard errors above 0 takes the f of all ISOs.
        """
        super().start_from(x, cond, noise, bands)
        d, e = self._offset(x, noise), self.relative_signal(x, noise)
        own = d * x.reshape(d.shape)
        plain = [term.sum(self.along, keepdim=True) for term in (own, d.square(), d * e)]
        near = [near_products(term, self.along) for term in (own, d.square(), d * e)]
        pairs = [each for pair in zip(plain, near, strict=True) for each in pair]
        sums = torch.stack([each.flatten(1) for each in pairs])
        sums, index, cameras = bands_of_rows(sums, self._knot(cond), cond.camera, bands)
        projection, squares, norm, fourth, both, both_squares = sums.unbind()
        expected = norm.square() - fourth
        usable = (expected > 0).all(1)
        estimate = (projection.square() - squares) / expected
        light = (both.square() - both_squares) / expected
        for camera in set(cameras[usable].tolist()):
            seen = sorted(set(index[usable & (cameras == camera)].tolist()))
            fits = {}
            for knot in [*seen, None]:
                rows = usable & (cameras == camera) & ((index == knot) if knot is not None else usable)
                fits[knot] = _line(light[rows].flatten(), estimate[rows].flatten(), norm[rows].flatten())
            for knot in range(len(self.log_isos)):
                offset, flicker, sure = fits.get(knot, fits[None])
                pooled = fits[None]
                if not sure:
                    flicker = pooled[1] if pooled[2] else NO_FLICKER
                self.log_flicker[camera, knot] = torch.as_tensor(max(flicker, NO_FLICKER)).log()
                if sure or pooled[2]:
                    self.log_variance[camera, knot] = torch.as_tensor(max(offset, NONE)).log()

    @property
    def flickers(self) -> bool:
        """Whether any camera has flicker: a relative light variance f clearly above `NO_FLICKER`."""
        return bool((self.log_flicker.exp() > 2 * NO_FLICKER).any())

    def _offset(self, x: Tensor, noise: NoiseParameters | None) -> Tensor:
        """Size d = √(β₂/s²) of a unit offset, in the shape of `relative_signal`."""
        return unit_offset(x, *required(noise, self).line_signal, self.cells)

    def _rows(self, sums: Tensor, cond: Resolved) -> tuple[tuple[Tensor, Tensor], Symmetric, tuple[Tensor, Tensor]]:
        """Aᵀx, S, and the two scales √r and √f."""
        offset, light, dd, de, ee = sums.unbind()
        a, b = (each.sqrt()[:, None, None, None, None] for each in (self.variance(cond), self.flicker(cond)))
        return (a * offset, b * light), (1 + a * a * dd, a * b * de, 1 + b * b * ee), (a, b)

    def _spread(self, x: Tensor, noise: NoiseParameters | None, offset: Tensor, light: Tensor) -> Tensor:
        """offset·d + light·y/s in the shape of x."""
        return (self._offset(x, noise) * offset + self.relative_signal(x, noise) * light).reshape(x.shape)


def _line(light: Tensor, estimate: Tensor, norm: Tensor) -> tuple[float, float, bool]:
    """Fit estimate = r + f·light; return r, f, and whether f is `SURE` standard errors above 0.

    Neither r nor f is negative.  The inverse weight of a row is the variance of its estimate,
    2(1/|d|² + r + f·light)².
    """
    r = f = error = 0.0
    light, estimate, norm = light.double(), estimate.double(), norm.double()
    for _ in range(4):
        weight = (2 * (1 / norm + r + f * light).square()).reciprocal()
        total = weight.sum()
        mean_light, mean = (weight * light).sum() / total, (weight * estimate).sum() / total
        centred = light - mean_light
        spread = float((weight * centred.square()).sum())
        if not spread > 0:
            return max(float(mean), 0.0), 0.0, False
        slope, error = float((weight * centred * estimate).sum()) / spread, spread**-0.5
        f = max(slope, 0.0)
        r = max(float(mean) - f * float(mean_light), 0.0)
    return r, f, f > SURE * error


def _determinant(m: Symmetric) -> Tensor:
    return m[0] * m[2] - m[1] * m[1]


def _plus_one(m: Symmetric) -> Symmetric:
    return 1 + m[0], m[1], 1 + m[2]


def _root(m: Symmetric) -> Symmetric:
    """Square root of a positive definite matrix S: (S + √det S·I) / √(tr S + 2√det S)."""
    root = _determinant(m).sqrt()
    scale = (m[0] + m[2] + 2 * root).rsqrt()
    return (m[0] + root) * scale, m[1] * scale, (m[2] + root) * scale


def _product(m: Symmetric, n: Symmetric) -> Symmetric:
    """Product of two matrices that commute."""
    return m[0] * n[0] + m[1] * n[1], m[0] * n[1] + m[1] * n[2], m[1] * n[1] + m[2] * n[2]


def _inverse(m: Symmetric) -> Symmetric:
    determinant = _determinant(m)
    return m[2] / determinant, -m[1] / determinant, m[0] / determinant


def _times(m: Symmetric, v: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return m[0] * v[0] + m[1] * v[1], m[1] * v[0] + m[2] * v[1]

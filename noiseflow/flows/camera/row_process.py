"""Whitening of stationary Gaussian processes down the rows of a frame, observed in white noise, and its inverse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RowProcess", "both", "colour", "filtered", "unfiltered", "whiten"]

LONG = 512
"""Number of rows above which a Kalman recursion is used: faster than a Cholesky factorisation, but without gradient."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowProcess:
    """A stationary Gaussian process with the covariance k(l) = Σ vₖ φₖ^|l| cos(ωₖ l) at a distance of l rows.

    Parameters
    ----------
    variance, decay, frequency : Tensor, shape (B, K)
        For each element: v; φ from 0 to 1; ω in radians per row.
    """

    variance: Tensor
    decay: Tensor
    frequency: Tensor

    def covariance(self, rows: int, each: int = 1) -> Tensor:
        """Covariance matrix k(t − s), (B, rows·each, rows·each), float64, each row repeated `each` times."""
        t = torch.arange(rows, dtype=torch.float64, device=self.variance.device)
        # At a decay of exactly 0 or 1 there would be no gradient.
        decay = self.decay.double().clamp(1e-12, 1 - 1e-12)
        terms = (decay.log()[..., None] * t).exp() * (self.frequency.double()[..., None] * t).cos()
        lagged = (self.variance.double()[..., None] * terms).sum(1)
        t = t.repeat_interleave(each)
        return lagged[:, (t[:, None] - t).abs().long()]


def both(one: RowProcess, other: RowProcess) -> RowProcess:
    """The sum of two independent processes."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("variance", "decay", "frequency"))
    return RowProcess(*(torch.cat(pair, 1) for pair in pairs))


def whiten(
    u: Tensor, sizes: Tensor, processes: Sequence[RowProcess], taps: Tensor | None = None, each: int = 1
) -> tuple[Tensor, Tensor]:
    """Whiten u = Σ √D·g + ε, with ε standard normal and independent.

    Parameters
    ----------
    u : Tensor, shape (B, N)
        Observed values, from top to bottom.
    sizes : Tensor, shape (B, N, P)
        √D, the scale of each process at each value, in units of the white-noise σ.
    processes : sequence of RowProcess
        The P independent processes g.
    taps : Tensor, shape (B, T), optional
        A filter down the rows that √D·g has passed through, see `filtered`.
    each : int
        Number of consecutive values that belong to one row and share its g.

    Returns
    -------
    (Tensor, Tensor)
        Standard normal innovations L⁻¹u, (B, N), with L Lᵀ the covariance of u; and −Σ log Lₜₜ, nats, (B,).
    """
    if u.shape[1] > LONG * each:
        found, log_det = _recursion(u, sizes, processes, taps, each, back=False)
        return found, log_det
    factor = _factor(sizes, processes, taps, each)
    z = torch.linalg.solve_triangular(factor, u.double()[..., None], upper=False)[..., 0]
    return z.to(u.dtype), -factor.diagonal(dim1=1, dim2=2).log().sum(1).to(u.dtype)


def colour(
    z: Tensor, sizes: Tensor, processes: Sequence[RowProcess], taps: Tensor | None = None, each: int = 1
) -> Tensor:
    """Inverse of `whiten`: the values u, (B, N), that have the innovations z."""
    if z.shape[1] > LONG * each:
        return _recursion(z, sizes, processes, taps, each, back=True)[0]
    return (_factor(sizes, processes, taps, each) @ z.double()[..., None])[..., 0].to(z.dtype)


def filtered(u: Tensor, taps: Tensor) -> Tensor:
    """Filter u, (B, rows), down the rows: Σ taps_j u_(t − j), with u = 0 above the first row."""
    rows, count = u.shape[1], taps.shape[1]
    above = torch.nn.functional.pad(u, (count - 1, 0))
    return sum(
        (taps[:, lag, None].to(u) * above[:, count - 1 - lag :][:, :rows] for lag in range(count)), u.new_zeros(())
    )


def unfiltered(v: Tensor, taps: Tensor) -> Tensor:
    """Inverse of `filtered`, (B, rows); for more than `LONG` rows it has no gradient."""
    if v.shape[1] <= LONG:
        lower = _lower(taps, v.shape[1])
        solved: Tensor = torch.linalg.solve_triangular(lower, v.double()[..., None], upper=False)
        return solved[..., 0].to(v.dtype)
    values, given = (each.detach().double().cpu().numpy() for each in (v, taps))
    lags = given.shape[1] - 1
    found = np.zeros((len(values), lags + values.shape[1]))
    for row in range(values.shape[1]):
        above = (found[:, row : row + lags][:, ::-1] * given[:, 1:]).sum(1)
        found[:, row + lags] = (values[:, row] - above) / given[:, 0]
    return torch.from_numpy(found[:, lags:]).to(v)


def _lower(taps: Tensor, rows: int) -> Tensor:
    """The filter as a lower triangular matrix, (B, rows, rows), float64."""
    ones = torch.ones(rows, dtype=torch.float64, device=taps.device)
    terms = [tap[:, None, None] * torch.diag(ones[lag:], -lag) for lag, tap in enumerate(taps.double().T) if lag < rows]
    return torch.stack(terms).sum(0)


def _factor(sizes: Tensor, processes: Sequence[RowProcess], taps: Tensor | None, each: int) -> Tensor:
    """Cholesky factor L of M = I + Σ √D k √D, or of I + H (Σ √D k √D) Hᵀ with a filter H; float64."""
    count = sizes.shape[1]
    total = torch.eye(count, dtype=torch.float64, device=sizes.device)
    for size, process in zip(sizes.double().unbind(2), processes, strict=True):
        covariance = size[:, :, None] * process.covariance(count // each, each) * size[:, None, :]
        if taps is not None:
            lower = _lower(taps, count)
            covariance = lower @ covariance @ lower.transpose(1, 2)
        total = total + covariance
    factor: Tensor = torch.linalg.cholesky(total)
    return factor


@torch.no_grad()
def _recursion(
    given: Tensor, sizes: Tensor, processes: Sequence[RowProcess], taps: Tensor | None, each: int, *, back: bool
) -> tuple[Tensor, Tensor]:
    """Whiten, or colour if `back`, row by row with a Kalman filter; its state has a rotating decay per term of k.

    νₜ = (uₜ − hᵀm)/√Sₜ,  Sₜ = 1 + hᵀP h,  log|det| = −½ Σ log Sₜ, with √Dₜ in h.  With `taps`, the values of
    √D·g of the rows above are states as well.

    References
    ----------
    Anderson, Moore: Optimal filtering, Prentice-Hall 1979, section 5.5.
    """
    counts = [process.variance.shape[1] for process in processes]
    values, by_process = (part.detach().double().cpu().numpy() for part in (given, sizes))
    loads = np.repeat(by_process, counts, 2)
    v, phi, omega = (
        torch.cat([getattr(process, name) for process in processes], 1).detach().double().cpu().numpy()
        for name in ("variance", "decay", "frequency")
    )
    batch, parts = v.shape
    weights = np.ones((batch, 1)) if taps is None else taps.detach().double().cpu().numpy()
    own, states = 2 * parts, 2 * parts + weights.shape[1] - 1
    step, end = np.zeros((batch, states, states)), np.zeros((batch, states, states))
    for part in range(parts):
        at = slice(2 * part, 2 * part + 2)
        cos, sin = (phi[:, part] * function(omega[:, part]) for function in (np.cos, np.sin))
        step[:, at, at] = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        end[:, at, at] = v[:, part, None, None] * np.eye(2)
    fresh = end - step @ end @ step.transpose(0, 2, 1)
    for lag in range(own + 1, states):
        step[:, lag, lag - 1] = 1.0
    seen = np.zeros((batch, states))
    seen[:, own:] = weights[:, 1:]
    mean, spread = np.zeros((batch, states)), end
    found, logs = np.empty_like(values), np.zeros(batch)
    for row in range(values.shape[1]):
        root_d = loads[:, row]
        seen[:, :own:2] = weights[:, :1] * root_d
        if states > own:
            step[:, own, :own:2] = root_d
        gain = (spread @ seen[..., None])[..., 0]
        s = 1 + (gain * seen).sum(1)
        expected = (mean * seen).sum(1)
        if back:
            found[:, row] = values[:, row] * np.sqrt(s) + expected
            surprise = found[:, row] - expected
        else:
            surprise = values[:, row] - expected
            found[:, row] = surprise / np.sqrt(s)
        logs -= 0.5 * np.log(s)
        mean = mean + gain * (surprise / s)[:, None]
        spread = spread - gain[:, :, None] * gain[:, None, :] / s[:, None, None]
        if (row + 1) % each:
            continue
        mean = (step @ mean[..., None])[..., 0]
        spread = step @ spread @ step.transpose(0, 2, 1) + fresh
    return torch.from_numpy(found).to(given), torch.from_numpy(logs).to(given)

"""Stationary Gaussian processes down the rows of a frame, seen in white noise: their whitening and its inverse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RowProcess", "both", "colour", "filtered", "unfiltered", "whiten"]

LONG = 512
"""Rows beyond which the recursion is faster than a factorisation, and has no gradient."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowProcess:
    """k(l) = Σ vₖ φₖ^|l| cos(ωₖ l), of each element.

    Parameters
    ----------
    variance, decay, frequency : Tensor, shape (B, K)
        v, φ from 0 to 1, and ω in radians a row.
    """

    variance: Tensor
    decay: Tensor
    frequency: Tensor

    def covariance(self, rows: int, each: int = 1) -> Tensor:
        """k(t − s), (B, rows·each, rows·each), float64, each row `each` times."""
        t = torch.arange(rows, dtype=torch.float64, device=self.variance.device)
        # A decay of exactly 0 or 1 would have no gradient.
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
    """Standard normal innovations of u = Σ √D·g + ε, with log|det|, (B,).

    Parameters
    ----------
    u : Tensor, shape (B, N)
        Seen values, from top to bottom.
    sizes : Tensor, shape (B, N, P)
        √D, the size of each process in units of the white noise of each value.
    processes : sequence of RowProcess
        Covariances of the P independent g.
    taps : Tensor, shape (B, T), optional
        A filter down the rows that √D·g has passed, see `filtered`.
    each : int
        Values of a row that follow each other, which see the same g.
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
    """The inverse of `whiten`."""
    if z.shape[1] > LONG * each:
        return _recursion(z, sizes, processes, taps, each, back=True)[0]
    return (_factor(sizes, processes, taps, each) @ z.double()[..., None])[..., 0].to(z.dtype)


def filtered(u: Tensor, taps: Tensor) -> Tensor:
    """Σ taps_j u_(t − j) down the rows, with 0 above the first, (B, rows)."""
    rows, count = u.shape[1], taps.shape[1]
    above = torch.nn.functional.pad(u, (count - 1, 0))
    return sum(
        (taps[:, lag, None].to(u) * above[:, count - 1 - lag :][:, :rows] for lag in range(count)), u.new_zeros(())
    )


def unfiltered(v: Tensor, taps: Tensor) -> Tensor:
    """The inverse of `filtered`; beyond `LONG` rows it has no gradient."""
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
    """The filter as a matrix, (B, rows, rows), float64."""
    ones = torch.ones(rows, dtype=torch.float64, device=taps.device)
    terms = [tap[:, None, None] * torch.diag(ones[lag:], -lag) for lag, tap in enumerate(taps.double().T) if lag < rows]
    return torch.stack(terms).sum(0)


def _factor(sizes: Tensor, processes: Sequence[RowProcess], taps: Tensor | None, each: int) -> Tensor:
    """L of M = I + Σ √D k √D = L Lᵀ, float64; of I + H (Σ √D k √D) Hᵀ with a filter H."""
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
    """The same row by row: the innovations of a Kalman filter, whose state is a rotating decay for each part of k.

    νₜ = (uₜ − hᵀm)/√Sₜ,  Sₜ = 1 + hᵀP h,  log|det| = −½ Σ log Sₜ, with √Dₜ in h; a filter also sees the values of
    √D·g of the rows above, which are states too.

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

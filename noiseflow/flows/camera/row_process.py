"""A stationary Gaussian process down the rows of a frame, seen in white noise: its whitening and its inverse."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RowProcess", "colour", "whiten"]

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

    def covariance(self, rows: int) -> Tensor:
        """k(t − s), (B, rows, rows), float64."""
        t = torch.arange(rows, dtype=torch.float64, device=self.variance.device)
        # A decay of exactly 0 or 1 would have no gradient.
        decay = self.decay.double().clamp(1e-12, 1 - 1e-12)
        terms = (decay.log()[..., None] * t).exp() * (self.frequency.double()[..., None] * t).cos()
        lagged = (self.variance.double()[..., None] * terms).sum(1)
        return lagged[:, (t[:, None] - t).abs().long()]


def whiten(u: Tensor, size: Tensor, process: RowProcess) -> tuple[Tensor, Tensor]:
    """Standard normal innovations of u = √D·g + ε, with log|det|, (B,).

    Parameters
    ----------
    u : Tensor, shape (B, rows)
        Seen values, from top to bottom.
    size : Tensor, shape (B, rows)
        √D, the process' size in units of the white noise of each row.
    process : RowProcess
        Covariance of g.
    """
    if u.shape[1] > LONG:
        found, log_det = _recursion(u, size, process, back=False)
        return found, log_det
    factor = _factor(size, process)
    z = torch.linalg.solve_triangular(factor, u.double()[..., None], upper=False)[..., 0]
    return z.to(u.dtype), -factor.diagonal(dim1=1, dim2=2).log().sum(1).to(u.dtype)


def colour(z: Tensor, size: Tensor, process: RowProcess) -> Tensor:
    """The inverse of `whiten`."""
    if z.shape[1] > LONG:
        return _recursion(z, size, process, back=True)[0]
    return (_factor(size, process) @ z.double()[..., None])[..., 0].to(z.dtype)


def _factor(size: Tensor, process: RowProcess) -> Tensor:
    """L of M = I + √D k √D = L Lᵀ, float64."""
    size = size.double()
    covariance = size[:, :, None] * process.covariance(size.shape[1]) * size[:, None, :]
    eye = torch.eye(size.shape[1], dtype=torch.float64, device=size.device)
    factor: Tensor = torch.linalg.cholesky(eye + covariance)
    return factor


@torch.no_grad()
def _recursion(given: Tensor, size: Tensor, process: RowProcess, *, back: bool) -> tuple[Tensor, Tensor]:
    """The same row by row: the innovations of a Kalman filter, whose state is a rotating decay for each part of k.

    νₜ = (uₜ − √Dₜ hᵀm)/√Sₜ,  Sₜ = 1 + Dₜ hᵀP h,  log|det| = −½ Σ log Sₜ.

    References
    ----------
    Anderson, Moore: Optimal filtering, Prentice-Hall 1979, section 5.5.
    """
    values, sizes = (each.detach().double().cpu().numpy() for each in (given, size))
    v, phi, omega = (
        each.detach().double().cpu().numpy() for each in (process.variance, process.decay, process.frequency)
    )
    batch, parts = v.shape
    states = 2 * parts
    step, end = np.zeros((batch, states, states)), np.zeros((batch, states, states))
    for part in range(parts):
        at = slice(2 * part, 2 * part + 2)
        cos, sin = (phi[:, part] * function(omega[:, part]) for function in (np.cos, np.sin))
        step[:, at, at] = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        end[:, at, at] = v[:, part, None, None] * np.eye(2)
    transposed = step.transpose(0, 2, 1)
    fresh = end - step @ end @ transposed
    seen = np.arange(0, states, 2)
    mean, spread = np.zeros((batch, states)), end
    found, logs = np.empty_like(values), np.zeros(batch)
    for row in range(values.shape[1]):
        root_d = sizes[:, row]
        gain = spread[:, :, seen].sum(2)
        s = 1 + root_d**2 * gain[:, seen].sum(1)
        expected = root_d * mean[:, seen].sum(1)
        if back:
            found[:, row] = values[:, row] * np.sqrt(s) + expected
            surprise = found[:, row] - expected
        else:
            surprise = values[:, row] - expected
            found[:, row] = surprise / np.sqrt(s)
        logs -= 0.5 * np.log(s)
        mean = mean + gain * (root_d * surprise / s)[:, None]
        spread = spread - gain[:, :, None] * gain[:, None, :] * (root_d**2 / s)[:, None, None]
        mean = (step @ mean[..., None])[..., 0]
        spread = step @ spread @ transposed + fresh
    return torch.from_numpy(found).to(given), torch.from_numpy(logs).to(given)

"""Posterior of a camera's curve: Gauss-Newton for each possible gain switch, weighted by its evidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.prior.curve import DUAL_ISOS, CameraCurve, curve_at

__all__ = ["CameraPrior", "Posterior", "posterior_of"]

Array = NDArray[np.float64]

STEPS = 12
"""Largest number of Gauss-Newton steps."""

DIFFERENCE = 1e-4
"""Step of the finite differences for the Jacobian."""


@dataclass(frozen=True, eq=False)
class CameraPrior:
    """Normal distribution of cameras' parameters, and their scatter about the curves.

    Parameters
    ----------
    mean : ndarray, shape (8,)
        Mean of `PARAMETERS`.
    covariance : ndarray, shape (8, 8)
        Covariance of `PARAMETERS` between cameras.
    scatter : ndarray, shape (4,)
        Standard deviation of `OBSERVED` at a single ISO about the camera's curve.
    dual : ndarray, shape (D,)
        Probability of each of `DUAL_ISOS`.
    """

    mean: Array
    covariance: Array
    scatter: Array
    dual: Array

    def sample(self, generator: np.random.Generator) -> tuple[Array, float | None]:
        """Draw the parameters of a new camera, shape (8,), and the ISO of its gain switch (None if it has none)."""
        component = int(generator.choice(len(self.dual), p=self.dual))
        return generator.multivariate_normal(self.mean, self.covariance), DUAL_ISOS[component]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Mixture of normal distributions of a camera's parameters.

    Parameters
    ----------
    weights : ndarray, shape (D,)
        Probability of each of `DUAL_ISOS`.
    means : ndarray, shape (D, 8)
        Means of `PARAMETERS`, given the ISO of the gain switch.
    covariances : ndarray, shape (D, 8, 8)
        Covariances of `PARAMETERS`, given the ISO of the gain switch.
    log_evidence : float
        ln of the density of the observations under the prior (Laplace approximation).
    """

    weights: Array
    means: Array
    covariances: Array
    log_evidence: float

    def sample(self, count: int, generator: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
        """Draw parameters, shape (count, 8), and return the index of each one's component in `DUAL_ISOS`."""
        components = np.sort(generator.choice(len(self.weights), size=count, p=self.weights))
        draws = [
            generator.multivariate_normal(self.means[k], self.covariances[k], size=int((components == k).sum()))
            for k in np.unique(components)
        ]
        return np.concatenate(draws), components

    def curves(self, isos: Array, count: int, generator: np.random.Generator) -> Array:
        """Draw `OBSERVED` at N ISOs, shape (count, N, 4)."""
        parameters, components = self.sample(count, generator)
        return np.concatenate(
            [curve_at(parameters[components == k], isos, DUAL_ISOS[k]) for k in np.unique(components)]
        )


def posterior_of(curve: CameraCurve, prior: CameraPrior) -> Posterior:
    """Compute the posterior of a camera's parameters from observations at some ISOs.

    Parameters
    ----------
    curve : CameraCurve
        Observations with their errors.
    prior : CameraPrior
        Prior over cameras.

    Returns
    -------
    Posterior
        One normal component per entry of `DUAL_ISOS` (Laplace approximation).
    """
    fits = [_component(curve, prior, dual) for dual in DUAL_ISOS]
    logs = np.array([fit[2] for fit in fits]) + np.log(np.maximum(prior.dual, 1e-300))
    top = float(logs.max())
    weights = np.exp(logs - top)
    means, covariances = np.stack([fit[0] for fit in fits]), np.stack([fit[1] for fit in fits])
    return Posterior(weights / weights.sum(), means, covariances, top + float(np.log(weights.sum())))


def _component(curve: CameraCurve, prior: CameraPrior, dual: float | None) -> tuple[Array, Array, float]:
    """Return mean, covariance and ln evidence of one component (Laplace approximation)."""
    seen = np.isfinite(curve.values)
    values = curve.values[seen]
    variance = np.square(np.nan_to_num(curve.errors)) + prior.scatter**2
    weight = 1 / variance[seen]
    precision = np.linalg.solve(prior.covariance, np.eye(len(prior.mean)))

    def residuals(point: Array) -> Array:
        return values - curve_at(point, curve.isos, dual)[..., seen]

    def cost(point: Array) -> float:
        off = point - prior.mean
        return float((residuals(point) ** 2 * weight).sum() + off @ precision @ off)

    mode = prior.mean.copy()
    for _ in range(STEPS):
        steps = mode + DIFFERENCE * np.eye(len(mode))
        jacobian = (residuals(mode)[None] - residuals(steps)).T / DIFFERENCE
        normal = jacobian.T @ (jacobian * weight[:, None]) + precision
        step = np.linalg.solve(normal, jacobian.T @ (weight * residuals(mode)) - precision @ (mode - prior.mean))
        damping = 1.0
        while damping > 1e-3 and cost(mode + damping * step) > cost(mode):
            damping /= 2
        mode = mode + damping * step
        if np.abs(damping * step).max() < 1e-4:
            break
    covariance = np.linalg.solve(normal, np.eye(len(mode)))
    log_det = float(np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(prior.covariance)[1])
    log_evidence = -0.5 * cost(mode) + 0.5 * log_det - 0.5 * float(np.log(2 * np.pi * variance[seen]).sum())
    return mode, (covariance + covariance.T) / 2, log_evidence

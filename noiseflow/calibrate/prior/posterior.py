"""Posterior of a camera's curve: Gauss-Newton for each place of a gain switch, weighed by evidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.prior.curve import DUAL_ISOS, CameraCurve, curve_at

__all__ = ["CameraPrior", "Posterior", "posterior_of"]

Array = NDArray[np.float64]

STEPS = 12
DIFFERENCE = 1e-4


@dataclass(frozen=True, eq=False)
class CameraPrior:
    """Normal distribution of a camera's parameters, with a camera's own scatter at each ISO.

    Parameters
    ----------
    mean : ndarray, shape (8,)
        Mean of `PARAMETERS`.
    covariance : ndarray, shape (8, 8)
        Between cameras.
    scatter : ndarray, shape (4,)
        Standard deviation of `OBSERVED` at one ISO about its camera's curve.
    dual : ndarray, shape (D,)
        Probability of each of `DUAL_ISOS`.
    """

    mean: Array
    covariance: Array
    scatter: Array
    dual: Array

    def sample(self, generator: np.random.Generator) -> tuple[Array, float | None]:
        """Parameters (8,) of an unseen camera, and the ISO of its gain switch."""
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
        Likewise.
    log_evidence : float
        ln of the density of what was observed under the prior.
    """

    weights: Array
    means: Array
    covariances: Array
    log_evidence: float

    def sample(self, count: int, generator: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
        """Parameters (count, 8), and the component of each."""
        components = np.sort(generator.choice(len(self.weights), size=count, p=self.weights))
        draws = [
            generator.multivariate_normal(self.means[k], self.covariances[k], size=int((components == k).sum()))
            for k in np.unique(components)
        ]
        return np.concatenate(draws), components

    def curves(self, isos: Array, count: int, generator: np.random.Generator) -> Array:
        """`OBSERVED` of `count` draws at ISOs, shape (count, N, 4)."""
        parameters, components = self.sample(count, generator)
        return np.concatenate(
            [curve_at(parameters[components == k], isos, DUAL_ISOS[k]) for k in np.unique(components)]
        )


def posterior_of(curve: CameraCurve, prior: CameraPrior) -> Posterior:
    """Posterior of a camera of which some ISOs are known.

    Parameters
    ----------
    curve : CameraCurve
        What was observed, with its errors.
    prior : CameraPrior
        Prior over cameras.
    """
    fits = [_component(curve, prior, dual) for dual in DUAL_ISOS]
    logs = np.array([fit[2] for fit in fits]) + np.log(np.maximum(prior.dual, 1e-300))
    top = float(logs.max())
    weights = np.exp(logs - top)
    means, covariances = np.stack([fit[0] for fit in fits]), np.stack([fit[1] for fit in fits])
    return Posterior(weights / weights.sum(), means, covariances, top + float(np.log(weights.sum())))


def _component(curve: CameraCurve, prior: CameraPrior, dual: float | None) -> tuple[Array, Array, float]:
    """Mean, covariance and ln evidence (Laplace) of one component."""
    seen = np.isfinite(curve.values)
    values = curve.values[seen]
    variance = np.square(np.nan_to_num(curve.errors)) + prior.scatter**2
    weight = 1 / variance[seen]
    precision = np.linalg.solve(prior.covariance, np.eye(len(prior.mean)))

    def residuals(at: Array) -> Array:
        return values - curve_at(at, curve.isos, dual)[..., seen]

    def cost(at: Array) -> float:
        off = at - prior.mean
        return float((residuals(at) ** 2 * weight).sum() + off @ precision @ off)

    at, damping = prior.mean.copy(), 1.0
    for _ in range(STEPS):
        steps = at + DIFFERENCE * np.eye(len(at))
        jacobian = (residuals(at)[None] - residuals(steps)).T / DIFFERENCE
        normal = jacobian.T @ (jacobian * weight[:, None]) + precision
        step = np.linalg.solve(normal, jacobian.T @ (weight * residuals(at)) - precision @ (at - prior.mean))
        damping = 1.0
        while damping > 1e-3 and cost(at + damping * step) > cost(at):
            damping /= 2
        at = at + damping * step
        if np.abs(damping * step).max() < 1e-4:
            break
    covariance = np.linalg.solve(normal, np.eye(len(at)))
    log_det = float(np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(prior.covariance)[1])
    log_evidence = -0.5 * cost(at) + 0.5 * log_det - 0.5 * float(np.log(2 * np.pi * variance[seen]).sum())
    return at, (covariance + covariance.T) / 2, log_evidence

"""Learning the prior over cameras from observed curves, by expectation maximisation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.prior.curve import DUAL_ISOS, OBSERVED, PARAMETERS, CameraCurve
from noiseflow.calibrate.prior.posterior import CameraPrior, posterior_of

__all__ = ["START", "learn_prior"]

Array = NDArray[np.float64]

START = CameraPrior(
    np.array([10.5, 1.0, 0.8, 2.3, -2.0, -0.03, 0.0, 1.0]),
    np.diag(np.square([1.0, 0.02, 0.7, 1.0, 0.6, 0.12, 0.1, 0.35])),
    np.array([0.03, 0.06, 0.12, 0.05]),
    np.array([0.6, *[0.4 / (len(DUAL_ISOS) - 1)] * (len(DUAL_ISOS) - 1)]),
)
"""Prior before any camera is seen: ten thousand to half a million electrons at white, read noise of 1 to 5 e⁻."""

BELIEF = 5.0
"""Number of cameras that `START` counts as; it keeps the spread from a few cameras from being too small."""

ROUNDS = 6
"""Iterations of expectation maximisation."""


def learn_prior(curves: Sequence[CameraCurve]) -> CameraPrior:
    """Learn a prior from the observations of some cameras.

    Each iteration computes the posterior of every camera under the current prior.  The new mean and covariance are
    those of the mixture of all posteriors, where `START` counts as `BELIEF` more cameras (inverse-Wishart prior).  The
    scatter about a curve stays that of `START`.

    Parameters
    ----------
    curves : sequence of CameraCurve
        Observations, one per camera.

    Returns
    -------
    CameraPrior
        The learnt prior.
    """
    prior = START
    for _ in range(ROUNDS):
        found = [posterior_of(curve, prior) for curve in curves]
        means = np.stack([each.weights @ each.means for each in found])
        total = len(found) + BELIEF
        mean = (means.sum(0) + BELIEF * START.mean) / total
        spread = BELIEF * (START.covariance + np.outer(START.mean - mean, START.mean - mean))
        for each in found:
            off = each.means - mean
            spread += np.einsum("k,kij->ij", each.weights, each.covariances + off[:, :, None] * off[:, None, :])
        dual = (np.sum([each.weights for each in found], axis=0) + BELIEF * START.dual) / total
        prior = CameraPrior(mean, spread / total, START.scatter, dual)
    assert mean.shape == (len(PARAMETERS),)
    assert prior.scatter.shape == (len(OBSERVED),)
    return prior

"""Learning a prior over cameras from curves of some, by expectation and maximisation."""

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
"""Before any camera was seen: a range of half a million to ten thousand electrons, read noises of 1 to 5 e⁻."""

BELIEF = 5.0
"""Cameras that `START` counts as, so that few cannot make the spread too small."""

ROUNDS = 6


def learn_prior(curves: Sequence[CameraCurve]) -> CameraPrior:
    """A prior from what is known of some cameras.

    Each round takes every camera's posterior, and the mean and covariance of all of these with their own
    covariances, `START` counting as `BELIEF` more cameras (inverse-Wishart).

    Parameters
    ----------
    curves : sequence of CameraCurve
        One a camera.
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

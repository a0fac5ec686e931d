"""Tails beyond an edge by the whole sum over electrons."""

import numpy as np
import pytest
from scipy import special

from noiseflow.models.oracle.clipped_tails import log_clipped


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("sigma", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("gain", "edge"), [(0.8, 40.0), (2.5, 3.0), (0.8, -0.5)])
def test_a_tail_is_the_sum_over_all_electrons(gain: float, edge: float, sigma: float, upper: bool) -> None:
    """Σₖ Poisson(k; λ)·Φ(±(K k − edge)/σ), terms of which those beyond nine σ are 1e-19 at most."""
    rate = np.array([0.0, 0.7, 12.0, 50.0, 300.0])
    counts = np.arange(1200.0)
    poisson = special.xlogy(counts, rate[:, None]) - rate[:, None] - special.gammaln(counts + 1)
    inside = special.log_ndtr((1 if upper else -1) * (gain * counts - edge) / sigma)
    expected = special.logsumexp(poisson + inside, axis=1)
    found = log_clipped(rate, gain=gain, sigma=sigma, edge_dn=edge, upper=upper)
    known = expected > -25
    assert known.any()
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-8, atol=1e-9)

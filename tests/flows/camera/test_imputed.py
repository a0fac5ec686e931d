"""What stands in for masked pixels, pixel by pixel in loops."""

import math

import numpy as np
import pytest
import torch

from noiseflow.flows.observed import WINDOW, imputed


def by_hand(noise: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """σ² at each pixel: the mean square of what is observed of the plane in the window, and one value of the plane."""
    half, (planes, rows, columns) = WINDOW // 2, noise.shape
    of_all = (noise**2)[observed].mean() if observed.any() else 0.0
    found = np.empty_like(noise)
    for plane, row, column in np.ndindex(planes, rows, columns):
        window = np.s_[plane, max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        seen, square = observed[window], noise[window] ** 2
        of_plane = (noise[plane] ** 2)[observed[plane]].mean() if observed[plane].any() else of_all
        found[plane, row, column] = (square[seen].sum() + of_plane) / (seen.sum() + 1)
    return found


@pytest.mark.parametrize("masked", [0.1, 0.6, 0.98])
def test_the_variance_is_that_of_the_observed_around(masked: float) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (2, 3, 14, 15)) * np.linspace(0.1, 2, 15)
    observed = rng.random(noise.shape) > masked
    observed[1, 2] = False
    noise = np.where(observed, noise, np.nan)
    filled, entropy = (each.numpy() for each in imputed(torch.from_numpy(noise), torch.from_numpy(observed)))
    assert np.array_equal(filled[observed], noise[observed])
    for element in range(2):
        hidden = ~observed[element]
        variance = by_hand(np.nan_to_num(noise[element]), observed[element])[hidden]
        assert np.abs(filled[element][hidden]) == pytest.approx(np.sqrt(variance), rel=1e-12)
        assert entropy[element] == pytest.approx(0.5 * np.log(2 * math.pi * math.e * variance).sum(), rel=1e-12)
        # In turn above and below: what is linear in them cancels.
        signs = np.sign(filled[element][hidden])
        assert abs(signs.mean()) < 0.2


def test_a_quadratic_log_density_s_expectation_is_exact() -> None:
    """For independent N(0, s²) the bound is the density of the observed, less what σ² is off by."""
    observed = torch.ones(1, 1, 12, 12, dtype=torch.bool)
    observed[0, 0, 4:6, 4:8] = False
    noise = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    filled, entropy = imputed(noise, observed)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(filled)
    assert float(density.sum() + entropy) == pytest.approx(float(density[observed].sum()), abs=1e-9)

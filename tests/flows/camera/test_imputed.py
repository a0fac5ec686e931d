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
    filled, surprise = (each.numpy() for each in imputed(torch.from_numpy(noise), torch.from_numpy(observed)))
    assert np.array_equal(filled[observed], noise[observed])
    for element in range(2):
        hidden = ~observed[element]
        variance = by_hand(np.nan_to_num(noise[element]), observed[element])[hidden]
        relative = filled[element][hidden] ** 2 / variance
        assert surprise[element] == pytest.approx(0.5 * (np.log(2 * math.pi * variance) + relative).sum(), rel=1e-12)
        # 4 standard errors of the mean of χ², and of that of normal values.
        assert relative.mean() == pytest.approx(1, abs=4 * math.sqrt(2 / len(relative)))
        assert abs((filled[element][hidden] / np.sqrt(variance)).mean()) < 4 / math.sqrt(len(relative))


def test_draws_are_those_of_the_observed_noise_alone() -> None:
    """The same in any batch, precision and for anything at masked pixels; others in another patch."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 4, 16, 16, generator=generator)
    observed = (torch.rand(1, 4, 16, 16, generator=generator) < 0.7).expand(3, 4, 16, 16)
    filled, surprise = imputed(noise, observed)
    alone, of_one = imputed(noise[1:2].masked_fill(~observed[1:2], math.nan).double(), observed[1:2])
    torch.testing.assert_close(alone.float(), filled[1:2])
    torch.testing.assert_close(of_one.float(), surprise[1:2], rtol=1e-5, atol=1e-3)
    first, second = filled[0][~observed[0]], filled[1][~observed[1]]
    # A network that reads the place cannot foresee them: 4 standard errors of a correlation.
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 4 / math.sqrt(len(first))


def test_a_density_that_expects_values_near_one_sigma_gains_nothing() -> None:
    """With ±σ, `noise_flow` learned that |x| is σ: half masked, it came out 0.7 nats a value above the truth."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 1, 8, 8, generator=generator)
    observed = torch.ones_like(noise, dtype=torch.bool)
    observed[..., 2:6, 2:6] = False
    filled, surprise = imputed(noise, observed)
    hidden = ~observed
    # The best of the densities that are mixtures of two narrow peaks, at ±1.
    places, widths = torch.tensor([-1.0, 1.0]), torch.tensor([0.3, 0.5, 0.7])
    peaks = torch.distributions.Normal(places[:, None], widths)
    likely = peaks.log_prob(filled[hidden][:, None, None]).logsumexp(1) - math.log(2)
    bound = likely.sum(0).max() + surprise.sum()
    assert float(bound) < 0


def test_the_bound_of_the_density_that_is_drawn_from_is_exact() -> None:
    """For independent N(0, σ²) it is the density of the observed, whatever the draw."""
    observed = torch.ones(1, 1, 12, 12, dtype=torch.bool)
    observed[0, 0, 4:6, 4:8] = False
    noise = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    filled, surprise = imputed(noise, observed)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(filled)
    assert float(density.sum() + surprise) == pytest.approx(float(density[observed].sum()), abs=1e-9)

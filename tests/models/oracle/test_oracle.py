import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import ndtr

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.oracle.poisson_gaussian import oracle_log_prob
from noiseflow.models.oracle.row_noise import LineOracle
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.simulate import expose, load_camera, truth_of

CODES = np.arange(4096.0)
LEVELS = {"black": 256.0, "white": 4095.0}


def by_brute_force(rate: float, gain: float, sigma: float) -> np.ndarray:
    """P(code) summed over every count, with scipy's own distributions."""
    counts = np.arange(int(rate + 40 * np.sqrt(rate + 1) + 60))
    probability = stats.poisson.pmf(counts, rate)
    # What is left out is 10⁻²⁶ in all, the tolerance 10⁻¹¹.
    counts, probability = counts[probability > 1e-30], probability[probability > 1e-30]
    middle = CODES[:, None] - 256 - gain * counts
    mass = ndtr((middle + 0.5) / sigma) - ndtr((middle - 0.5) / sigma)
    mass[0] = stats.norm.cdf((middle[0] + 0.5) / sigma)
    mass[-1] = stats.norm.sf((middle[-1] - 0.5) / sigma)
    return mass @ probability


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("sigma", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("rate", [0.0, 0.3, 5.0, 100.0, 3000.0])
def test_it_is_the_sum_over_all_counts_and_adds_up_to_one(rate: float, gain: float, sigma: float) -> None:
    log_prob = oracle_log_prob(CODES, np.full(4096, rate * gain), gain=gain, read_sigma=sigma, **LEVELS)
    expected = by_brute_force(rate, gain, sigma)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-9)
    assert np.abs(np.exp(log_prob) - expected).max() < 1e-11
    likely = expected > 1e-12
    assert np.allclose(log_prob[likely], np.log(expected[likely]), atol=1e-7)


@pytest.mark.parametrize("signal", [0.0, 40.0, 900.0])
def test_simulated_codes_have_these_probabilities(signal: float) -> None:
    drawn = expose(np.full((500, 500), signal), load_camera("PG-12"), 1600, np.random.default_rng(0)).ravel()
    log_prob = oracle_log_prob(CODES, np.full(4096, signal), gain=4.0, read_sigma=3.0, **LEVELS)
    expected = drawn.size * np.exp(log_prob)
    often = expected > 20
    observed = np.bincount(drawn, minlength=4096)
    # χ², the rare codes lumped together; a false alarm in one of ten thousand seeds.
    lumped = [np.append(counts[often], counts[~often].sum()) for counts in (observed, expected)]
    statistic = ((lumped[0] - lumped[1]) ** 2 / np.maximum(lumped[1], 1)).sum()
    assert stats.chi2.sf(statistic, often.sum()) > 1e-4


def test_in_much_light_it_is_the_gaussian() -> None:
    rate, gain, sigma = 1e5, 0.02, 3.0
    log_prob = oracle_log_prob(CODES, np.full(4096, rate * gain), gain=gain, read_sigma=sigma, **LEVELS)
    middle = (CODES - 256 - rate * gain) / np.sqrt(gain * rate * gain + sigma**2 + 1 / 12)
    near = np.abs(middle) < 2
    gaussian = stats.norm.logpdf(middle[near]) - np.log(np.sqrt(gain * rate * gain + sigma**2 + 1 / 12))
    assert np.abs(log_prob[near] - gaussian).max() < 1e-3


def test_behind_the_contract_it_scores_and_samples_the_simulation() -> None:
    physics = load_camera("PG-12")
    truth = truth_of(physics, [100.0, 1600.0])
    oracle = oracle_from_truth(truth, "bayer", tuple(truth), (100.0, 1600.0))
    assert oracle is not None
    clean = torch.full((2, 4, 64, 64), 0.1)
    cond = Conditions(clean, torch.tensor([100.0, 1600.0]), next(iter(truth)))
    noise = oracle.sample(cond, torch.Generator().manual_seed(0))
    span = physics.white_dn - physics.black_dn
    for row, (gain, sigma) in enumerate(((0.25, 3.0), (4.0, 3.0))):
        # 16,384 values: standard error of the variance 1.1 %; four of them.
        expected = gain * 0.1 * span + sigma**2 + 1 / 12
        assert float(noise[row].double().var()) * span**2 == pytest.approx(expected, rel=0.045)
        code = np.rint((noise[row].double().numpy() + 0.1) * span + 256)
        per_code = oracle_log_prob(code, np.full(code.shape, 0.1 * span), gain=gain, read_sigma=sigma, **LEVELS)
        expected_log_prob = (per_code + np.log(span)).sum()
        assert float(oracle.log_prob(noise, cond)[row]) == pytest.approx(expected_log_prob, rel=1e-5)
    with pytest.raises(ModelError, match="ISO 400 was not simulated"):
        oracle.log_prob(noise, Conditions(clean, 400.0, 0))
    with pytest.raises(ModelError, match="no temperature"):
        oracle.sample(cond, temperature=0.6)


def test_there_is_none_where_the_truth_is_not_told() -> None:
    assert oracle_from_truth({}, "bayer", ("Mine",), (100.0,)) is None


@pytest.mark.parametrize("name", ["Sony A7S2", "ROW-12"])
def test_rows_and_shapes_have_a_numerical_one(name: str) -> None:
    physics = load_camera(name)
    truth = truth_of(physics, sorted(physics.isos))
    assert isinstance(oracle_from_truth(truth, "bayer", tuple(truth), sorted(physics.isos)), LineOracle)

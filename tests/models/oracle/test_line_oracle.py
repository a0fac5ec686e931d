"""The numerical oracle against brute force, and its samples against its own density."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from noiseflow.core.errors import ModelError
from noiseflow.flows import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.oracle.noise_table import NoiseTable, tukey_quantile_of_logit
from noiseflow.models.oracle.poisson_gaussian import oracle_log_prob
from noiseflow.models.oracle.row_noise import LineOracle
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.simulate import expose, load_camera, truth_of
from noiseflow.simulate.physics import tukey_lambda_variance


def tukey_cdf(x: np.ndarray, shape: float) -> np.ndarray:
    v = np.linspace(-36, 36, 400_001)
    return np.interp(x, tukey_quantile_of_logit(v, shape), 1 / (1 + np.exp(-v)), 0, 1)


@pytest.mark.parametrize(("gain", "scale", "shape"), [(0.1, 0.7, 0.147), (0.77, 1.93, -0.008), (6.12, 3.45, -0.075)])
@pytest.mark.parametrize("electrons", [0.0, 0.7, 40.0, 3000.0])
def test_table_is_the_sum_over_all_counts(gain: float, scale: float, shape: float, electrons: float) -> None:
    table = NoiseTable(gain, scale, shape, 1e4)
    signal = np.full(61, electrons * gain)
    deviation = float(table.deviation(signal)[0])
    offset = np.linspace(-6, 8, 61) * deviation
    counts = np.arange(int(electrons + 12 * math.sqrt(electrons) + 20))
    middle = offset[:, None] + signal[:, None] - gain * counts
    cells = tukey_cdf((middle + 0.5) / scale, shape) - tukey_cdf((middle - 0.5) / scale, shape)
    expected = cells @ stats.poisson.pmf(counts, electrons)
    got = np.exp(table.log_prob(offset, signal))
    likely = expected > 1e-4
    assert got == pytest.approx(expected, rel=2e-3, abs=1e-5)
    assert np.log(got[likely]) == pytest.approx(np.log(expected[likely]), abs=0.02)
    # On the data's own average the error is far smaller than at the rarest of values.
    assert abs((expected * (np.log(got) - np.log(np.maximum(expected, 1e-300))))[likely].sum()) < 1e-5


def test_table_of_gaussian_read_noise_is_the_exact_oracle() -> None:
    table = NoiseTable(4.0, 3.0, None, 4000.0)
    codes = np.arange(4096.0)
    for signal in (0.0, 8.0, 333.3):
        expected = oracle_log_prob(codes, np.full(4096, signal), gain=4.0, read_sigma=3.0, black=256.0, white=4095.0)
        got = table.log_prob(codes - 256 - signal, np.full(4096, signal))
        likely = (expected > math.log(1e-9)) & (codes > 0) & (codes < 4095)
        assert got[likely] == pytest.approx(expected[likely], abs=1e-4)
        edge, level = np.array([math.floor(signal) + 3.5 - signal]), np.array([signal])
        below, above = (np.logaddexp.reduce(part) for part in np.split(expected, [256 + math.floor(signal) + 4]))
        assert table.log_below(edge, level)[0] == pytest.approx(below, abs=0.03)
        assert table.log_above(edge, level)[0] == pytest.approx(above, abs=0.03)


def test_a_row_s_offset_is_integrated_out() -> None:
    """Two rows of one patch by adaptive quadrature."""
    physics = load_camera("Sony A7S2")
    truth = truth_of(physics, [6400.0])
    oracle = oracle_from_truth(truth, "mono", tuple(truth), (6400.0,))
    assert isinstance(oracle, LineOracle)
    at, span = physics.at(6400.0), physics.white_dn - physics.black_dn
    signal = np.array([[0.0, 30.0, 400.0], [5.0, 0.0, 0.0]])
    offset = np.array([[3.0, -12.0, 40.0], [9.0, 4.0, 11.0]])
    codes = np.rint(physics.black_dn + signal + offset)
    table = NoiseTable(at.gain_dn_per_e, at.read_scale_dn, at.read_lambda, 1e4)
    expected = 0.0
    for row in range(2):

        def integrand(b: float, row: int = row) -> float:
            log = table.log_prob(codes[row] - physics.black_dn - signal[row] - b, signal[row]).sum()
            return math.exp(log) * stats.norm.pdf(b, scale=at.row_sigma_dn)

        expected += math.log(integrate.quad(integrand, -8, 8, epsabs=1e-14)[0])
    noise = torch.from_numpy((codes - physics.black_dn - signal) / span)[None, None]
    cond = Conditions(torch.from_numpy(signal / span)[None, None], 6400.0)
    assert float(oracle.log_prob(noise, cond)) == pytest.approx(expected + 6 * math.log(span), abs=1e-6)
    levels = Levels(torch.tensor([[physics.black_dn]]), torch.tensor([physics.white_dn]))
    found = discrete_log_prob(oracle, torch.from_numpy(codes)[None, None], cond, levels)
    assert found.exact
    assert float(found.values) == pytest.approx(expected, abs=1e-6)


def test_bright_pixels_of_a_long_row_know_its_offset_better_than_the_camera_does() -> None:
    """Two rows of 1,600 pixels, some not observed, by a sum over offsets a sixteenth of the posterior's σ apart."""
    physics = load_camera("ROW-12")
    truth = truth_of(physics, [1600.0])
    oracle = oracle_from_truth(truth, "mono", tuple(truth), (1600.0,))
    assert isinstance(oracle, LineOracle)
    at, span = physics.at(1600.0), physics.white_dn - physics.black_dn
    rng = np.random.default_rng(3)
    signal = rng.uniform(800, 1200, (2, 1600))
    noise = np.rint(rng.normal(4.0, np.sqrt(at.gain_dn_per_e * signal)) + signal) - signal
    observed = rng.random(signal.shape) < 0.9
    table = NoiseTable(at.gain_dn_per_e, at.read_scale_dn, at.read_lambda, 1e4)
    offset = np.linspace(-10, 16, 261)
    expected = 0.0
    for row, seen in enumerate(observed):
        log = table.log_prob(noise[row, seen] - offset[:, None], np.tile(signal[row, seen], (261, 1))).sum(1)
        log += stats.norm.logpdf(offset, scale=at.row_sigma_dn)
        expected += float(np.logaddexp.reduce(log)) + math.log(offset[1] - offset[0])
    given, clean = (torch.from_numpy(each / span)[None, None] for each in (noise, signal))
    found = oracle.log_prob(given, Conditions(clean, 1600.0, observed=torch.from_numpy(observed)[None, None]))
    assert float(found) == pytest.approx(expected + observed.sum() * math.log(span), abs=2e-6)


def test_no_other_density_does_better_on_its_samples() -> None:
    """Its mean log-density beats that without row noise and that with another shape, by many standard errors."""
    truth = truth_of(load_camera("ROW-12"), [400.0])
    camera = next(iter(truth))
    clean = torch.rand(64, 4, 16, 16, generator=torch.Generator().manual_seed(1)).square() * 0.02
    cond = Conditions(clean, 400.0, camera)
    oracle = oracle_from_truth(truth, "bayer", (camera,), (400.0,))
    assert oracle is not None
    noise = oracle.sample(cond, torch.Generator().manual_seed(2))
    log_prob = oracle.log_prob(noise, cond)
    for change in ({"row_sigma_dn": [0.0]}, {"row_sigma_dn": [2.5]}, {"read_lambda": [0.14]}):
        other = oracle_from_truth({camera: truth[camera] | change}, "bayer", (camera,), (400.0,))
        assert other is not None
        if "read_lambda" in change:
            scale = (
                truth[camera]["read_scale_dn"][0] * (tukey_lambda_variance(-0.05) / tukey_lambda_variance(0.14)) ** 0.5
            )
            told = truth[camera] | change | {"read_scale_dn": [scale]}
            other = oracle_from_truth({camera: told}, "bayer", (camera,), (400.0,))
            assert other is not None
        gain = log_prob - other.log_prob(noise, cond)
        assert float(gain.mean()) > 5 * float(gain.std()) / 8


def test_its_samples_are_those_of_the_simulation() -> None:
    """Mean, variance and row means; each within five standard errors."""
    physics = load_camera("ROW-12")
    truth = truth_of(physics, [400.0])
    camera = next(iter(truth))
    oracle = oracle_from_truth(truth, "mono", (camera,), (400.0,))
    assert oracle is not None
    span = physics.white_dn - physics.black_dn
    shape = (600, 256)
    cond = Conditions(torch.full((1, 1, *shape), 30.0 / span), 400.0, camera)
    ours = oracle.sample(cond, torch.Generator().manual_seed(1))[0, 0].double().numpy() * span
    codes = expose(np.full(shape, 30.0), physics, 400.0, np.random.default_rng(1))
    theirs = codes.astype(np.float64) - physics.black_dn - 30.0
    for values in (lambda x: x.mean(1), lambda x: x.var(1)):
        a, b = values(ours), values(theirs)
        assert abs(a.mean() - b.mean()) < 5 * math.sqrt((a.var() + b.var()) / 600)
        assert abs(math.log(a.var() / b.var())) < 5 * math.sqrt(4 * 2 / 600)


def test_single_photons_that_stand_apart_are_refused() -> None:
    with pytest.raises(ModelError, match=r"0\.6 e⁻ or more; got 0\.20 e⁻"):
        NoiseTable(5.0, 1.0, None, 1e3)
    truth = truth_of(load_camera("ROW-12"), [400.0])
    camera = next(iter(truth))
    told = truth[camera] | {"gain_dn_per_e": [50.0]}
    assert oracle_from_truth({camera: told}, "bayer", (camera,), (400.0,)) is None

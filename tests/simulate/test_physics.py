import numpy as np
import pytest
from scipy import stats

from noiseflow.core.errors import RawError
from noiseflow.simulate import CameraPhysics, IsoPhysics, camera_names, expose, load_camera
from noiseflow.simulate.physics import tukey_lambda, tukey_lambda_variance


def camera(shape: str = "gaussian", **at: float) -> CameraPhysics:
    known = {"gain_dn_per_e": 0.8, "read_scale_dn": 3.0, **at}
    return CameraPhysics("Made", "RGGB", 512, 16383, shape, {100.0: IsoPhysics(**known)})


@pytest.mark.parametrize("signal", [0.0, 5.0, 800.0])
def test_mean_and_variance_are_those_of_photons_and_read_noise(signal: float) -> None:
    codes = expose(np.full((1000, 1000), signal), camera(), 100, np.random.default_rng(0)).astype(float)
    variance = 0.8 * signal + 9 + 1 / 12
    # 10⁶ values: standard errors √(var/10⁶) and √2·var/10³; four of them (1 in 16,000 each).
    assert codes.mean() - 512 == pytest.approx(signal, abs=4 * np.sqrt(variance) / 1e3)
    assert codes.var() == pytest.approx(variance, rel=4 * np.sqrt(2) / 1e3)


def test_row_noise_is_common_to_a_row_of_the_mosaic() -> None:
    codes = expose(np.zeros((4000, 250)), camera(row_sigma_dn=2.0), 100, np.random.default_rng(1)).astype(float)
    row_mean_variance = 4 + (9 + 1 / 12) / 250
    # 4,000 rows: standard error √(2/4000) = 2.2 %; four of them.
    assert codes.mean(1).var() == pytest.approx(row_mean_variance, rel=0.09)
    assert codes.mean(0).var() == pytest.approx((9 + 1 / 12 + 4) / 4000, rel=0.4)


@pytest.mark.parametrize("shape", [-0.1, 0.0, 0.1, 0.14])
def test_tukey_lambda_is_scipy_s(shape: float) -> None:
    drawn = tukey_lambda(shape, (20_000,), np.random.default_rng(2))
    # Kolmogorov–Smirnov: a false alarm in one of a thousand seeds.
    assert stats.kstest(drawn, stats.tukeylambda(shape).cdf).pvalue > 1e-3
    assert tukey_lambda_variance(shape) == pytest.approx(float(stats.tukeylambda.stats(shape, moments="v")), rel=1e-3)


def test_codes_are_clipped_and_whole() -> None:
    codes = expose(np.array([[0.0, 1e6], [0.0, 1e6]]), camera(read_scale_dn=500.0), 100, np.random.default_rng(0))
    assert codes.dtype == np.uint16
    assert codes.max() == 16383


@pytest.mark.parametrize("name", camera_names())
def test_every_camera_that_ships(name: str) -> None:
    physics = load_camera(name)
    gains = [physics.at(iso).gain_dn_per_e for iso in sorted(physics.isos)]
    assert gains == sorted(gains)
    assert physics.source
    for iso in physics.isos:
        slope, offset = physics.noise_profile(iso)
        assert 0 < slope < 0.1
        assert 0 < offset < 0.1


def test_the_a7s2_s_gaussian_sigma_agrees_with_its_tukey_lambda_fit() -> None:
    # The source gives both fits of the same darks; at ISO 100 σ = 1.0067 DN.
    assert load_camera("Sony A7S2").read_sigma_dn(100) == pytest.approx(1.0067, rel=0.05)
    assert len(load_camera("Sony A7S2").isos) == 28


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(RawError, match="expected one of Sony A7S2"):
        load_camera("Mine")
    with pytest.raises(RawError, match=r"ISO 123 is not known; expected one of 100, 400, 1600"):
        load_camera("PG-12").at(123)

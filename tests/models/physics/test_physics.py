"""Physics models from a profile: closed forms, sums to one, and counts of draws."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import tukeylambda

from noiseflow.calibrate import calibrate
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import ExtrapolationWarning, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build, from_profile, load, save
from noiseflow.models.model import checked_conditions
from noiseflow.models.physics.dark_frame import dark_frame_model

K, READ, BLACK, WHITE = 2.0, 2.5, 16.0, 255.0


def told(value, unit):
    return Measurement(value, 0.0, (value, value), unit)


def profile(**more):
    estimates = {
        "gain_dn_per_e": told(K, "DN/e-"),
        "read_noise_dn": told(READ, "DN"),
        "black_dn": told(BLACK, "DN"),
        **more,
    }
    settings = tuple(
        Setting(iso, "Y", {**estimates, "gain_dn_per_e": told(K * iso / 100, "DN/e-")}) for iso in (100.0, 400.0)
    )
    return Profile("toy", "mono", WHITE, settings)


def flat(level_dn, size, iso=100.0):
    return Conditions(torch.full((1, 1, *size), level_dn / (WHITE - BLACK), dtype=torch.float64), iso)


@pytest.mark.parametrize(
    ("level", "black"),
    [(0.0, 0.0), (0.0, BLACK), (0.7, 2.0), (40.0, 0.0), (40.0, BLACK), (230.0, 2.0), (250.0, 0.0), (400.0, BLACK)],
)
def test_exact_likelihood_sums_to_one(level, black):
    model = from_profile("poisson_gaussian_exact", profile(black_dn=told(black, "DN")))
    codes = torch.arange(256, dtype=torch.float64)
    cond = Conditions(torch.full((256, 1, 1, 1), level / (WHITE - black), dtype=torch.float64), 100.0)
    noise = (codes - black)[:, None, None, None] / (WHITE - black) - cond.clean
    # A density over the normalised signal, each code 1/(white − black) wide.
    total = model.log_prob(noise, cond).exp().sum() / (WHITE - black)
    assert abs(float(total) - 1) < 1e-9


def test_exact_likelihood_agrees_with_ten_million_draws():
    model = from_profile("poisson_gaussian_exact", profile())
    level, rng, n = 20.0, np.random.default_rng(3), 10_000_000
    sigma = math.sqrt(READ**2 - 1 / 12)
    drawn = BLACK + K * rng.poisson(level / K, n) + sigma * rng.standard_normal(n)
    counts = np.bincount(np.clip(np.rint(drawn), 0, WHITE).astype(int), minlength=256)
    cond = Conditions(torch.full((256, 1, 1, 1), level / (WHITE - BLACK), dtype=torch.float64), 100.0)
    noise = (torch.arange(256.0, dtype=torch.float64) - BLACK)[:, None, None, None] / (WHITE - BLACK) - cond.clean
    expected = n * model.log_prob(noise, cond).exp().numpy() / (WHITE - BLACK)
    seen = expected > 20
    chi_square = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    # χ² of about 60 cells: 5 standard deviations, a false alarm in a million.
    assert chi_square < seen.sum() + 5 * math.sqrt(2 * seen.sum())


@pytest.mark.parametrize("name", ["poisson_gaussian", "poisson_gaussian_exact", "eld"])
@pytest.mark.parametrize("iso", [100.0, 200.0])
def test_samples_have_the_variance_of_the_physics(name, iso):
    level, size = 60.0, (300, 300)
    model = from_profile(name, profile())
    noise = model.sample(flat(level, size, iso), generator=torch.Generator().manual_seed(1)) * (WHITE - BLACK)
    expected = K * iso / 100 * level + READ**2
    # 5 standard errors of a variance from 90,000 draws, a little wider for the tails.
    assert float(noise.var()) == pytest.approx(expected, rel=5 * math.sqrt(2.2 / 90_000))
    assert abs(float(noise.mean())) < 5 * math.sqrt(expected / 90_000)


def test_poisson_gaussian_density_integrates_to_one():
    model = from_profile("poisson_gaussian", profile())
    grid = torch.linspace(-0.5, 0.5, 4001, dtype=torch.float64)
    cond = Conditions(torch.full((4001, 1, 1, 1), 0.3, dtype=torch.float64), 150.0)
    density = model.log_prob(grid[:, None, None, None], cond).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-9)


def test_eld_reads_are_tukey_lambda_and_rows_are_shared():
    more = {"tukey_shape": told(-0.1, ""), "tukey_scale_dn": told(3.0, "DN"), "row_noise_dn": told(4.0, "DN")}
    model = from_profile("eld", profile(**more), "bayer")
    cond = Conditions(torch.full((1, 4, 400, 400), 0.0), 100.0)
    # Far above black, so that nothing is clipped: the dark part alone.
    noise = model._dark(checked_conditions(model, cond), torch.Generator().manual_seed(2))[0].double()
    rows = noise.mean(2)
    assert torch.corrcoef(rows[:2])[0, 1] > 0.95
    assert abs(float(torch.corrcoef(rows[1:3])[0, 1])) < 5 / math.sqrt(400)
    inner = (noise - rows[:, :, None]).flatten().numpy()
    q = np.array([0.001, 0.1, 0.9, 0.999])
    expected = 3.0 * tukeylambda.ppf(q, -0.1)
    density = tukeylambda.pdf(expected / 3.0, -0.1) / 3.0
    error = np.sqrt(q * (1 - q) / inner.size) / density
    assert np.all(np.abs(np.quantile(inner, q) - expected) < 5 * error + 0.01)


def test_samples_only_models_say_so():
    cond = flat(10.0, (4, 4))
    with pytest.raises(ModelError, match="no density"):
        from_profile("eld", profile()).log_prob(torch.zeros(1, 1, 4, 4), cond)


def test_dark_frame_samples_crops_of_the_darks_and_survives_a_round_trip(tmp_path):
    frames = [np.arange(64 * 64).reshape(1, 64, 64) % 97 + index for index in range(3)]
    model = dark_frame_model(profile(), {100.0: frames})
    noise = model.sample(flat(0.0, (8, 8)), generator=torch.Generator().manual_seed(0))
    codes = (noise * (WHITE - BLACK) + BLACK).round()[0, 0].numpy()
    windows = [np.lib.stride_tricks.sliding_window_view(frame[0], (8, 8)) for frame in frames]
    assert any((window == codes).all((2, 3)).any() for window in windows)
    save(model, tmp_path)
    again = load(tmp_path).sample(flat(0.0, (8, 8)), generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise, again)
    with pytest.raises(ModelError, match="ISO 400"):
        model.sample(flat(0.0, (8, 8), 400.0))
    with pytest.raises(ModelError, match="64×64"):
        model.sample(flat(0.0, (80, 80)))


@pytest.mark.parametrize("name", ["poisson_gaussian", "poisson_gaussian_exact", "eld", "dark_frame"])
def test_a_spec_without_a_profile_is_refused(name):
    with pytest.raises(ModelError, match=name):
        build(ModelSpec(name))


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_profile_makes_a_model(name):
    shipped = shipped_profile(name)
    iso = shipped.isos[0]
    cond = Conditions(torch.full((1, 4, 64, 64), 0.1), iso)
    noise = from_profile("eld", shipped).sample(cond, generator=torch.Generator().manual_seed(0))
    setting = shipped.at(iso, "R")
    span = shipped.white_dn - setting.value("black_dn")
    expected = (setting.value("gain_dn_per_e") * 0.1 * span + setting.value("read_noise_dn") ** 2) / span**2
    # Row noise leaves fewer independent values than 16,384: 20 % is 5 σ for a third of the variance in rows.
    assert float(noise.var()) == pytest.approx(expected, rel=0.2)


def test_a_switch_of_the_conversion_gain_is_not_interpolated_and_said():
    """σ = 4, 6, 2, 3 DN: between ISO 640 and 800 it goes on as below 640, ISO^0.585."""
    black = {"black_dn": told(BLACK, "DN")}
    settings = tuple(
        Setting(iso, "Y", {"gain_dn_per_e": told(K * iso / 100, "DN/e-"), "read_noise_dn": told(read, "DN"), **black})
        for iso, read in ((320.0, 4.0), (640.0, 6.0), (800.0, 2.0), (1600.0, 3.0))
    )
    model = from_profile("poisson_gaussian", Profile("toy", "mono", WHITE, settings))

    def sigma_dn(iso):
        noise = model.sample(flat(0.0, (128, 128), iso), torch.Generator().manual_seed(1))
        return float(noise.std()) * (WHITE - BLACK)

    slope = math.log(6 / 4) / math.log(2)
    for iso, expected in ((640.0, 6.0), (800.0, 2.0), (1131.37, math.sqrt(6.0))):
        assert sigma_dn(iso) == pytest.approx(expected, rel=0.03)
    with pytest.warns(
        ExtrapolationWarning, match=r"ISO 700 lies between ISO 640 and 800.* falls to 0\.33 times its value"
    ):
        assert sigma_dn(700.0) == pytest.approx(6.0 * (700 / 640) ** slope, rel=0.03)


def test_rows_and_shape_that_fall_alone_are_no_switch():
    """The row noise falls to half and the scale of heavier tails to 0.7, while the read noise grows."""

    def setting(iso, read, row, shape, scale):
        noises = {"read_noise_dn": read, "row_noise_dn": row, "tukey_scale_dn": scale}
        estimates = {name: told(value, "DN") for name, value in noises.items()}
        return Setting(iso, "Y", {"gain_dn_per_e": told(K, "DN/e-"), "tukey_shape": told(shape, ""), **estimates})

    settings = (setting(640.0, 4.0, 1.0, 0.14, 3.0), setting(800.0, 5.0, 0.5, -0.1, 2.1))
    model = from_profile("eld", Profile("toy", "mono", WHITE, settings))
    cond = checked_conditions(model, flat(0.0, (4, 4), math.sqrt(640.0 * 800.0)))
    for name, expected in (("read", math.sqrt(20.0)), ("row", math.sqrt(0.5)), ("scale", math.sqrt(6.3))):
        assert float(model.parameter_at(cond, name)) == pytest.approx(expected, rel=1e-6)


def test_isos_with_darks_only_are_left_out_and_named():
    dark_only = Setting(200.0, "Y", {"read_noise_dn": told(READ, "DN"), "black_dn": told(BLACK, "DN")})
    whole = profile()
    mixed = Profile("toy", "mono", WHITE, (*whole.settings, dark_only))
    with pytest.warns(UserWarning, match="no gain or no read noise at ISO 200; .* from the other"):
        model = from_profile("poisson_gaussian", mixed)
    assert model.spec == from_profile("poisson_gaussian", whole).spec
    with pytest.raises(ModelError, match="toy: the profile has no gain or no read noise at ISO 200; calibrate"):
        from_profile("poisson_gaussian", Profile("toy", "mono", WHITE, (dark_only,)))


def test_the_z6_tables_of_flats_and_darks_make_a_model(shared_data):
    flats, darks = (shared_data / "ptc" / f"Nikon_Z6_2_{kind}.csv" for kind in ("flat", "dark"))
    measured = calibrate([flats, darks]).profile
    both = {s.iso for s in measured.settings if s.value("gain_dn_per_e") and s.value("read_noise_dn")}
    assert 0 < len(both) < len(measured.isos)
    with pytest.warns(UserWarning, match="at ISO 640; eld interpolates"):
        model = from_profile("eld", measured, "bayer")
    assert set(model.spec.isos) == both

"""The prior over cameras, and a whole camera from one or two frames."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from noiseflow.calibrate import few_shot, read_profile, sample_camera
from noiseflow.calibrate.prior.curve import DUAL_ISOS, CameraCurve, curve_at
from noiseflow.calibrate.prior.few_shot import LAW_ERROR, _row, curve_of_frames, shipped_prior
from noiseflow.calibrate.prior.frames import Seen, dark_noise
from noiseflow.calibrate.prior.learning import START, learn_prior
from noiseflow.calibrate.prior.posterior import CameraPrior, posterior_of
from noiseflow.calibrate.prior.weights import read_prior, write_prior
from noiseflow.cli import main
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import from_profile
from noiseflow.raw import RawImage
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import load_camera
from noiseflow.simulate.physics import expose
from noiseflow.simulate.scenes import render
from tools.studies.cameras.leave_one_out import loss_of
from tools.studies.one_picture import picture_of

SIZE = (384, 512)
CAMERA = load_camera("Sony A7S2")
ISO = 1600.0


def named(image: RawImage, source: str) -> RawImage:
    return replace(image, model="A", make="", source=source)


LIT = named(picture_of(CAMERA, ISO, 0, SIZE, 0), "lit.dng")


def dark(seed: int = 0, light: float = 0.0) -> RawImage:
    glow = light * np.linspace(0, 1, SIZE[1]) * np.ones(SIZE)
    return named(replace(LIT, mosaic=expose(glow, CAMERA, ISO, np.random.default_rng(seed))), "dark.dng")


def second() -> RawImage:
    """Another frame of the same scene."""
    signal = np.maximum(render("000_wedge", SIZE, np.random.default_rng((0, 0))), 0) * (16383 - 512)
    return replace(LIT, mosaic=expose(signal, CAMERA, ISO, np.random.default_rng(3)), source="second.dng")


def test_gauss_newton_finds_the_peak_of_the_posterior() -> None:
    prior, generator = shipped_prior(), np.random.default_rng(0)
    isos = np.array([100.0, 800.0, 6400.0])
    values = curve_at(prior.mean, isos, 800.0) + prior.scatter * generator.standard_normal((3, 4))
    found = posterior_of(CameraCurve("", isos, values, 0.02 * np.ones((3, 4))), prior)
    variance = 0.02**2 + prior.scatter**2
    precision = np.linalg.inv(prior.covariance)

    def log_density(at: np.ndarray, dual: float | None) -> float:
        off = at - prior.mean
        return float(-0.5 * (((values - curve_at(at, isos, dual)) ** 2) / variance).sum() - 0.5 * off @ precision @ off)

    for k, dual in enumerate(DUAL_ISOS):
        peak = log_density(found.means[k], dual)
        spread = np.linalg.cholesky(found.covariances[k])
        for _ in range(20):
            step = 0.1 * spread @ generator.standard_normal(8)
            assert log_density(found.means[k] + step, dual) < peak + 0.02


def test_coverage_of_the_posterior_over_cameras_drawn_from_the_prior() -> None:
    prior, generator = shipped_prior(), np.random.default_rng(1)
    held = []
    for _ in range(30):
        parameters, dual = prior.sample(generator)
        isos = np.array([1600.0])
        values = curve_at(parameters, isos, dual) + np.hypot(prior.scatter, 0.02) * generator.standard_normal((1, 4))
        draws = posterior_of(CameraCurve("", isos, values, np.full((1, 4), 0.02)), prior).curves(
            np.array([100.0, 6400.0]), 500, generator
        )
        truth = curve_at(parameters, np.array([100.0, 6400.0]), dual)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        held.append(((low <= truth) & (truth <= high)).mean())
    # 240 intervals, correlated within a camera: three standard errors of 95 % are 6 %.
    assert 0.89 <= np.mean(held) <= 1


@pytest.mark.parametrize("kind", ["one", "dark", "pair"])
def test_a_camera_from_few_frames(kind: str) -> None:
    frames = {"one": [LIT], "dark": [LIT, dark()], "pair": [LIT, second()]}[kind]
    profile = few_shot(frames, sorted(CAMERA.isos)[::4])
    own = profile.at(ISO, "G1").estimates
    assert own["gain_dn_per_e"].value == pytest.approx(CAMERA.at(ISO).gain_dn_per_e, rel=0.05)
    assert loss_of(profile, CAMERA, ISO) < 0.002
    # The gain is known at all ISOs: it follows them.
    for iso in profile.isos:
        gain = profile.at(iso, "G1").estimates["gain_dn_per_e"]
        assert gain.value == pytest.approx(CAMERA.at(iso).gain_dn_per_e, rel=0.15)
        assert gain.covers(CAMERA.at(iso).gain_dn_per_e)
    model = from_profile("poisson_gaussian", profile)
    cond = Conditions(clean=torch.full((1, 4, 8, 8), 0.2), iso=500.0, camera=profile.camera)
    assert model.log_prob(model.sample(cond, generator=torch.Generator().manual_seed(0)), cond).isfinite().all()


def test_a_dark_shows_read_noise_rows_and_tails() -> None:
    seen, at = dark_noise(dark()), CAMERA.at(ISO)
    assert seen.read is not None
    assert seen.row is not None
    assert seen.tail is not None
    assert seen.read[0] == pytest.approx(np.hypot(CAMERA.read_sigma_dn(ISO), at.row_sigma_dn), rel=0.02)
    assert seen.row[0] == pytest.approx(at.row_sigma_dn, rel=0.15)
    assert seen.tail[0] == pytest.approx(at.read_lambda, abs=0.03)


@pytest.mark.parametrize("sigma", [1.2, 4.0])
def test_a_dark_without_rows_has_the_noise_of_its_pixels_without_rounding(sigma: float) -> None:
    """σ of 200,000 pixels of which half the coefficients are looked at is known to 0.3 %."""
    codes = np.rint(np.random.default_rng(5).normal(512, sigma, SIZE)).astype(np.uint16)
    seen = dark_noise(replace(dark(), mosaic=codes))
    assert seen.read is not None
    assert seen.read[0] == pytest.approx(sigma, rel=0.015)
    assert seen.row is None


def test_a_little_light_in_a_dark_does_not_pass_for_read_noise() -> None:
    """A glow of 0 to 12 DN adds 9 DN² of photon noise to 40 DN², 10 % of the read noise in error bars of 1 %."""
    truth = math.log(np.hypot(CAMERA.read_sigma_dn(ISO), CAMERA.at(ISO).row_sigma_dn) / CAMERA.at(ISO).gain_dn_per_e)
    assert dark_noise(dark()).glow == 0
    assert dark_noise(dark(light=12.0)).glow == pytest.approx(4.1, abs=0.3)
    curve = curve_of_frames([LIT, dark(light=12.0)])
    # Two standard errors hold in 95 %; the seed is fixed.
    assert abs(curve.values[0, 1] - truth) < 2 * curve.errors[0, 1] < 0.1


def test_one_iso_s_numbers_are_logarithms_of_quotients_with_the_errors_of_both() -> None:
    """ln of full well in electrons, read noise in electrons and rows over read noise; the surest of each counts."""
    here = [
        Seen(800.0, gain=(2.0, 0.03), read=(6.0, 0.04), row=(1.5, 0.1)),
        Seen(800.0, gain=(2.5, 0.2), tail=(0.1, 0.02)),
    ]
    other = Seen(3200.0, gain=(9.0, 0.01))
    values, errors = _row(800.0, [*here, other], 15000.0)
    assert values == pytest.approx([math.log(7500), math.log(3), math.log(0.25), 0.1])
    assert errors == pytest.approx([0.03, 0.05, math.hypot(0.1, 0.04), 0.02])
    # A gain of another ISO goes there in proportion, is no gain that was seen, and has the law's error too.
    values, errors = _row(1600.0, [Seen(1600.0, read=(6.0, 0.04), row=(7.0, 0.1)), *here, other], 15000.0)
    assert values == pytest.approx([math.nan, math.log(6 / 4.0), math.nan, math.nan], nan_ok=True)
    assert errors[1] == pytest.approx(math.hypot(0.04, math.hypot(0.03, LAW_ERROR)))
    assert np.isnan([errors[0], errors[2], errors[3]]).all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([dark()], r"dark\.dng: the gain cannot be measured from darks alone"),
        ([LIT, dark(light=60.0)], r"dark\.dng: this dark contains light or glow"),
        ([LIT, replace(dark(), model="B")], r"dark\.dng: its camera is B, but that of lit\.dng is A"),
        ([replace(LIT, iso=None)], r"lit\.dng: states no ISO"),
        (
            [LIT, replace(second(), mosaic=np.roll(second().mosaic, 60, 1))],
            r"lit\.dng and second\.dng: the scene moved",
        ),
    ],
)
def test_what_cannot_be_used_says_why(frames: list[RawImage], message: str) -> None:
    with pytest.raises(DataError, match=message):
        curve_of_frames(frames)


def test_sampled_cameras_differ_and_come_back() -> None:
    gains = [sample_camera(seed).at(800, "G1").value("gain_dn_per_e") for seed in range(20)]
    assert gains[3] == sample_camera(3).at(800, "G1").value("gain_dn_per_e")
    spread = float(np.std(np.log([gain or 1.0 for gain in gains])))
    assert 0.5 < spread < 2.5
    from_profile("eld", sample_camera(1))


def test_a_camera_is_drawn_from_the_prior_that_is_given() -> None:
    still = CameraPrior(START.mean, 1e-18 * np.eye(8), np.zeros(4), np.eye(len(DUAL_ISOS))[0])
    own = sample_camera(3, [400.0], still).at(400, "G1").estimates
    full, read, *_ = curve_at(START.mean, np.array([400.0]), None)[0]
    assert own["saturation_e"].value == pytest.approx(math.exp(full))
    assert own["read_noise_e"].value == pytest.approx(math.exp(read))


def test_a_prior_comes_back_from_its_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    prior, path = shipped_prior(), tmp_path / "prior.safetensors"
    write_prior(prior, path, {"what": "a test"})
    assert np.array_equal(read_prior(path).covariance, prior.covariance)
    write_prior(replace(prior, covariance=-prior.covariance), path, {})
    with pytest.raises(DataError, match="positive definite"):
        read_prior(path)
    path.write_bytes(b"no such thing")
    with pytest.raises(DataError, match="cannot be read as a prior"):
        read_prior(path)


def test_the_command(tmp_path: Path) -> None:
    write_dng(tmp_path / "lit.dng", LIT)
    write_dng(tmp_path / "dark.dng", dark())
    words = ["calibrate", str(tmp_path / "lit.dng"), str(tmp_path / "dark.dng"), "--few"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "c.json"), "--report", str(tmp_path / "c.html")])
    assert result.exit_code == 0, result.output
    profile = read_profile(tmp_path / "c.json")
    assert profile.isos[0] == 100
    assert profile.at(100, "R").kind == "posterior"
    assert "measured at ISO 1600 only" in profile.cautions[0]


def test_a_camera_s_curve_is_its_formula() -> None:
    parameters = np.array([10.0, 0.9, 1.0, 2.5, -2.0, -0.05, 0.1, 0.7])
    isos = np.array([100.0, 400.0, 800.0, 1600.0])
    for dual in (None, 800.0):
        found = curve_at(parameters, isos, dual)
        for iso, row in zip(isos, found, strict=True):
            before = math.exp(1.0 + (0.7 if dual is not None and iso < dual else 0.0))
            read = math.hypot(before, math.exp(2.5) * 100 / iso)
            expected = (10.0 - 0.9 * math.log(iso / 100), math.log(read), -2.0 + 0.1 * math.log(iso / 800), -0.05)
            assert row == pytest.approx(expected)
    assert curve_at(np.stack([parameters, parameters + 1]), isos, None).shape == (2, 4, 4)


def test_a_prior_is_learnt_from_cameras_and_counts_what_it_began_with_as_five() -> None:
    """Cameras whose curves are all but exact: their posteriors are at the truth."""
    isos = np.array([100.0, 400.0, 1600.0, 25600.0])
    generator = np.random.default_rng(0)
    truths = START.mean + np.array([0.6, 0.02, 0.5, 0.6, 0.4, 0.05, 0.05, 0.0]) * generator.uniform(0.5, 1.5, (4, 8))
    curves = [CameraCurve("", isos, curve_at(each, isos, None), np.full((4, 4), 1e-3)) for each in truths]
    found = learn_prior(curves)
    own = np.stack([posterior_of(each, found).weights @ posterior_of(each, found).means for each in curves])
    # Not the drop at a switch, of which cameras without one say nothing.
    seen = slice(0, 7)
    assert np.abs(own - truths)[:, seen].max() < 0.25
    mean = (own.sum(0) + 5 * START.mean) / 9
    assert found.mean[seen] == pytest.approx(mean[seen], abs=0.02)
    # Between cameras, and from where it began to where they are; less than what START alone allows would be wrong.
    between = 5 * (START.covariance + np.outer(START.mean - mean, START.mean - mean)) / 9
    between += (own - mean).T @ (own - mean) / 9
    assert (np.diag(found.covariance) > 0.98 * np.diag(between)).all()
    assert (np.diag(found.covariance)[:4] < 1.3 * np.diag(between)[:4]).all()
    assert found.dual.sum() == pytest.approx(1.0)
    assert found.dual[0] == pytest.approx((4 + 5 * START.dual[0]) / 9, abs=0.12)
    assert np.array_equal(found.scatter, START.scatter)

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import gaussian_store
from scipy import optimize, stats

from noiseflow.core.errors import DataError, ExtrapolationWarning
from noiseflow.fit.batches import gather
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import READ_SLOPE, conversion_steps
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.closed_form.variance_line import fit_line, line_errors
from noiseflow.models.noise_statistics import NoiseStatistics
from tools.studies.fuzz_variance_line import KINDS, MOST, Sums, dark_burst, excess, statistics_of


def cells(clean: np.ndarray, square: np.ndarray, count: np.ndarray) -> NoiseStatistics:
    parts = [torch.from_numpy(part).double() for part in (count, clean, square)]
    index = torch.zeros(len(clean), dtype=torch.long)
    return NoiseStatistics(index, index, parts[0], parts[1], parts[1] * 0, parts[2], ("One",), (400.0,))


def test_density_is_scipy_s_normal() -> None:
    model = build(ModelSpec("nlf"))
    assert isinstance(model, NoiseLevelFunction)
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 4, 5, 6, dtype=torch.float64, generator=generator)
    noise = torch.randn(3, 4, 5, 6, dtype=torch.float64, generator=generator) * 0.03
    expected = stats.norm.logpdf(noise.numpy(), scale=np.sqrt(1e-3 * clean.numpy() + 1e-6)).sum((1, 2, 3))
    model = model.double()
    with torch.no_grad():
        # As float64 has them: float32 has rounded ln β.
        model.log_beta1.fill_(math.log(1e-3))
        model.log_beta2.fill_(math.log(1e-6))
    assert np.allclose(model.log_prob(noise, Conditions(clean, 100.0)).detach().numpy(), expected, rtol=1e-6)


def test_a_flow_of_only_the_signal_dependent_scale_is_the_noise_level_function() -> None:
    spec = ModelSpec("nlf", cameras=("A", "B"), isos=(100.0, 800.0))
    nlf = build(spec).double()
    scale = SignalDependentScale(2, spec.isos).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in scale.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    clean = torch.rand(4, 4, 6, 6, dtype=torch.float64, generator=generator)
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    cond = Conditions(clean, torch.tensor([100.0, 800.0, 100.0, 800.0]), torch.tensor([0, 0, 1, 1])).resolve(
        spec.cameras
    )
    assert isinstance(nlf, NoiseLevelFunction)
    with torch.no_grad():
        shot, read = scale.log_betas(cond)
        nlf.log_beta1.copy_(shot.reshape(2, 2))
        nlf.log_beta2.copy_(read.reshape(2, 2))
    assert torch.allclose(Flow([scale]).log_prob(noise, cond), nlf.log_prob(noise, cond), rtol=1e-10)


def test_the_line_is_where_scipy_finds_the_maximum() -> None:
    rng = np.random.default_rng(0)
    clean, count = np.linspace(0, 1, 40), rng.uniform(50, 500, 40)
    square = (2e-3 * clean + 1e-5) * rng.chisquare(200, 40) / 200

    def negative_log_likelihood(log_betas: np.ndarray) -> float:
        variance = np.exp(log_betas[0]) * clean + np.exp(log_betas[1])
        return float((count * (np.log(variance) + square / variance)).sum())

    best = optimize.minimize(
        negative_log_likelihood, [-6, -11], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert fit_line(cells(clean, square, count)).log().numpy() == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("kind", ["no read noise", "no shot noise"])
def test_the_line_stays_on_its_boundary(kind: str) -> None:
    clean = np.linspace(0.1, 1, 20)
    square = 1e-3 * clean**1.5 if kind == "no read noise" else 1e-3 * (1.2 - clean)
    betas = fit_line(cells(clean, square, np.full(20, 100.0)))
    assert (betas > 0).all()
    assert betas[1 if kind == "no read noise" else 0] == pytest.approx(1e-12)
    # Where one parameter stands on the boundary, the other makes the mean of q/v one.
    variance = betas[0] * torch.from_numpy(clean) + betas[1]
    assert float((torch.from_numpy(square) / variance).mean()) == pytest.approx(1, rel=1e-3)


def test_the_fit_finds_what_made_the_data(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=2000, isos=(400.0, 1600.0), cameras=("One", "Two")) as store:
        model = build(ModelSpec("nlf", "bayer", store.cameras, store.isos))
        model.start_from(gather(store))
    assert isinstance(model, NoiseLevelFunction)
    beta1, beta2 = model.log_beta1.exp().detach(), model.log_beta2.exp().detach()
    # A camera has one of the two ISOs; 204,800 values in each cell of the table that has data:
    # standard error of β₁ 0.5 %, of β₂ 1.5 % or less; four of them (false alarms: 1 in 4,000).
    assert beta1[0, 0] == pytest.approx(0.8 / 10_000, rel=0.02)
    assert beta1[1, 1] == pytest.approx(4 * 0.8 / 10_000, rel=0.02)
    assert beta2[0, 0] == pytest.approx((900 + 1 / 12) / 1e8, rel=0.06)
    # At an ISO that it was not shot at, a camera's gain goes with the ISO, and its read variance by the rule.
    assert beta1[0, 1] == pytest.approx(4 * float(beta1[0, 0]), rel=1e-5)
    assert beta2[0, 1] == pytest.approx(4**READ_SLOPE * float(beta2[0, 0]), rel=1e-5)


def test_between_fitted_isos_the_parameters_are_geometric_means() -> None:
    model = build(ModelSpec("nlf", isos=(100.0, 400.0)))
    assert isinstance(model, NoiseLevelFunction)
    model.log_beta1.data = torch.tensor([[-8.0, -6.0]])
    cond = Conditions(torch.zeros(3, 4, 2, 2), torch.tensor([100.0, 200.0, 400.0])).resolve(model.cameras)
    assert model.betas(cond)[0].flatten().tolist() == pytest.approx([math.exp(-8), math.exp(-7), math.exp(-6)])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_grid_search_beats_the_line(kind: Callable[[np.random.Generator], Sums]) -> None:
    # `python -m tools.studies.fuzz_variance_line` is the full run of ten thousand.
    assert max(excess(kind, seed) for seed in range(12)) < MOST


def test_a_fit_that_jumped_between_its_boundaries_ends_at_the_best() -> None:
    # Iterated least squares alternates between β₁ = 0 and β₂ = 0 on these cells and ends 11,461 nats above.
    cells_of_burst = dark_burst(np.random.default_rng(115))
    assert excess(dark_burst, 115) < MOST
    betas = fit_line(statistics_of(cells_of_burst))
    assert betas.tolist() == pytest.approx([1.0361e-4, 1.7238e-7], rel=1e-3)


def test_sums_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        fit_line(cells(np.array([0.1, 0.2]), np.array([1e-4, math.nan]), np.array([10.0, 10.0])))


@pytest.mark.parametrize("name", ["nlf", "noise_flow", "physics_flow"])
def test_a_fit_at_one_iso_follows_the_law_of_the_dial(name: str, tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=200, isos=(800.0,)) as store:
        spec = ModelSpec(name, "bayer", store.cameras, store.isos)
        model = build(spec)
        model.start_from(gather(store))
    assert all(0.99 <= ratio <= 1.01 for ratio in _scaling(model, 800.0, 1.0))
    with pytest.warns(ExtrapolationWarning, match=r"outside 800…800.*shot variance is .* ISO\^1,.*by a rule"):
        found = _scaling(model, 3200.0, 4.0)
    # 65,536 values in the light and in the dark: 0.6 % standard error of each ratio.
    assert found == pytest.approx((1, 1), rel=0.03)


def _scaling(model: NoiseModel, iso: float, factor: float) -> tuple[float, float]:
    """Variance at an ISO over that at ISO 800, over what the law says, in the light and in the dark."""
    ratios = []
    for signal, expected in ((0.9, factor), (0.0, factor**READ_SLOPE)):
        clean = torch.full((16, 4, 32, 32), signal)
        variance = [
            float(model.sample(Conditions(clean, at), torch.Generator().manual_seed(0)).square().mean())
            for at in (iso, 800.0)
        ]
        ratios.append(variance[0] / variance[1] / expected)
    return ratios[0], ratios[1]


def test_noise_without_any_light_has_its_own_variance() -> None:
    one = torch.ones(1, dtype=torch.float64)
    cells = NoiseStatistics(
        one.long() * 0, one.long() * 0, 1e6 * one, 0 * one, 0 * one, 3e-7 * one, ("camera",), (100.0,)
    )
    assert float(fit_line(cells)[1]) == pytest.approx(3e-7, rel=1e-9)


@pytest.mark.parametrize("name", ["nlf", "physics_flow"])
def test_a_switch_of_the_conversion_gain_is_not_interpolated(name: str) -> None:
    """σ 4, 4·√2 and 2 DN at ISO 320, 640, 800: up to 800 the law of 640 holds, and the model says so."""
    model = build(ModelSpec(name, "bayer", ("A",), (320.0, 640.0, 800.0, 1600.0)))
    with torch.no_grad():
        table = torch.tensor([[16.0, 32.0, 4.0, 8.0]]).log()
        (model.log_beta2 if name == "nlf" else model.shot_read.log_beta2).copy_(table)
        (model.log_beta1 if name == "nlf" else model.shot_read.log_beta1).fill_(-30.0)
    if name == "physics_flow":
        torch.nn.init.constant_(model.flow.transforms[1].log_variance, -30.0)
    # As after a training.
    model.eval()
    assert not build(model.spec).to("meta").eval().training
    clean = torch.zeros(1, 4, 64, 64)

    def variance(iso: float) -> float:
        return float(model.sample(Conditions(clean, iso, "A"), torch.Generator().manual_seed(1)).square().mean())

    for iso, expected in ((320.0, 16.0), (640.0, 32.0), (795.0, 4.0), (800.0, 4.0), (1600.0, 8.0), (450.0, 22.5)):
        # 16,384 values: 1.1 %.
        assert variance(iso) == pytest.approx(expected, rel=0.05)
    with pytest.warns(ExtrapolationWarning, match=r"ISO 700 lies between ISO 640 and 800.* to 0.35 times its value"):
        assert variance(700.0) == pytest.approx(35.0, rel=0.05)
    assert [step[1:3] for step in conversion_steps(model._read_variances())] == [(640.0, 800.0)]


def test_the_errors_of_a_line_are_its_scatter() -> None:
    """300 draws know each standard error to 4 %, and a normalised scale is no matter."""
    rng = np.random.default_rng(0)
    clean, count = np.linspace(0, 0.5, 30), rng.uniform(200, 2000, 30)
    variance = 2e-3 * clean + 1e-5
    found = np.array(
        [fit_line(cells(clean, variance * rng.chisquare(count) / count, count)).numpy() for _ in range(300)]
    )
    errors = line_errors(torch.tensor([2e-3, 1e-5], dtype=torch.float64), cells(clean, variance, count))
    assert errors.numpy() == pytest.approx(found.std(0), rel=0.17)
    betas = torch.tensor([2e-3, 1e-5], dtype=torch.float64)
    # In the dark the mean square is the only thing known: its relative error is √(2/n).
    dark = line_errors(betas, cells(clean * 0, variance, count))
    assert dark.tolist() == [math.inf, pytest.approx(1e-5 * (2 / count.sum()) ** 0.5, rel=1e-9)]
    flat = line_errors(betas, cells(clean * 0 + 0.25, variance, count))
    assert flat.tolist() == [math.inf, math.inf]


def test_gain_and_read_noise_are_said_with_their_errors() -> None:
    clean, count = np.linspace(0, 0.5, 30), np.full(30, 5000.0)
    statistics = cells(clean, 2e-3 * clean + 1e-5, count)
    model = build(ModelSpec("nlf", cameras=("One",), isos=(400.0,)))
    assert isinstance(model, NoiseLevelFunction)
    model.start_from(statistics)
    (found,) = model.estimates(statistics, [1000.0], 0.0)
    assert str(found) == "camera 'One', ISO 400: K 2.0000 ± 0.0078 DN/e⁻, read noise 3.162 ± 0.031 DN"
    # Two frames have their noise in common.
    (shared,) = model.estimates(statistics, [1000.0], 1.0)
    assert str(shared).endswith("read noise 3.162 ± 0.043 DN")
    assert shared.gain_error == pytest.approx(2**0.5 * found.gain_error, rel=1e-12)
    # In the dark the gain is not known, and JSON has no infinity.
    (dark,) = model.estimates(cells(clean * 0, np.full(30, 1e-5), count), [1000.0], 0.0)
    assert dark.record() == {**asdict(dark), "gain_error": None}
    assert dark.record()["read_noise_error"] == pytest.approx(dark.read_noise_dn / (2 * count.sum()) ** 0.5, rel=1e-6)
    assert str(dark) == "camera 'One', ISO 400: K not known, read noise 3.1623 ± 0.0058 DN"

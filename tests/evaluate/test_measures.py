"""Divergences, tails, structure, codes, latents, time, classifier and denoiser against what is known in closed form."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.spatial import distance

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metrics import denoising
from noiseflow.evaluate.metrics.denoising import window_of
from noiseflow.evaluate.metrics.two_sample import held_out_hits
from noiseflow.evaluate.report.report import page
from noiseflow.evaluate.statistics.divergence import (
    FINE_BINS,
    fine_edges,
    fine_index,
    js_divergence,
    wasserstein_1,
    widening_edges,
    widening_index,
)
from noiseflow.evaluate.statistics.intervals import bootstrap_ratio, jackknife, ratio_of_sums
from noiseflow.fit import spec_for
from noiseflow.models import build

COUNTS = hnp.arrays(np.float64, 9, elements=st.integers(0, 40)).filter(lambda counts: counts.sum() > 0)


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipys_and_wasserstein_too(p: np.ndarray, q: np.ndarray) -> None:
    js = float(js_divergence(p=p, q=q, pseudo_count=0.5))
    # Scipy gives the root, of zero up to rounding.
    assert js == pytest.approx(np.nan_to_num(distance.jensenshannon(p + 0.5, q + 0.5)) ** 2, abs=1e-12)
    assert -1e-12 <= js <= math.log(2)
    places = np.arange(9.0)
    ours = float(wasserstein_1(p=p, q=q, width=np.ones(9)))
    assert ours == pytest.approx(stats.wasserstein_distance(places, places, p, q), abs=1e-12)


@pytest.mark.parametrize("groups", [6, 12, 40])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_bootstrap_covers(groups: int, shape: str) -> None:
    # 1,000 repeats at 95 %: standard error 0.7 %.  The issue asks for 92 to 98 %; for skewed groups
    # the true coverage is 92 to 94 % (it is 88 to 92 % for Student's t), for which 91 % is allowed.
    rng = np.random.default_rng(groups)
    covered = 0
    for _ in range(1000):
        offsets = rng.normal(size=groups) if shape == "normal" else rng.exponential(size=groups) - 1
        size = rng.integers(20, 60, groups).astype(float)
        sums = size * offsets + np.sqrt(size) * rng.normal(size=groups)
        estimate = bootstrap_ratio(numerator=sums, denominator=size, level=0.95)
        covered += not (estimate.above(0) or estimate.below(0))
    assert (0.92 if shape == "normal" else 0.91) <= covered / 1000 <= 0.98


def test_bootstrap_of_few_or_many_groups_is_the_t_interval() -> None:
    rng = np.random.default_rng(0)
    for groups in (1, 4, 401):
        of = {"numerator": rng.normal(size=groups), "denominator": np.ones(groups), "level": 0.95}
        assert bootstrap_ratio(**of) == ratio_of_sums(**of)


def test_jackknife_of_a_mean_is_the_textbook_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    left_out = (values.sum() - values) / 3
    estimate = jackknife(value=values.mean(), left_out=left_out, level=0.95)
    assert estimate.standard_error == pytest.approx(stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(stats.t.interval(0.95, 3, values.mean(), stats.sem(values)))


def test_widening_bins_hold_what_lies_between_their_edges() -> None:
    edges = widening_edges(0.1)
    assert (np.diff(edges) > 0).all()
    np.testing.assert_allclose(edges, -edges[::-1])
    np.testing.assert_allclose(fine_edges()[[0, FINE_BINS // 2, -1]], [-200, 0, 200])
    values = torch.from_numpy(np.random.default_rng(0).standard_t(2, 100_000)).float().clamp(-199, 199)
    ours = np.bincount(widening_index(edges)[fine_index(values)].numpy(), minlength=len(edges) - 1)
    numpys = np.histogram(values.numpy(), edges)[0]
    # Float32 may put a value that is an edge to rounding on the other side.
    assert np.abs(ours - numpys).max() <= 5


@pytest.fixture(scope="module")
def heavy(shared_workshop: Any) -> Any:
    shop = shared_workshop
    store = shop.store(noise=shop.heavy_tailed, name="heavy.h5")
    return evaluate({"m": shop.model(noise=shop.heavy_tailed)}, store)


def test_tails_are_those_of_the_distribution(heavy: Any) -> None:
    tails = heavy.scores["tails"]
    values = 400 * 4 * 16 * 16
    for each in tails.beyond[:3]:
        expected = 2 * stats.t.sf(each.threshold * np.sqrt(5 / 3), 5)
        # Four standard errors, and the 1 % that rounding adds to the variance.
        error = 4 * np.sqrt(expected / values) + 0.06 * expected
        assert each.part["data"].value == pytest.approx(expected, abs=error)
    quantile = dict(zip(np.round(tails.levels, 6), tails.quantiles["data"], strict=True))
    median = quantile[0.5]
    assert median == pytest.approx(0, abs=0.01)


def test_conditional_quantiles_of_the_right_model_are_the_levels(heavy: Any) -> None:
    conditional = heavy.scores["conditional"]
    for bin_ in conditional.bins:
        for level, below in zip(conditional.levels, bin_.below["m"], strict=True):
            # Two samples; five standard errors in 72 comparisons: once in 20,000.
            assert below == pytest.approx(level, abs=5 * np.sqrt(2 * level * (1 - level) / bin_.values))
    assert conditional.kl["m"] == pytest.approx(conditional.kl["data"], rel=0.3)


def test_autocorrelation_and_spectra_of_a_known_filter(workshop: Any) -> None:
    evaluation = evaluate({"m": workshop.model()}, workshop.store(noise=workshop.smoothed))
    structure = evaluation.scores["structure"]
    correlation = {lag.part: lag.of["data"].value for lag in structure.lags}  # type: ignore[attr-defined]
    # 0.2/1.04 in the columns; removing the means of 16 pixels leaves a bias below 0.03.
    assert correlation["1 column"] == pytest.approx(0.2 / 1.04, abs=0.03)
    assert abs(correlation["1 row"]) < 0.02
    # |1 + 0.2 exp(iω)|²/1.04 at the highest frequency of the columns is 0.8²/1.04.
    assert structure.columns_spectrum["data"][-1] == pytest.approx(0.64 / 1.04, abs=0.1)  # type: ignore[attr-defined]
    assert structure.columns_spectrum["m"][-1] == pytest.approx(1, abs=0.1)  # type: ignore[attr-defined]


def test_missing_column_noise_is_named(workshop: Any) -> None:
    def columns(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return (rng.normal(size=shape) + 0.3 * rng.normal(size=(*shape[:-2], 1, shape[-1]))) / np.sqrt(1.09)

    evaluation = evaluate({"m": workshop.model()}, workshop.store(noise=columns))
    found = {finding.measure: finding for finding in evaluation.findings}
    assert "Column noise is missing" in found["columns"].text


def test_planes_that_go_together_in_the_data_alone_are_named(workshop: Any) -> None:
    def shared(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        common = rng.normal(size=(shape[0], 1, *shape[2:]))
        return (rng.normal(size=shape) + 0.5 * common) / np.sqrt(1.25)

    evaluation = evaluate({"m": workshop.model()}, workshop.store(noise=shared))
    finding = next(each for each in evaluation.findings if each.measure == "planes")
    assert finding.level == "bad"
    pair = evaluation.scores["structure"].pairs[0]  # type: ignore[attr-defined]
    assert pair.of["data"].value == pytest.approx(0.2, abs=0.01)


def test_latent_of_the_right_density_is_uniform_and_of_a_wide_one_is_not(workshop: Any) -> None:
    store = workshop.store()
    model = build(spec_for(store, "nlf")).eval()
    span = workshop.white_level - np.mean(workshop.black)
    for factor, level in ((1.0, "good"), (1.3, "bad")):
        with torch.no_grad():
            model.log_beta1.fill_(math.log(factor * 0.5 / span))  # type: ignore[union-attr]
            model.log_beta2.fill_(math.log(factor * 64 / span**2))  # type: ignore[union-attr]
        evaluation = evaluate({"nlf": model}, store)
        found = next(each for each in evaluation.findings if each.measure == "calibration")
        assert found.level == level, found.text


def test_frames_that_share_noise_are_named_and_independent_ones_pass(workshop: Any) -> None:
    def shared(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        # Patches g and g + 1 are frames 0 and 1 of a scene.
        each, common = rng.normal(size=shape), rng.normal(size=shape)
        common[1::2] = common[::2]
        return (each + 0.5 * common) / np.sqrt(1.25)

    for noise, level in ((workshop.white, "good"), (shared, "bad")):
        store = workshop.store(noise=noise, name=f"{level}.h5")
        evaluation = evaluate({"m": workshop.model()}, store)
        found = next(each for each in evaluation.findings if each.measure == "temporal")
        assert found.level == level, found.text
    excess = evaluation.scores["temporal"].excess  # type: ignore[attr-defined]
    assert excess.value == pytest.approx(0.2, abs=4 * excess.standard_error)


def test_a_classifier_of_nothing_is_right_half_the_time_and_one_of_a_shift_more() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 50)
    real, same = rng.normal(size=(2, 1000, 5))
    # 2,000 decisions: standard error 1.1 %; [46, 54] is left once in 3,000.
    assert held_out_hits(real, same, group).mean() / 2 == pytest.approx(0.5, abs=0.04)
    shifted = same + np.array([1.0, 0, 0, 0, 0])
    assert held_out_hits(real, shifted, group).mean() / 2 == pytest.approx(stats.norm.cdf(0.5), abs=0.04)


def test_hinges_see_what_no_line_between_features_does() -> None:
    """Two features whose product has another sign: means and variances are alike, and so is each alone."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 40)
    real, sampled = rng.normal(size=(2, 800, 6))
    real[:, 1] = 0.8 * real[:, 0] + 0.6 * real[:, 1]
    sampled[:, 1] = -0.8 * sampled[:, 0] + 0.6 * sampled[:, 1]
    # 1,600 decisions: standard error 1.25 %.
    assert held_out_hits(real, sampled, group, hinges=False).mean() / 2 == pytest.approx(0.5, abs=0.05)
    assert held_out_hits(real, sampled, group, hinges=True).mean() / 2 > 0.7
    chosen = held_out_hits(real, sampled, group)
    assert chosen.mean() / 2 > 0.7
    np.testing.assert_array_equal(chosen, held_out_hits(real, sampled, group))


def test_noise_that_is_right_on_average_only_is_told_from_steady_noise(workshop: Any) -> None:
    evaluation = evaluate({"m": workshop.model()}, workshop.store(noise=workshop.unsteady))
    found = {finding.measure: finding for finding in evaluation.findings}
    assert found["variance"].level != "bad", found["variance"].text
    assert found["two_sample"].level == "bad", found["two_sample"].text
    assert evaluation.scores["two_sample"].accuracy["m"].value > 0.7  # type: ignore[attr-defined]


def test_what_the_data_does_not_let_anybody_say_is_said(workshop: Any) -> None:
    clipped = workshop.store(patches=100, groups=2, signal=(0.5, 4300.0), name="clipped.h5")
    notes = " ".join(evaluate({"m": workshop.model()}, clipped).notes)
    assert "All of the data is at ISO 100" in notes
    assert "at the white level" in notes
    assert "only 2 frames" in notes


def test_a_model_without_a_density_is_judged_by_its_samples(workshop: Any) -> None:
    from noiseflow.core.errors import ModelError

    class Sampler(type(workshop.model())):  # type: ignore[misc]
        def _log_prob(self, noise: Any, cond: Any) -> Any:
            raise ModelError("sampler: has no density, samples only")

    evaluation = evaluate({"s": Sampler(workshop.model().spec), "right": workshop.model()}, workshop.store(patches=100))
    assert "s has no likelihood" in evaluation.headline
    assert "samples only" in " ".join(evaluation.notes)
    cell = evaluation.scores["likelihood"].cells[0]  # type: ignore[attr-defined]
    assert set(cell.nats_per_dim) == {"right"}
    assert "no density" in page(evaluation)


def cost_of(workshop: Any, data: Any, model: Any, seed: int = 0) -> Any:
    store = workshop.store(noise=data, seed=seed, patches=600, groups=30)
    evaluation = evaluate({"m": workshop.model(noise=model)}, store, seed=seed)
    return evaluation, evaluation.scores["denoising"]


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_of_the_right_model_cost_nothing(workshop: Any, seed: int) -> None:
    rows = workshop.with_rows(0.3)
    evaluation, score = cost_of(workshop, rows, rows, seed)
    assert score.windows > 30_000
    for value in (score.cost["m"], score.floor):
        assert abs(value.value) < 0.03
        assert not value.above(0.03)
    found = next(each for each in evaluation.findings if each.measure == "denoising")
    assert found.level == "good", found.text
    assert "A linear denoiser trained on them loses" in evaluation.headline


def test_missing_and_wrong_structure_costs_what_the_moments_say(workshop: Any) -> None:
    """A denoiser for white noise on noise with rows, to within a quarter of the cost by the true covariances."""
    rows, strength = workshop.with_rows(0.3), 0.3
    _, score = cost_of(workshop, rows, workshop.white)
    shape = (4, workshop.size, workshop.size)
    side = window_of(shape)
    scenes, target, rest = denoising._scenes(shape, side)
    draws = torch.Generator().manual_seed(1)
    white = torch.randn(600, *shape, generator=draws)
    striped = white + strength * torch.randn(600, 4, workshop.size, 1, generator=draws)
    striped = striped / (1 + strength**2) ** 0.5
    white, striped = (denoising._features(each, side, 100).flatten(0, 1) for each in (white, striped))
    moments = [each.T @ each / len(each) for each in (white, striped)]
    errors = []
    for noise in moments:
        weights = denoising._best(scenes, noise, target)
        missed = rest - 2 * (weights * target).sum(0) + (weights * ((scenes + moments[1]) @ weights)).sum(0)
        errors.append(float(missed.sum()))
    expected = 10 * torch.tensor(errors[0] / errors[1]).log10()
    assert float(expected) > 0.05
    assert score.cost["m"].value == pytest.approx(float(expected), rel=0.25)
    assert score.cost["m"].above(0)


def test_weights_are_those_of_wiener() -> None:
    """Of white scenes and white noise a pixel's own value alone counts, times S/(S + N)."""
    eye = torch.eye(5)
    weights = denoising._best(16 * eye, eye, 16 * eye[:, :1])
    torch.testing.assert_close(weights[:, 0], torch.tensor([16 / 17, 0, 0, 0, 0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "side"), [((4, 32, 32), 7), ((1, 6, 40), 5), ((36, 32, 32), 3), ((4, 1, 9), 1), ((4, 2, 2), 1)]
)
def test_windows_are_odd_and_fit(shape: tuple[int, int, int], side: int) -> None:
    assert window_of(shape) == side


def test_two_scenes_are_too_few(workshop: Any) -> None:
    store = workshop.store(patches=40, groups=2, frames=1)
    evaluation = evaluate({"m": workshop.model()}, store)
    assert evaluation.scores["denoising"].cost == {}
    found = next(each for each in evaluation.findings if each.measure == "denoising")
    assert found.level == "open"

from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import DataError
from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metrics.legacy_kl import gaussian_floor, patch_edges, published_kl, unit_edges


def values_of(counts: list[int], edges: np.ndarray, first: int) -> np.ndarray:
    """Values at bins' middles, so many in each from bin `first` on."""
    middles = (edges[:-1] + edges[1:]) / 2
    return np.repeat(middles[first : first + len(counts)], counts)


def test_edges_are_the_published_ones() -> None:
    edges = patch_edges()
    assert len(edges) - 1 == 66
    assert (edges[0], edges[-1]) == (-1000, 1000)
    np.testing.assert_allclose(np.diff(edges[1:-1]), 0.2 / 64, rtol=1e-9)
    assert len(unit_edges()) - 1 == 1000


def test_hand_made_histograms_to_the_bit() -> None:
    # p = (1/2, 1/4, 1/4, 0), q = (1/4, 1/2, 0, 1/4): the last two bins are dropped.
    edges = patch_edges()
    real, sampled = values_of([2, 1, 1, 0], edges, 30), values_of([1, 2, 0, 1], edges, 30)
    p, q = np.array([0.5, 0.25]), np.array([0.25, 0.5])
    assert published_kl(real, sampled, edges=edges) == float(np.sum(p * np.log(p / q)))
    assert published_kl(real, sampled, edges=edges) == pytest.approx(0.25 * np.log(2))


def test_what_differs_most_is_dropped_and_negative_noise_is_not_seen() -> None:
    edges = patch_edges()
    apart = published_kl(values_of([5], edges, 10), values_of([5], edges, 50), edges=edges)
    assert apart == 0.0
    # All negative noise of one half moved far away: 0.0, by either.
    noise = 0.02 * np.random.default_rng(0).normal(size=100_000)
    moved = np.where(noise < 0, noise - 0.5, noise)
    assert published_kl(noise, moved, edges=unit_edges()) == 0.0
    assert published_kl(np.full(9, -0.05), np.full(9, -0.09), edges=unit_edges()) == 0.0


def test_identical_gaussians_score_the_fields_headline_number() -> None:
    # Mean of 400 pairs, standard error 0.00012; single pairs reach from 0.005 to 0.015.
    floor = gaussian_floor(sigma=0.02, values=4096, repeats=400, seed=0)
    assert floor.mean() == pytest.approx(0.0096, abs=5e-4)
    low, high = np.quantile(floor, [0.025, 0.975])
    assert low < 0.008 < high


def test_no_reading_of_the_published_code_has_0_008_as_its_mean() -> None:
    """Which bins, which direction, what is dropped or added: 600 pairs, standard error of each mean 0.0001.

    0.008 is the mean of estimators that nobody published: σ = 0.016, or bins of fewer than five dropped.
    """
    rng, edges = np.random.default_rng(1), patch_edges()
    pairs = rng.normal(size=(600, 2, 4096))
    counts = np.array([[np.histogram(0.02 * each, edges)[0] for each in pair] for pair in pairs])
    inner, added = counts[..., 1:-1], counts + 1

    def mean(p: np.ndarray, q: np.ndarray, values: float, least: int = 1) -> float:
        kept = (p >= least) & (q >= least)
        return float(np.where(kept, p / values * np.log(np.maximum(p, 1) / np.maximum(q, 1)), 0).sum(1).mean())

    readings = {
        "forward": mean(counts[:, 0], counts[:, 1], 4096),
        "inverse": mean(counts[:, 1], counts[:, 0], 4096),
        "without the open bins": mean(inner[:, 0], inner[:, 1], 4096),
        "one added": mean(added[:, 0], added[:, 1], 4096),
        "one added, divided": mean(added[:, 0], added[:, 1], 4096 + counts.shape[-1]),
    }
    assert all(0.0093 < value < 0.0106 for value in readings.values()), readings
    # Bins with values over values, by the χ² that KL is near; nearly empty bins are not.
    assert readings["forward"] == pytest.approx((counts > 0).all(1).sum(1).mean() / 4096, rel=0.1)
    narrow = gaussian_floor(sigma=0.016, values=4096, repeats=600, seed=1).mean()
    assert (narrow, mean(counts[:, 0], counts[:, 1], 4096, least=5)) == pytest.approx((0.008, 0.008), abs=4e-4)


def test_no_values_and_nan_are_refused() -> None:
    for wrong in (np.array([]), np.array([np.nan])):
        with pytest.raises(DataError, match="finite"):
            published_kl(wrong, np.zeros(3), edges=patch_edges())


def test_is_reported_only_where_asked_for_with_a_warning_and_its_floor(workshop: Any) -> None:
    store, model = workshop.store(patches=80), workshop.model()
    assert "legacy_kl" not in evaluate({"m": model}, store).scores
    evaluation = evaluate({"m": model}, store, metrics=["legacy_kl"])
    finding = next(each for each in evaluation.findings if each.measure == "legacy_kl")
    assert finding.text.startswith("Warning")
    assert "the published value is 0.008" in finding.text
    assert "published" not in evaluation.headline

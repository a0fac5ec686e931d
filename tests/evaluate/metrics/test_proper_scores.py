"""Proper scores against closed forms, and that they see what they should."""

from typing import Any

import numpy as np
import pytest
import torch

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metrics.proper_scores import ProperScores, neighbours, per_patch

COUNT, VALUES = 4000, 64


def normal(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(COUNT, VALUES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_crps_of_a_gaussian_is_the_closed_form(scale: float) -> None:
    """E|X − Y| = √(2(1 + s²)/π), E|X − X′| = 2s/√π; by scipy's own integral it is the same."""
    partners = np.stack([np.roll(np.arange(COUNT), -step) for step in (1, 2)])
    crps, energy, crps_excess, energy_excess = per_patch(normal(0), normal(1, scale), partners)
    expected = np.sqrt(2 * (1 + scale**2) / np.pi) - scale / np.sqrt(np.pi)
    # The mean of 256,000 values, of deviation below 1: six standard errors.
    assert crps.mean() == pytest.approx(expected, abs=0.012)
    assert crps_excess.mean() == pytest.approx(expected - 1 / np.sqrt(np.pi), abs=0.006)
    # E‖N(0, v·1)‖ of 64 values is √(2v)·Γ(32.5)/Γ(32).
    norm = np.sqrt(2.0) * np.exp(_log_gamma(32.5) - _log_gamma(32.0)) / 8
    expected = norm * (np.sqrt(1 + scale**2) - np.sqrt(2) * scale / 2)
    assert energy.mean() == pytest.approx(expected, abs=0.012)
    assert energy_excess.mean() == pytest.approx(expected - norm / np.sqrt(2), abs=0.006)


def _log_gamma(x: float) -> float:
    return float(torch.lgamma(torch.tensor(x, dtype=torch.float64)))


def test_partners_have_the_signal_and_the_cell_but_not_the_group() -> None:
    rng = np.random.default_rng(0)
    brightness, cell, group = rng.random(300), rng.integers(2, size=300), rng.integers(20, size=300)
    partners = neighbours(brightness, cell, group)
    known = partners >= 0
    assert known.sum(0).min() > 8
    assert (cell[partners] == cell)[known].all()
    assert (group[partners] != group)[known].all()
    assert np.quantile(abs(brightness[partners] - brightness)[known], 0.5) < 0.08
    alone = neighbours(np.zeros(3), np.array([0, 1, 1]), np.zeros(3, np.int64))
    assert alone[0].tolist() == [-1, 2, 1]
    assert (alone[1:] < 0).all()


@pytest.mark.parametrize("factor", [1.0, 1.25, 0.8])
def test_the_excess_is_zero_for_the_truth_and_above_for_a_wrong_variance(workshop: Any, factor: float) -> None:
    model = workshop.model(factor=factor)
    found = evaluate({"m": model}, workshop.store(), metrics=["proper_scores"])
    score = found.scores["proper_scores"]
    assert isinstance(score, ProperScores)
    (finding,) = (each for each in found.findings if each.measure == "proper_scores")
    assert finding.level == ("good" if factor == 1.0 else "bad"), finding.text
    if factor == 1.0:
        assert score.crps["m"].value == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)
    assert "m" in next(r for r in found.table() if r.measure == "Energy score of a patch, above real noise").cells
    assert {"crps", "crps_excess", "energy", "energy_excess"} <= {record.measure for record in found.records()}


def test_an_unknown_metric_is_named(workshop: Any) -> None:
    with pytest.raises(Exception, match="metrics: unknown metric 'crps'; expected some of judges, proper_scores"):
        evaluate({"m": workshop.model()}, workshop.store(patches=40), metrics=["crps"])

"""What a denoiser loses by its training data: against Wiener's filter, with rows, and where nothing differs."""

from typing import Any

import pytest
import torch

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metrics import denoising
from noiseflow.evaluate.metrics.denoising import window_of


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

"""Each judge finds a fault of its own kind, and none in the truth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.judges.judge import JUDGES
from noiseflow.evaluate.metrics.judges import Judges, accuracy_of

PATCHES, GROUPS, SIZE = 240, 24, 32
Fault = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]


def rows(noise: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Rows of 0.15 σ, the variance kept."""
    return (noise + 0.15 * rng.normal(size=(len(noise), 1, SIZE, 1))) / np.sqrt(1 + 0.15**2)


def banding(noise: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A wave of 0.12 σ over the rows, at 0.19 cycles per pixel, its phase of the patch."""
    phase = rng.uniform(0, 2 * np.pi, (len(noise), 1, 1, 1))
    wave = np.sin(2 * np.pi * 0.19 * np.arange(SIZE)[:, None] + phase)
    return (noise + 0.12 * wave) / np.sqrt(1 + 0.12**2 / 2)


def peaks(noise: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A cross of five pixels in the place of noise, twenty in a patch."""
    noise = noise.copy()
    for patch in noise:
        for down, across in rng.integers(1, SIZE - 1, (20, 2)):
            plane = rng.integers(4)
            for dy, dx in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                patch[plane, down + dy, across + dx] = 1.2
    return noise


def accuracy(judge: str, fault: Fault | None, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    real, sampled = (rng.normal(size=(PATCHES, 4, SIZE, SIZE)) for _ in range(2))
    if fault is not None:
        real = fault(real, rng)
    light = torch.from_numpy(rng.random(PATCHES)).float()
    seen = [JUDGES[judge].seen(torch.from_numpy(each).float(), light).numpy() for each in (real, sampled)]
    return accuracy_of(JUDGES[judge], *seen, np.arange(PATCHES) % GROUPS)


@pytest.mark.parametrize(
    ("judge", "fault"), [("rows", rows), ("rows", banding), ("spectrum", banding), ("network", peaks)]
)
def test_a_judge_sees_its_fault(judge: str, fault: Fault) -> None:
    found = accuracy(judge, fault)
    assert found.above(0.55), found


@pytest.mark.parametrize("judge", list(JUDGES))
def test_a_judge_sees_nothing_in_the_truth(judge: str) -> None:
    """Flagged once in 1,200 times; the standard error is 2.3 %."""
    found = accuracy(judge, None, seed=1)
    assert not found.above(0.5), found
    assert abs(found.value - 0.5) < 0.1


def test_in_a_report(workshop: Any) -> None:
    store = workshop.store(noise=workshop.with_rows(0.6), patches=400)
    found = evaluate({"m": workshop.model()}, store, metrics=["judges"])
    score = found.scores["judges"]
    assert isinstance(score, Judges)
    assert set(score.accuracy) == set(JUDGES)
    (finding,) = (each for each in found.findings if each.measure == "judges")
    assert finding.level == "bad"
    assert "by whole rows and columns (" in finding.text
    assert [row.measure for row in found.table() if row.measure.startswith("Two-sample test, ")] == [
        "Two-sample test, whole rows and columns",
        "Two-sample test, spectra",
        "Two-sample test, a small network",
    ]
    few = evaluate({"m": workshop.model()}, workshop.store(patches=40, name="few.h5"), metrics=["judges"])
    (finding,) = (each for each in few.findings if each.measure == "judges")
    assert finding.text == "The stronger two-sample tests need at least 100 patches; there are 40."

"""What a model loses at an ISO that it was not fitted to, of patches whose densities are given."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from noiseflow.core.errors import StoreError
from noiseflow.evaluate.benchmark import cost
from noiseflow.evaluate.benchmark.cost import iso_cost


def store(scenes: list[int], frames: list[int], isos: list[float]) -> Any:
    """Patches of eight values that are told apart by their numbers alone."""
    table = np.zeros(len(isos), [("scene", "i4"), ("frame", "i4"), ("iso", "f4")])
    table["scene"], table["frame"], table["iso"] = scenes, frames, isos
    return SimpleNamespace(
        path="p.h5",
        table=table,
        patch_shape=(2, 2, 2),
        indices=lambda split: np.arange(len(isos)) if split == "test" else np.arange(0),
        read=lambda rows: SimpleNamespace(noise=torch.from_numpy(rows)),
    )


def model(part: float) -> Any:
    """A density of −part times the square of the number, nats."""
    return SimpleNamespace(log_prob=lambda numbers, cond: -part * numbers.double() ** 2)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "conditions_of", lambda batch: None)
    # Two batches.
    monkeypatch.setattr(cost, "BATCH", 4)


@pytest.mark.parametrize(
    ("scenes", "frames", "groups"), [([7] * 6, [0, 0, 1, 1, 2, 2], 3), ([7, 7, 7, 8, 8, 8], [0] * 6, 2)]
)
def test_it_is_the_mean_difference_over_scenes_or_over_the_frames_of_one(
    scenes: list[int], frames: list[int], groups: int
) -> None:
    found = iso_cost(store([0, *scenes], [9, *frames], [100.0] + [400.0] * 6), model(1.0), model(1.5), 400.0, "test")
    assert found["iso"] == 400
    assert found["nats_per_dim"].value == pytest.approx(0.5 * np.mean(np.arange(1, 7) ** 2.0) / 8)
    assert found["nats_per_dim"].groups == groups


def test_an_iso_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreError, match=r"p\.h5: split 'test' has no patch of ISO 200"):
        iso_cost(store([0], [0], [100.0]), model(1.0), model(1.5), 200.0, "test")

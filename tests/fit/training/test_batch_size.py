"""The batch is doubled for as long as that pays."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import gaussian_store
from distance import CPU, Distance, Point
from torch import Tensor, nn

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.training import batch_size
from noiseflow.fit.training.batch_size import SIZES, fastest_batch
from noiseflow.fit.training.objective import StepPosition


class Clock:
    """Stands for the module `time`: it goes on by what a step says that it takes."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(batch_size, "time", made)
    return made


class Slow(Distance):
    """A step takes 5 ms for up to so many patches, more for more of them in proportion."""

    def __init__(self, size: int, free: int, clock: Clock) -> None:
        super().__init__()
        self.size, self.free, self.clock = size, free, clock

    def batch(self, position: StepPosition) -> Tensor:
        return torch.ones(self.size, 3)

    def loss(self, model: nn.Module, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.clock.now += 0.005 * max(1.0, self.size / self.free)
        return super().loss(model, batch, generator)


def test_it_stops_where_patches_per_second_stand_still(clock: Clock) -> None:
    assert fastest_batch(Point(), lambda size: Slow(size, 256, clock), 10**6, CPU) == 256


def test_no_batch_is_too_large_for_the_data_or_the_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fastest_batch(Point(), lambda size: Slow(size, 256, clock), 700, CPU) == 64
    assert fastest_batch(Point(), lambda size: Slow(size, 256, clock), 5, CPU) == 5
    # A point keeps x − point for its gradient, 12 bytes a patch: 128 patches would be 1536 bytes, 256 twice that.
    monkeypatch.setattr(batch_size, "_free", lambda device: 2 * 1600)
    assert fastest_batch(Point(), lambda size: Slow(size, 256, clock), 10**6, CPU) == 128


def test_the_model_stays_as_it_is(clock: Clock) -> None:
    point = Point()
    fastest_batch(point, lambda size: Slow(size, 32, clock), 10**6, CPU)
    assert not point.seen.any()
    assert point.point.grad is None


def test_a_fit_goes_on_with_the_batch_that_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = gaussian_store(tmp_path / "s.h5", patches=900, isos=(400.0,))
    spec, settings = spec_for(store, "sdn5|unc|gain4|unc"), FitSettings(batch=None, epochs=1, steps_per_epoch=2)
    fit(store, spec, tmp_path / "run", settings)
    batch = json.loads((tmp_path / "run" / "fit.json").read_text())["settings"]["batch"]
    assert batch in SIZES[:2]
    monkeypatch.setattr(batch_size, "SIZES", (7,))
    fit(store, spec, tmp_path / "run", replace(settings, epochs=2), resume=True)
    assert json.loads((tmp_path / "run" / "fit.json").read_text())["settings"]["batch"] == batch
    assert fit(store, spec_for(store, "nlf"), tmp_path / "nlf", settings).epochs == 0

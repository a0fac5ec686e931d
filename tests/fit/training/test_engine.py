"""The loop, with objectives small enough to know what must come out."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from distance import CPU, Distance, Point
from safetensors.torch import load_file

from noiseflow.core.errors import DataError
from noiseflow.fit.training import engine
from noiseflow.fit.training.engine import BAD_BATCH, train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession
from noiseflow.fit.training.settings import FitSettings, TrainSettings, learning_rate
from noiseflow.fit.training.state import TrainState, WeightAverage, read_state


def trained(out: Path, bad: frozenset[int] = frozenset(), **settings: Any) -> tuple[Point, TrainState]:
    model = Point()
    chosen = TrainSettings(**{"learning_rate": 0.05, "patience": None, **settings})
    state = train(model, Distance(bad), chosen, TrainingLength(40, 10, 8), TrainingSession(out, CPU), {})
    return model, state


def timeless(state: TrainState) -> str:
    """A history without the time that it took; in words, since NaN is not NaN."""
    return str([{name: value for name, value in row.items() if name != "seconds"} for row in state.history])


@pytest.mark.parametrize("settings", [{}, {"optimiser": "adamw"}, {"schedule": "plateau"}, {"ema": 0.8}, {"warmup": 5}])
def test_it_brings_the_held_out_figure_down(tmp_path: Path, settings: dict[str, Any]) -> None:
    model, state = trained(tmp_path, **settings)
    assert state.best < 0.05 < state.history[0]["held_out_distance"] == 1.0
    assert torch.allclose(model.point, torch.ones(3), atol=0.25)
    assert not model.training
    assert [row["step"] for row in state.history] == [0, 10, 20, 30, 40]


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    _, state = trained(tmp_path / "bad", frozenset({3, 12, 13}))
    assert [row["skipped"] for row in state.history] == [0, 1, 2, 0, 0]
    assert state.best < 0.05
    _, tensors = read_state(tmp_path / "bad" / "state")
    assert all(value.isfinite().all() for group in tensors.values() for value in group.values())
    # All steps of an epoch skipped but fewer than it stops for: nothing has moved.
    still = Point()
    quiet = TrainSettings(patience=None)
    train(
        still,
        Distance(frozenset(range(4))),
        quiet,
        TrainingLength(4, 4, 8),
        TrainingSession(tmp_path / "still", CPU),
        {},
    )
    assert torch.equal(still.point, torch.zeros(3))
    assert torch.equal(still.seen, torch.zeros(3))


def test_many_such_steps_stop_it_and_leave_the_batch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not finite in 6 steps, the last at epoch 2, step 8; its batch \(step 17\)"):
        trained(tmp_path, frozenset(range(12, 18)))
    assert load_file(tmp_path / BAD_BATCH)["values"].isnan().all()


def test_patience_and_minutes_end_it(tmp_path: Path) -> None:
    _, state = trained(tmp_path / "patience", schedule="constant", learning_rate=3.0, patience=1)
    assert state.epoch == state.best_epoch + 1
    _, state = trained(tmp_path / "minutes", max_minutes=0.0)
    assert state.step == 0


def test_two_states_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    trained(tmp_path, state_seconds=0.0)
    folder = tmp_path / "state"
    assert sorted(path.name for path in folder.iterdir()) == ["000000039", "000000040"]
    (folder / "000000041.partial").mkdir()
    tensors = folder / "000000040" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:50])
    state, _ = read_state(folder)
    assert state.step == 39


def test_any_step_is_a_place_to_go_on_from(tmp_path: Path) -> None:
    """Bit for bit: weights, average, optimiser, sums of the epoch, history."""

    class Stopped(BaseException):
        pass

    settings = TrainSettings(learning_rate=0.05, patience=None, state_seconds=0.0, ema=0.9, schedule="plateau")
    length, objective = TrainingLength(40, 10, 8), Distance(frozenset({13}))
    whole = Point()
    expected = train(whole, objective, settings, length, TrainingSession(tmp_path / "whole", CPU), {})
    for stop in (1, 9, 10, 11, 14, 29):
        out = tmp_path / str(stop)

        def kill(done: int, total: int, note: str = "", stop: int = stop) -> None:
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            train(Point(), objective, settings, length, TrainingSession(out, CPU, progress=kill), {})
        again = Point()
        state = train(again, objective, settings, length, TrainingSession(out, CPU, resume=True), {})
        assert torch.equal(again.point, whole.point)
        assert timeless(state) == timeless(expected)
        for group, tensors in read_state(tmp_path / "whole" / "state")[1].items():
            for name, value in read_state(out / "state")[1][group].items():
                assert torch.equal(value, tensors[name]), (stop, group, name)
        shutil.rmtree(out)


def test_the_average_is_its_formula() -> None:
    point = Point()
    average = WeightAverage(point, 0.5)
    expected = point.point.detach().clone()
    for step in range(6):
        with torch.no_grad():
            point.point += torch.tensor([1.0, 2.0, -step])
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * point.point.detach()
        average.update(point, step)
    torch.testing.assert_close(average.weights["point"], expected)


def test_the_gradient_is_clipped_to_its_norm_and_keeps_its_direction(tmp_path: Path) -> None:
    def gradient(clip: float) -> torch.Tensor:
        model, settings = Point(), TrainSettings(patience=None, clip=clip)
        train(model, Distance(), settings, TrainingLength(1, 1, 8), TrainingSession(tmp_path / f"{clip}", CPU), {})
        assert model.point.grad is not None
        return model.point.grad

    whole, clipped = gradient(1e9), gradient(0.01)
    assert float(whole.norm()) > 0.5
    torch.testing.assert_close(clipped, 0.01 * whole / whole.norm(), rtol=1e-4, atol=1e-8)


def test_progress_tells_rate_figures_and_what_to_compare_them_with(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    settings = TrainSettings(learning_rate=0.05, patience=None)
    state = train(
        Point(),
        Distance(),
        settings,
        TrainingLength(20, 10, 8),
        TrainingSession(tmp_path, CPU, progress=lambda done, total, note="": told.append((done, total, note))),
        {},
    )
    assert [(done, total) for done, total, _ in told] == [(step, 20) for step in range(1, 21)]
    row = state.history[1]
    words = f"train DISTANCE {row['train_distance']:.4f}, held-out DISTANCE {row['held_out_distance']:.4f} m²"
    assert re.fullmatch(r"epoch 2, \d+ patches/s, " + re.escape(f"{words} (start 1.0000)"), told[-2][2]), told[-2][2]


def test_kernels_are_taken_by_the_length_of_the_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by what is left of it, nor by what the cache holds: the same training comes to the same bits."""
    asked: list[bool] = []

    @contextmanager
    def noted(on: bool = True) -> Iterator[None]:
        asked.append(on)
        yield

    monkeypatch.setattr(engine, "compiled", noted)
    monkeypatch.setattr(engine, "available", lambda: True)
    short = -(-engine.COMPILED_FROM // 8)
    for steps, choice in ((short - 1, "auto"), (short, "auto"), (short, "off"), (1, "on")):
        settings = TrainSettings(patience=None, compile=choice, max_minutes=0.0)
        length, out = TrainingLength(steps, steps, 8), tmp_path / f"{steps}{choice}"
        for resume in (False, True):
            train(Point(), Distance(), settings, length, TrainingSession(out, CPU, resume=resume), {})
    assert asked == [False, False, True, True, False, False, True, True]


def test_schedules() -> None:
    cosine = TrainSettings(learning_rate=1.0, warmup=10)
    rates = [learning_rate(cosine, step, 110, []) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[60] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    plateau = TrainSettings(learning_rate=1.0, schedule="plateau")
    held_out = [3.0, 2.0, 2.5, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0]
    found = [learning_rate(plateau, 0, 100, held_out[: looks + 1]) for looks in range(9)]
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_the_table_of_the_history(tmp_path: Path) -> None:
    trained(tmp_path)
    first, start, *rows = (tmp_path / "history.csv").read_text().splitlines()
    names = "step,train_distance,held_out_distance,epoch,learning_rate,skipped,seconds,first"
    assert first == names
    assert start.startswith("0,nan,1.0,0,")
    assert len(rows) == 4
    assert json.loads((tmp_path / "state" / "000000040" / "state.json").read_text())["step"] == 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate: expected a positive"),
        ({"ema": 1.0}, "ema: expected at least 0 and less than 1"),
        ({"schedule": "linear"}, "schedule: expected one of cosine, plateau, constant; got 'linear'"),
        ({"steps_per_epoch": 0}, "steps_per_epoch: expected 1 or more"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FitSettings(**settings)

"""The loop, with objectives small enough to know what must come out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from distance import CPU, Distance, Point
from safetensors.torch import load_file

from noiseflow.errors import DataError
from noiseflow.fit.engine import BAD_BATCH, Length, train
from noiseflow.fit.schedule import learning_rate
from noiseflow.fit.settings import FitSettings, TrainSettings
from noiseflow.fit.state import TrainState, read_state


def trained(out: Path, bad: frozenset[int] = frozenset(), **settings: Any) -> tuple[Point, TrainState]:
    model = Point()
    chosen = TrainSettings(**{"learning_rate": 0.05, "patience": None, **settings})
    state = train(model, Distance(bad), chosen, Length(40, 10, 8), out, arguments={}, device=CPU)
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
    train(still, Distance(frozenset(range(4))), quiet, Length(4, 4, 8), tmp_path / "still", arguments={}, device=CPU)
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
    length, objective = Length(40, 10, 8), Distance(frozenset({13}))
    whole = Point()
    expected = train(whole, objective, settings, length, tmp_path / "whole", arguments={}, device=CPU)
    for stop in (1, 9, 10, 11, 14, 29):
        out = tmp_path / str(stop)

        def kill(done: int, total: int, note: str = "", stop: int = stop) -> None:
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            train(Point(), objective, settings, length, out, arguments={}, device=CPU, progress=kill)
        again = Point()
        state = train(again, objective, settings, length, out, arguments={}, device=CPU, resume=True)
        assert torch.equal(again.point, whole.point)
        assert timeless(state) == timeless(expected)
        for group, tensors in read_state(tmp_path / "whole" / "state")[1].items():
            for name, value in read_state(out / "state")[1][group].items():
                assert torch.equal(value, tensors[name]), (stop, group, name)
        shutil.rmtree(out)


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
        ({"ema": 1.0}, "ema: expected 0 or more and less than 1"),
        ({"schedule": "linear"}, "schedule: expected one of cosine, plateau, constant; got 'linear'"),
        ({"steps_per_epoch": 0}, "steps_per_epoch: expected 1 or more"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FitSettings(**settings)

"""A finished run is trained for more epochs, and stays as it is until that is complete."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import ModelError, OutputError
from noiseflow.core.output.checks import partial_of
from noiseflow.core.output.manifest import MANIFEST, foreign, record
from noiseflow.fit import FitResult, FitSettings, fit, spec_for
from noiseflow.fit.training.state import read_state
from noiseflow.models import load
from noiseflow.patches import PatchStore

FOUR = FitSettings(
    epochs=4, batch=16, steps_per_epoch=3, patience=None, schedule="constant", compile="off", state_seconds=0.0
)
TWO = replace(FOUR, epochs=2)
ARCHITECTURE = "sdn5|unc|gain4|unc"


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return gaussian_store(tmp_path_factory.mktemp("more") / "p.h5", patches=100, correlation=0.6)


@pytest.fixture(scope="module")
def two(store: PatchStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    return fitted(store, tmp_path_factory.mktemp("two") / "run", TWO).folder


@pytest.fixture
def run(two: Path, tmp_path: Path) -> Path:
    shutil.copytree(two, tmp_path / "run")
    return tmp_path / "run"


def fitted(store: PatchStore, out: Path, settings: FitSettings, **more: Any) -> FitResult:
    return fit(store, spec_for(store, ARCHITECTURE), out, settings, **more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_the_continued_fit_is_the_longer_fit_even_if_it_was_killed(
    store: PatchStore, run: Path, tmp_path: Path
) -> None:
    """With a constant rate, to the bit; the finished run is untouched until the end."""
    before = contents(run)

    def kill(done: int, total: int, note: str = "") -> None:
        if note.startswith("epoch") and done == 8:
            raise Killed

    with pytest.raises(Killed):
        fitted(store, run, FOUR, resume=True, progress=kill)
    assert contents(run) == before
    with pytest.raises(ModelError, match="had other epochs"):
        fitted(store, run, replace(FOUR, epochs=3), resume=True)
    longer = fitted(store, run, FOUR, resume=True)
    whole = fitted(store, tmp_path / "whole", FOUR)
    expected, got = load(whole.folder).state_dict(), load(run).state_dict()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert history(run) == history(whole.folder)
    assert (longer.epochs, longer.continued, whole.continued) == (4, (2,), ())
    assert json.loads((run / "fit.json").read_text())["continued_at_epochs"] == [2]
    assert not partial_of(run).exists()
    assert not foreign(run)


def test_the_schedule_goes_on_as_that_of_the_longer_fit(store: PatchStore, tmp_path: Path) -> None:
    short, long = replace(TWO, schedule="cosine"), replace(FOUR, schedule="cosine")
    fitted(store, tmp_path / "run", short)
    fitted(store, tmp_path / "run", long, resume=True)
    fitted(store, tmp_path / "whole", long)
    rates = {name: [row["learning_rate"] for row in history(tmp_path / name)] for name in ("run", "whole")}
    assert rates["run"][3:] == rates["whole"][3:]
    assert rates["run"][2] != rates["whole"][2]


@pytest.mark.parametrize("epochs", [1, 2])
def test_fewer_or_as_many_epochs_are_refused_in_one_line(store: PatchStore, run: Path, epochs: int) -> None:
    before = contents(run.parent)
    with pytest.raises(ModelError, match=f"finished, with 2 epochs; .* --epochs above 2; got {epochs}$") as refused:
        fitted(store, run, replace(TWO, epochs=epochs), resume=True)
    assert "\n" not in str(refused.value)
    assert contents(run.parent) == before


def test_patience_is_counted_anew(store: PatchStore, tmp_path: Path) -> None:
    """A fit that stopped early would stop at once; its rate is too high for it to improve."""
    early = replace(FOUR, epochs=5, patience=1, learning_rate=3.0)
    with pytest.warns(UserWarning, match="diverged"):
        first = fitted(store, tmp_path / "run", early)
    assert first.epochs == 1
    before = contents(tmp_path)
    with pytest.raises(ModelError, match=r"stopped early, after 1 epoch,.*--patience or --max-minutes"):
        fitted(store, tmp_path / "run", early, resume=True)
    assert contents(tmp_path) == before
    with pytest.warns(UserWarning, match="diverged"):
        more = fitted(store, tmp_path / "run", replace(early, epochs=6), resume=True)
    assert (more.epochs, more.continued) == (2, (1,))
    with pytest.warns(UserWarning, match="diverged"):
        patient = fitted(store, tmp_path / "run", replace(early, epochs=6, patience=2), resume=True)
    assert (patient.epochs, patient.continued) == (3, (1,))
    assert read_state(tmp_path / "run" / "state")[0].continued == [1]


def test_files_of_the_user_are_named_before_anything_is_trained(store: PatchStore, run: Path) -> None:
    (run / "photo.dng").write_text("mine")
    with pytest.raises(OutputError, match=r"photo\.dng"):
        fitted(store, run, FOUR, resume=True)
    assert not partial_of(run).exists()


def test_the_command_says_how_the_rate_went_on_and_keeps_the_events(store: PatchStore, tmp_path: Path) -> None:
    run, few = tmp_path / "run", "--steps-per-epoch 2 --batch 8 --epochs"
    words = ["fit", str(store.path), "--model", ARCHITECTURE, "--out", str(run), *few.split()]
    assert CliRunner().invoke(main, [*words, "1"]).exit_code == 0
    for path in run.glob("events.*"):
        path.unlink()
    (run / "events.out.tfevents.1.host.1.0.0123456789abcdef").write_bytes(b"pictures")
    record(run, {"growing": "events.out.tfevents.*.0123456789abcdef"})
    again = CliRunner().invoke(main, [*words, "1", "--resume"])
    assert again.exit_code == 1
    assert re.fullmatch(r"noiseflow: .*run: the fit is finished, with 1 epoch; .*\n", again.stderr)
    longer = CliRunner().invoke(main, [*words, "3", "--resume"])
    assert longer.exit_code == 0, longer.output
    assert "continued after epoch 1: the learning rate went on as in a fit of 3 epochs" in longer.stdout
    assert (run / "events.out.tfevents.1.host.1.0.0123456789abcdef").read_bytes() == b"pictures"
    assert not foreign(run)


def test_a_model_of_a_closed_form_is_not_fitted_again_by_resume(store: PatchStore, tmp_path: Path) -> None:
    run = fit(store, spec_for(store, "nlf"), tmp_path / "run", TWO).folder
    before = contents(run)
    with pytest.raises(ModelError, match="no state of a training to resume; fit it again with --overwrite"):
        fit(store, spec_for(store, "nlf"), run, TWO, resume=True)
    assert contents(run) == before
    assert not partial_of(run).exists()


def test_events_that_the_user_logged_to_a_run_without_a_list_stay_theirs(store: PatchStore, run: Path) -> None:
    (run / MANIFEST).unlink()
    (run / "events.out.tfevents.1.host.1.0").write_bytes(b"mine")
    before = contents(run)
    with pytest.raises(OutputError, match=r"events\.out\.tfevents\.1\.host\.1\.0"):
        fitted(store, run, FOUR, resume=True)
    assert {name: contents(run)[name] for name in before} == before

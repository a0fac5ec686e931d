import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import gaussian_store

from noiseflow.core.errors import DataError, FitWarning, ModelError, OutputError
from noiseflow.core.output.manifest import MANIFEST, begin
from noiseflow.fit import FitResult, FitSettings, fit, spec_for
from noiseflow.models import load
from noiseflow.patches import PatchStore

SMALL = FitSettings(epochs=4, batch=32, steps_per_epoch=6, patience=10)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    # Correlated planes: something for a flow to find that its start does not have.
    path = tmp_path_factory.mktemp("store") / "s.h5"
    return gaussian_store(path, patches=400, isos=(400.0, 1600.0), correlation=0.7)


@pytest.fixture(scope="module")
def whole(store: PatchStore, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A fit that nobody stopped."""
    return fit(store, spec_for(store, "noise_flow"), tmp_path_factory.mktemp("whole") / "run", SMALL)


def test_it_improves_on_its_start_and_keeps_the_best(store: PatchStore, tmp_path: Path) -> None:
    settings = FitSettings(epochs=6, batch=64, steps_per_epoch=20)
    result = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", settings)
    assert result.best_nll < result.start_nll
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(rows) == 2 + result.epochs
    assert min(float(row.split(",")[2]) for row in rows[1:]) == result.best_nll
    record = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert record["data"] == store.fingerprint
    assert record["held_out_nll_nats_per_dim"] == result.best_nll


def test_the_same_seed_gives_the_same_weights(store: PatchStore, whole: FitResult, tmp_path: Path) -> None:
    again = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL)
    a, b = (load(result.folder).state_dict() for result in (whole, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [3, 6, 13, 20])
def test_a_resumed_fit_is_the_fit_that_was_never_stopped(
    store: PatchStore, whole: FitResult, tmp_path: Path, step: int
) -> None:
    def kill(done: int, total: int, note: str = "") -> None:
        if note.startswith("epoch") and done == step:
            raise Killed

    with pytest.raises(Killed):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, progress=kill)
    with pytest.raises(ModelError, match=r"no spec\.json|no finished model"):
        load(tmp_path / "run")
    resumed = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, resume=True)
    expected, got = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert (whole.best_nll, whole.epochs) == (resumed.best_nll, resumed.epochs)


def test_killed_before_its_first_step_it_has_nothing_to_go_on_from(store: PatchStore, tmp_path: Path) -> None:
    def kill(done: int, total: int, note: str = "") -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, progress=kill)
    with pytest.raises(ModelError, match="contains no state"):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, resume=True)


def test_a_start_that_was_killed_is_begun_anew(store: PatchStore, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    begin(tmp_path / "run", "run")
    result = fit(store, spec_for(store, "nlf"), tmp_path / "run")
    assert load(result.folder).spec.model == "nlf"
    assert not (tmp_path / "run" / "state").exists()


def test_going_on_with_other_settings_or_data_is_refused(store: PatchStore, tmp_path: Path) -> None:
    fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL)
    other = replace(SMALL, epochs=5, batch=16)
    with pytest.raises(ModelError, match="had other batch"):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", other, resume=True)
    with pytest.raises(OutputError, match="pass --overwrite"):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        fit(store, spec_for(store, "nlf"), tmp_path / "mine", SMALL, overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").exists()


@pytest.mark.parametrize("left", ["spec.json", "state/x.dng", "state/000000001/state.json", "model.safetensors"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_the_users_with_names_like_ours_is_left_alone(
    store: PatchStore, tmp_path: Path, left: str, overwrite: bool
) -> None:
    photo, mine = tmp_path / "photos" / "raw.dng", tmp_path / "photos" / left
    mine.parent.mkdir(parents=True)
    for path in (photo, mine):
        path.write_text("mine")
    with pytest.raises(OutputError, match="has no list of files written by noiseflow"):
        fit(store, spec_for(store, "nlf"), tmp_path / "photos", SMALL, overwrite=overwrite)
    assert sorted(path for path in (tmp_path / "photos").rglob("*") if path.is_file()) == sorted([photo, mine])
    assert mine.read_text() == "mine"


def test_a_run_of_an_earlier_version_is_gone_on_with_but_not_replaced(store: PatchStore, tmp_path: Path) -> None:
    fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL)
    (tmp_path / "run" / MANIFEST).unlink()
    with pytest.raises(OutputError, match="earlier version"):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, overwrite=True)
    fit(store, spec_for(store, "noise_flow"), tmp_path / "run", replace(SMALL, epochs=5), resume=True)
    (tmp_path / "run" / "history.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"history\.csv"):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, overwrite=True)


def test_a_fit_that_fails_before_its_first_state_leaves_no_folder(store: PatchStore, tmp_path: Path) -> None:
    def fail(done: int, total: int, note: str = "") -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_early_stop_waits_for_patience(store: PatchStore, tmp_path: Path) -> None:
    settings = FitSettings(epochs=50, batch=8, steps_per_epoch=2, patience=2, learning_rate=0.3)
    # A learning rate that overshoots: the start stays the best, and the fit says so.
    with pytest.warns(FitWarning, match="diverged"):
        result = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", settings)
    assert result.epochs == result.best_epoch + 2


def test_tensorboard_finds_the_numbers_of_each_epoch(store: PatchStore, tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra [train] is not installed"
    )
    result = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL)
    accumulated = reader.EventAccumulator(str(tmp_path / "run"))
    accumulated.Reload()
    logged = [(event.step, event.value) for event in accumulated.Scalars("fit/held_out_nll")]
    assert [step for step, _ in logged] == list(range(1, result.epochs + 1))
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()[2:]
    assert [value for _, value in logged] == pytest.approx([float(row.split(",")[2]) for row in rows], rel=1e-6)
    shown = accumulated.Images("fit/clean, real, sampled")
    assert [picture.step for picture in shown] == list(range(1, result.epochs + 1))
    # Four patches of 8 × 8 side by side, a row each of clean signal, real and sampled noise.
    assert {(picture.height, picture.width) for picture in shown} == {(3 * 8, 4 * 8)}


def test_closed_form_models_are_done_at_once(store: PatchStore, tmp_path: Path) -> None:
    result = fit(store, spec_for(store, "nlf"), tmp_path / "run")
    assert result.epochs == 0
    assert result.best_nll == result.start_nll
    assert load(tmp_path / "run").spec.model == "nlf"


def test_a_published_architecture_string_names_a_model(store: PatchStore) -> None:
    spec = spec_for(store, "sdn5|unc|gain4")
    assert (spec.model, spec.options["architecture"]) == ("noise_flow", "sdn5|unc|gain4")


def test_settings_out_of_range(store: PatchStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="batch: expected 1 or more"):
        fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(batch=0))
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="finds no GPU"):
            fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(device="cuda"))


def test_ctrl_c_leaves_a_state_to_go_on_from(store: PatchStore, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, note: str = "") -> None:
        if note.startswith("epoch 2"):
            signal.raise_signal(signal.SIGINT)

    # A process that a shell put in the background may have been told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(store, spec_for(store, "noise_flow"), tmp_path / "run", SMALL, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list((tmp_path / "run" / "state").glob("*/state.json"))
    assert not list(tmp_path.rglob("*.partial"))

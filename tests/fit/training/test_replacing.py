"""A run stays until the one that replaces it is whole; an interrupted replacement can be resumed."""

from pathlib import Path

import pytest
import torch
from builders import gaussian_store

from noiseflow.core.errors import OutputError
from noiseflow.core.output import listed
from noiseflow.core.output.checks import partial_of
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.training import engine, session
from noiseflow.models import load
from noiseflow.patches import PatchStore

SETTINGS = FitSettings(epochs=2, batch=4, seed=1, compile="off", state_seconds=0.0)


@pytest.fixture
def store(tmp_path: Path) -> PatchStore:
    return gaussian_store(tmp_path / "p.h5", patches=24)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stopped(store: PatchStore, out: Path, monkeypatch: pytest.MonkeyPatch, steps: int = 3) -> None:
    """Start to replace a run, and fail after some steps."""
    step, done = engine._Training.step, []

    def counted(self: engine._Training, batch: object) -> None:
        step(self, batch)
        done.append(1)
        if len(done) > steps:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(engine._Training, "step", counted)
        with pytest.raises(MemoryError):
            fit(store, spec_for(store, "realnvp"), out, SETTINGS, overwrite=True)


def test_a_failed_replacement_leaves_the_run_and_can_be_resumed(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    before = contents(out)
    stopped(store, out, monkeypatch)
    assert contents(out) == before
    with pytest.raises(OutputError, match="--overwrite"):
        fit(store, spec_for(store, "realnvp"), out, SETTINGS)
    resumed = fit(store, spec_for(store, "realnvp"), out, SETTINGS, resume=True)
    assert resumed.folder == out
    assert load(out).spec.model == "realnvp"
    assert not partial_of(out).exists()
    whole = fit(store, spec_for(store, "realnvp"), tmp_path / "whole", SETTINGS)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, load(out).state_dict()[name]), name


def test_a_replacement_that_fails_before_its_first_state_leaves_nothing(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    before = contents(tmp_path)
    monkeypatch.setattr("noiseflow.fit.fit_model.gather", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(store, spec_for(store, "nlf"), out, SETTINGS, overwrite=True)
    assert contents(tmp_path) == before


def test_a_replacement_can_be_started_anew_and_never_overwrites_a_state_unasked(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    stopped(store, out, monkeypatch)
    (out / "photo.dng").write_text("mine")
    with pytest.raises(OutputError, match=r"photo\.dng"):
        fit(store, spec_for(store, "nlf"), out, SETTINGS, overwrite=True)
    assert any(partial_of(out).glob("state/0*"))
    (out / "photo.dng").unlink()
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(OutputError, match="unfinished fit; pass --resume"):
        fit(store, spec_for(store, "nlf"), out, SETTINGS)
    fit(store, spec_for(store, "nlf"), out, SETTINGS, overwrite=True)
    assert load(out).spec.model == "nlf"
    assert not partial_of(out).exists()


def test_a_folder_of_the_users_where_the_replacement_is_made_is_left(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "run"
    mine = partial_of(out) / "photo.dng"
    mine.parent.mkdir()
    mine.write_text("mine")
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="move it away"):
        fit(store, spec_for(store, "nlf"), out, SETTINGS, overwrite=True)
    assert contents(tmp_path) == before


def test_the_folder_of_a_replacement_is_never_without_its_list(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit that was killed between the folder and its list left a folder that blocked the next one."""
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(listed, "begin", lambda folder, kind: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit(store, spec_for(store, "gaussian"), out, SETTINGS, overwrite=True)
    assert not partial_of(out).exists()
    fit(store, spec_for(store, "gaussian"), out, SETTINGS, overwrite=True)
    assert load(out).spec.model == "gaussian"


def test_an_empty_folder_of_the_users_where_the_replacement_is_made_is_left(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    partial_of(out).mkdir()
    with pytest.raises(OutputError, match="must be written there; move it away"):
        fit(store, spec_for(store, "gaussian"), out, SETTINGS, overwrite=True)
    assert partial_of(out).is_dir()


def test_what_a_fit_leaves_that_is_killed_in_its_first_state_is_no_run(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "run"
    listed.fresh_folder(out, "run", {"folder": "state"})
    (out / "state").mkdir()
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    assert load(out).spec.model == "nlf"
    with pytest.raises(OutputError, match="already contains a run"):
        fit(store, spec_for(store, "nlf"), out, SETTINGS)


def test_a_link_that_leads_nowhere_where_the_replacement_is_made_is_left(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    partial_of(out).symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="must be written there; move it away"):
        fit(store, spec_for(store, "gaussian"), out, SETTINGS, overwrite=True)
    assert partial_of(f"{out}/") == partial_of(out)
    assert partial_of(out).is_symlink()


def test_what_came_into_the_run_meanwhile_stays_and_the_new_run_is_not_lost(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    fit(store, spec_for(store, "nlf"), out, SETTINGS)
    finish = session.finish

    def late(work: Path, folder: Path) -> None:
        (out / "photo.dng").write_text("mine")
        finish(work, folder)

    with monkeypatch.context() as patch:
        patch.setattr(session, "finish", late)
        with pytest.raises(OutputError, match=r"photo\.dng.*the new run is complete in .*run\.partial"):
            fit(store, spec_for(store, "realnvp"), out, SETTINGS, overwrite=True)
    assert load(out).spec.model == "nlf"
    (out / "photo.dng").rename(tmp_path / "photo.dng")
    fit(store, spec_for(store, "realnvp"), out, SETTINGS, resume=True)
    assert load(out).spec.model == "realnvp"

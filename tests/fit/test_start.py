"""A fit that starts from the weights of an earlier one."""

from pathlib import Path

import pytest
from builders import gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.safeguards import weights_sha256
from noiseflow.models import NoiseModel, load
from noiseflow.patches.store.store import PatchStore

SHORT = FitSettings(epochs=1, steps_per_epoch=12, batch=32, objective="continuous")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a run on it."""
    folder = tmp_path_factory.mktemp("start")
    with gaussian_store(folder / "patches.h5", 200, correlation=0.6) as store:
        fit(store, spec_for(store, "noise_flow", {"architecture": "sdn5|unc|gain4|unc"}), folder / "run", SHORT)
    return folder


def test_it_starts_where_the_other_ended_and_ends_no_worse(folder: Path, tmp_path: Path) -> None:
    first = load(folder / "run")
    with PatchStore(folder / "patches.h5") as store:
        result = fit(store, first.spec, tmp_path / "longer", SHORT, start=first)
        statistics_only = fit(store, first.spec, tmp_path / "anew", SHORT)
        ended = mean_held_out(store, first)
    assert result.start_nll == pytest.approx(ended, abs=1e-6)
    assert result.start_nll < statistics_only.start_nll
    assert result.best_nll <= result.start_nll
    # The other's weights are as they were.
    assert weights_sha256(first.state_dict()) == weights_sha256(load(folder / "run").state_dict())


def mean_held_out(store: PatchStore, model: NoiseModel) -> float:
    from noiseflow.fit.batches import train_and_held_out
    from noiseflow.fit.likelihood_objective import mean_nll

    return mean_nll(model, store, train_and_held_out(store, SHORT.held_out, SHORT.seed)[1])


def test_what_cannot_be_gone_on_from_is_refused_before_a_run_is_begun(folder: Path, tmp_path: Path) -> None:
    first, out = load(folder / "run"), tmp_path / "out"
    with gaussian_store(tmp_path / "other.h5", 40, cameras=("Two",)) as store:
        with pytest.raises(ModelError, match=r"the cameras \('One',\).*has \('Two',\)"):
            fit(store, first.spec, out, SHORT, start=first)
        nlf = fit(store, spec_for(store, "nlf"), tmp_path / "nlf", SHORT).model
        with pytest.raises(ModelError, match="closed form"):
            fit(store, nlf.spec, out, SHORT, start=nlf)
        with pytest.raises(ModelError, match="differs from that of the fit"):
            fit(store, spec_for(store, "noise_flow"), out, SHORT, start=first)
    assert not out.exists()


def test_the_command_takes_the_model_of_the_run(folder: Path, tmp_path: Path) -> None:
    few = ["--epochs", "1", "--steps-per-epoch", "2", "--batch", "8", "--objective", "continuous"]
    words = ["fit", str(folder / "patches.h5"), "--from", str(folder / "run"), "--out", str(tmp_path / "new"), *few]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert load(tmp_path / "new").spec == load(folder / "run").spec
    both = CliRunner().invoke(main, [*words, "--model", "glow"])
    assert both.exit_code == 2
    assert "leave out --model" in both.stderr
    # A finished run is not trained on in its place; the message says how its weights are used.
    longer = ["fit", str(folder / "patches.h5"), "--out", str(tmp_path / "new"), "--resume", *few[2:], "--epochs", "3"]
    refused = CliRunner().invoke(main, [*longer, "--model", "sdn5|unc|gain4|unc"])
    assert refused.exit_code == 1
    assert f"--from {tmp_path / 'new'} --out NEW" in refused.stderr

"""A run or store that is replaced while it is read: the one or the other, never a mixture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.models import ModelSpec, NoiseModel, build, load, save
from noiseflow.models.io import run_folder
from noiseflow.patches import PatchStore


def of_light(scale: float, camera: str) -> NoiseModel:
    model = build(ModelSpec("nlf", cameras=(camera,), isos=(100.0,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(scale)
    return model


def exchange_when_weights_are_read(place: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Put the other run in the place of a run between its spec and its weights."""
    read, left = run_folder.read_tensors, [times]

    def exchanged(path: Path) -> dict[str, torch.Tensor]:
        if left[0]:
            left[0] -= 1
            for one, other in (("run", "aside"), ("other", "run"), ("aside", "other")):
                (place / one).rename(place / other)
        return read(path)

    monkeypatch.setattr(run_folder, "read_tensors", exchanged)


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_replaced_while_it_is_loaded_is_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    save(of_light(-1.0, "A"), tmp_path / "run")
    save(of_light(-2.0, "B"), tmp_path / "other")
    exchange_when_weights_are_read(tmp_path, monkeypatch, times)
    model = load(tmp_path / "run")
    expected = {"A": -1.0, "B": -2.0}[model.cameras[0]]
    assert {float(parameter.detach().min()) for parameter in model.parameters()} == {expected}


def test_a_run_that_is_replaced_again_and_again_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(of_light(-1.0, "A"), tmp_path / "run")
    save(of_light(-2.0, "B"), tmp_path / "other")
    exchange_when_weights_are_read(tmp_path, monkeypatch, 99)
    with pytest.raises(ModelError, match="is being replaced by another process"):
        load(tmp_path / "run")


def test_a_store_that_is_replaced_while_open_keeps_what_was_opened(tmp_path: Path) -> None:
    gaussian_store(tmp_path / "new.h5", patches=40, seed=1).close()
    with gaussian_store(tmp_path / "p.h5", patches=40, seed=0) as store:
        rows = np.arange(40)
        first = store.codes(rows[:20])[0].copy()
        (tmp_path / "new.h5").replace(tmp_path / "p.h5")
        whole = store.codes(rows)[0]
        assert np.array_equal(whole[:20], first)
        store.verify()
    with PatchStore(tmp_path / "p.h5") as after:
        assert not np.array_equal(after.codes(rows)[0], whole)


@pytest.mark.parametrize("words", ["evaluate run p.h5 --out report --max-patches 40", "sample run c.dng --out o.dng"])
def test_commands_say_in_one_line_that_a_run_is_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    from builders import burst_folder

    burst_folder(tmp_path, frames=1, size=(32, 32), seed=0)
    (tmp_path / "frame_00.dng").rename(tmp_path / "c.dng")
    gaussian_store(tmp_path / "p.h5", patches=40).close()
    save(of_light(-1.0, "One"), tmp_path / "run")
    save(of_light(-2.0, "One"), tmp_path / "other")
    exchange_when_weights_are_read(tmp_path, monkeypatch, 99)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 1
    assert "run: is being replaced by another process" in result.stderr.strip().splitlines()[-1]
    assert not list(tmp_path.glob("o.dng")) + list(tmp_path.glob("report*"))

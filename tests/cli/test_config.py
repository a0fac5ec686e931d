"""Options of a fit from a TOML file."""

import json
from pathlib import Path

import pytest
from builders import gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main


def fit(tmp_path: Path, text: str, *words: str) -> tuple[int, str]:
    (tmp_path / "fit.toml").write_text(text)
    if not (tmp_path / "p.h5").exists():
        gaussian_store(tmp_path / "p.h5", patches=40).close()
    given = ["fit", str(tmp_path / "p.h5"), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "fit.toml")]
    result = CliRunner().invoke(main, [*given, *words])
    return result.exit_code, result.output


def test_a_file_gives_options_and_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    text = 'model = "flow"\nepochs = 1\nsteps_per_epoch = 2\nbatch = 8\nseed = 5\noption = {seed = 3}\n'
    code, output = fit(tmp_path, text, "--seed", "7")
    assert code == 0, output
    written = json.loads((tmp_path / "run" / "fit.json").read_text())["settings"]
    assert (written["epochs"], written["steps_per_epoch"], written["batch"], written["seed"]) == (1, 2, 8, 7)
    assert json.loads((tmp_path / "run" / "spec.json").read_text())["options"]["seed"] == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("epoch = 3\n", "'epoch' is not an option of this command. Did you mean epochs?"),
        ("epochs = 'many'\n", "is not a valid integer"),
        ("epochs = = 3\n", "as TOML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, found: str) -> None:
    code, output = fit(tmp_path, text)
    assert code in (1, 2)
    assert found in output
    assert not (tmp_path / "run").exists()

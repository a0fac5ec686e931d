"""Every command of the pages is run, and every snippet of Python that can be."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import frame
from click.testing import CliRunner

from noiseflow.calibrate import read_profile
from noiseflow.cli import COMMANDS, main
from noiseflow.models import ModelSpec, build, save
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import load_camera

ROOT = Path(__file__).resolve().parents[2]


def fenced(page: Path) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def fenced_commands(page: Path) -> list[list[str]]:
    """Lines of fenced blocks that call noiseflow, as words; indented blocks need data of one's own."""
    blocks = [text for language, text in fenced(page) if not language]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("noiseflow ")]


@pytest.mark.slow
def test_the_page_of_commands_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = fenced_commands(ROOT / "docs" / "commands.md")
    for language, text in fenced(ROOT / "docs" / "commands.md"):
        if language == "toml":
            # Its first line is its name.
            Path(text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    assert {words[0] for words in commands} == set(COMMANDS) - {"import", "calibrate", "push"}
    # The demo has a test of its own, in a small form; export needs an extra.
    left_out = {"demo"} | ({"export"} if find_spec("onnxscript") is None else set())
    for words in (words for words in commands if words[0] not in left_out):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"noiseflow {shlex.join(words)}\n{result.output}"


def run_page(page: Path) -> tuple[list[str], dict[str, Any]]:
    """Run the commands of a page, then its one snippet; the commands' names, and what the snippet left."""
    commands = fenced_commands(page)
    for words in commands:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"noiseflow {shlex.join(words)}\n{result.output}"
    (snippet,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found: dict[str, Any] = {}
    exec(snippet, found)
    return [words[0] for words in commands], found


def test_the_page_of_data_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, found = run_page(ROOT / "docs" / "data.md")
    assert names == ["simulate", "ingest", "info"]
    assert found["batch"]["noise"].shape == (16, 4, 24, 24)
    assert len(found["mixed"]) == 2 * len(found["store"])


def test_the_page_of_pairs_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, found = run_page(ROOT / "docs" / "synthesize.md")
    assert names == ["simulate", "ingest", "fit", "synthesize", "ingest"]
    assert found["noisy"].shape == found["clean"].shape == (4, 64, 96)


def test_the_page_of_video_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, found = run_page(ROOT / "docs" / "guide" / "video.md")
    assert names == ["simulate", "fit-video", "info", "evaluate-video"]
    assert len(found["noisy"]) == len(found["terms"]) == 3
    assert found["batch"].noisy.shape == (1, 3, 4, 24, 32)


def test_the_page_of_calibration_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = fenced_commands(ROOT / "docs" / "calibrate.md")
    assert [words[0] for words in commands] == ["simulate", "calibrate", "calibrate", "calibrate", "profiles"]
    for words in commands:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"noiseflow {shlex.join(words)}\n{result.output}"
    physics, profile = load_camera("Sony A7S2"), read_profile("camera.json")
    assert profile.isos == (800.0, 1600.0)
    for setting in profile.settings:
        gain = setting.estimates["gain_dn_per_e"]
        # Eight settings: 4.5 standard errors are a false alarm in ten thousand.
        assert abs(gain.value - physics.at(setting.iso).gain_dn_per_e) < 4.5 * gain.standard_error
        assert gain.standard_error < 0.05 * gain.value


@pytest.mark.slow
def test_the_page_of_denoising_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, found = run_page(ROOT / "docs" / "guide" / "denoise.md")
    assert names == ["simulate", "denoise", "train-denoiser", "denoise"]
    assert found["noise"].source == "the NoiseProfile of the file"
    assert found["frame"].image.mosaic.shape == (256, 384)


def test_the_page_of_cameras_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, found = run_page(ROOT / "docs" / "guide" / "cameras.md")
    assert names == ["simulate", "calibrate", "calibrate", "profiles", "profiles"]
    assert found["gain"].covers(load_camera("Sony A7S2").at(1600).gain_dn_per_e)


def test_the_page_of_augmentation_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(build(ModelSpec("nlf", "bayer", ("A",), (100.0, 1600.0))), "run/")
    write_dng("clean.dng", frame(np.full((32, 48), 300, np.uint16), model="A", make=""))
    text = (ROOT / "docs" / "augment.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    with torch.random.fork_rng():
        for snippet in re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M):
            exec(snippet, found)
    assert found["noisy"].image.mosaic.shape == (32, 48)
    assert found["batch"].noisy.shape == (2, 3, 64, 64)
    assert found["mean"].shape == (4, 16, 24)


def test_the_page_of_export_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "export.md"
    for words in fenced_commands(page):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"noiseflow {shlex.join(words)}\n{result.output}"
    found: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M):
        exec(snippet, found)
    assert found["noise"].shape == (1, 4, 30, 50)
    assert found["more"].shape == (2, 4, 30, 50)


def test_the_snippet_of_the_readme_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(build(ModelSpec("nlf", "bayer", ("A",), (100.0, 1600.0))), "run/")
    (snippet,) = (text for language, text in fenced(ROOT / "README.md") if language == "python")
    found: dict[str, Any] = {}
    with torch.random.fork_rng():
        exec(snippet, found)
    assert found["batch"].noisy.shape == found["batch"].noise_level.shape == (8, 4, 32, 32)
    assert found["loss"].isfinite()


def test_the_commands_of_the_readme_are_commands_with_those_options() -> None:
    commands = fenced_commands(ROOT / "README.md")
    assert len(commands) >= 5
    for words in commands:
        command = main.commands.get(words[0]) or main.get_command(None, words[0])  # type: ignore[arg-type]
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words[1:] if word.startswith("--")} <= known


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"

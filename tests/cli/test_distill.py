"""`distill` and `export` as a user calls them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from noiseflow.cli import main
from noiseflow.models import ModelSpec, build, load, save
from tests.project.builders import gaussian_store


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    save(build(ModelSpec("maf", options={"width": 4, "blocks": 1})), tmp_path / "teacher")
    return tmp_path / "teacher"


def test_a_student_from_a_teacher_alone(teacher: Path, tmp_path: Path) -> None:
    few = ("--steps", 1, "--batch", 1, "--width", 4)
    result = run("distill", teacher, "--out", tmp_path / "student", *few)
    assert result.exit_code == 0, result.output
    assert "remaining KL" in result.output
    assert "× faster" in result.output
    assert load(tmp_path / "student").spec.model == "iaf"
    again = run("distill", teacher, "--out", tmp_path / "student", *few)
    assert again.exit_code == 1
    assert "pass --overwrite" in again.stderr
    both = run("distill", teacher, "--out", tmp_path / "other", "--store", "p.h5", "--frames", "raws")
    assert both.exit_code == 1
    assert "not both" in both.stderr


def test_a_sampler_as_onnx(teacher: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    save(build(ModelSpec("gaussian")), tmp_path / "run")
    result = run("export", tmp_path / "run", tmp_path / "sampler.onnx")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sampler.onnx").stat().st_size > 0
    assert not list(tmp_path.glob("*.partial"))
    refused = run("export", teacher, tmp_path / "teacher.onnx")
    assert refused.exit_code == 1
    assert "distil it" in refused.stderr


def test_export_of_a_store_writes_shards(tmp_path: Path) -> None:
    gaussian_store(tmp_path / "p.h5", patches=20).close()
    result = run("export", tmp_path / "p.h5", tmp_path / "shards", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path / 'shards'}: 16 patches to train, 2 patches to val, 2 patches to test\n"
    assert (tmp_path / "shards" / "train-000000.tar").is_file()

"""The right camera of several, and a word where a frame is of another than the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import frame
from click.testing import CliRunner, Result

from noiseflow.augment.frames.frame_camera import camera_for, other_camera
from noiseflow.augment.transfer import transferred_image
from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.models import ModelSpec, NoiseModel, build, save
from noiseflow.raw import RawImage, read_raw
from noiseflow.raw.formats.dng import write_dng


def of_camera(model: str) -> RawImage:
    return replace(frame(np.full((64, 64), 900, np.uint16)), make="", model=model, source="a.dng", iso=400.0)


def two_cameras() -> NoiseModel:
    """nlf of two cameras: the shot noise of "Loud" has nine times the variance."""
    model = build(ModelSpec("nlf", cameras=("Still", "Loud"), isos=(100.0, 1600.0))).eval()
    with torch.no_grad():
        for each in (model.log_beta1, model.log_beta2):
            each[1] += np.log(9.0)
    return model


def test_the_camera_is_the_given_one_else_the_frames_else_the_only_one() -> None:
    known = ("Still", "Loud")
    assert camera_for(known, of_camera("LOUD"), None) == "Loud"
    assert camera_for(known, of_camera("Loud"), "still") == "Still"
    assert camera_for(("Only",), of_camera("Loud"), None) == "Only"
    with pytest.raises(ModelError, match=r"a\.dng is from Third, but .* choose one with --camera: Still, Loud"):
        camera_for(known, of_camera("Third"), None)
    with pytest.raises(ModelError, match=r"^the model knows several cameras: choose one with --to-camera"):
        camera_for(known, None, None, "--to-camera")
    with pytest.raises(ModelError, match=r"--camera 'Third': .* it knows Still, Loud"):
        camera_for(known, of_camera("Loud"), "Third")


def test_a_word_for_another_camera_only() -> None:
    assert other_camera("loud", of_camera("Loud")) is None
    assert other_camera("Loud", of_camera("")) is None
    word = other_camera("PG-12", of_camera("SONY ILCE-7RM3"))
    assert word is not None
    assert word.startswith("a.dng: is from SONY ILCE-7RM3, but the model's camera is PG-12")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    save(two_cameras(), tmp_path / "two")
    save(build(ModelSpec("nlf", cameras=("PG-12",), isos=(100.0, 1600.0))), tmp_path / "one")
    write_dng(tmp_path / "third.dng", of_camera("Third"))
    write_dng(tmp_path / "loud.dng", of_camera("Loud"))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_sample_says_that_the_frame_is_of_another_camera(runs: Path) -> None:
    found = run("sample", runs / "one", runs / "third.dng", "--out", runs / "a.dng")
    assert "third.dng: is from Third, but the model's camera is PG-12" in found.stderr
    assert "noise of PG-12, ISO 400" in found.stdout
    meant = run("sample", runs / "one", runs / "third.dng", "--camera", "PG-12", "--out", runs / "b.dng")
    assert (meant.exit_code, meant.stderr.count("Third")) == (0, 0)
    own = run("sample", runs / "two", runs / "loud.dng", "--out", runs / "c.dng")
    assert "noise of Loud" in own.stdout
    assert "but the model" not in own.stderr
    assert run("sample", runs / "two", runs / "third.dng", "--out", runs / "d.dng").exit_code == 1


def test_transfer_takes_the_right_camera_of_several(runs: Path) -> None:
    two = runs / "two"
    found = run(
        "transfer", runs / "loud.dng", "--from", two, "--to", two, "--to-camera", "Still", "--out", runs / "a.dng"
    )
    assert found.exit_code == 0, found.output
    assert "noise of Still" in found.stdout
    # Eight ninths of the variance are too much.
    assert "Still has less noise: 89 % of the variance" in found.stderr
    unsaid = run("transfer", runs / "loud.dng", "--from", two, "--to", two, "--out", runs / "b.dng")
    assert unsaid.exit_code == 1
    assert "choose one with --to-camera: Still, Loud" in unsaid.stderr
    other = run("transfer", runs / "third.dng", "--from", runs / "one", "--to", runs / "one", "--out", runs / "c.dng")
    assert "third.dng: is from Third, but the model's camera is PG-12" in other.stderr


def test_the_noise_that_transfer_adds_is_that_of_the_camera_that_was_named() -> None:
    model, image = two_cameras(), of_camera("Still")
    loud, none = (
        transferred_image(image, model, model, cameras=(None, name))[0].signal.std() for name in ("Loud", "Still")
    )
    level = float((1e-3 * image.normalised().mean() + 1e-6) ** 0.5)
    # 4,096 values: a σ has a standard error of 1.1 %; four of them.
    assert loud == pytest.approx(8**0.5 * level, rel=0.045)
    assert none < 1e-6


def test_a_written_frame_keeps_its_own_camera(runs: Path) -> None:
    run("sample", runs / "one", runs / "third.dng", "--out", runs / "a.dng")
    assert read_raw(runs / "a.dng").camera == "Third"

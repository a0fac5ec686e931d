"""Models by name, and how they show themselves."""

from pathlib import Path

import pytest
import torch

import noiseflow
from noiseflow.calibrate.profiles.profile import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import ModelError
from noiseflow.models import ModelSpec, build, list_cameras, load, save


@pytest.mark.parametrize("name", list_cameras())
def test_a_shipped_camera_is_a_model_in_one_line(name: str) -> None:
    model = load(name.upper().replace(" ", "_"))
    cond = noiseflow.Conditions(torch.full((1, model.planes, 8, 8), 0.1), model.iso_range[0], name)
    assert model.sample(cond).isfinite().all()
    assert model.cameras == (name,)
    assert load(name, "poisson_gaussian").log_prob(model.sample(cond), cond).isfinite().all()


def test_a_run_and_a_profile_are_loaded_by_the_same_name(tmp_path: Path) -> None:
    save(build(ModelSpec("nlf", isos=(100.0, 400.0))), tmp_path / "run")
    write_profile(shipped_profile("PG-12"), tmp_path / "camera.json")
    assert load(tmp_path / "run").spec.model == "nlf"
    assert load(tmp_path / "camera.json").cameras == ("PG-12",)


@pytest.mark.parametrize("name", ["sony-a7s9", "", "a/b", "https://example.org/x"])
def test_what_is_none_of_them_is_refused_with_the_names(name: str) -> None:
    with pytest.raises(ModelError, match=r"Sony A7S2|run folder"):
        load(name)


def test_a_model_shows_itself_in_a_line_and_in_a_notebook() -> None:
    model = load("pg-12")
    assert repr(model) == "<noise model eld: camera PG-12, ISO 100 to 1600, planes 4 (bayer), parameters 0>"
    before = torch.get_rng_state()
    page = model._repr_html_()
    assert "PG-12" in page
    assert "signal, normalised" in page
    assert page.count("<svg") == 1
    assert torch.equal(torch.get_rng_state(), before)
    flow = build(ModelSpec("physics_flow", cameras=("<b>", "b", "c", "d")))
    assert len(repr(flow)) < 200
    assert "&lt;b&gt;, b, c and 1 more" in flow._repr_html_()

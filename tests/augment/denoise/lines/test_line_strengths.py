import pytest
import torch

from noiseflow.augment.denoise.lines.strengths import line_strengths
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.models.io.named import load
from noiseflow.models.model import checked_conditions
from noiseflow.models.physics.profile_models import Eld


@pytest.mark.parametrize("iso", [800.0, 25600.0])
def test_rows_of_a_profile_are_its_own(iso: float) -> None:
    model = load("sony-a7s2")
    assert isinstance(model, Eld)
    cond = checked_conditions(model, Conditions(torch.zeros(1, 4, 1, 1), iso, model.cameras[0]))
    stated = model.parameter_at(cond, "row") / model.span(cond)
    found = line_strengths(model, iso, model.cameras[0])
    # 512 rows: 3 % for the offsets, and as much for the pixels of the halves.
    assert found.row == pytest.approx(float(stated.mean()), rel=0.15)
    assert found.column == 0


def test_rows_and_columns_of_a_flow() -> None:
    model = build(ModelSpec("physics_flow", cameras=("One",), isos=(400.0,), options={"column_noise": True}))
    with torch.no_grad():
        for transform, ratio in zip(list(model.flow.transforms)[1:3], (0.25, 0.09), strict=True):
            transform.log_variance.fill_(ratio).log_()
    head = model.flow.transforms[0]
    cond = checked_conditions(model, Conditions(torch.zeros(1, 4, 1, 1), 400.0, "One"))
    read = float(head.noise_parameters(cond).beta2.detach().mean().sqrt())
    found = line_strengths(model, 400.0, "One")
    assert found.row == pytest.approx(0.5 * read, rel=0.15)
    assert found.column == pytest.approx(0.3 * read, rel=0.15)


@pytest.mark.parametrize("name", ["nlf", "noise_flow", "maf"])
def test_a_model_without_lines_has_none(name: str) -> None:
    assert line_strengths(build(ModelSpec(name, cameras=("One",), isos=(400.0,))), 400.0, "One") == (0.0, 0.0)


def test_a_profile_without_rows_has_none() -> None:
    model = load("pg-12")
    assert line_strengths(model, 400.0, model.cameras[0]) == (0.0, 0.0)

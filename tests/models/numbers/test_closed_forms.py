"""Models whose numbers are a formula, at fixed points."""

from pathlib import Path

import numpy as np
import pytest
import torch
from model_table import generator
from temporal_models import temporal_model

from noiseflow.flows import Flow
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.flow.single_values import latent_of_single_values
from noiseflow.models.foreign.formats import import_model
from noiseflow.models.foreign.source import ForeignSource
from noiseflow.models.physics.profile_models import PhysicsModel
from noiseflow.models.temporal.innovations.conditional_flow import ConditionalFlow
from noiseflow.raw.settings import RawSettings


@pytest.mark.parametrize(("offsets", "light"), [(0.0199, 0.0), (0.01, 0.04), (0.0201, 0.0)])
def test_a_value_alone_has_the_variance_of_its_lines_too(offsets: float, light: float) -> None:
    """z = x/√(β₁y + β₂(1 + r) + fy²) with lines of variance rβ₂ and light of relative variance f, for r up to 0.02."""
    head = ShotReadScale(1, 1, (100.0, 400.0), shares_features=True)
    rows = RowNoise(1, 1, (100.0, 400.0), offsets, light or 1e-14)
    columns = LineNoise(1, 1, (100.0, 400.0), "column", 1e-5, in_read_noise=True)
    flow = Flow([head, rows, columns]).double().requires_grad_(False)
    beta1, beta2 = 0.02, 0.003
    head.log_beta1.fill_(torch.tensor(beta1).log())
    head.log_beta2.fill_(torch.tensor(beta2).log())
    clean, noise = torch.rand(2, 1, 3, 4, generator=generator(1)).double(), torch.randn(2, 1, 3, 4).double()
    cond = Resolved(clean, torch.tensor([100.0, 200.0]).double(), torch.zeros(2, dtype=torch.long))
    found = latent_of_single_values(flow, noise, cond)
    if offsets > 0.02:
        assert found is None
        return
    assert found is not None
    expected = noise / (beta1 * clean + beta2 * (1 + offsets + 1e-5) + light * clean**2).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("given", "black", "white"),
    [(RawSettings(camera="S6"), 0.0, 1023.0), (RawSettings(camera="S6", black=(64.0,), white=4095.0), 64.0, 4095.0)],
)
def test_levels_of_a_table_that_states_none(tmp_path: Path, given: RawSettings, black: float, white: float) -> None:
    """Its β refer to the normalised signal; a level of SIDD's phones or of the user makes them DN."""
    path = tmp_path / "nlf.txt"
    path.write_text("cam_iso,beta1,beta2\nS6_00100,2e-3,3e-6\nS6_00400,8e-3,4e-5\nIP_00100,1e-3,1e-6\n")
    model = import_model(ForeignSource(path, given))
    assert isinstance(model, PhysicsModel)
    cond = Conditions(torch.zeros(1, 4, 1, 1), 400.0, 0).resolve(model.cameras)
    assert float(model.span(cond).flatten()[0]) == white - black
    assert float(model.parameter_at(cond, "black").flatten()[0]) == black
    beta1, beta2 = (float(each.flatten()[0]) for each in model.linear_variance(cond))
    assert (beta1, beta2) == (pytest.approx(8e-3, rel=1e-5), pytest.approx(4e-5, rel=1e-4))


def test_the_facts_of_innovations_are_their_law_after_none_and_after_three_sigma() -> None:
    """Where the means are the usual ones, 0 and 1, and so are the neighbours' squares."""
    part = temporal_model(("conditional_flow",)).innovation_parts[-1]
    cond = Conditions(torch.full((1, 1, 4, 4), 0.2), 100.0, "A").resolve(("A", "B"))
    facts = part.facts(cond)
    for last in (0.0, 3.0):
        past = torch.tensor([last, last**2, 0.0, 1.0, 1.0]).double()[None, :, None, None, None]
        shift, log_scale = (float(each) for each in part.law(past, part.amount(cond)))
        assert facts[f"sigma_after_{last:g}"] == pytest.approx(float(np.exp(log_scale)))
    assert facts["mean_after_3"] == pytest.approx(shift)
    assert facts["sigma_after_0"] != facts["sigma_after_3"]


def test_the_law_of_innovations_ends_at_three_and_at_e_squared() -> None:
    part = temporal_model(("conditional_flow",)).innovation_parts[-1]
    assert isinstance(part, ConditionalFlow)
    part.out_bias.copy_(torch.tensor([500.0, -500.0]))
    shift, log_scale = part.law(torch.ones(1, 5, 1, 2, 2).double(), torch.ones(1).double())
    assert (float(shift.min()), float(log_scale.max())) == (3.0, -2.0)
    part.out_bias.copy_(torch.tensor([0.3, 0.2]))
    part.out.zero_()
    part.across.zero_()
    shift, log_scale = part.law(torch.ones(1, 5, 1, 2, 2).double(), torch.full((1,), 2.0).double())
    assert float(shift.max()) == pytest.approx(3 * torch.tanh(torch.tensor(0.6 / 3)).item(), rel=1e-6)
    assert float(log_scale.max()) == pytest.approx(2 * torch.tanh(torch.tensor(0.4 / 2)).item(), rel=1e-6)

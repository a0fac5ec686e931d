"""New models of random specs, on random shapes under random conditions: exact both ways."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from model_table import CAMERAS, CELLS_OF_FOUR, generator

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.models.model import checked_conditions

OPTIONS = {
    "realnvp": {"couplings": st.integers(1, 5), "width": st.integers(1, 6)},
    "glow": {"scales": st.integers(1, 3), "steps": st.integers(1, 2), "width": st.integers(1, 6)},
    "maf": {
        "blocks": st.integers(1, 3),
        "width": st.sampled_from((4, 8)),
        "above": st.integers(0, 2),
        "beside": st.integers(0, 3),
    },
}
OPTIONS["physics_flow"] = {
    "couplings": st.integers(0, 4),
    "width": st.integers(1, 6),
    "bins": st.sampled_from((2, 4, 6)),
    "odd_spline": st.booleans(),
}
OPTIONS["iaf"] = OPTIONS["maf"]


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    name = draw(st.sampled_from(sorted(OPTIONS)))
    options = {key: draw(value) for key, value in OPTIONS[name].items()}
    isos = draw(st.lists(st.sampled_from((50.0, 100.0, 800.0, 6400.0)), min_size=1, max_size=4, unique=True))
    return ModelSpec(name, draw(st.sampled_from(("mono", *CELLS_OF_FOUR))), CAMERAS, tuple(sorted(isos)), options)


# Weights drawn at random may switch the conversion gain, which a model says.
@pytest.mark.filterwarnings("ignore::noiseflow.core.errors.ExtrapolationWarning")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(specs(), st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000))
def test_round_trip_log_det_and_own_conditions(spec: ModelSpec, height: int, width: int, seed: int) -> None:
    model = build(spec).double().eval()
    assert isinstance(model, ResidualFlow)
    draw = generator(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    clean = torch.rand(2, spec.planes, height, width, generator=draw, dtype=torch.float64)
    iso = spec.isos[0] * (spec.isos[-1] / spec.isos[0]) ** torch.rand(2, generator=draw, dtype=torch.float64)
    cond = checked_conditions(model, Conditions(clean, iso, torch.randint(len(CAMERAS), (2,), generator=draw)))
    z = torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        x, sampling_log_det = model.flow.inverse_and_log_det(z, cond)
        again, log_det = model.flow(x, cond)
        torch.testing.assert_close(again, z, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(log_det, -sampling_log_det, rtol=1e-8, atol=1e-8)
        alone = Conditions(clean[1:], cond.iso[1:], cond.camera[1:])
        torch.testing.assert_close(model.flow(x[1:], alone)[0], again[1:], rtol=1e-8, atol=1e-8)
    if z[0].numel() <= 40:
        # The Jacobian of the fast direction: of the slow one it would be solved row by row.
        fast = model.flow.inverse if spec.model == "iaf" else lambda x, cond: model.flow(x, cond)[0]
        at, expected = (z, sampling_log_det) if spec.model == "iaf" else (x, log_det)
        jacobian = torch.autograd.functional.jacobian(
            lambda flat: fast(flat.reshape(z[1:].shape), alone).flatten(), at[1].flatten()
        )
        torch.testing.assert_close(expected[1], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-8, atol=1e-8)

"""Layers by name: every entry builds, and a list that is wrong says what is wrong."""

from typing import Any

import pytest
import torch
from transform_table import conditions, generator, noise_like

import noiseflow
from noiseflow.core.errors import ModelError
from noiseflow.flows import TRANSFORMS, Flow, NoiseParameters, Size, Transform, build_layers
from noiseflow.models import ModelSpec

HEAD = {"name": "shot_read_scale", "shares_features": True}
LAYERS: dict[str, dict[str, Any]] = {name: {"name": name} for name in TRANSFORMS} | {
    "inverse": {"name": "inverse", "layer": {"name": "gain", "log_gain": 0.2}},
    "reversed": {"name": "reversed", "layer": {"name": "autoregressive", "width": 8}},
    "split": {"name": "split", "layers": [{"name": "conv1x1"}]},
    "squeezed": {"name": "squeezed", "layers": [{"name": "conv1x1"}, {"name": "actnorm"}]},
}


def size(planes: int = 4) -> Size:
    return Size(planes, 3, (100.0, 400.0, 1600.0), generator())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_layer_is_built_by_its_name_and_inverts(name: str) -> None:
    flow = Flow(build_layers([HEAD, LAYERS[name]], size())).double().eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator(2), dtype=parameter.dtype)
    cond = conditions(3, 4, 4, 6)
    x = noise_like(cond)
    torch.testing.assert_close(flow.inverse(flow(x, cond)[0], cond), x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("gain", "layers: expected a list of layers"),
        ([{"name": "gian"}], "layer {'name': 'gian'}: expected a name among actnorm"),
        ([{"name": "gain", "log": 1.0}], "gain: option 'log' is not known; it has log_gain"),
        ([{"name": "actnorm", "log": 1.0}], "actnorm: option 'log' is not known; it has none"),
        ([{"name": "gain", "log_gain": "1"}], "gain: option log_gain: expected a value such as 0.0; got '1'"),
        ([{"name": "inverse"}], "inverse: option 'layer' is missing"),
        ([{"name": "masked_affine_coupling", "mask": "dots"}], "mask: expected one of channel"),
    ],
)
def test_a_wrong_list_says_what_is_wrong(layers: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_layers(layers, size())


def test_a_toy_layer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Negative(Transform):
        elementwise = False

        def forward(
            self, x: torch.Tensor, cond: noiseflow.Conditions, noise: NoiseParameters | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return -x, x.new_zeros(len(x))

        def inverse(
            self, z: torch.Tensor, cond: noiseflow.Conditions, noise: NoiseParameters | None = None
        ) -> torch.Tensor:
            return -z

    monkeypatch.setitem(TRANSFORMS, "negative", lambda size: Negative())
    spec = ModelSpec("flow", layout="mono", options={"layers": [{"name": "shot_read_scale"}, {"name": "negative"}]})
    model = noiseflow.build(ModelSpec.from_json(spec.to_json()))
    cond = noiseflow.Conditions(torch.full((2, 1, 6, 8), 0.2), 100.0)
    plain = noiseflow.build(ModelSpec("flow", layout="mono", options={"layers": [{"name": "shot_read_scale"}]}))
    noise = model.sample(cond, torch.Generator().manual_seed(1))
    torch.testing.assert_close(noise, -plain.sample(cond, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(model.log_prob(noise, cond), plain.log_prob(noise, cond))


def test_a_list_of_a_model_s_layers_is_that_model() -> None:
    """`physics_flow` by its layers, weight for weight."""
    layers = [
        HEAD,
        {"name": "line_noise", "in_read_noise": True},
        {"name": "sinh_arcsinh"},
        {"name": "cubic_tails", "by_read_share": True},
        {"name": "pixel_spline", "odd": True, "width": 8, "from_noise": True},
    ]
    physics = noiseflow.build(ModelSpec("physics_flow"))
    stack = noiseflow.build(ModelSpec("flow", options={"layers": layers}))
    stack.load_state_dict(physics.state_dict())
    cond = noiseflow.Conditions(torch.rand(2, 4, 8, 10, generator=generator(1)), 100.0)
    noise = 0.01 * torch.randn(2, 4, 8, 10, generator=generator(2))
    assert torch.equal(stack.log_prob(noise, cond), physics.log_prob(noise, cond))

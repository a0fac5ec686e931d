from pathlib import Path

import pytest
import torch
from builders import gaussian_store

from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError
from noiseflow.fit.batches import gather
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, NoiseModel, build, load, save
from noiseflow.models.flow.noise_flow import _start_signal_dependent, parse_architecture


@pytest.fixture
def model() -> NoiseModel:
    return build(ModelSpec("noise_flow", cameras=("A", "B"), isos=(100.0, 800.0))).eval()


def test_it_starts_at_the_noise_level_function_s_likelihood(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=400) as store:
        statistics = gather(store)
        batch = store.read(store.indices("val"))
        models = [build(ModelSpec(name, "bayer", store.cameras, store.isos)).eval() for name in ("nlf", "noise_flow")]
    for each in models:
        each.start_from(statistics)
    nlf, flow = (each.log_prob(batch.noise, Conditions(batch.clean, batch.iso, batch.camera)) for each in models)
    assert torch.allclose(nlf, flow, rtol=1e-5)


@pytest.mark.parametrize("isos", [(100.0,), (100.0, 400.0, 3200.0)])
def test_laws_that_its_layer_can_have_are_solved_for(isos: tuple[float, ...]) -> None:
    """Shot noise is a factor of the camera times one of the ISO, read noise one of the camera."""
    layer = SignalDependentScale(3, isos).double()
    cameras = torch.tensor([-9.0, -8.0, -10.0], dtype=torch.float64)
    steps = torch.tensor([0.0, 1.3, 3.6], dtype=torch.float64)[: len(isos)]
    log_beta1 = cameras[:, None] + steps
    log_beta2 = torch.tensor([-12.0, -13.0, -11.0], dtype=torch.float64)[:, None].expand(3, len(isos))
    _start_signal_dependent(layer, log_beta1, log_beta2)
    for number, iso in enumerate(isos):
        found = layer.log_betas(Conditions(torch.zeros(3, 1, 1, 1), iso, torch.arange(3)).resolve("ABC"))
        torch.testing.assert_close(found[0], log_beta1[:, number], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[1], log_beta2[:, number], rtol=1e-6, atol=1e-6)


def test_with_several_isos_its_signal_dependent_layer_starts_at_its_own_maximum(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=400, isos=(400.0, 1600.0), cameras=("One", "Two", "Three")) as store:
        statistics, batch = gather(store), store.read(store.indices("train"))
        spec = ModelSpec("noise_flow", "bayer", store.cameras, store.isos, {"architecture": "sdn5"})
    model = build(spec).double()
    model.start_from(statistics)
    cond = Conditions(batch.clean.double(), batch.iso.double(), batch.camera)
    model.log_prob(batch.noise.double(), cond).mean().backward()
    dimensions = batch.noise[0].numel()
    # Nats/dim for a change of 1 in a parameter; at the default start they are of the order of 1.
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad.abs() / dimensions).max() < 2e-4, name


def test_a_camera_by_name_or_index_and_an_unknown_one(model: NoiseModel) -> None:
    clean = torch.full((2, 4, 8, 8), 0.3)
    noise = 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    by_name = model.log_prob(noise, Conditions(clean, 100.0, ["A", "B"]))
    assert torch.equal(by_name, model.log_prob(noise, Conditions(clean, 100.0, torch.tensor([0, 1]))))
    with pytest.raises(ModelError, match=r"'C' is not one this model was fitted for; it knows A, B"):
        model.log_prob(noise, Conditions(clean, 100.0, "C"))
    with pytest.raises(ModelError, match="outside 0…1"):
        model.log_prob(noise, Conditions(clean, 100.0, 2))


def test_an_iso_outside_the_range_warns_once(model: NoiseModel) -> None:
    cond = Conditions(torch.full((1, 4, 8, 8), 0.3), 6400.0, "A")
    with pytest.warns(ExtrapolationWarning, match="ISO 6400 is outside 100…800"):
        model.sample(cond)
    model.sample(cond)


@pytest.mark.parametrize(
    ("clean", "noise", "message"),
    [
        (torch.full((1, 4, 8, 8), float("nan")), torch.zeros(1, 4, 8, 8), "clean: expected finite values; got NaN"),
        (torch.zeros(1, 4, 8, 8), torch.full((1, 4, 8, 8), float("inf")), "noise: expected finite values; got NaN"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), r"expected 4 planes "),
        (torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 9), "expected the shape of clean"),
        (torch.zeros(4, 8, 8), torch.zeros(4, 8, 8), r"expected shape \(B, C, H, W\)"),
    ],
)
def test_values_that_no_model_can_use(
    model: NoiseModel, clean: torch.Tensor, noise: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        model.log_prob(noise, Conditions(clean, 100.0))


def test_architecture_strings() -> None:
    assert parse_architecture("sdn5 | unc|gain4") == ["sdn5", "unc", "gain4"]
    with pytest.raises(ModelError, match="layer 'glow' is not known; expected one of sdn5"):
        parse_architecture("sdn5|glow")
    with pytest.raises(ModelError, match="use mono2x2"):
        build(ModelSpec("noise_flow", layout="mono"))


def test_damaged_run_folders(model: NoiseModel, tmp_path: Path) -> None:
    save(model, tmp_path / "run")
    weights = tmp_path / "run" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="was changed since it was written"):
        load(tmp_path / "run")
    spec = tmp_path / "run" / "spec.json"
    spec.write_text("{}")
    with pytest.raises(ModelError, match="was changed since it was written"):
        load(tmp_path / "run")
    # As runs of earlier versions are.
    (tmp_path / "run" / ".noiseflow").unlink()
    with pytest.raises(ModelError, match="expected the spec of a model"):
        load(tmp_path / "run")
    spec.write_text(model.spec.to_json())
    with pytest.raises(ModelError, match="or is damaged"):
        load(tmp_path / "run")
    weights.unlink()
    with pytest.raises(ModelError, match="no finished model"):
        load(tmp_path / "run")
    with pytest.raises(ModelError, match=r"no spec\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "unknown"}, r"is not known; expected one of .*gaussian, .*nlf"),
        ({"options": {"width": 3}}, r"nlf: option 'width' is not known; it has none"),
        (
            {"model": "glow", "options": {"couplings": 3}},
            r"option 'couplings' is not known; it has scales, steps, width",
        ),
        ({"unit": "bits"}, "cannot be mixed"),
        ({"isos": (800.0, 100.0)}, "rising positive ISOs"),
        ({"cameras": ("A", "A")}, "each name once"),
    ],
)
def test_specs_that_no_model_can_be_built_from(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(ModelSpec(**{"model": "nlf", **change}))  # type: ignore[arg-type]


def test_a_spec_survives_json() -> None:
    spec = ModelSpec("noise_flow", "mono2x2", ("Ä", "B"), (100.0, 6400.0), {"architecture": "sdn5|unc"})
    assert ModelSpec.from_json(spec.to_json()) == spec

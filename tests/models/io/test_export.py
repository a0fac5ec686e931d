"""An exported sampler gives the noise that the model gives for the same random numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_table import CAMERAS, TRAINED, generator, known, randomised_model, spec_of
from torch import Tensor

from noiseflow.core.errors import ModelError, OutputError
from noiseflow.flows import Conditions
from noiseflow.flows.combinators import Inverse
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.models.io.export import export_sampler, latent_sampler

SPLINE = [{"name": "shot_read_scale"}, {"name": "pixel_spline", "odd": True, "width": 8, "bins": 4}]
SMALL = {"couplings": 2, "steps": 1, "bins": 4, "blocks": 2, "architecture": "sdn5|unc|gain4", "layers": SPLINE}
"""Fewer layers of each kind: the exporter takes a second for each."""

DECOMPOSED = {"glow", "noise_flow"}
"""Models whose loaded program is brought to core operations: sizes that are multiples, and any.

ONNX decomposes the operations of every model.
"""

SLOW = {"glow", "physics_flow"}
EXPORTED = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TRAINED if name != "maf"]


def small_model(name: str, layout: str) -> NoiseModel:
    spec = spec_of(name, layout)
    # `realnvp` has couplings of both parities.
    options = known(name, SMALL | ({"couplings": 1} if name == "physics_flow" else {}))
    model = build(ModelSpec(name, layout, spec.cameras, spec.isos, options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(1))
    return model


def inputs(planes: int, batch: int, height: int, width: int) -> dict[str, Tensor]:
    clean = torch.rand(batch, planes, height, width, generator=generator(1))
    z = torch.randn(clean.shape, generator=generator(2))
    iso, camera = torch.tensor([100.0, 333.0, 3000.0])[:batch], torch.tensor([1, 0, 2])[:batch]
    return {"clean": clean, "iso": iso, "camera": camera, "z": z}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_sampler_equals_the_model_at_any_size(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    model = small_model(name, "mono" if name == "glow" else "bayer")
    path = export_sampler(model, tmp_path / "sampler.onnx")
    session = runtime.InferenceSession(str(path))
    assert session.get_modelmeta().custom_metadata_map["cameras"].split("\n") == list(CAMERAS)
    for size in ((3, 16, 8), (1, 4, 20)):
        given = inputs(model.planes, *size)
        with torch.no_grad():
            cond = Conditions(given["clean"], given["iso"], given["camera"])
            expected = latent_sampler(model)(given["z"], cond)
        (noise,) = session.run(None, {key: value.numpy() for key, value in given.items()})
        torch.testing.assert_close(
            torch.from_numpy(noise), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )
    # No ISO, and no camera: never a number.
    given = inputs(model.planes, 3, 16, 8) | {
        "iso": torch.tensor([0.0, 100.0, 100.0]),
        "camera": torch.tensor([0, -1, 1]),
    }
    (noise,) = session.run(None, {key: value.numpy() for key, value in given.items()})
    assert [bool(np.isnan(each).all()) for each in noise] == [True, True, False]
    assert np.isfinite(noise[2]).all()


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_program_equals_the_model_at_any_size(name: str, tmp_path: Path) -> None:
    model = small_model(name, "bayer")
    path = export_sampler(model, tmp_path / "sampler.pt2")
    about = {"noiseflow.json": ""}
    loaded = torch.export.load(path, extra_files=about)
    program = loaded.module()
    assert json.loads(about["noiseflow.json"])["cameras"].split("\n") == list(CAMERAS)
    for size in ((3, 16, 8), (2, 8, 20)):
        given = inputs(model.planes, *size)
        with torch.no_grad():
            cond = Conditions(given["clean"], given["iso"], given["camera"])
            expected = latent_sampler(model)(given["z"], cond)
            found = program(*given.values())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    if name in DECOMPOSED:
        # For back-ends, which take core operations.
        core = loaded.run_decompositions().module()(*given.values())
        torch.testing.assert_close(core, found)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "maf"])
def test_latent_sampler_is_what_sample_does(name: str) -> None:
    model = randomised_model(name, "bayer").float()
    given = inputs(4, 2, 6, 8)
    cond = Conditions(given["clean"], torch.tensor([100.0, 333.0]), given["camera"])
    z = torch.randn(given["clean"].shape, generator=generator(5))
    with torch.no_grad():
        torch.testing.assert_close(latent_sampler(model)(z, cond), model.sample(cond, generator(5)))


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"maf: samples sequentially.*distil it"):
        latent_sampler(build(spec_of("maf", "bayer")))
    # An inverse of an inverse is what it was.
    model = build(spec_of("iaf", "bayer"))
    model.flow.transforms[1] = Inverse(model.flow.transforms[1])
    with pytest.raises(ModelError, match="sequentially"):
        latent_sampler(model)
    (tmp_path / "there.onnx").touch()
    with pytest.raises(ModelError, match=r"sampler\.pth: expected a file name that ends in \.onnx or \.pt2"):
        export_sampler(build(spec_of("gaussian", "bayer")), tmp_path / "sampler.pth")
    with pytest.raises(OutputError, match="exists; pass --overwrite"):
        export_sampler(build(spec_of("gaussian", "bayer")), tmp_path / "there.onnx")


# PyTorch 2.4 says when it loads a program that its constants are no parameters.
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.filterwarnings("ignore:.* does not reference an nn.Module:UserWarning")
def test_the_program_of_a_profile_has_its_noise_at_any_iso(tmp_path: Path) -> None:
    """Also between and beyond the measured ISOs, and where the conversion gain is switched."""
    reads = {"One": {100.0: 1.0, 400.0: 3.0, 800.0: 1.5, 3200.0: 5.0}, "Two": {200.0: 2.0}}
    tables = {
        camera: {"isos": list(read), "white": 1023.0}
        | {"gain": [[iso / 100] * 4 for iso in read], "read": [[sigma] * 4 for sigma in read.values()]}
        | {name: [[value] * 4 for _ in read] for name, value in {"row": 0, "shape": 0, "scale": 1, "black": 64}.items()}
        for camera, read in reads.items()
    }
    spec = ModelSpec("poisson_gaussian", "bayer", ("One", "Two"), (100.0, 3200.0), {"profile": tables})
    model = build(spec).eval()
    program = torch.export.load(export_sampler(model, tmp_path / "sampler.pt2")).module()
    iso = torch.tensor([100.0, 800.0, 50.0, 200.0, 500.0, 799.0, 9000.0, 400.0])
    camera = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
    clean = torch.rand(len(iso), 4, 4, 6, generator=generator(1))
    z = torch.randn(clean.shape, generator=generator(2))
    with torch.no_grad():
        found = program(clean, iso, camera, z)
        expected = latent_sampler(model)(z, Conditions(clean, iso, camera))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    # By hand, K·s + σ², in DN: at two measured ISOs, and by the law of a camera with a single one.
    for index, (gain, variance) in {0: (1.0, 1.0), 1: (8.0, 2.25), 7: (4.0, 8.0)}.items():
        sigma = (gain * clean[index] * 959 + variance).sqrt() / 959
        torch.testing.assert_close(found[index], z[index] * sigma, rtol=1e-5, atol=1e-7)
    wrong = program(clean, iso, camera + torch.tensor([0, 0, 0, 0, 0, 0, 2, 1]), z)
    assert [bool(each.isnan().all()) for each in wrong] == [False] * 6 + [True, True]

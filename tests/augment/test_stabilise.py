"""Stabilised noise has variance 1, its inverse has no bias, and merged frames have the least noise."""

from pathlib import Path

import numpy as np
import pytest
import torch

import noiseflow
from noiseflow.augment import VarianceStabiliser, export_stabiliser, merge_frames, stabiliser_of
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models import from_profile
from noiseflow.simulate import load_camera
from noiseflow.simulate.physics import expose

CASES = [
    ("Sony A7S2", 800),
    ("Sony A7S2", 25600),
    ("CRVD IMX385", 6400),
    ("PG-12", 400),
    ("ROW-12", 1600),
    ("IMX686", 6400),
]


@pytest.mark.parametrize(("name", "iso"), CASES)
def test_flats_come_to_variance_one(name: str, iso: float) -> None:
    camera = load_camera(name)
    span = camera.white_dn - camera.black_dn
    stabiliser = stabiliser_of(from_profile("poisson_gaussian", shipped_profile(name)), iso)
    generator = np.random.default_rng(0)
    for electrons in (15, 60, 400):
        signal = electrons * camera.at(iso).gain_dn_per_e
        if signal > 0.6 * span:
            continue
        codes = expose(np.full((512, 512), signal), camera, iso, generator).astype(float)
        noisy = torch.from_numpy((codes - camera.black_dn) / span).float()[None]
        one = VarianceStabiliser(stabiliser.slope[:1, 0, 0], stabiliser.offset[:1, 0, 0])
        stable = one(noisy)
        # 262,144 pixels: a standard error of 0.3 %; rows of one offset of 512: of up to 6 % of their part.
        assert float(stable.var()) == pytest.approx(1, abs=0.02)
        mean = stable.mean().reshape(1, 1, 1)
        truth = signal / span
        assert float(one.inverse(mean)) == pytest.approx(truth, rel=0.01)
        # The algebraic inverse is too low by about a quarter of an electron.
        low = one.slope * mean.square() / 4 - 3 / 8 * one.slope - one.offset / one.slope
        assert float(low) < float(one.inverse(mean)) - 0.1 * float(one.slope)


def test_inverse_is_continuous_and_rises() -> None:
    stabiliser = VarianceStabiliser(torch.tensor([1e-3]), torch.tensor([4e-6]))
    values = torch.linspace(0, 60, 4001)[None, None]
    back = stabiliser.inverse(values)[0, 0]
    assert bool((back.diff() >= -1e-7).all())
    assert float(back.diff().max()) < 0.002
    assert float(back[0]) == 0


def test_frames_merge_with_the_least_noise() -> None:
    model = noiseflow.load("sony-a7s2", "poisson_gaussian")
    generator = torch.Generator().manual_seed(0)
    light = torch.linspace(0.01, 1.5, 64).expand(4, 128, 64)
    exposures, isos = (1.0, 0.25), (3200.0, 800.0)
    frames = []
    for exposure, iso in zip(exposures, isos, strict=True):
        clean = (exposure * light)[None]
        noise = model.sample(noiseflow.Conditions(clean.clamp(0, 1), iso, model.cameras[0]), generator)
        frames.append((clean + noise).clamp(max=1)[0])
    merged, sigma = merge_frames(torch.stack(frames), model, isos, exposures)
    pulls = ((merged - light) / sigma)[:, :, :40]
    assert float(pulls.std()) == pytest.approx(1, abs=0.05)
    assert float(pulls.mean()) == pytest.approx(0, abs=0.05)
    # Where the long exposure is not clipped the merged frame has less noise than it alone; where it is, no bias.
    assert float((merged - light)[:, :, :30].std()) < float((frames[0] - light)[:, :, :30].std())
    assert float((merged - light)[:, :, -8:].mean().abs()) < 0.01


@pytest.mark.parametrize("inverse", [False, True])
def test_graph_gives_the_same_numbers(tmp_path: Path, inverse: bool) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    stabiliser = stabiliser_of(noiseflow.load("sony-a7s2"), 1600)
    path = export_stabiliser(stabiliser, tmp_path / "vst.onnx", inverse=inverse)
    signal = torch.rand(1, 4, 20, 30) * (80 if inverse else 1)
    expected = stabiliser.inverse(signal) if inverse else stabiliser(signal)
    (found,) = runtime.InferenceSession(str(path)).run(None, {"signal": signal.numpy()})
    assert np.allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="positive slopes"):
        VarianceStabiliser(torch.tensor([0.0]), torch.tensor([1e-6]))
    stabiliser = VarianceStabiliser(torch.tensor([1e-3]), torch.tensor([4e-6]))
    with pytest.raises(ModelError, match=r"ends in \.onnx"):
        export_stabiliser(stabiliser, tmp_path / "vst.pt")
    with pytest.raises(DataError, match="2 ISOs, 1 exposures"):
        merge_frames(torch.zeros(2, 4, 8, 8), noiseflow.load("sony-a7s2"), (100, 200), (1.0,))

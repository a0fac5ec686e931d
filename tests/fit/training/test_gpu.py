"""Fit, score and sample on a GPU, against the CPU."""

from pathlib import Path

import pytest
import torch
from builders import gaussian_store

from noiseflow.fit import FitSettings, fit, gather, spec_for
from noiseflow.fit.batches import conditions_of
from noiseflow.models import build
from noiseflow.ops.random.sampling import Keyed
from noiseflow.patches import PatchStore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this PyTorch sees no GPU"),
]

MODELS = ["noise_flow", "physics_flow", "realnvp", "glow", "maf", "iaf", "nlf", "gaussian"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    path = tmp_path_factory.mktemp("store") / "s.h5"
    return gaussian_store(path, patches=400, isos=(400.0, 1600.0), correlation=0.7)


@pytest.mark.parametrize("name", MODELS)
def test_scores_and_samples_are_the_cpus(store: PatchStore, name: str) -> None:
    model = build(spec_for(store, name))
    model.start_from(gather(store))
    model.eval()
    batch = store.read(store.indices("val"))
    source = Keyed(1, tuple(range(len(batch.iso))))
    with torch.no_grad():
        figures, samples = {}, {}
        for device in ("cpu", "cuda"):
            model.to(device)
            cond = conditions_of(batch, device)
            figures[device] = model(batch.noise.to(device), cond).cpu() / batch.noise[0].numel()
            samples[device] = model.sample(cond, source).cpu()
    torch.testing.assert_close(figures["cuda"], figures["cpu"], rtol=0, atol=1e-4)
    scale = float(samples["cpu"].std())
    torch.testing.assert_close(samples["cuda"] / scale, samples["cpu"] / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_fit_is_the_cpus_and_goes_on(store: PatchStore, tmp_path: Path, precision: str) -> None:
    def fitted(name: str, device: str, epochs: int = 2, **more: object) -> float:
        settings = FitSettings(epochs=epochs, steps_per_epoch=6, batch=32, device=device, precision=precision)
        return fit(store, spec_for(store, "noise_flow"), tmp_path / name, settings, **more).best_nll  # type: ignore[arg-type]

    on_gpu = fitted("gpu", "cuda")
    assert on_gpu == pytest.approx(fitted("cpu", "cpu"), abs=1e-4 if precision == "float32" else 1e-2)
    assert fitted("gpu", "cuda", epochs=3, resume=True) <= on_gpu

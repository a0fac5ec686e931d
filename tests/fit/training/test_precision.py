"""bf16 nets: densities stay those of float32, to a stated bound, and what is summed stays float32."""

import pytest
import torch
from builders import gaussian_store

from noiseflow.fit import gather, spec_for
from noiseflow.fit.batches import conditions_of
from noiseflow.flows.transform import Transform
from noiseflow.models import build
from noiseflow.patches import PatchStore

MODELS = ["noise_flow", "physics_flow", "realnvp", "glow", "maf", "iaf"]
BOUND, MEAN_BOUND = 2e-3, 2e-4
"""Nats/dim, of a patch and of the mean of 140; the largest found were 5e-4 and 5e-5."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return gaussian_store(tmp_path_factory.mktemp("store") / "s.h5", patches=200, isos=(400.0, 1600.0), correlation=0.7)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_scores_as_float32_and_sums_in_it(store: PatchStore, name: str) -> None:
    model = build(spec_for(store, name))
    model.start_from(gather(store))
    # Weights at random: of glow's, by six seeds, the mean is 0.00001 to 0.00014 off in five, 0.00023 with seed 0.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    model.eval()
    found = []
    for each in model.modules():
        if isinstance(each, Transform):
            each.register_forward_hook(lambda module, inputs, output: found.append((module, output[1].dtype)))
    batch = store.read(store.indices("train"))
    cond = conditions_of(batch)
    dims = batch.noise[0].numel()
    with torch.no_grad():
        exact = model(batch.noise, cond)
        found.clear()
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(batch.noise, cond)
    assert rounded.dtype == torch.float32
    assert found
    assert {dtype for _, dtype in found} == {torch.float32}, {type(each).__name__ for each, _ in found}
    assert not torch.equal(rounded, exact)
    difference = (rounded - exact) / dims
    assert float(difference.abs().max()) < BOUND
    assert float(difference.mean().abs()) < MEAN_BOUND

"""Weights that models start from, by statistics and patches of one made camera, beside those of this release."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.fit import FitSettings, spec_for
from noiseflow.fit.batches import gather
from noiseflow.fit.fit_model import _start
from noiseflow.models import build
from noiseflow.models.noise_statistics import components_of
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent
SIDE, BLACK, WHITE, PATCHES = 16, 100.0, 4095.0, 128


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    """Shot, read and row noise, correlated neighbours and heavy tails of planes that differ, at two ISOs."""
    path, rng, number = tmp_path_factory.mktemp("starts") / "made.h5", np.random.default_rng(3), np.arange(PATCHES)
    with StoreWriter(path, layout="bayer", patch_size=SIDE, pairing="gt", provenance={}) as writer:
        table = np.zeros(PATCHES, fields(4))
        table["camera"], table["iso"] = writer.label("cameras", "One"), np.where(number % 2, 400, 100)
        table["black"], table["white"] = BLACK, WHITE
        table["scene"] = [writer.label("scenes", f"scene {each % 16}") for each in number]
        table["source"] = [writer.label("sources", f"frame {each % 16}") for each in number]
        table["y"], table["x"] = SIDE * (number // 16 % 4), SIDE * (number // 64)
        gain = np.where(number % 2, 2.0, 0.5)[:, None, None, None]
        clean = rng.uniform(0, 1500, (PATCHES, 1, 1, 1)) * np.ones((1, 4, SIDE, SIDE))
        clean *= np.array([0.6, 1.0, 1.0, 0.8])[:, None, None]
        rows = rng.normal(size=(16, 4, 1, SIDE, 1))[number % 16, number // 16 % 4]
        white = rng.normal(size=clean.shape)
        white[..., 1:] += 0.1 * white[..., :-1]
        noise = np.sqrt(gain * clean + 9 * gain) * white + np.sqrt(gain) * rows + 0.3 * rng.standard_t(3, clean.shape)
        writer.append(np.clip(np.rint(BLACK + clean + noise), 0, WHITE), BLACK + clean, table)
    return PatchStore(path)


@pytest.mark.parametrize("name", ["gaussian", "nlf", "noise_flow", "glow", "physics_flow"])
def test_weights_of_the_start(store: PatchStore, name: str) -> None:
    rows = store.indices("train")
    model = build(spec_for(store, name)).eval()
    settings = FitSettings(objective="discretised" if name == "physics_flow" else "continuous")
    _start(model, gather(store, rows), store, rows, settings)
    weights = {place: values.detach().numpy().ravel() for place, values in model.state_dict().items()}
    assert_pinned({"components": components_of(model), "weights": weights}, HERE / f"start_{name}.json", small=1e-3)

"""Scores and fits of a store with masked pixels do not depend on what stands there."""

import json
from pathlib import Path

import numpy as np
import pytest

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metric import as_json
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields

SIDE, BLACK, WHITE = 16, 64, 1023


def store_of(path: Path, outlier: int | None) -> PatchStore:
    """Poisson–Gaussian patches, of which one pixel in a hundred is masked and may hold an outlier."""
    rng = np.random.default_rng(1)
    count = 96
    with StoreWriter(path, layout="bayer", patch_size=SIDE, pairing="gt", provenance={}) as writer:
        table = np.zeros(count, fields(4))
        table["camera"], table["source"] = writer.label("cameras", "One"), writer.source("a.dng", "0")
        table["scene"] = [writer.label("scenes", f"s{number % 12}") for number in range(count)]
        table["iso"], table["black"], table["white"], table["frame"] = 100, BLACK, WHITE, np.arange(count) // 12
        table["split"] = np.where(np.arange(count) % 12 < 8, 0, np.where(np.arange(count) % 12 < 10, 1, 2))
        clean = np.broadcast_to(rng.uniform(0, 400, (count, 4, 1, 1)), (count, 4, SIDE, SIDE))
        noisy = np.rint(BLACK + rng.poisson(clean) + 3 * rng.standard_normal(clean.shape)).clip(1, WHITE)
        masked = rng.random(clean.shape) < 0.01
        if outlier is not None:
            noisy[masked] = outlier
        writer.append(noisy, BLACK + clean, table, masked)
    return PatchStore(path)


@pytest.mark.parametrize("name", ["nlf", "physics_flow", "noise_flow"])
def test_outliers_at_masked_pixels_change_no_score(tmp_path: Path, name: str) -> None:
    found = {}
    for kind, outlier in (("quiet", None), ("hot", 1000)):
        store = store_of(tmp_path / f"{kind}.h5", outlier)
        settings = FitSettings(epochs=1, steps_per_epoch=2, batch=16, device="cpu", objective="continuous")
        result = fit(store, spec_for(store, name), tmp_path / f"run_{kind}", settings)
        scores = evaluate({name: result.model}, store, split="test").scores
        found[kind] = result.best_nll, json.loads(json.dumps(as_json(scores)))
        assert np.isfinite(result.best_nll)
    assert found["quiet"][0] == pytest.approx(found["hot"][0], abs=1e-9)
    quiet, hot = (dict(scores) for _, scores in found.values())
    # Steps of the codes are looked at as stored; the filled values are no codes.
    for scores in (quiet, hot):
        scores.pop("quantisation", None)
    assert quiet == hot

"""Bands: patches of the same sensor rows of a frame."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.batches import bands_of, whole_bands
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.patches import PatchStore, ingest
from noiseflow.simulate import simulate


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    folder = tmp_path_factory.mktemp("bands")
    simulate(folder / "raws", "PG-12", [100, 400], scenes=2, frames=2, size=(192, 256), seed=0)
    ingest([folder / "raws"], folder / "s.h5")
    return PatchStore(folder / "s.h5")


def test_a_band_is_of_one_frame_and_one_height(store: PatchStore) -> None:
    rows = np.random.default_rng(0).permutation(len(store))
    bands, table = bands_of(store, rows), store.table[rows]
    named = [tuple(int(row[name]) for name in ("scene", "source", "frame", "y")) for row in table]
    assert len(set(named)) == len(set(bands.tolist())) == len(set(zip(named, bands.tolist(), strict=True)))
    # Frames of 3 × 4 patches.
    assert np.bincount(bands).max() == 4
    for band in np.unique(bands):
        assert len(np.unique(table["iso"][bands == band])) == 1
        assert len(np.unique(table["x"][bands == band])) == np.count_nonzero(bands == band)


@pytest.mark.parametrize("most", [1, 7, 20, 10_000])
def test_no_band_is_cut(store: PatchStore, most: int) -> None:
    rows = np.arange(len(store))
    bands = bands_of(store, rows)
    some = whole_bands(store, rows, most, seed=1)
    assert len(set(some.tolist())) == len(some)
    assert min(most, len(rows)) <= len(some) < most + 4 or len(some) == len(rows)
    for band in np.unique(bands[some]):
        assert np.isin(np.flatnonzero(bands == band), some).all()
    assert np.array_equal(some, whole_bands(store, rows, most, seed=1))


def test_a_fit_keeps_the_row_noise_of_whole_rows(store: PatchStore, tmp_path: Path) -> None:
    def row_noise(steps: int) -> np.ndarray:
        settings = FitSettings(epochs=1, steps_per_epoch=steps, batch=8, patience=None, learning_rate=0.01)
        model = fit(store, spec_for(store, "physics_flow"), tmp_path / f"run{steps}", settings).model
        return next(each for each in model.modules() if isinstance(each, LineNoise)).log_variance.detach().numpy()

    assert np.array_equal(row_noise(1), row_noise(3))
